//! The addresses of v1 peers that have proved themselves and then fell silent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::HashedAddr;

/// A table of fixed size. An address has one slot, which it may share with others. The last one
/// has it, so a flood of peers that expire makes others prove themselves again. The hash of the
/// registry has a random key, so nobody can choose addresses that have the same slot, or look like
/// another one.
#[derive(Default)]
pub(super) struct Proven {
    /// Each has [`TAG_BITS`] of the hash of an address, and the time in seconds, which wraps after
    /// half a year. 0 is empty. A server that asks nobody for a proof has no table.
    slots: OnceLock<Box<[AtomicU64]>>,
}

impl Proven {
    pub(super) fn insert(&self, address: &HashedAddr, now_ms: u64) {
        let new = || (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let (slot, tag) = place(address);
        self.slots.get_or_init(new)[slot].store(tag | time(now_ms), Ordering::Relaxed);
    }

    /// Returns true if `address` was inserted at most [`MAX_AGE_S`] before `now_ms`.
    pub(super) fn contains(&self, address: &HashedAddr, now_ms: u64) -> bool {
        let Some(slots) = self.slots.get() else {
            return false;
        };
        let (slot, tag) = place(address);
        let found = slots[slot].load(Ordering::Relaxed);
        let age = time(now_ms).wrapping_sub(found) & TIME_MASK;
        found != 0 && found & !TIME_MASK == tag && age <= MAX_AGE_S
    }
}

/// Returns the slot of an address, and the bits of its hash that stand there.
fn place(address: &HashedAddr) -> (usize, u64) {
    let hash = address.hash;
    ((hash % SLOTS as u64) as usize, hash & !TIME_MASK)
}

fn time(now_ms: u64) -> u64 {
    // Not 0, which is an empty slot.
    (now_ms / 1000 + 1) & TIME_MASK
}

/// Number of slots. They take half a megabyte.
const SLOTS: usize = 1 << 16;

/// Bits of the hash in a slot. Another address has the same ones with a probability of 2⁻⁴⁰.
const TAG_BITS: u32 = 40;

const TIME_MASK: u64 = (1 << (u64::BITS - TAG_BITS)) - 1;

/// Maximum age of an entry. Whoever took the address over meanwhile would be sent messages.
const MAX_AGE_S: u64 = 600;

#[cfg(test)]
mod tests {
    use super::super::AddressHash;
    use super::*;
    use crate::net::PeerAddr;

    fn address(port: u16) -> HashedAddr {
        let address = PeerAddr::new(([127, 0, 0, 1], port).into(), 0);
        AddressHash::with_key(1, 2).hash(&address)
    }

    #[test]
    fn an_address_is_known_for_ten_minutes() {
        let proven = Proven::default();
        assert!(!proven.contains(&address(1), 0));
        proven.insert(&address(1), 5_000);
        for (now_ms, is_known) in [
            (5_000, true),
            (605_999, true),
            (606_000, false),
            (1 << 40, false),
        ] {
            assert_eq!(proven.contains(&address(1), now_ms), is_known, "{now_ms}");
        }
        for port in 2..1_000 {
            assert!(!proven.contains(&address(port), 5_000), "{port}");
        }
    }

    #[test]
    fn the_last_address_has_a_slot() {
        let proven = Proven::default();
        for port in 1..=u16::MAX {
            proven.insert(&address(port), 0);
            assert!(proven.contains(&address(port), 0));
        }
        let known = (1..=u16::MAX).filter(|port| proven.contains(&address(*port), 0));
        // Of 65,535 balls in as many bins, 63 % are the last in theirs.
        let known = known.count();
        assert!((38_000..45_000).contains(&known), "{known}");
    }
}
