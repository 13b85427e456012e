//! Sets of workers, by their numbers.

use crate::server::ops::stats::WorkerId;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A set that several threads change, as a bit map.
#[derive(Debug, Default)]
pub(super) struct WorkerSet([AtomicU64; WORDS]);

impl WorkerSet {
    pub(super) fn insert(&self, worker: WorkerId) {
        let (word, bit) = place(worker);
        self.0[word].fetch_or(bit, Ordering::Relaxed);
    }

    /// Removes a worker. Returns false if it was not in the set.
    pub(super) fn remove(&self, worker: WorkerId) -> bool {
        let (word, bit) = place(worker);
        // Under load nobody sleeps, and the load before the change takes no locked instruction.
        let is_in = self.0[word].load(Ordering::Relaxed) & bit != 0;
        is_in && self.0[word].fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}

/// Returns the word and the bit of a worker.
fn place(worker: WorkerId) -> (usize, u64) {
    let index = worker.index();
    (index / 64, 1 << (index % 64))
}

/// Space for 256 workers, the maximum of `--workers`.
const WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_inserted_and_removed_one_by_one() {
        let set = WorkerSet::default();
        let workers = [0, 63, 64, 200, 255].map(WorkerId);
        for worker in workers {
            assert!(!set.remove(worker));
            set.insert(worker);
        }
        for worker in workers {
            assert!(set.remove(worker) && !set.remove(worker));
        }
    }
}
