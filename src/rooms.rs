//! Rooms: who hears whom. Membership changes under a lock; fan-out reads
//! snapshots that never change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::net::PeerAddr;
use crate::peers::Peer;

/// A room and its members.
///
/// A change marks the snapshot as stale, and the next fan-out makes a new one,
/// however many changes there were. To make one is to copy 32 bytes a member,
/// a small part of what the fan-out that follows costs; and a text always
/// reaches everyone who had registered before it came.
pub struct Room {
    /// By endpoint, so that a fan-out goes through one socket at a time.
    parts: Mutex<Vec<Vec<Member>>>,
    snapshot: ArcSwap<Members>,
    /// Written under the lock of `parts` alone.
    stale: AtomicBool,
}

struct Member {
    address: PeerAddr,
    /// To tell the peer when its place changes.
    peer: Arc<Peer>,
}

/// The members of a room at one moment.
#[derive(Debug, Default)]
pub struct Members {
    addresses: Box<[PeerAddr]>,
    /// Where the part of each endpoint ends.
    ends: Box<[usize]>,
}

impl Room {
    /// An empty room of a server with `endpoints` addresses.
    pub fn new(endpoints: usize) -> Self {
        Self {
            parts: Mutex::new((0..endpoints).map(|_| Vec::new()).collect()),
            snapshot: ArcSwap::from_pointee(Members::default()),
            stale: AtomicBool::new(true),
        }
    }

    /// Adds a peer, which must not be a member yet.
    pub fn join(&self, address: PeerAddr, peer: &Arc<Peer>) {
        let mut parts = self.lock();
        let part = &mut parts[usize::from(address.endpoint())];
        let slot = u32::try_from(part.len()).expect("--max-peers is below 2^32");
        peer.slot.store(slot, Ordering::Relaxed);
        part.push(Member {
            address,
            peer: Arc::clone(peer),
        });
        self.stale.store(true, Ordering::Release);
    }

    /// Removes a peer, which must be a member.
    pub fn leave(&self, address: &PeerAddr, peer: &Peer) {
        let mut parts = self.lock();
        let part = &mut parts[usize::from(address.endpoint())];
        let slot = peer.slot.load(Ordering::Relaxed);
        let removed = part.swap_remove(slot as usize);
        debug_assert_eq!(removed.address, *address);
        if let Some(moved) = part.get(slot as usize) {
            moved.peer.slot.store(slot, Ordering::Relaxed);
        }
        if part.len() < part.capacity() / 4 {
            part.shrink_to(part.len() * 2);
        }
        self.stale.store(true, Ordering::Release);
    }

    /// Everyone who had joined, and not left, when this was called.
    pub fn members(&self) -> Arc<Members> {
        if self.stale.load(Ordering::Acquire) {
            self.rebuild();
        }
        self.snapshot.load_full()
    }

    fn rebuild(&self) {
        let parts = self.lock();
        if !self.stale.load(Ordering::Relaxed) {
            return;
        }
        let count = parts.iter().map(Vec::len).sum();
        let mut addresses = Vec::with_capacity(count);
        let mut ends = Vec::with_capacity(parts.len());
        for part in &*parts {
            addresses.extend(part.iter().map(|member| member.address));
            ends.push(addresses.len());
        }
        self.snapshot.store(Arc::new(Members {
            addresses: addresses.into(),
            ends: ends.into(),
        }));
        // Only now: a reader that sees it must see the snapshot, too.
        self.stale.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Member>>> {
        // A panic under this lock ends the process (see `supervise`); until it
        // has, the others go on.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// How many there are, at all endpoints together.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// How many endpoints there are.
    pub fn endpoints(&self) -> usize {
        self.ends.len()
    }

    /// The members at one endpoint.
    pub fn part(&self, endpoint: usize) -> &[PeerAddr] {
        let start = endpoint
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.addresses[start..self.ends[endpoint]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peers;

    fn address(port: u16, endpoint: u8) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), endpoint)
    }

    fn peers(endpoints: usize) -> Peers {
        Peers::new(Arc::new(Room::new(endpoints)), 1_000)
    }

    #[test]
    fn members_are_grouped_by_endpoint() {
        let peers = peers(3);
        for (port, endpoint) in [(1, 2), (2, 0), (3, 2), (4, 0)] {
            peers.touch(&address(port, endpoint), 0);
        }
        let members = peers.lobby().members();
        assert_eq!((members.len(), members.endpoints()), (4, 3));
        assert_eq!(members.part(0), [address(2, 0), address(4, 0)]);
        assert_eq!(members.part(1), []);
        assert_eq!(members.part(2), [address(1, 2), address(3, 2)]);
    }

    #[test]
    fn a_snapshot_in_use_does_not_change() {
        let peers = peers(1);
        peers.touch(&address(1, 0), 0);
        let before = peers.lobby().members();
        peers.touch(&address(2, 0), 0);
        assert_eq!(before.len(), 1);
        assert_eq!(peers.lobby().members().len(), 2);
    }

    #[test]
    fn an_unchanged_room_makes_no_new_snapshot() {
        let peers = peers(1);
        peers.touch(&address(1, 0), 0);
        let before = peers.lobby().members();
        peers.touch(&address(1, 0), 1);
        assert!(Arc::ptr_eq(&before, &peers.lobby().members()));
    }

    #[test]
    fn leaving_in_any_order_keeps_the_others() {
        let peers = peers(1);
        for port in 1..=50 {
            peers.touch(&address(port, 0), 0);
        }
        let mut left: Vec<u16> = (1..=50).collect();
        for step in 0..50 {
            let port = left.remove((step * 31) % left.len());
            assert!(peers.leave(&address(port, 0)));
            let members = peers.lobby().members();
            let mut ports: Vec<u16> = members.part(0).iter().map(PeerAddr::port).collect();
            ports.sort_unstable();
            assert_eq!(ports, left);
        }
    }
}
