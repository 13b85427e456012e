//! Tables of fixed size, for what strangers send.

use std::sync::OnceLock;

/// A table of slots, of which each hash has one. Strangers choose their addresses, so nothing may be
/// stored for each of them, and several may share a slot. The key of the hash must be random.
/// Otherwise a stranger could choose addresses that share the slot of another one.
///
/// A table takes no memory before it is needed.
pub struct SlotTable<T> {
    slots: OnceLock<Box<[T]>>,
    count: usize,
}

impl<T: Default> SlotTable<T> {
    /// Returns a table with `count` slots.
    pub fn new(count: usize) -> Self {
        Self {
            slots: OnceLock::new(),
            count,
        }
    }

    /// Returns the slot of a hash.
    pub fn get(&self, hash: u64) -> &T {
        let new = || (0..self.count).map(|_| T::default()).collect();
        &self.slots.get_or_init(new)[self.index(hash)]
    }

    /// Returns the slot of a hash, or `None` if no slot was needed yet.
    pub fn get_if_used(&self, hash: u64) -> Option<&T> {
        Some(&self.slots.get()?[self.index(hash)])
    }

    /// Returns the index of the slot of a hash.
    pub fn index(&self, hash: u64) -> usize {
        (hash % self.count as u64) as usize
    }

    /// The slots, if any was needed.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.get().into_iter().flatten()
    }
}
