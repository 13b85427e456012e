//! The limit of replies to addresses that are not registered.

use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::net::PeerAddr;
use crate::server::registry::AddressHash;

/// Allows one reply per interval and address, without storing addresses.
///
/// An address has a slot, which it may share with others. A slot allows one reply per interval,
/// so two addresses that collide suppress each other's replies, and never allow more. The hash
/// has a random key. Otherwise a stranger could choose addresses that suppress the replies to
/// another one.
pub struct ReplyLimit {
    /// The time of the last reply, counted from an interval before the start of the clock. It
    /// wraps after 49 days. An older time can only seem to be newer, and suppress a reply. A server
    /// that never has to reply has no slots.
    slots: OnceLock<Box<[AtomicU32]>>,
    count: usize,
    interval_ms: u32,
    hash: AddressHash,
}

impl ReplyLimit {
    pub fn new(interval_ms: u32) -> Self {
        Self::with_slots(SLOTS, interval_ms)
    }

    /// Returns a limit with so many slots of 4 bytes.
    pub fn with_slots(count: usize, interval_ms: u32) -> Self {
        Self {
            slots: OnceLock::new(),
            count,
            interval_ms,
            hash: AddressHash::random(),
        }
    }

    /// Returns true if `address` may be sent a reply now, and takes that reply.
    pub fn allows(&self, address: &PeerAddr, now_ms: u64) -> bool {
        let new = || (0..self.count).map(|_| AtomicU32::new(0)).collect();
        let slot = &self.slots.get_or_init(new)[self.index(address)];
        let now = (now_ms as u32).wrapping_add(self.interval_ms);
        let last = slot.load(Ordering::Relaxed);
        // The exchange fails if another worker has just taken the reply.
        now.wrapping_sub(last) >= self.interval_ms
            && slot
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Returns a limit for which these addresses do not share slots, unless they are one host.
    #[cfg(test)]
    pub fn apart(interval_ms: u32, addresses: &[PeerAddr]) -> Self {
        loop {
            let limit = Self::new(interval_ms);
            let places = addresses
                .iter()
                .map(|address| (limit.index(address), address.socket_addr()));
            let mut places: Vec<_> = places.collect();
            places.sort_unstable();
            places.dedup();
            if places.windows(2).all(|two| two[0].0 != two[1].0) {
                return limit;
            }
        }
    }

    /// The index of the slot of `address`.
    fn index(&self, address: &PeerAddr) -> usize {
        // Without the endpoint. A host that is written to at several of them is one host.
        let hash = self.hash.hash_one(address.socket_addr());
        (hash % self.count as u64) as usize
    }
}

/// Number of slots, which take 1 MiB. When a server with 100,000 clients is restarted, their
/// heartbeats arrive at 20,000 per second. Then one in 13 collides with another one, and is
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
        let limit = ReplyLimit::new(1_000);
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
        let limit = ReplyLimit::new(15_000);
        assert!(limit.allows(&address(1, 0), 0));
        assert!(!limit.allows(&address(1, 0), 14_999));
        assert!(limit.allows(&address(1, 0), 15_000));
    }

    #[test]
    fn a_collision_suppresses_a_reply_and_never_allows_one() {
        let limit = ReplyLimit::with_slots(1, 1_000);
        assert!(limit.allows(&address(1, 0), 0));
        for now_ms in 0..1_000 {
            let other = address(2 + now_ms as u16, 0);
            assert!(!limit.allows(&other, now_ms), "at {now_ms}");
        }
        assert!(limit.allows(&address(2, 0), 1_000));
    }

    #[test]
    fn the_wrap_of_the_time_suppresses_a_reply_and_never_allows_one() {
        let limit = ReplyLimit::with_slots(1, 1_000);
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
        let limit = &ReplyLimit::new(1_000);
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| limit.allows(&address(1, 0), 0)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.sum()
        });
        assert_eq!(taken, 1);
    }
}
