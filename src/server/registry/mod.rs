//! The peers, the rooms that they are in, and their names. All workers share them.

mod directory;
pub mod expiry;
mod hash;
mod names;
mod peer;
mod presence;
mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry, VacantEntry};

use crate::net::{MAX_ENDPOINTS, PeerAddr};
use crate::server::ops::stats::{DropReason, WorkerId};
use crate::server::ops::supervise::Wake;
use crate::wire::v2::{BundleSize, SessionId};
use crate::wire::{DisplayName, Name, Protocol, RoomName};

pub use directory::{Directory, RegistryLimits, RoomError};
pub use hash::AddressHash;
use hash::{HashedAddr, Prehashed};
pub use names::NameError;
use names::Names;
pub use peer::Peer;
pub use presence::{EventQueue, Notice, Presence};
pub use room::{LeaveReason, Members, Room, SendGroup};

/// The registered peers.
///
/// **Lock order**: a shard of `peers`; then the directory or the names; then a room;
/// then its presence; then the event queue. A change to a peer's registration, room or
/// name happens under the write lock of the peer's shard, so a peer that leaves and
/// comes back is never in a room twice, and never missing from it. No lock is held
/// while datagrams are sent.
pub struct Registry {
    peers: DashMap<HashedAddr, Arc<Peer>, Prehashed>,
    hash: AddressHash,
    directory: Directory,
    names: Names,
    /// The number of peers. The map's own `len` takes the lock of every shard.
    len: AtomicUsize,
    max_peers: usize,
    expired: AtomicU64,
}

/// The outcome of a sign of life.
pub enum Touch {
    /// The peer was registered already.
    Refreshed(Arc<Peer>),
    /// The peer is now registered, and a member of the lobby.
    Registered(Arc<Peer>),
    /// The datagram must be dropped for this reason. Nothing has changed.
    Refused(DropReason),
}

impl Registry {
    /// Returns a registry for a server with `workers` workers. The first presence event
    /// calls `wake_notifier`.
    pub fn new(
        workers: usize,
        limits: RegistryLimits,
        hash: AddressHash,
        wake_notifier: Wake,
    ) -> Self {
        Self {
            peers: DashMap::with_hasher_and_shard_amount(Prehashed::default(), SHARDS),
            hash,
            directory: Directory::new(workers, limits, EventQueue::new(wake_notifier)),
            names: Names::new(limits.max_names),
            len: AtomicUsize::new(0),
            max_peers: limits.max_peers,
            expired: AtomicU64::new(0),
        }
    }

    /// Returns a registry for tests, in which only the number of peers is limited.
    #[cfg(test)]
    pub(crate) fn plain(workers: usize, max_peers: usize) -> Self {
        let limits = RegistryLimits {
            max_peers,
            max_names: max_peers,
            max_rooms: max_peers,
            max_room_members: u32::MAX,
        };
        Self::new(workers, limits, AddressHash::random(), Arc::new(|| {}))
    }

    /// Takes a sign of life of a v1 peer. A new peer is registered with `protocol`, and
    /// served by worker `owner` from the endpoint of `address`. A known peer keeps all three,
    /// so a forged datagram cannot turn it. Its refresh takes a read lock and an atomic store.
    pub fn touch(
        &self,
        address: &PeerAddr,
        protocol: Protocol,
        owner: WorkerId,
        now_ms: u64,
    ) -> Touch {
        let key = self.hash.hash(address);
        if let Some(peer) = self.peers.get(&key) {
            return refresh(&peer, None, now_ms);
        }
        match self.peers.entry(key) {
            Entry::Occupied(entry) => refresh(entry.get(), None, now_ms),
            Entry::Vacant(entry) => self.register(entry, protocol, owner, None, now_ms),
        }
    }

    /// Takes a sign of life of a v2 peer, which carries a session. From now on the peer is
    /// served from the endpoint of `address`.
    #[inline]
    pub fn touch_session(&self, address: &PeerAddr, session: SessionId, now_ms: u64) -> Touch {
        let Some(peer) = self.peers.get(&self.hash.hash(address)) else {
            return Touch::Refused(DropReason::UnknownSession);
        };
        if peer.endpoint() == address.endpoint() {
            return refresh(&peer, Some(session), now_ms);
        }
        drop(peer);
        let endpoint = address.endpoint();
        self.change_group(address, session, now_ms, |group| group.endpoint = endpoint)
    }

    /// Sets the size of the bundles for a v2 peer, and takes a sign of life of it.
    pub fn set_bundle_size(
        &self,
        address: &PeerAddr,
        session: SessionId,
        size: BundleSize,
        now_ms: u64,
    ) -> Touch {
        let protocol = Protocol::Frames(size);
        self.change_group(address, session, now_ms, |group| group.protocol = protocol)
    }

    /// Changes the way in which a v2 peer is sent to. This is rare, and kept out of the way of
    /// all other datagrams.
    #[cold]
    #[inline(never)]
    fn change_group(
        &self,
        address: &PeerAddr,
        session: SessionId,
        now_ms: u64,
        change: impl FnOnce(&mut SendGroup),
    ) -> Touch {
        let key = self.hash.hash(address);
        let Entry::Occupied(mut entry) = self.peers.entry(key) else {
            return Touch::Refused(DropReason::UnknownSession);
        };
        let touch = refresh(entry.get(), Some(session), now_ms);
        let Touch::Refreshed(peer) = touch else {
            return touch;
        };
        let mut group = peer.group;
        change(&mut group);
        if group == peer.group {
            return Touch::Refreshed(peer);
        }
        let changed = Arc::new(peer.in_group(group, now_ms));
        let room = changed.room();
        room.set_group(&key, group, changed.wants_presence());
        entry.insert(Arc::clone(&changed));
        Touch::Refreshed(changed)
    }

    /// Opens a session for a new peer, which is then served by worker `owner`, in bundles of this
    /// size. A peer that has a session keeps it, and a v1 peer stays one. So a forged request
    /// changes nothing for a peer, and a v1 peer is never sent frames.
    pub fn open_session(
        &self,
        address: &PeerAddr,
        owner: WorkerId,
        size: BundleSize,
        new_session: SessionId,
        now_ms: u64,
    ) -> Touch {
        let key = self.hash.hash(address);
        match self.peers.entry(key) {
            Entry::Occupied(entry) => match entry.get().session {
                None => Touch::Refused(DropReason::WrongSession),
                session => refresh(entry.get(), session, now_ms),
            },
            Entry::Vacant(entry) => {
                let session = Some(new_session);
                self.register(entry, Protocol::Frames(size), owner, session, now_ms)
            }
        }
    }

    /// Moves a peer to the room called `name`, which is created if it does not exist.
    /// Returns the room, or `None` if the peer is not registered.
    ///
    /// # Errors
    /// [`RoomError`]; the peer stays in its room.
    pub fn join(&self, address: &PeerAddr, name: RoomName) -> Option<Result<Arc<Room>, RoomError>> {
        let key = self.hash.hash(address);
        let peer = self.peers.get_mut(&key)?;
        let before = peer.room();
        if before.name().folded() == name.folded() {
            return Some(Ok(before));
        }
        // Reserved before the old place is released, so the peer always has a room.
        let room = match self.directory.reserve_place(name) {
            Ok(room) => room,
            Err(error) => return Some(Err(error)),
        };
        self.leave_room(&before, &key, &peer, LeaveReason::Left);
        peer.memberships.replace(Arc::clone(&room));
        enter_room(&room, &key, &peer);
        Some(Ok(room))
    }

    /// Gives a peer another name. Returns `None` if the peer is not registered.
    ///
    /// # Errors
    /// [`NameError`]; the peer keeps the name that it has, if any.
    pub fn rename(&self, address: &PeerAddr, name: Name) -> Option<Result<(), NameError>> {
        let peer = self.peers.get_mut(&self.hash.hash(address))?;
        let before = peer.display_name(address);
        if let Err(error) = self.names.take(name, peer.name(), *address) {
            return Some(Err(error));
        }
        peer.name.store(Some(Arc::new(name)));
        if before != DisplayName::Name(name) {
            peer.room().rename(before, name);
        }
        Some(Ok(()))
    }

    /// Subscribes a peer to the presence events of its room, or unsubscribes it.
    /// Returns `None` if the peer is not registered.
    pub fn set_presence(&self, address: &PeerAddr, is_on: bool) -> Option<()> {
        let peer = self.peers.get_mut(&self.hash.hash(address))?;
        peer.wants_presence.store(is_on, Ordering::Relaxed);
        peer.room().set_presence(*address, peer.group, is_on);
        Some(())
    }

    pub fn get(&self, address: &PeerAddr) -> Option<Arc<Peer>> {
        Some(Arc::clone(&*self.peers.get(&self.hash.hash(address))?))
    }

    /// Returns the peer with the name or address `whom`, and its protocol. Peers at
    /// different `--bind` addresses may have the same address. The one of `asking` goes first.
    pub fn find(&self, whom: &[u8], asking: &PeerAddr) -> Option<(PeerAddr, Protocol)> {
        let found = |address: PeerAddr| {
            let peer = self.peers.get(&self.hash.hash(&address))?;
            Some((address.at(peer.endpoint()), peer.protocol()))
        };
        let address = match DisplayName::parse(whom)? {
            DisplayName::Name(name) => return found(self.names.find(&name)?),
            DisplayName::Address(address) => address,
        };
        let binds = std::iter::once(asking.endpoint().bind()).chain(0..MAX_ENDPOINTS as u8);
        binds
            .map(|bind| PeerAddr::new(address, bind))
            .find_map(found)
    }

    /// Calls `visit` with the members of `room` from index `first` on, up to
    /// [`MAX_PAGE_MEMBERS`] or until it returns false. Returns the number of members.
    pub fn visit_members(
        &self,
        room: &Room,
        first: usize,
        mut visit: impl FnMut(DisplayName) -> bool,
    ) -> usize {
        let (page, members) = room.page(first, MAX_PAGE_MEMBERS);
        for address in page {
            let name = self
                .peers
                .get(&self.hash.hash(&address))
                .and_then(|peer| peer.name());
            if !visit(DisplayName::of(address.socket_addr(), name)) {
                break;
            }
        }
        members
    }

    /// Calls `visit` with every v2 peer that worker `owner` serves.
    pub fn visit_sessions(&self, owner: WorkerId, mut visit: impl FnMut(PeerAddr)) {
        let is_served = |peer: &Peer| peer.session.is_some() && peer.owner == owner;
        for entry in self.peers.iter().filter(|entry| is_served(entry.value())) {
            visit(entry.key().address.at(entry.value().endpoint()));
        }
    }

    /// Removes the peer with this address and session. `session` is `None` for a v1 peer.
    /// Returns `None` if no such peer was registered.
    pub fn leave(&self, address: &PeerAddr, session: Option<SessionId>) -> Option<()> {
        let key = self.hash.hash(address);
        self.remove_if(&key, LeaveReason::Left, |peer| peer.session == session)
    }

    /// Removes every peer that was last seen before `oldest_ms`, which has a time for each worker
    /// that serves peers, and calls `on_expired` with each. The search takes read locks. Each
    /// removal checks again under the write lock, so a peer that sent something in between stays.
    pub fn expire(&self, oldest_ms: &[u64], mut on_expired: impl FnMut(PeerAddr)) {
        let newest_ms = oldest_ms.iter().copied().max().unwrap_or(0);
        let is_stale = |peer: &Peer| {
            let seen_ms = peer.last_seen_ms.load(Ordering::Relaxed);
            // Most peers were seen after any of the times.
            seen_ms < newest_ms && seen_ms < oldest_ms[peer.owner.index()]
        };
        let stale: Vec<HashedAddr> = self
            .peers
            .iter()
            .filter(|entry| is_stale(entry.value()))
            .map(|entry| *entry.key())
            .collect();
        for key in stale {
            let removed = self.remove_if(&key, LeaveReason::TimedOut, is_stale);
            if removed.is_some() {
                self.expired.fetch_add(1, Ordering::Relaxed);
                on_expired(key.address);
            }
        }
    }

    /// Gives memory back after a flood of peers. It locks one shard after the other, each for the
    /// time to move a quarter of the peers that it has space for. Rooms and names do the same when
    /// peers leave them.
    pub fn release_memory(&self) {
        for shard in self.peers.shards() {
            let is_excessive = {
                let peers = shard.read();
                capacity_after_flood(peers.len(), peers.buckets()).is_some()
            };
            if is_excessive {
                let mut peers = shard.write();
                if let Some(keep) = capacity_after_flood(peers.len(), peers.buckets()) {
                    peers.shrink_to(keep, |(key, _)| key.hash);
                }
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn max_peers(&self) -> usize {
        self.max_peers
    }

    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub fn lobby(&self) -> &Arc<Room> {
        self.directory.lobby()
    }

    /// Registers a peer as a member of the lobby, unless the registry is full.
    fn register(
        &self,
        entry: VacantEntry<'_, HashedAddr, Arc<Peer>>,
        protocol: Protocol,
        owner: WorkerId,
        session: Option<SessionId>,
        now_ms: u64,
    ) -> Touch {
        if self.len.fetch_add(1, Ordering::Relaxed) >= self.max_peers {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Touch::Refused(DropReason::PeersFull);
        }
        let lobby = self.lobby();
        let group = SendGroup {
            endpoint: entry.key().address.endpoint(),
            protocol,
        };
        let peer = Peer::new(Arc::clone(lobby), group, owner, session, now_ms);
        enter_room(lobby, entry.key(), &peer);
        let peer = Arc::new(peer);
        entry.insert(Arc::clone(&peer));
        Touch::Registered(peer)
    }

    fn leave_room(&self, room: &Arc<Room>, key: &HashedAddr, peer: &Peer, reason: LeaveReason) {
        room.leave(key, reason, || peer.display_name(&key.address));
        self.directory.release_place(room);
    }

    fn remove_if(
        &self,
        key: &HashedAddr,
        reason: LeaveReason,
        condition: impl Fn(&Peer) -> bool,
    ) -> Option<()> {
        self.peers.remove_if(key, |_, peer| {
            let is_removed = condition(peer);
            if is_removed {
                self.leave_room(&peer.room(), key, peer, reason);
                if let Some(name) = peer.name() {
                    self.names.free(&name);
                }
            }
            is_removed
        })?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(())
    }
}

#[inline]
fn refresh(peer: &Arc<Peer>, session: Option<SessionId>, now_ms: u64) -> Touch {
    if peer.session != session {
        return Touch::Refused(DropReason::WrongSession);
    }
    peer.last_seen_ms.store(now_ms, Ordering::Relaxed);
    Touch::Refreshed(Arc::clone(peer))
}

fn enter_room(room: &Room, key: &HashedAddr, peer: &Peer) {
    room.join(key, peer.group, peer.wants_presence(), || {
        peer.display_name(&key.address)
    });
}

/// Returns the capacity that a table of `len` entries should keep if it has too much: twice what it
/// needs if it has more than four times as much.
fn capacity_after_flood(len: usize, capacity: usize) -> Option<usize> {
    (len < capacity / 4).then_some(len * 2)
}

/// Maximum number of members in one visit: more than fit into a reply of 900 bytes.
const MAX_PAGE_MEMBERS: usize = 512;

/// Number of shards. The reaper reads one shard after the other, and delays a newcomer by the
/// time for one (about 0.1 ms at 200,000 peers). Workers seldom wait for the same lock.
const SHARDS: usize = 128;

#[cfg(test)]
mod tests;
