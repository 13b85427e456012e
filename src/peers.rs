//! The table of peers, shared by all workers: who is here, and since when
//! nobody has heard them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use dashmap::{DashMap, Entry};

use crate::net::PeerAddr;
use crate::rooms::{Lane, Protocol, Room};

/// Everyone who is registered, and the room that each is in.
///
/// The table keeps the standard library's randomly keyed hasher: addresses are
/// chosen by strangers, and a known hash would let them fill one shard.
///
/// Lock order: a shard of the table, then the room. What happens to the table
/// and the room for one peer happens under the shard's lock, so that a peer
/// which leaves and comes back is never in the room twice or missing from it.
pub struct Peers {
    table: DashMap<PeerAddr, Arc<Peer>>,
    lobby: Arc<Room>,
    /// Beside the table, whose own length takes every shard's lock.
    count: AtomicUsize,
    max_count: usize,
    expired: AtomicU64,
}

/// One peer. Its atomics are written to under the table's read lock.
pub struct Peer {
    last_seen_ms: AtomicU64,
    /// What every datagram of a v2 peer must carry; [`NO_SESSION`] for a v1 peer.
    session: u64,
    /// The worker that serves it.
    owner: u8,
    /// Changes under the table's write lock alone.
    room: ArcSwap<Room>,
    /// Where its room keeps it; belongs to the room, and to its lock.
    pub(crate) slot: AtomicU32,
}

/// What a sign of life did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// The peer was known, and lives on.
    Refreshed,
    /// The peer is new, and now in the room.
    Registered,
    /// The peer is new, and the table is full: it is not registered.
    Full,
    /// Nothing: the peer has another session, or has one and this was text, or
    /// has none.
    WrongSession,
}

/// The session of a peer that speaks v1.
pub const NO_SESSION: u64 = 0;

impl Peers {
    /// An empty table for at most `max_count` peers, all of them in `lobby`.
    pub fn new(lobby: Arc<Room>, max_count: usize) -> Self {
        Self {
            table: DashMap::with_shard_amount(SHARDS),
            lobby,
            count: AtomicUsize::new(0),
            max_count,
            expired: AtomicU64::new(0),
        }
    }

    /// Notes a sign of life of the v1 peer `address`, and registers it, served by
    /// worker `owner`, when it is new. For a known peer this is a read lock and
    /// an atomic store.
    pub fn touch(&self, address: &PeerAddr, owner: u8, now_ms: u64) -> Touch {
        if let Some(peer) = self.table.get(address) {
            return peer.touch(NO_SESSION, now_ms);
        }
        match self.table.entry(*address) {
            Entry::Occupied(entry) => entry.get().touch(NO_SESSION, now_ms),
            Entry::Vacant(entry) if self.take_place() => {
                entry.insert(Peer::new(address, &self.lobby, owner, NO_SESSION, now_ms));
                Touch::Registered
            }
            Entry::Vacant(_) => Touch::Full,
        }
    }

    /// Notes a sign of life of a v2 peer.
    pub fn touch_session(&self, address: &PeerAddr, session: u64, now_ms: u64) -> Touch {
        match self.table.get(address) {
            Some(peer) if session != NO_SESSION => peer.touch(session, now_ms),
            _ => Touch::WrongSession,
        }
    }

    /// Gives the peer at `address` a session, served by worker `owner`; one that
    /// has a session keeps it, so that nobody can end it by asking again. `None`:
    /// the table is full. With it, whether the peer is new.
    pub fn open_session(
        &self,
        address: &PeerAddr,
        owner: u8,
        new_session: u64,
        now_ms: u64,
    ) -> Option<(u64, Touch)> {
        match self.table.entry(*address) {
            Entry::Occupied(mut entry) => {
                if entry.get().session == NO_SESSION {
                    let room = entry.get().room.load_full();
                    room.leave(address, entry.get());
                    entry.insert(Peer::new(address, &room, owner, new_session, now_ms));
                }
                let session = entry.get().session;
                Some((session, entry.get().touch(session, now_ms)))
            }
            Entry::Vacant(entry) if self.take_place() => {
                entry.insert(Peer::new(address, &self.lobby, owner, new_session, now_ms));
                Some((new_session, Touch::Registered))
            }
            Entry::Vacant(_) => None,
        }
    }

    /// The room that `address` is in.
    pub fn room(&self, address: &PeerAddr) -> Option<Arc<Room>> {
        let peer = self.table.get(address)?;
        Some(peer.room.load_full())
    }

    /// Moves `address` to `room`. False: it is not registered.
    pub fn enter(&self, address: &PeerAddr, room: &Arc<Room>) -> bool {
        let Some(peer) = self.table.get_mut(address) else {
            return false;
        };
        peer.room.load().leave(address, &peer);
        room.join(*address, peer.lane(address), &peer);
        peer.room.store(Arc::clone(room));
        true
    }

    /// Calls `visit` with every v2 peer that worker `owner` serves.
    pub fn visit_sessions(&self, owner: u8, mut visit: impl FnMut(&PeerAddr)) {
        let served = |peer: &Peer| peer.session != NO_SESSION && peer.owner == owner;
        for entry in self.table.iter().filter(|entry| served(entry.value())) {
            visit(entry.key());
        }
    }

    /// Drops `address`, if it has this session, or [`NO_SESSION`] and speaks v1.
    /// False: no such peer was registered.
    pub fn leave(&self, address: &PeerAddr, session: u64) -> bool {
        self.remove_if(address, |peer| peer.session == session)
    }

    /// Drops everyone not heard for more than `timeout_ms`, and tells
    /// `on_expired` who. Looks under read locks; each removal looks again at the
    /// stamp, so that a peer which spoke in between stays.
    pub fn expire(&self, now_ms: u64, timeout_ms: u64, mut on_expired: impl FnMut(PeerAddr)) {
        let is_stale = |peer: &Peer| {
            let last_seen_ms = peer.last_seen_ms.load(Ordering::Relaxed);
            now_ms.saturating_sub(last_seen_ms) > timeout_ms
        };
        let stale: Vec<PeerAddr> = self
            .table
            .iter()
            .filter(|entry| is_stale(entry.value()))
            .map(|entry| *entry.key())
            .collect();
        for address in stale {
            if self.remove_if(&address, is_stale) {
                self.expired.fetch_add(1, Ordering::Relaxed);
                on_expired(address);
            }
        }
    }

    /// How many peers are registered.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many peers have expired so far.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// The room in which everyone starts.
    pub fn lobby(&self) -> &Arc<Room> {
        &self.lobby
    }

    /// Counts one more peer, unless the table is full.
    fn take_place(&self) -> bool {
        let taken = self.count.fetch_add(1, Ordering::Relaxed);
        if taken >= self.max_count {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        taken < self.max_count
    }

    fn remove_if(&self, address: &PeerAddr, condition: impl Fn(&Peer) -> bool) -> bool {
        let removed = self.table.remove_if(address, |_, peer| {
            let remove = condition(peer);
            if remove {
                peer.room.load().leave(address, peer);
            }
            remove
        });
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        removed.is_some()
    }
}

impl Peer {
    /// A peer that has just joined `room`; the caller puts it into the table.
    fn new(
        address: &PeerAddr,
        room: &Arc<Room>,
        owner: u8,
        session: u64,
        now_ms: u64,
    ) -> Arc<Self> {
        let peer = Arc::new(Self {
            last_seen_ms: AtomicU64::new(now_ms),
            session,
            owner,
            room: ArcSwap::new(Arc::clone(room)),
            slot: AtomicU32::new(0),
        });
        room.join(*address, peer.lane(address), &peer);
        peer
    }

    fn lane(&self, address: &PeerAddr) -> Lane {
        Lane {
            endpoint: address.endpoint(),
            protocol: if self.session == NO_SESSION {
                Protocol::Text
            } else {
                Protocol::Frames
            },
            owner: self.owner,
        }
    }

    fn touch(&self, session: u64, now_ms: u64) -> Touch {
        if self.session != session {
            return Touch::WrongSession;
        }
        self.last_seen_ms.store(now_ms, Ordering::Relaxed);
        Touch::Refreshed
    }
}

/// Enough that the reaper, which reads one shard after the other, holds up a
/// newcomer for no longer than a thousandth of the table takes (about 0.1 ms
/// at 200,000 peers), and that workers seldom meet at one lock.
const SHARDS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(number: u32) -> PeerAddr {
        let ip = Ipv4Addr::from_bits(0x7F00_0000 + number);
        PeerAddr::new((ip, 5000).into(), 0)
    }

    fn peers(max_count: usize) -> Peers {
        Peers::new(Arc::new(Room::new(0, 1)), max_count)
    }

    fn in_lobby(peers: &Peers) -> Vec<PeerAddr> {
        let members = peers.lobby().members();
        let lanes = (0..members.lanes()).flat_map(|lane| members.lane(lane).1);
        let mut members: Vec<PeerAddr> = lanes.copied().collect();
        members.sort_by_key(PeerAddr::socket_addr);
        members
    }

    #[test]
    fn a_first_sign_of_life_registers_and_a_later_one_refreshes() {
        let peers = peers(10);
        assert_eq!(peers.touch(&address(1), 0, 0), Touch::Registered);
        assert_eq!(peers.touch(&address(1), 0, 5), Touch::Refreshed);
        assert_eq!(peers.touch(&address(2), 0, 5), Touch::Registered);
        assert_eq!(peers.len(), 2);
        assert_eq!(in_lobby(&peers), [address(1), address(2)]);
    }

    #[test]
    fn whoever_leaves_is_gone_from_the_table_and_the_room() {
        let peers = peers(10);
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(2), 0, 0);
        assert!(peers.leave(&address(1), NO_SESSION));
        assert!(!peers.leave(&address(1), NO_SESSION), "gone already");
        assert!(!peers.leave(&address(3), NO_SESSION), "never was here");
        assert_eq!((peers.len(), in_lobby(&peers)), (1, vec![address(2)]));
    }

    #[test]
    fn only_more_than_the_timeout_expires() {
        let peers = peers(10);
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(2), 0, 1);
        let mut expired = Vec::new();
        peers.expire(10_000, 10_000, |address| expired.push(address));
        assert_eq!(expired, [], "10 s are not more than 10 s");
        peers.expire(10_001, 10_000, |address| expired.push(address));
        assert_eq!(expired, [address(1)]);
        assert_eq!((peers.len(), peers.expired()), (1, 1));
        assert_eq!(in_lobby(&peers), [address(2)]);
    }

    #[test]
    fn a_refreshed_peer_does_not_expire() {
        let peers = peers(10);
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(1), 0, 5_000);
        peers.expire(15_000, 10_000, |address| panic!("{address} expired"));
        assert_eq!(peers.len(), 1);
    }

    #[test]
    fn a_full_table_takes_nobody_new_until_someone_leaves() {
        let peers = peers(2);
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(2), 0, 0);
        assert_eq!(peers.touch(&address(3), 0, 0), Touch::Full);
        assert_eq!(peers.touch(&address(1), 0, 0), Touch::Refreshed);
        assert_eq!((peers.len(), in_lobby(&peers).len()), (2, 2));
        peers.leave(&address(1), NO_SESSION);
        assert_eq!(peers.touch(&address(3), 0, 0), Touch::Registered);
    }

    #[test]
    fn threads_that_come_and_go_leave_table_and_room_agreeing() {
        let peers = &peers(10_000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let address = address((round * 7 + thread) % 97);
                        if round % 3 == thread % 3 {
                            peers.leave(&address, NO_SESSION);
                        } else {
                            peers.touch(&address, 0, u64::from(round));
                        }
                        if round % 16 == 0 {
                            peers.expire(u64::from(round), 50, |_| {});
                        }
                    }
                });
            }
        });
        let mut table: Vec<PeerAddr> = peers.table.iter().map(|entry| *entry.key()).collect();
        table.sort_by_key(PeerAddr::socket_addr);
        assert!(!table.is_empty());
        assert_eq!(in_lobby(peers), table);
        assert_eq!(peers.len(), table.len());
    }

    #[test]
    fn a_session_can_be_neither_guessed_nor_ended_nor_taken_over() {
        let peers = peers(10);
        let open = |new| peers.open_session(&address(1), 0, new, 0);
        assert_eq!(open(77), Some((77, Touch::Registered)));
        assert_eq!(open(88), Some((77, Touch::Refreshed)), "asked again");
        assert_eq!(peers.touch_session(&address(1), 78, 5), Touch::WrongSession);
        assert_eq!(
            peers.touch_session(&address(1), NO_SESSION, 5),
            Touch::WrongSession
        );
        assert_eq!(peers.touch(&address(1), 0, 5), Touch::WrongSession, "text");
        assert!(!peers.leave(&address(1), NO_SESSION));
        assert!(!peers.leave(&address(1), 78));
        assert_eq!(peers.touch_session(&address(1), 77, 5), Touch::Refreshed);
        assert_eq!(peers.touch_session(&address(2), 77, 5), Touch::WrongSession);
        assert!(peers.leave(&address(1), 77));
        assert_eq!((peers.len(), in_lobby(&peers)), (0, vec![]));
    }

    #[test]
    fn a_text_peer_that_asks_for_a_session_changes_its_lane() {
        let peers = peers(2);
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(2), 0, 0);
        assert_eq!(
            peers.open_session(&address(1), 0, 77, 0),
            Some((77, Touch::Refreshed))
        );
        assert_eq!(peers.open_session(&address(3), 0, 78, 0), None, "full");
        let members = peers.lobby().members();
        assert_eq!((peers.len(), members.len(), members.lanes()), (2, 2, 2));
        let lane = |index| (members.lane(index).0.protocol, members.lane(index).1);
        assert_eq!(lane(0), (Protocol::Text, &[address(2)][..]));
        assert_eq!(lane(1), (Protocol::Frames, &[address(1)][..]));
    }

    #[test]
    fn a_peer_is_in_the_room_that_it_entered_until_it_leaves() {
        let peers = peers(10);
        let other = Arc::new(Room::new(1, 1));
        assert!(!peers.enter(&address(1), &other), "not registered");
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(2), 0, 0);
        assert!(peers.enter(&address(1), &other));
        assert_eq!(peers.room(&address(1)).unwrap().number(), 1);
        assert_eq!(in_lobby(&peers), [address(2)]);
        assert_eq!(other.members().len(), 1);
        peers.open_session(&address(1), 0, 77, 0).unwrap();
        assert_eq!(other.members().lane(0).0.protocol, Protocol::Frames);
        assert!(peers.leave(&address(1), 77));
        assert!(other.members().is_empty() && peers.room(&address(1)).is_none());
    }

    #[test]
    fn each_worker_visits_the_sessions_that_it_serves() {
        let peers = peers(10);
        peers.touch(&address(1), 0, 0);
        peers.open_session(&address(2), 0, 77, 0);
        peers.open_session(&address(3), 1, 77, 0);
        let mut visited = Vec::new();
        peers.visit_sessions(1, |address| visited.push(*address));
        assert_eq!(visited, [address(3)]);
    }

    #[test]
    fn who_speaks_between_the_look_and_the_removal_stays() {
        let peers = peers(10);
        peers.touch(&address(1), 0, 0);
        peers.touch(&address(2), 0, 0);
        let mut expired = Vec::new();
        peers.expire(20_000, 10_000, |gone| {
            // Both were found silent; now the other one is heard.
            let other = address(if gone == address(1) { 2 } else { 1 });
            peers.touch(&other, 0, 20_000);
            expired.push(gone);
        });
        assert_eq!((expired.len(), peers.expired()), (1, 1));
        assert_eq!((peers.len(), in_lobby(&peers).len()), (1, 1));
        assert_ne!(in_lobby(&peers), expired);
    }
}
