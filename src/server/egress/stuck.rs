//! Workers that are stuck while others wait for slices that they have claimed.

use crate::server::ops::stats::WorkerId;
use crate::server::ops::turns::Turns;

/// Finds workers that do not turn their loop while this worker waits for them. A worker that is
/// merely busy turns its loop every few milliseconds.
pub(super) struct StuckDetector {
    turns: Turns,
    /// The time of the last check in this wait, or `None` while this worker does not wait.
    checked_ms: Option<u64>,
}

impl StuckDetector {
    pub(super) fn new(turns: Turns) -> Self {
        Self {
            turns,
            checked_ms: None,
        }
    }

    /// Ends the wait.
    pub(super) fn end(&mut self) {
        self.checked_ms = None;
    }

    /// Checks all workers, if that is due. Returns true if it was.
    ///
    /// Checks are counted, not time. So a pause of the whole process, after which the other
    /// workers have had no turn yet, is one check.
    pub(super) fn check(&mut self, now_ms: u64) -> bool {
        let next_ms = self
            .checked_ms
            .map(|checked_ms| checked_ms + CHECK_INTERVAL_MS);
        if next_ms.is_some_and(|next_ms| now_ms < next_ms) {
            return false;
        }
        for worker in self.turns.workers() {
            match self.checked_ms {
                Some(_) => _ = self.turns.check(worker),
                None => self.turns.restart(worker),
            }
        }
        self.checked_ms = Some(now_ms);
        true
    }

    /// Returns true if a worker has taken no turn for [`MAX_SILENT_CHECKS`]. It takes one before it
    /// claims a slice after a sleep.
    pub(super) fn is_stuck(&self, worker: WorkerId) -> bool {
        self.turns.silent_checks(worker) >= MAX_SILENT_CHECKS && !self.turns.has_turned(worker)
    }
}

/// The number of checks without a turn after which a worker is stuck. That takes 100 ms, twenty
/// times as long as a turn, and is short enough for a conversation. With 16 busy programs on the
/// same two cores, two workers under a flood were never taken for stuck in 8 s, and would not have
/// been after a single check.
const MAX_SILENT_CHECKS: u32 = 4;

/// Time between two checks by a worker that waits.
pub const CHECK_INTERVAL_MS: u64 = 25;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::ops::stats::WorkerInfo;
    use crate::server::ops::turns::WorkerHandle;

    #[test]
    fn a_worker_that_turns_after_the_last_check_is_not_stuck() {
        let info = WorkerInfo::new("");
        let handle = WorkerHandle {
            info: Arc::clone(&info),
            wake: Arc::new(|| panic!("it is not woken")),
        };
        let mut stuck = StuckDetector::new(Turns::new(vec![handle]));
        for check in 0..=4 {
            assert!(!stuck.is_stuck(WorkerId(0)));
            assert!(stuck.check(check * CHECK_INTERVAL_MS));
        }
        assert!(stuck.is_stuck(WorkerId(0)));
        info.counters.turns.add(1);
        assert!(!stuck.is_stuck(WorkerId(0)));
    }
}
