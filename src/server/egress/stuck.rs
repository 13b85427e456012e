//! Workers that are stuck while others wait for slices that they have claimed.

use super::exchange::Exchange;
use super::worker_set::WorkerSet;

/// Finds workers that do not turn their loop while this worker waits for them. A worker that is
/// merely busy turns its loop every few milliseconds.
pub(super) struct StuckDetector {
    /// One per worker.
    waits: Vec<Wait>,
    /// The time of the last check in this wait, or `None` while this worker does not wait.
    checked_ms: Option<u64>,
}

/// The wait for one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// The number of turns that the worker had taken.
    turns: u64,
    /// The number of checks since then.
    silent_checks: u32,
}

impl StuckDetector {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            waits: vec![Wait::default(); workers],
            checked_ms: None,
        }
    }

    /// Ends the wait.
    pub(super) fn end(&mut self) {
        self.checked_ms = None;
    }

    /// Returns true if the next check is due.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.checked_ms
            .is_none_or(|checked_ms| now_ms >= checked_ms + CHECK_INTERVAL_MS)
    }

    /// Checks the workers `holders`, for which this worker waits. Returns those that have taken
    /// no turn for [`MAX_SILENT_CHECKS`].
    ///
    /// Checks are counted, not time. So a pause of the whole process, after which the other
    /// workers have had no turn yet, is one check.
    pub(super) fn check(
        &mut self,
        holders: WorkerSet,
        exchange: &Exchange,
        now_ms: u64,
    ) -> WorkerSet {
        let is_first = self.checked_ms.replace(now_ms).is_none();
        let mut stuck = WorkerSet::EMPTY;
        for (worker, wait) in exchange.ids().zip(&mut self.waits) {
            let turns = exchange.worker(worker).turns();
            if is_first || turns != wait.turns || !holders.contains(worker) {
                *wait = Wait {
                    turns,
                    silent_checks: 0,
                };
                continue;
            }
            wait.silent_checks += 1;
            if wait.silent_checks >= MAX_SILENT_CHECKS {
                stuck = stuck.with(worker);
            }
        }
        stuck
    }
}

/// The number of checks without a turn after which a worker is stuck. That takes 100 ms, twenty
/// times as long as a turn, and is short enough for a conversation. With 16 busy programs on the
/// same two cores, two workers under a flood were never taken for stuck in 8 s, and would not have
/// been after a single check.
const MAX_SILENT_CHECKS: u32 = 4;

/// Time between two checks by a worker that waits.
pub const CHECK_INTERVAL_MS: u64 = 25;
