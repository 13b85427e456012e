//! The silence of the peers of one worker, without the times at which the kernel dropped some of
//! its datagrams.

use std::collections::VecDeque;

/// The times at which the receive buffers of a worker overflowed. Signs of life may have been among
/// the datagrams that the kernel dropped, so these times do not count as silence.
#[derive(Debug, Default)]
pub(super) struct Overflows {
    /// The last number of dropped datagrams.
    drops: u64,
    /// Starts and ends, the oldest first. They do not overlap.
    times_ms: VecDeque<(u64, u64)>,
}

impl Overflows {
    /// Takes the number of datagrams that the kernel has dropped until now. `last_ms` is the time
    /// of the call before. A worker counts drops some time after they happened.
    pub(super) fn update(&mut self, drops: u64, last_ms: u64, now_ms: u64) {
        if std::mem::replace(&mut self.drops, drops) == drops {
            return;
        }
        let start_ms = last_ms.saturating_sub(MAX_COUNT_DELAY_MS);
        match self.times_ms.back_mut() {
            Some((_, end_ms)) if start_ms <= *end_ms => *end_ms = now_ms,
            _ => self.times_ms.push_back((start_ms, now_ms)),
        }
    }

    /// Returns the time at which a peer was last seen that has been silent for `timeout_ms` at
    /// `now_ms`.
    ///
    /// Peers expire after ten times as long in any case. Otherwise those of a worker that is always
    /// flooded would stay for ever. If four in five datagrams are lost for all of that time, one of
    /// 20 heartbeats arrives with a probability of 99 %.
    pub(super) fn silent_since(&mut self, timeout_ms: u64, now_ms: u64) -> u64 {
        let earliest_ms = now_ms.saturating_sub(timeout_ms.saturating_mul(MAX_TIMEOUTS));
        while self
            .times_ms
            .front()
            .is_some_and(|(_, end_ms)| *end_ms < earliest_ms)
        {
            self.times_ms.pop_front();
        }
        let (mut since_ms, mut left_ms) = (now_ms, timeout_ms);
        for (start_ms, end_ms) in self.times_ms.iter().rev() {
            let quiet_ms = since_ms.saturating_sub(*end_ms);
            if quiet_ms >= left_ms {
                break;
            }
            left_ms -= quiet_ms;
            since_ms = since_ms.min(*start_ms);
        }
        since_ms.saturating_sub(left_ms).max(earliest_ms)
    }
}

/// Workers that never sleep count drops each 100 ms, and others before they sleep.
const MAX_COUNT_DELAY_MS: u64 = 200;

const MAX_TIMEOUTS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `silent_since` of a worker whose number of drops at each second is given.
    fn since(drops: &[u64], timeout_ms: u64) -> u64 {
        let mut overflows = Overflows::default();
        for (second, drops) in drops.iter().enumerate() {
            let now_ms = 1_000 * second as u64;
            overflows.update(*drops, now_ms.saturating_sub(1_000), now_ms);
        }
        overflows.silent_since(timeout_ms, 1_000 * (drops.len() as u64 - 1))
    }

    #[test]
    fn the_time_of_an_overflow_is_no_silence() {
        for (drops, expected_ms) in [
            (&[0; 31][..], 27_000),
            // From 800 to 2,000, and more at a time when it no longer matters.
            (&[0, 0, 7, 7, 7], 0),
            (&[0, 0, 7, 7, 7, 7, 7], 3_000),
            (&[0, 0, 0, 7, 7, 7], 800),
            // Two in a row are one of 2,200 ms.
            (&[0, 0, 0, 7, 8, 8, 8], 800),
            (&[0, 0, 7, 7, 8, 8, 8], 600),
            (&[0, 0, 7, 7, 8, 8, 8, 8], 4_000),
        ] {
            assert_eq!(since(drops, 3_000), expected_ms, "{drops:?}");
        }
    }

    #[test]
    fn an_overflow_without_end_delays_an_expiry_to_ten_timeouts() {
        let drops: Vec<u64> = (0..100).collect();
        assert_eq!(since(&drops, 3_000), 99_000 - 30_000);
        let mut overflows = Overflows::default();
        for second in 1..1_000 {
            overflows.update(second / 2, 1_000 * (second - 1), 1_000 * second);
            overflows.silent_since(3_000, 1_000 * second);
        }
        assert!(overflows.times_ms.len() <= 20, "{overflows:?}");
    }
}
