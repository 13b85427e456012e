//! The end of a server that admits no newcomers any more.

use super::Registry;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The time at which the server stops, if its operator has drained it.
pub struct Drain {
    /// In ms of the server's clock, or [`NEVER`].
    stop_at_ms: AtomicU64,
}

impl Registry {
    /// The end of the server, if it is near.
    pub fn drain(&self) -> &Drain {
        &self.rulings.drain
    }
}

impl Drain {
    pub(super) fn new() -> Self {
        Self {
            stop_at_ms: AtomicU64::new(NEVER),
        }
    }

    /// Returns true if newcomers are refused.
    ///
    /// A newcomer reads this again after it was registered. If the one who visits all peers after
    /// [`Drain::begin`] has not found it, then it was registered later, and sees that.
    pub fn is_on(&self) -> bool {
        self.stop_at_ms.load(Ordering::Relaxed) != NEVER
    }

    /// Refuses newcomers from now on. The time of an earlier call of [`Drain::stop_at`] counts no
    /// more.
    pub fn begin(&self) {
        self.stop_at_ms.store(NOT_YET, Ordering::Relaxed);
    }

    /// Sets the time at which the server stops.
    pub fn stop_at(&self, time_ms: u64) {
        self.stop_at_ms
            .store(time_ms.min(NOT_YET), Ordering::Relaxed);
    }

    /// Returns true if the server stops now, at the latest.
    pub fn is_over(&self, now_ms: u64) -> bool {
        let stop_at_ms = self.stop_at_ms.load(Ordering::Relaxed);
        stop_at_ms < NOT_YET && now_ms >= stop_at_ms
    }
}

const NEVER: u64 = u64::MAX;

/// The peers are being told.
const NOT_YET: u64 = u64::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_over_at_its_time_and_a_second_one_changes_that() {
        let drain = Drain::new();
        assert_eq!((drain.is_on(), drain.is_over(u64::MAX)), (false, false));
        drain.begin();
        assert_eq!((drain.is_on(), drain.is_over(u64::MAX)), (true, false));
        drain.stop_at(1_000);
        assert_eq!((drain.is_over(999), drain.is_over(1_000)), (false, true));
        drain.begin();
        assert!(!drain.is_over(1_000));
        drain.stop_at(2_000);
        assert_eq!((drain.is_over(1_999), drain.is_over(2_000)), (false, true));
        assert!(drain.is_on());
    }
}
