//! The patience of a worker with others that have claimed slices of its plans.

use super::exchange::Exchange;
use super::worker_set::WorkerSet;

/// Finds workers that are stuck: they do not turn their loop, while this worker waits for them.
/// A worker that is merely busy turns its loop every few milliseconds.
pub(super) struct Patience {
    /// One per worker.
    waits: Vec<Wait>,
    /// The time of the last look in this wait, or `None` while this worker does not wait.
    looked_ms: Option<u64>,
}

/// The wait for one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// The number of turns that the worker had taken.
    turns: u64,
    /// The number of looks since then.
    looks: u32,
}

impl Patience {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            waits: vec![Wait::default(); workers],
            looked_ms: None,
        }
    }

    /// Ends the wait.
    pub(super) fn end(&mut self) {
        self.looked_ms = None;
    }

    /// Returns true if the next look is due.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.looked_ms
            .is_none_or(|looked_ms| now_ms >= looked_ms + LOOK_INTERVAL_MS)
    }

    /// Looks at the workers `holders`, for which this worker waits. Returns those that have taken
    /// no turn for [`PATIENCE_LOOKS`].
    ///
    /// Looks are counted, not time. So a pause of the whole process, after which the other
    /// workers have had no turn yet, is one look.
    pub(super) fn look(
        &mut self,
        holders: WorkerSet,
        exchange: &Exchange,
        now_ms: u64,
    ) -> WorkerSet {
        let is_first = self.looked_ms.replace(now_ms).is_none();
        let mut stuck = WorkerSet::EMPTY;
        for (worker, wait) in exchange.ids().zip(&mut self.waits) {
            let turns = exchange.worker(worker).turns();
            if is_first || turns != wait.turns || !holders.contains(worker) {
                *wait = Wait { turns, looks: 0 };
                continue;
            }
            wait.looks += 1;
            if wait.looks >= PATIENCE_LOOKS {
                stuck = stuck.with(worker);
            }
        }
        stuck
    }
}

/// The number of looks without a turn after which a worker is stuck: 100 ms, twenty times as long
/// as a turn takes, and short enough for a conversation. Beside 16 busy programs on two cores, two
/// workers under a flood were never taken for stuck in 8 s, not even after one look.
const PATIENCE_LOOKS: u32 = 4;

/// Time between two looks of a worker that waits.
pub const LOOK_INTERVAL_MS: u64 = 25;
