//! The limit of replies to addresses that are not registered.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::net::PeerAddr;
use crate::server::registry::{AddressHash, SlotTable};

/// Allows one reply per interval and address, without storing addresses.
///
/// An address has two slots, which it may share with others, and takes the first one that no
/// other has taken within the interval (two-choice hashing, Azar et al., 1994). If others have
/// taken both, it is suppressed. So addresses that collide suppress each other's replies, and never
/// allow more. The hash has a random key. Otherwise a stranger could choose addresses that suppress
/// the replies to another one.
pub struct ReplyLimit {
    /// The upper half of each is that of the hash of an address. The lower one is the time of its
    /// last reply, counted from an interval before the start of the clock. It wraps after 49 days.
    /// An older time can only seem to be newer, and suppress a reply.
    slots: SlotTable<AtomicU64>,
    interval_ms: u32,
    hash: AddressHash,
}

impl ReplyLimit {
    pub fn new(interval_ms: u32, hash: AddressHash) -> Self {
        Self::with_slots(SLOTS, interval_ms, hash)
    }

    /// Returns a limit with `count` slots of 8 bytes.
    pub fn with_slots(count: usize, interval_ms: u32, hash: AddressHash) -> Self {
        Self {
            slots: SlotTable::new(count),
            interval_ms,
            hash,
        }
    }

    /// Returns true if `address` may be sent a reply now, and takes that reply.
    pub fn allows(&self, address: &PeerAddr, now_ms: u64) -> bool {
        let hash = self.hash(address);
        let now = (now_ms as u32).wrapping_add(self.interval_ms);
        let is_taken = |found: u64| now.wrapping_sub(found as u32) < self.interval_ms;
        let found = hashes(hash).map(|hash| {
            let slot = self.slots.get(hash);
            (slot, slot.load(Ordering::Relaxed))
        });
        let tag = hash & TAG;
        if found
            .iter()
            .any(|(_, found)| is_taken(*found) && found & TAG == tag)
        {
            return false;
        }
        let free = found.into_iter().find(|(_, found)| !is_taken(*found));
        free.is_some_and(|(slot, found)| {
            // The exchange fails if another worker has just taken the slot.
            slot.compare_exchange(
                found,
                tag | u64::from(now),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
        })
    }

    /// Returns a limit for which these addresses do not share their first slot, unless they are one
    /// host. So none takes a second one.
    #[cfg(test)]
    pub fn apart(interval_ms: u32, addresses: &[PeerAddr]) -> Self {
        loop {
            let limit = Self::new(interval_ms, AddressHash::random());
            let place = |address| limit.slots.index(limit.hash(address));
            let places = addresses
                .iter()
                .map(|address| (place(address), address.socket_addr()));
            let mut places: Vec<_> = places.collect();
            places.sort_unstable();
            places.dedup();
            if places.windows(2).all(|two| two[0].0 != two[1].0) {
                return limit;
            }
        }
    }

    fn hash(&self, address: &PeerAddr) -> u64 {
        // Without the endpoint. A host that is written to at several of them is one host.
        self.hash.hash_one(address.socket_addr())
    }
}

/// Returns the hashes whose slots an address with this hash has.
fn hashes(hash: u64) -> [u64; 2] {
    [hash, hash >> 20]
}

/// The part of a slot that belongs to the address.
const TAG: u64 = !(u32::MAX as u64);

/// Number of slots, which take 2 MiB. When a server with 100,000 clients is restarted, their
/// heartbeats arrive at 20,000 per second. Then one in 170 finds both of its slots taken, and is
/// answered a heartbeat later.
const SLOTS: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16, endpoint: u8) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), endpoint)
    }

    #[test]
    fn an_address_is_allowed_a_reply_per_second_from_the_start_on() {
        let limit = ReplyLimit::new(1_000, AddressHash::random());
        let peer = address(1, 0);
        for (now_ms, is_allowed) in [
            (0, true),
            (0, false),
            (999, false),
            (1_000, true),
            (1_999, false),
            (60_000, true),
        ] {
            assert_eq!(limit.allows(&peer, now_ms), is_allowed, "at {now_ms}");
        }
        assert!(!limit.allows(&address(1, 3), 60_000), "at another endpoint");
    }

    #[test]
    fn the_interval_may_be_longer() {
        let limit = ReplyLimit::new(15_000, AddressHash::random());
        assert!(limit.allows(&address(1, 0), 0));
        assert!(!limit.allows(&address(1, 0), 14_999));
        assert!(limit.allows(&address(1, 0), 15_000));
    }

    #[test]
    fn a_collision_suppresses_a_reply_and_never_allows_one() {
        let limit = ReplyLimit::with_slots(1, 1_000, AddressHash::random());
        assert!(limit.allows(&address(1, 0), 0));
        for now_ms in 0..1_000 {
            let other = address(2 + now_ms as u16, 0);
            assert!(!limit.allows(&other, now_ms), "at {now_ms}");
        }
        assert!(limit.allows(&address(2, 0), 1_000));
    }

    #[test]
    fn few_of_many_addresses_are_suppressed_and_none_is_allowed_twice() {
        let limit = ReplyLimit::with_slots(1 << 14, 1_000, AddressHash::random());
        let allowed = || {
            (0..1_000)
                .filter(|port| limit.allows(&address(*port, 0), 5))
                .count()
        };
        let first = allowed();
        assert!((980..=1_000).contains(&first), "{first}");
        // Those that were suppressed have no more luck within the interval.
        assert_eq!(allowed(), 0);
    }

    #[test]
    fn the_wrap_of_the_time_suppresses_a_reply_and_never_allows_one() {
        let limit = ReplyLimit::with_slots(1, 1_000, AddressHash::random());
        let (peer, wrap_ms) = (address(1, 0), 1 << 32);
        assert!(limit.allows(&peer, wrap_ms - 1_500));
        assert!(!limit.allows(&peer, wrap_ms - 501), "less than a second");
        assert!(limit.allows(&peer, wrap_ms - 500));
        assert!(!limit.allows(&peer, wrap_ms + 499), "less than a second");
        assert!(
            !limit.allows(&peer, 2 * wrap_ms),
            "it seems to be half a second"
        );
        assert!(limit.allows(&peer, 2 * wrap_ms + 500));
    }

    #[test]
    fn threads_take_one_reply_together() {
        let limit = &ReplyLimit::new(1_000, AddressHash::random());
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| limit.allows(&address(1, 0), 0)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.sum()
        });
        assert_eq!(taken, 1);
    }
}
