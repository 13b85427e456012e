//! The table of peers, shared by all workers: who is here, and since when
//! nobody has heard them.

mod directory;
pub mod expiry;
mod members;
mod names;
mod peer;
mod presence;
mod room;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

use crate::net::{MAX_ENDPOINTS, PeerAddr};
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Name, RoomName};

pub use directory::{RoomError, RoomLimits, Rooms};
pub use members::{Lane, Members, Protocol, SPLIT_MEMBERS};
pub use names::{NameError, Names};
pub use peer::Peer;
pub use presence::{News, Notice};
pub use room::{Manner, Room};

/// Everyone who is registered, the room that each is in, and what each is called.
///
/// The table keeps the standard library's randomly keyed hasher: addresses are
/// chosen by strangers, and a known hash would let them fill one shard. Only a benchmark
/// that counts instructions gives it another, as these depend on the key.
///
/// Lock order: a shard of the table, then the directory of rooms or the names, then
/// a room or the news. What happens to the table, the rooms and the names for one peer
/// happens under the shard's lock, so that a peer which leaves and comes back is never in
/// a room twice or missing from it.
pub struct Peers<S = RandomState> {
    table: DashMap<PeerAddr, Arc<Peer>, S>,
    rooms: Rooms,
    names: Names,
    /// Beside the table, whose own length takes every shard's lock.
    count: AtomicUsize,
    max_count: usize,
    expired: AtomicU64,
}

/// What a sign of life did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// The peer was known, and lives on.
    Refreshed,
    /// The peer is new, and now in the lobby.
    Registered,
    /// The peer is new, and the table is full: it is not registered.
    Full,
    /// Nothing: the peer has another session, or has one and this was text, or
    /// has none.
    WrongSession,
}

impl Peers {
    /// An empty table for at most `max_count` peers, who start in the lobby of
    /// `rooms`, and may take `names`.
    pub fn new(rooms: Rooms, names: Names, max_count: usize) -> Self {
        Self::with_hasher(rooms, names, max_count, RandomState::new())
    }

    /// The same without bounds but that on its peers, for tests.
    #[cfg(test)]
    pub(crate) fn plain(workers: usize, max_count: usize) -> Self {
        let limits = RoomLimits {
            max_rooms: max_count,
            max_members: u32::MAX,
        };
        let rooms = Rooms::new(workers, limits, News::new(Box::new(|| {})));
        Self::new(rooms, Names::new(max_count), max_count)
    }
}

impl<S: BuildHasher + Clone> Peers<S> {
    /// The same as [`Peers::new`], with a table that hashes addresses by `hasher`.
    pub fn with_hasher(rooms: Rooms, names: Names, max_count: usize, hasher: S) -> Self {
        Self {
            table: DashMap::with_hasher_and_shard_amount(hasher, SHARDS),
            rooms,
            names,
            count: AtomicUsize::new(0),
            max_count,
            expired: AtomicU64::new(0),
        }
    }

    /// Notes a sign of life of the v1 peer `address`, and registers it as one that
    /// speaks `protocol`, served by worker `owner`, when it is new. For a known peer
    /// this is a read lock and an atomic store.
    pub fn touch(&self, address: &PeerAddr, protocol: Protocol, owner: u8, now_ms: u64) -> Touch {
        if let Some(peer) = self.table.get(address) {
            return peer.touch(None, now_ms);
        }
        match self.table.entry(*address) {
            Entry::Occupied(entry) => entry.get().touch(None, now_ms),
            Entry::Vacant(entry) if self.admit() => {
                entry.insert(self.newcomer(address, protocol, owner, None, now_ms));
                Touch::Registered
            }
            Entry::Vacant(_) => Touch::Full,
        }
    }

    /// Notes a sign of life of a v2 peer.
    pub fn touch_session(&self, address: &PeerAddr, session: SessionId, now_ms: u64) -> Touch {
        match self.table.get(address) {
            Some(peer) => peer.touch(Some(session), now_ms),
            None => Touch::WrongSession,
        }
    }

    /// Gives the peer at `address` a session, served by worker `owner`; one that
    /// has a session keeps it, so that nobody can end it by asking again. `None`:
    /// the table is full. With it, whether the peer is new.
    pub fn open_session(
        &self,
        address: &PeerAddr,
        owner: u8,
        new_session: SessionId,
        now_ms: u64,
    ) -> Option<(SessionId, Touch)> {
        match self.table.entry(*address) {
            Entry::Occupied(mut entry) => {
                if let Some(session) = entry.get().session {
                    return Some((session, entry.get().touch(Some(session), now_ms)));
                }
                let peer = entry.get().with_session(owner, new_session, now_ms);
                let room = peer.room.load_full();
                room.replace(*address, peer.lane(address), entry.get(), &peer);
                entry.insert(peer);
                Some((new_session, Touch::Refreshed))
            }
            Entry::Vacant(entry) if self.admit() => {
                let session = Some(new_session);
                entry.insert(self.newcomer(address, Protocol::Frames, owner, session, now_ms));
                Some((new_session, Touch::Registered))
            }
            Entry::Vacant(_) => None,
        }
    }

    /// The room that `address` is in, and what `address` is called.
    pub fn room_and_name(&self, address: &PeerAddr) -> Option<(Arc<Room>, Option<Name>)> {
        let peer = self.table.get(address)?;
        Some((peer.room.load_full(), peer.name()))
    }

    /// What `address` speaks.
    pub fn protocol(&self, address: &PeerAddr) -> Option<Protocol> {
        Some(self.table.get(address)?.protocol)
    }

    /// Moves `address` to the room called `name`, which is made if there is none,
    /// and returns it. `None`: it is not registered.
    ///
    /// # Errors
    /// [`RoomError`]; the peer stays where it is.
    pub fn join(&self, address: &PeerAddr, name: RoomName) -> Option<Result<Arc<Room>, RoomError>> {
        let peer = self.table.get_mut(address)?;
        let before = peer.room.load_full();
        if before.name().folded() == name.folded() {
            return Some(Ok(before));
        }
        // Taken before the old one is given up, so that a peer always has one.
        let room = match self.rooms.take_place(name) {
            Ok(room) => room,
            Err(error) => return Some(Err(error)),
        };
        self.depart(&before, address, &peer, Manner::OnItsOwn);
        peer.room.store(Arc::clone(&room));
        self.arrive(&room, address, &peer);
        Some(Ok(room))
    }

    /// Gives `address` another name. `None`: it is not registered.
    ///
    /// # Errors
    /// [`NameError`]; the peer keeps the name that it had, if any.
    pub fn rename(&self, address: &PeerAddr, name: Name) -> Option<Result<(), NameError>> {
        let peer = self.table.get_mut(address)?;
        let before = peer.speaker(address);
        if let Err(error) = self.names.take(name, peer.name(), *address) {
            return Some(Err(error));
        }
        peer.name.store(Some(Arc::new(name)));
        let room = peer.room.load_full();
        if before != DisplayName::Name(name) && room.renamed(before, name) {
            self.rooms.news.tell(&room);
        }
        Some(Ok(()))
    }

    /// From now on `address` hears who comes and goes in its room, or not any more.
    /// False: it is not registered.
    pub fn set_presence(&self, address: &PeerAddr, is_on: bool) -> bool {
        let Some(peer) = self.table.get_mut(address) else {
            return false;
        };
        peer.wants_presence.store(is_on, Ordering::Relaxed);
        let lane = peer.lane(address);
        peer.room.load().set_presence(*address, lane, is_on);
        true
    }

    /// The peer that is called `whom`, or has the address that `whom` is, as one
    /// that `asking` speaks to: at its endpoint if there are several. With it, what
    /// the peer speaks.
    pub fn find(&self, whom: &[u8], asking: &PeerAddr) -> Option<(PeerAddr, Protocol)> {
        let found = |address| Some((address, self.protocol(&address)?));
        let address = match str::from_utf8(whom).ok()?.parse().ok()? {
            DisplayName::Name(name) => return found(self.names.find(&name)?),
            DisplayName::Address(address) => address,
        };
        let endpoints = std::iter::once(asking.endpoint()).chain(0..MAX_ENDPOINTS as u8);
        endpoints
            .map(|endpoint| PeerAddr::new(address, endpoint))
            .find_map(found)
    }

    /// Calls `visit` with every v2 peer that worker `owner` serves.
    pub fn visit_sessions(&self, owner: u8, mut visit: impl FnMut(&PeerAddr)) {
        let served = |peer: &Peer| peer.session.is_some() && peer.owner == owner;
        for entry in self.table.iter().filter(|entry| served(entry.value())) {
            visit(entry.key());
        }
    }

    /// Drops `address` if it has this session, or `None` and speaks v1.
    /// False: no such peer was registered.
    pub fn leave(&self, address: &PeerAddr, session: Option<SessionId>) -> bool {
        self.remove_if(address, Manner::OnItsOwn, |peer| peer.session == session)
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
            if self.remove_if(&address, Manner::TimedOut, is_stale) {
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

    /// All rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The room in which everyone starts.
    pub fn lobby(&self) -> &Arc<Room> {
        self.rooms.lobby()
    }

    /// A peer that has just come to the lobby; the caller puts it into the table.
    fn newcomer(
        &self,
        address: &PeerAddr,
        protocol: Protocol,
        owner: u8,
        session: Option<SessionId>,
        now_ms: u64,
    ) -> Arc<Peer> {
        let lobby = self.lobby();
        let peer = Peer::new(Arc::clone(lobby), protocol, owner, session, now_ms);
        let peer = Arc::new(peer);
        self.arrive(lobby, address, &peer);
        peer
    }

    fn arrive(&self, room: &Arc<Room>, address: &PeerAddr, peer: &Arc<Peer>) {
        if room.join(*address, peer.lane(address), peer) {
            self.rooms.news.tell(room);
        }
    }

    fn depart(&self, room: &Arc<Room>, address: &PeerAddr, peer: &Peer, manner: Manner) {
        if room.leave(address, peer, manner) {
            self.rooms.news.tell(room);
        }
        self.rooms.give_place_back(room);
    }

    /// Counts one more peer, unless the table is full.
    fn admit(&self) -> bool {
        let taken = self.count.fetch_add(1, Ordering::Relaxed);
        if taken >= self.max_count {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        taken < self.max_count
    }

    fn remove_if(
        &self,
        address: &PeerAddr,
        manner: Manner,
        condition: impl Fn(&Peer) -> bool,
    ) -> bool {
        let removed = self.table.remove_if(address, |_, peer| {
            let remove = condition(peer);
            if remove {
                self.depart(&peer.room.load_full(), address, peer, manner);
                if let Some(name) = peer.name() {
                    self.names.free(&name);
                }
            }
            remove
        });
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        removed.is_some()
    }
}

/// Enough that the reaper, which reads one shard after the other, holds up a
/// newcomer for no longer than a thousandth of the table takes (about 0.1 ms
/// at 200,000 peers), and that workers seldom meet at one lock.
const SHARDS: usize = 128;

#[cfg(test)]
mod tests;
