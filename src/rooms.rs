//! Rooms: who hears whom. Membership changes under a lock; fan-out reads
//! snapshots that never change.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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
    number: u32,
    members: Mutex<Vec<Member>>,
    snapshot: ArcSwap<Members>,
    /// Written under the lock of `members` alone.
    stale: AtomicBool,
    /// For each worker the number of its next message in this room.
    sequences: Box<[AtomicU32]>,
}

struct Member {
    address: PeerAddr,
    lane: Lane,
    /// To tell the peer when its place changes.
    peer: Arc<Peer>,
}

/// How a peer is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// Through which address of the server.
    pub endpoint: u8,
    /// In which form.
    pub protocol: Protocol,
    /// By which worker, where the workers share the work: that which hears it.
    pub owner: u8,
}

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// v1: each message a datagram of its own.
    Text,
    /// v2: messages in bundles.
    Frames,
}

/// The members of a room at one moment.
#[derive(Debug, Default)]
pub struct Members {
    addresses: Box<[PeerAddr]>,
    lanes: Box<[(Lane, Range<usize>)]>,
    is_split: bool,
}

impl Room {
    /// An empty room of a server with `workers` workers, known to v2 peers by
    /// `number`.
    pub fn new(number: u32, workers: usize) -> Self {
        Self {
            number,
            members: Mutex::default(),
            snapshot: ArcSwap::default(),
            stale: AtomicBool::new(false),
            sequences: (0..workers).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The number by which v2 peers know it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Adds a peer, which must not be a member yet.
    pub fn join(&self, address: PeerAddr, lane: Lane, peer: &Arc<Peer>) {
        let mut members = self.lock();
        let slot = u32::try_from(members.len()).expect("--max-peers is below 2^32");
        peer.slot.store(slot, Ordering::Relaxed);
        members.push(Member {
            address,
            lane,
            peer: Arc::clone(peer),
        });
        self.stale.store(true, Ordering::Release);
    }

    /// Removes a peer, which must be a member.
    pub fn leave(&self, address: &PeerAddr, peer: &Peer) {
        let mut members = self.lock();
        let slot = peer.slot.load(Ordering::Relaxed);
        let removed = members.swap_remove(slot as usize);
        debug_assert_eq!(removed.address, *address);
        if let Some(moved) = members.get(slot as usize) {
            moved.peer.slot.store(slot, Ordering::Relaxed);
        }
        if members.len() < members.capacity() / 4 {
            let keep = members.len() * 2;
            members.shrink_to(keep);
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

    /// Takes numbers for `count` messages that `worker` sends, and returns the
    /// first.
    pub fn take_sequence(&self, worker: u8, count: u32) -> u32 {
        self.sequences[usize::from(worker)].fetch_add(count, Ordering::Relaxed)
    }

    fn rebuild(&self) {
        let members = self.lock();
        if !self.stale.load(Ordering::Relaxed) {
            return;
        }
        self.snapshot.store(Arc::new(Members::of(&members)));
        // Only now: a reader that sees it must see the snapshot, too.
        self.stale.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        // A panic under this lock ends the process (see `supervise`); until it
        // has, the others go on.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Whether the workers share the work of sending to these.
    pub fn is_split(&self) -> bool {
        self.is_split
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// A lane, by its index, and the members on it.
    pub fn lane(&self, index: usize) -> (Lane, &[PeerAddr]) {
        let (lane, range) = &self.lanes[index];
        (*lane, &self.addresses[range.clone()])
    }

    /// Whether someone among them speaks `protocol`.
    pub fn any_speaks(&self, protocol: Protocol) -> bool {
        self.lanes.iter().any(|(lane, _)| lane.protocol == protocol)
    }

    /// Sorts members by their lanes: counts, then places.
    fn of(members: &[Member]) -> Self {
        let is_split = members.len() >= SPLIT_MEMBERS;
        let lane_of = |member: &Member| Lane {
            owner: if is_split { member.lane.owner } else { 0 },
            ..member.lane
        };
        // Few: those of one lane are found at the front.
        let mut lanes: Vec<(Lane, Range<usize>)> = Vec::new();
        let find = |lanes: &[(Lane, Range<usize>)], lane| lanes.iter().position(|at| at.0 == lane);
        for lane in members.iter().map(lane_of) {
            match find(&lanes, lane) {
                Some(at) => lanes[at].1.end += 1,
                None => lanes.push((lane, 0..1)),
            }
        }
        let mut start = 0;
        for (_, range) in &mut lanes {
            let end = start + range.end;
            *range = start..start;
            start = end;
        }
        let nobody = PeerAddr::new(([0, 0, 0, 0], 0).into(), 0);
        let mut addresses = vec![nobody; members.len()];
        for member in members {
            if let Some(at) = find(&lanes, lane_of(member)) {
                let end = &mut lanes[at].1.end;
                addresses[*end] = member.address;
                *end += 1;
            }
        }
        Self {
            addresses: addresses.into(),
            lanes: lanes.into(),
            is_split,
        }
    }
}

/// From how many members on the workers share the sending. Measured with two
/// workers on two cores (results/README.md): to wake the other one costs more than
/// it saves up to 32 members, as much at 48, and at 64 the last of them hears a
/// message in three quarters of the time.
pub const SPLIT_MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{NO_SESSION, Peers};

    fn address(port: u16, endpoint: u8) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), endpoint)
    }

    fn peers() -> Peers {
        Peers::new(Arc::new(Room::new(0, 4)), 1_000)
    }

    fn lane(endpoint: u8, protocol: Protocol, owner: u8) -> Lane {
        Lane {
            endpoint,
            protocol,
            owner,
        }
    }

    #[test]
    fn members_are_sorted_into_lanes() {
        let peers = peers();
        for (port, endpoint) in [(1, 2), (2, 0), (3, 2), (4, 0)] {
            peers.touch(&address(port, endpoint), 3, 0);
        }
        peers.open_session(&address(5, 2), 3, 77, 0);
        let members = peers.lobby().members();
        assert_eq!(
            (members.len(), members.lanes(), members.is_split()),
            (5, 3, false)
        );
        let text = |endpoint| lane(endpoint, Protocol::Text, 0);
        assert_eq!(
            members.lane(0),
            (text(2), &[address(1, 2), address(3, 2)][..])
        );
        assert_eq!(
            members.lane(1),
            (text(0), &[address(2, 0), address(4, 0)][..])
        );
        let frames = lane(2, Protocol::Frames, 0);
        assert_eq!(members.lane(2), (frames, &[address(5, 2)][..]));
    }

    #[test]
    fn a_large_room_is_split_by_who_serves_its_members() {
        let peers = peers();
        for port in 1..SPLIT_MEMBERS as u16 {
            peers.touch(&address(port, 0), (port % 3) as u8, 0);
        }
        assert!(!peers.lobby().members().is_split());
        peers.touch(&address(999, 0), 1, 0);
        let members = peers.lobby().members();
        assert!(members.is_split());
        for index in 0..members.lanes() {
            let (lane, addresses) = members.lane(index);
            let owner = |address: &PeerAddr| {
                if address.port() == 999 {
                    1
                } else {
                    (address.port() % 3) as u8
                }
            };
            assert!(!addresses.is_empty());
            assert!(addresses.iter().all(|address| owner(address) == lane.owner));
        }
        assert_eq!(members.lanes(), 3);
    }

    #[test]
    fn a_snapshot_in_use_does_not_change() {
        let peers = peers();
        peers.touch(&address(1, 0), 0, 0);
        let before = peers.lobby().members();
        peers.touch(&address(2, 0), 0, 0);
        assert_eq!(before.len(), 1);
        assert_eq!(peers.lobby().members().len(), 2);
    }

    #[test]
    fn an_unchanged_room_makes_no_new_snapshot() {
        let peers = peers();
        peers.touch(&address(1, 0), 0, 0);
        let before = peers.lobby().members();
        peers.touch(&address(1, 0), 0, 1);
        assert!(Arc::ptr_eq(&before, &peers.lobby().members()));
    }

    #[test]
    fn leaving_in_any_order_keeps_the_others() {
        let peers = peers();
        for port in 1..=50 {
            peers.touch(&address(port, 0), 0, 0);
        }
        let mut left: Vec<u16> = (1..=50).collect();
        for step in 0..50 {
            let port = left.remove((step * 31) % left.len());
            assert!(peers.leave(&address(port, 0), NO_SESSION));
            let members = peers.lobby().members();
            let lanes = (0..members.lanes()).flat_map(|lane| members.lane(lane).1);
            let mut ports: Vec<u16> = lanes.map(PeerAddr::port).collect();
            ports.sort_unstable();
            assert_eq!(ports, left);
        }
    }

    #[test]
    fn each_worker_numbers_its_own_messages() {
        let room = Room::new(0, 2);
        assert_eq!(room.take_sequence(0, 3), 0);
        assert_eq!(room.take_sequence(0, 1), 3);
        assert_eq!(room.take_sequence(1, 1), 0);
    }

    #[test]
    fn a_room_that_most_have_left_gives_its_memory_back() {
        let peers = Peers::new(Arc::new(Room::new(0, 1)), 10_000);
        for port in 1..=10_000 {
            peers.touch(&address(port, 0), 0, 0);
        }
        assert!(peers.lobby().lock().capacity() >= 10_000);
        for port in 11..=10_000 {
            peers.leave(&address(port, 0), NO_SESSION);
        }
        let capacity = peers.lobby().lock().capacity();
        assert!(capacity <= 100, "{capacity} places for 10 members");
        assert_eq!(peers.lobby().members().len(), 10);
    }
}
