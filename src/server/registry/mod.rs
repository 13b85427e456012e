//! The peers, the rooms that they are in, and their names. All workers share them.

mod budget;
mod debts;
mod directory;
mod drain;
mod ended;
pub mod expiry;
mod hash;
mod limits;
mod members;
mod memory;
mod names;
mod network;
mod network_limits;
mod nodes;
mod operator;
mod peer;
mod presence;
mod proven;
mod recent;
mod room;
mod silence;
mod slots;
mod subscriptions;
mod take_over;
mod visit;
mod without_admission;

use std::sync::{Arc, OnceLock};

use crate::net::{MAX_ENDPOINTS, PeerAddr};
use crate::server::ops::stats::{DropReason, WorkerId};
use crate::server::ops::supervise::Wake;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::dashmap::{DashMap, Entry, VacantEntry};
use crate::wire::v2::{SessionId, SessionOptions};
use crate::wire::{DisplayName, Limit, Protocol, RoomName};

pub use budget::{Budget, PeerRates};
use debts::Debts;
pub use directory::{Directory, RoomError};
pub use drain::Drain;
pub use hash::AddressHash;
use hash::{HashedAddr, Prehashed};
pub use limits::RegistryLimits;
use limits::SharedLimits;
pub use members::{Members, Part, SendGroup};
pub use names::NameError;
use names::Names;
pub use network::Network;
use network_limits::NetworkShares;
pub use network_limits::{NetworkMeters, NetworkRates, NetworkSlot};
#[cfg(all(test, feature = "cluster"))]
pub(crate) use nodes::SET_CLOCK_MS;
pub use nodes::{
    ChangeQueue, Digest, Inconsistent, NameAnswer, NameRequest, NodeMembers, RemoteNodes, Renamed,
    Request, RequestQueue, now_ms_since_1970,
};
use operator::Rulings;
pub use operator::{MAX_MUTED, REMOVED_S, TooManyMutes};
pub use peer::{Newcomer, Peer, Recipient};
pub use presence::{EventQueue, Notice, Presence};
pub use recent::RecentAddresses;
pub use room::{LeaveReason, Room};
pub use slots::SlotTable;
pub use subscriptions::{MAX_SESSION_ROOMS, SubscribeError};

/// The registered peers.
///
/// **Lock order**: a shard of `peers`; then the directory, the names or the rulings; then a room or the
/// members of other nodes; then its presence; then the event queue and the changes for other nodes. A change to a peer's registration, room or
/// name happens under the write lock of the peer's shard, so a peer that leaves and
/// comes back is never in a room twice, and never missing from it. No lock is held
/// while datagrams are sent.
pub struct Registry {
    peers: DashMap<HashedAddr, Arc<Peer>, Prehashed>,
    hash: AddressHash,
    directory: Directory,
    /// The members of other nodes, of which there are none without a cluster.
    remote: Arc<RemoteNodes>,
    /// Requests to other nodes. Not set without a cluster.
    requests: OnceLock<Arc<RequestQueue>>,
    names: Names,
    /// The number of peers. The map's own `len` takes the lock of every shard.
    len: AtomicUsize,
    limits: Arc<SharedLimits>,
    shares: NetworkShares,
    debts: Debts,
    expired: AtomicU64,
    /// The addresses of v1 peers that have proven them and have expired since.
    proven: RecentAddresses,
    /// The v2 peers whose session has ended, and who have not sent a HELLO since.
    ended: RecentAddresses,
    /// The peers that the operator has muted or removed.
    rulings: Rulings,
    /// The time up to which peers are known to be silent for too long.
    expired_ms: AtomicU64,
}

/// The outcome of a sign of life.
pub enum Touch {
    /// The peer was registered already.
    Refreshed(Arc<Peer>),
    /// The peer is now registered, and a member of the lobby.
    Registered(Arc<Peer>),
    /// The peer is now registered, with all that another session had.
    Moved(Arc<Peer>),
    /// The sender is not registered.
    Unknown,
    /// The datagram must be dropped for this reason. Nothing has changed.
    Refused(DropReason),
    /// The peer is new, and cannot be registered. Nothing has changed.
    LimitReached(Limit),
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
        let limits = SharedLimits::new(limits);
        let remote = Arc::<RemoteNodes>::default();
        Self {
            peers: DashMap::with_hasher_and_shard_amount(Prehashed::default(), SHARDS),
            hash,
            directory: Directory::new(
                workers,
                Arc::clone(&limits),
                Arc::clone(&remote),
                EventQueue::new(wake_notifier),
                hash.derived(),
            ),
            remote,
            requests: OnceLock::new(),
            names: Names::new(Arc::clone(&limits)),
            len: AtomicUsize::new(0),
            limits,
            shares: NetworkShares::default(),
            debts: Debts::new(),
            expired: AtomicU64::new(0),
            proven: proven::table(),
            ended: ended::table(),
            rulings: Rulings::new(hash),
            expired_ms: AtomicU64::new(0),
        }
    }

    /// Takes a sign of life of a v1 peer. This takes a read lock and an atomic store. A known peer
    /// keeps its protocol, its worker and its endpoint, so a forged datagram cannot turn it.
    pub fn touch_text(&self, address: &PeerAddr, now_ms: u64) -> Touch {
        match self.peers.get(&self.hash.hash(address)) {
            Some(peer) => refresh(&peer, None, now_ms),
            None => Touch::Unknown,
        }
    }

    /// Takes a sign of life of a v2 peer, which carries a session. From now on the peer is
    /// served from the endpoint of `address`.
    #[inline]
    pub fn touch_session(&self, address: &PeerAddr, session: SessionId, now_ms: u64) -> Touch {
        let Some(peer) = self.peers.get(&self.hash.hash(address)) else {
            return Touch::Unknown;
        };
        if peer.endpoint() == address.endpoint() {
            return refresh(&peer, Some(session), now_ms);
        }
        drop(peer);
        let endpoint = address.endpoint();
        self.change(address, session, now_ms, |group, _| {
            group.endpoint = endpoint;
        })
    }

    /// Registers a peer as a member of the lobby, unless the registry is full. If another worker
    /// has registered it meanwhile, this is a sign of life.
    pub fn register(&self, newcomer: &Newcomer, now_ms: u64) -> Touch {
        match self.peers.entry(self.hash.hash(&newcomer.address)) {
            Entry::Occupied(entry) => refresh(entry.get(), newcomer.session, now_ms),
            Entry::Vacant(entry) => self.insert(entry, newcomer, now_ms),
        }
    }

    /// Sets the options of a v2 peer, and takes a sign of life of it.
    pub fn set_options(
        &self,
        address: &PeerAddr,
        session: SessionId,
        options: SessionOptions,
        now_ms: u64,
    ) -> Touch {
        self.change(address, session, now_ms, |group, current| {
            group.protocol = Protocol::Frames(options.bundle_size);
            group.echo = options.echo;
            *current = options;
        })
    }

    /// Changes the way in which a v2 peer is sent to. This is rare, and kept out of the way of
    /// all other datagrams.
    #[cold]
    #[inline(never)]
    fn change(
        &self,
        address: &PeerAddr,
        session: SessionId,
        now_ms: u64,
        change: impl FnOnce(&mut SendGroup, &mut SessionOptions),
    ) -> Touch {
        let key = self.hash.hash(address);
        let Entry::Occupied(mut entry) = self.peers.entry(key) else {
            return Touch::Unknown;
        };
        let touch = refresh(entry.get(), Some(session), now_ms);
        let Touch::Refreshed(peer) = touch else {
            return touch;
        };
        let (mut group, mut options) = (peer.group(), peer.options());
        change(&mut group, &mut options);
        if (group, options) == (peer.group(), peer.options()) {
            return Touch::Refreshed(peer);
        }
        let changed = Arc::new(peer.changed(group, options, now_ms));
        if group != peer.group() || changed.send_to() != peer.send_to() {
            let mut subscriber = changed.subscriber(&key.address);
            for room in changed.memberships.iter() {
                room.set_group(&key, changed.send_to().group, subscriber.take());
            }
        }
        entry.insert(Arc::clone(&changed));
        Touch::Refreshed(changed)
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
        let mut others = peer.memberships.others();
        let is_it = |room: &Arc<Room>| room.name().folded() == name.folded();
        if let Some(at) = others.iter().position(is_it) {
            // It is a member already.
            let room = others.remove(at);
            self.leave_room(&before, &key, &peer, LeaveReason::Left);
            peer.memberships.replace_others(others);
            peer.memberships.replace_own(Arc::clone(&room));
            if let Some(subscriber) = peer.subscriber(&key.address) {
                room.subscribe_presence(subscriber);
            }
            return Some(Ok(room));
        }
        // Reserved before the old place is released, so the peer always has a room.
        let room = match self.reserve_place(&peer, name) {
            Ok(room) => room,
            Err(error) => return Some(Err(error)),
        };
        self.leave_room(&before, &key, &peer, LeaveReason::Left);
        peer.memberships.replace_own(Arc::clone(&room));
        enter_room(&room, &key, &peer, peer.subscriber(&key.address));
        Some(Ok(room))
    }

    /// Subscribes a peer to the presence events of its room, or unsubscribes it.
    /// Returns `None` if the peer is not registered.
    pub fn set_presence(&self, address: &PeerAddr, is_on: bool) -> Option<()> {
        let peer = self.peers.get_mut(&self.hash.hash(address))?;
        peer.wants_presence.store(is_on, Ordering::Relaxed);
        match peer.subscriber(address) {
            Some(subscriber) => peer.room().subscribe_presence(subscriber),
            None => peer.room().unsubscribe_presence(address),
        }
        Some(())
    }

    pub fn get(&self, address: &PeerAddr) -> Option<Arc<Peer>> {
        Some(Arc::clone(&*self.peers.get(&self.hash.hash(address))?))
    }

    /// Returns the peer with the name or address `whom`. Peers at
    /// different `--bind` addresses may have the same address. The one of `asking` goes first.
    pub fn find(&self, whom: &[u8], asking: &PeerAddr) -> Option<Recipient> {
        let found = |address: PeerAddr| {
            let peer = self.peers.get(&self.hash.hash(&address))?;
            Some(peer.recipient(&address))
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

    /// The members of other nodes.
    pub fn remote(&self) -> &Arc<RemoteNodes> {
        &self.remote
    }

    /// Calls `visit` with every v2 peer that worker `owner` serves.
    pub fn visit_sessions(&self, owner: WorkerId, mut visit: impl FnMut(PeerAddr, SessionId)) {
        for entry in &self.peers {
            let peer = entry.value();
            if let Some(session) = peer.session
                && peer.owner == owner
            {
                visit(entry.key().address.at(peer.endpoint()), session);
            }
        }
    }

    /// Removes the peer with this address and session. `session` is `None` for a v1 peer.
    /// Returns `None` if no such peer was registered.
    pub fn leave(&self, address: &PeerAddr, session: Option<SessionId>) -> Option<()> {
        let key = self.hash.hash(address);
        self.remove_if(&key, LeaveReason::Left, |peer| peer.session == session)
            .map(drop)
    }

    /// Removes every peer that was last seen before `oldest_ms`, which has a time for each worker
    /// that serves peers, and calls `on_expired` with each. The search takes read locks. Each
    /// removal checks again under the write lock, so a peer that sent something in between stays.
    pub fn expire(&self, oldest_ms: &[u64], mut on_expired: impl FnMut(PeerAddr)) {
        let newest_ms = oldest_ms.iter().copied().max().unwrap_or(0);
        self.expired_ms.store(newest_ms, Ordering::Relaxed);
        let is_stale = |peer: &Peer| {
            let seen_ms = peer.last_seen_ms();
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
            if let Some(peer) = self.remove_if(&key, LeaveReason::TimedOut, is_stale) {
                self.expired.fetch_add(1, Ordering::Relaxed);
                if peer.session.is_none() && !peer.is_trusted() {
                    self.proven.insert(key.hash, newest_ms);
                }
                on_expired(key.address);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    fn insert(
        &self,
        entry: VacantEntry<'_, HashedAddr, Arc<Peer>>,
        newcomer: &Newcomer,
        now_ms: u64,
    ) -> Touch {
        let used = self.len.fetch_add(1, Ordering::Relaxed);
        let network = self.network_of(newcomer);
        if let Err(limit) = self
            .shares
            .enter(network, used, self.limits.max_peers(), now_ms)
        {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Touch::LimitReached(limit);
        }
        let lobby = self.lobby();
        let peer = Peer::new(newcomer, network, Arc::clone(lobby), now_ms);
        self.debts.charge(entry.key(), &peer);
        self.rulings.mute_newcomer(&peer, &newcomer.address);
        enter_room(lobby, entry.key(), &peer, None);
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
    ) -> Option<Arc<Peer>> {
        let removed = self.peers.remove_if(key, |_, peer| {
            let is_removed = condition(peer);
            if is_removed {
                self.leave_room(&peer.room(), key, peer, reason);
                for room in peer.memberships.others() {
                    self.leave_room(&room, key, peer, reason);
                }
                if let Some(name) = peer.name() {
                    self.names.free(&name);
                }
                self.debts.note(key, peer);
                if peer.session.is_some() {
                    self.note_end(key);
                }
            }
            is_removed
        });
        let (_, peer) = removed?;
        self.uncount(peer.network());
        Some(peer)
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

fn enter_room(room: &Room, key: &HashedAddr, peer: &Peer, subscriber: Option<Recipient>) {
    room.join(key, peer.send_to(), subscriber, || {
        peer.display_name(&key.address)
    });
}

/// Number of shards. The reaper reads one shard after the other, and delays a newcomer by the
/// time for one (about 0.1 ms at 200,000 peers). Workers seldom wait for the same lock.
const SHARDS: usize = 128;

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
mod tests;
