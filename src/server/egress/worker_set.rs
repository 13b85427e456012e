//! Sets of workers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::ops::stats::WorkerId;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WorkerSet([u64; WORDS]);

/// A set that several threads change.
#[derive(Debug, Default)]
pub(super) struct SharedWorkerSet([AtomicU64; WORDS]);

impl WorkerSet {
    pub(super) const EMPTY: Self = Self([0; WORDS]);
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    /// Returns the set of one worker.
    pub(super) fn of(worker: WorkerId) -> Self {
        Self::EMPTY.with(worker)
    }

    pub(super) fn with(mut self, worker: WorkerId) -> Self {
        let (word, bit) = place(worker);
        self.0[word] |= bit;
        self
    }

    pub(super) fn without(mut self, worker: WorkerId) -> Self {
        let (word, bit) = place(worker);
        self.0[word] &= !bit;
        self
    }

    pub(super) fn contains(&self, worker: WorkerId) -> bool {
        let (word, bit) = place(worker);
        self.0[word] & bit != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// Returns true if all workers of this set are in `other`.
    pub(super) fn is_subset(&self, other: &Self) -> bool {
        let mut words = self.0.iter().zip(other.0);
        words.all(|(own, other)| own & !other == 0)
    }

    /// The workers of this set.
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

    /// Removes a worker. A thread that sees this sees everything that the worker did before it.
    pub(super) fn remove(&self, worker: WorkerId) {
        let (word, bit) = place(worker);
        self.0[word].fetch_and(!bit, Ordering::Release);
    }

    pub(super) fn get(&self) -> WorkerSet {
        WorkerSet(std::array::from_fn(|word| {
            self.0[word].load(Ordering::Acquire)
        }))
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
            set = set.with(worker);
            shared.insert(worker);
        }
        assert_eq!(shared.get(), set);
        assert!(set.iter().eq(workers));
        assert!(WorkerSet::of(WorkerId(64)).is_subset(&set) && set.is_subset(&WorkerSet::ALL));
        assert!(!set.is_subset(&set.without(WorkerId(64))));
        for worker in workers {
            assert!(!set.is_empty() && set.contains(worker));
            set = set.without(worker);
            shared.remove(worker);
            assert!(!set.contains(worker));
        }
        assert!(set.is_empty() && shared.get().is_empty());
    }
}
