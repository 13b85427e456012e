//! A table of addresses with the time at which each was noted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::SlotTable;

/// A table of fixed size, for addresses of strangers. An address has one slot, which it may share
/// with others, and the last one has it. So a flood of addresses makes it forget, and nothing else.
/// Addresses are given by a hash whose key is random, so nobody can choose addresses that have the
/// same slot, or look like another one.
pub struct RecentAddresses {
    /// Each has [`TAG_BITS`] of the hash of an address, and the time in seconds, which wraps after
    /// half a year. 0 is empty.
    slots: SlotTable<AtomicU64>,
    max_age_s: u64,
}

impl RecentAddresses {
    /// Returns a table that knows addresses for this time. A slot takes 8 bytes.
    pub fn new(slots: usize, max_age_s: u64) -> Self {
        Self {
            slots: SlotTable::new(slots),
            max_age_s,
        }
    }

    /// Notes the address with this hash.
    pub fn insert(&self, hash: u64, now_ms: u64) {
        let noted = tag(hash) | time(now_ms);
        self.slots.get(hash).store(noted, Ordering::Relaxed);
    }

    /// Forgets the address with this hash.
    pub fn remove(&self, hash: u64) {
        if let Some(slot) = self.slots.get_if_used(hash) {
            let found = slot.load(Ordering::Relaxed);
            if found != 0 && tag(found) == tag(hash) {
                // Fails if another address has just taken the slot.
                let _ = slot.compare_exchange(found, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Returns true if the address with this hash was noted at most `max_age_s` before `now_ms`.
    pub fn contains(&self, hash: u64, now_ms: u64) -> bool {
        let Some(slot) = self.slots.get_if_used(hash) else {
            return false;
        };
        let found = slot.load(Ordering::Relaxed);
        let age = time(now_ms).wrapping_sub(found) & TIME_MASK;
        found != 0 && tag(found) == tag(hash) && age <= self.max_age_s
    }
}

/// Returns the bits of the hash of an address that stand in its slot.
fn tag(hash: u64) -> u64 {
    hash & !TIME_MASK
}

fn time(now_ms: u64) -> u64 {
    // Not 0, which is an empty slot.
    (now_ms / 1000 + 1) & TIME_MASK
}

/// Bits of the hash in a slot. Another address has the same ones with a probability of 2⁻⁴⁰.
const TAG_BITS: u32 = 40;

const TIME_MASK: u64 = (1 << (u64::BITS - TAG_BITS)) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a hash as that of an address is: spread over all bits.
    fn hash(number: u64) -> u64 {
        // Knuth's multiplicative hash, with the high bits in the low ones, too.
        let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^ hash >> 32
    }

    #[test]
    fn an_address_is_known_for_ten_minutes() {
        let recent = RecentAddresses::new(1 << 16, 600);
        assert!(!recent.contains(hash(1), 0));
        recent.insert(hash(1), 5_000);
        for (now_ms, is_known) in [
            (5_000, true),
            (605_999, true),
            (606_000, false),
            (1 << 40, false),
        ] {
            assert_eq!(recent.contains(hash(1), now_ms), is_known, "{now_ms}");
        }
        for other in 2..1_000 {
            assert!(!recent.contains(hash(other), 5_000), "{other}");
        }
    }

    #[test]
    fn an_address_is_forgotten_alone() {
        let recent = RecentAddresses::new(1 << 16, 600);
        recent.remove(hash(1));
        (1..=2).for_each(|number| recent.insert(hash(number), 0));
        recent.remove(hash(1));
        // It has the same slot.
        recent.remove(hash(2) ^ 1 << 63);
        let known = [1, 2].map(|number| recent.contains(hash(number), 0));
        assert_eq!(known, [false, true]);
    }

    #[test]
    fn the_last_address_has_a_slot() {
        let recent = RecentAddresses::new(100, 600);
        for number in 1..=10_000 {
            recent.insert(hash(number), 0);
            assert!(recent.contains(hash(number), 0));
        }
        let known = (1..=10_000).filter(|number| recent.contains(hash(*number), 0));
        assert_eq!(known.count(), 100);
    }
}
