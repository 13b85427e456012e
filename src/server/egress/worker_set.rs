//! Sets of workers, by their numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::ops::stats::WorkerId;

/// A set of workers, as a bit map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WorkerSet([u64; WORDS]);

/// A set that several threads change.
#[derive(Debug, Default)]
pub(super) struct SharedWorkerSet([AtomicU64; WORDS]);

impl WorkerSet {
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    pub(super) fn with(mut self, worker: WorkerId) -> Self {
        let (word, bit) = place(worker);
        self.0[word] |= bit;
        self
    }

    pub(super) fn contains(&self, worker: WorkerId) -> bool {
        let (word, bit) = place(worker);
        self.0[word] & bit != 0
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// The workers of this set, in the order of their numbers.
    pub(super) fn iter(self) -> impl Iterator<Item = WorkerId> {
        (0..=u8::MAX)
            .map(WorkerId)
            .filter(move |worker| self.contains(*worker))
    }
}

impl SharedWorkerSet {
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
        let (shared, mut set) = (SharedWorkerSet::default(), WorkerSet::EMPTY);
        let workers = [0, 63, 64, 200, 255].map(WorkerId);
        for worker in workers {
            assert!(!set.contains(worker) && !shared.remove(worker));
            set = set.with(worker);
            shared.insert(worker);
        }
        assert!(set.iter().eq(workers));
        let (first, last) = (
            WorkerSet::EMPTY.with(workers[0]),
            WorkerSet::EMPTY.with(workers[4]),
        );
        assert!(first.union(&last).iter().eq([workers[0], workers[4]]));
        for worker in workers {
            assert!(shared.remove(worker) && !shared.remove(worker));
        }
    }
}
