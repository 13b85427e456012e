//! One registered peer.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::budget::Budget;
use super::members::SendGroup;
use super::network_limits::NetworkSlot;
use super::room::{Room, SendTo};
use crate::net::{Endpoint, PeerAddr};
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::lock;
use crate::sync::Mutex;
use crate::sync::arc_swap::{ArcSwap, ArcSwapOption};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::wire::v2::{BundleSize, SessionId, SessionOptions};
use crate::wire::{DisplayName, Name, Protocol};

/// `last_seen_ms` and `muted_until_ms` are written under a read lock of the peer's shard, all other
/// fields under the write lock. They have 64 bytes, of which small ones take eight together.
pub struct Peer {
    pub(super) last_seen_ms: AtomicU64,
    /// The time up to which its texts are dropped. 0 for a peer that was never muted.
    pub(super) muted_until_ms: AtomicU64,
    /// The session that every datagram of a v2 peer must carry, or `None` for a v1 peer.
    pub(super) session: Option<SessionId>,
    endpoint: Endpoint,
    /// With the size of bundles.
    protocol: Protocol,
    receives: Receives,
    /// The worker that receives from the peer.
    pub(super) owner: WorkerId,
    pub(super) memberships: Memberships,
    pub(super) name: ArcSwapOption<Name>,
    pub(super) wants_presence: AtomicBool,
    /// `None` for a trusted peer.
    budget: Option<Arc<Budget>>,
}

/// Two options of a session.
#[derive(Clone, Copy)]
struct Receives(u8);

/// A peer that is about to be registered.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer {
    /// With the endpoint to send from.
    pub address: PeerAddr,
    pub protocol: Protocol,
    /// `None` for a v1 peer.
    pub session: Option<SessionId>,
    /// `None`: the default, or those of the session that it takes over.
    pub options: Option<SessionOptions>,
    /// The worker that serves it.
    pub owner: WorkerId,
    /// True if its address is one of those that the operator trusts.
    pub is_trusted: bool,
}

/// The address that a peer is sent to, and the way in which it is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// With the endpoint to send from.
    pub address: PeerAddr,
    pub protocol: Protocol,
    /// `None` for a v1 peer.
    pub session: Option<SessionId>,
}

/// The rooms that a peer is a member of: its own, and those that it has subscribed to.
pub(super) struct Memberships {
    own: ArcSwap<Room>,
    /// Most peers have none, and another `ArcSwap` takes 300 instructions to drop. The lock is held
    /// for a copy only.
    others: OnceBox<Mutex<Vec<Arc<Room>>>>,
}

impl Peer {
    /// Returns a new peer. The caller makes it a member of `room`, and counts it for `network`.
    pub(super) fn new(
        newcomer: &Newcomer,
        network: Option<NetworkSlot>,
        room: Arc<Room>,
        now_ms: u64,
    ) -> Self {
        let group = newcomer.group();
        Self {
            last_seen_ms: AtomicU64::new(now_ms),
            muted_until_ms: AtomicU64::new(0),
            session: newcomer.session,
            endpoint: group.endpoint,
            protocol: group.protocol,
            receives: Receives::of(newcomer.options.unwrap_or_default()),
            owner: newcomer.owner,
            memberships: Memberships {
                own: ArcSwap::new(room),
                others: OnceBox::new(),
            },
            name: ArcSwapOption::empty(),
            wants_presence: AtomicBool::new(false),
            budget: newcomer.budget(network),
        }
    }

    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The endpoint to send to the peer from, which may differ from that of its last datagram.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Its own room, in which it speaks.
    pub fn room(&self) -> Arc<Room> {
        self.memberships.own.load_full()
    }

    /// Returns true if its own room has this number.
    pub fn is_in(&self, number: u32) -> bool {
        self.memberships.own.load().number() == number
    }

    /// Returns the room with this number if the peer is a member of it.
    pub fn room_of(&self, number: u32) -> Option<Arc<Room>> {
        match self.is_in(number) {
            true => Some(self.room()),
            false => self.memberships.other(number),
        }
    }

    /// The session that is not sent the peer's messages: its own, if it wants no echo.
    pub fn session_without_echo(&self) -> Option<SessionId> {
        self.session.filter(|_| !self.options().echo)
    }

    /// The options of its session.
    pub fn options(&self) -> SessionOptions {
        let Receives(flags) = self.receives;
        SessionOptions {
            bundle_size: match self.protocol {
                Protocol::Frames(size) => size,
                Protocol::Text | Protocol::Lines => BundleSize::default(),
            },
            echo: flags & Receives::OWN != 0,
            receive: flags & Receives::ANY != 0,
        }
    }

    /// The properties that it shares with others who are sent to in one batch.
    pub(super) fn group(&self) -> SendGroup {
        SendGroup {
            endpoint: self.endpoint,
            protocol: self.protocol,
            echo: self.options().echo,
        }
    }

    /// True if its address is one of those that the operator trusts.
    pub fn is_trusted(&self) -> bool {
        self.budget.is_none()
    }

    /// Its budget, or `None` for a trusted peer.
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_deref()
    }

    #[cfg(test)]
    pub(super) fn shared_budget(&self) -> Option<&Arc<Budget>> {
        self.budget.as_ref()
    }

    /// The network that it is counted for, or `None` for a trusted peer.
    pub(super) fn network(&self) -> Option<NetworkSlot> {
        self.budget.as_ref()?.network()
    }

    /// True if the operator had muted it when its last datagram came.
    pub fn is_muted(&self) -> bool {
        self.is_muted_at(self.last_seen_ms())
    }

    /// True if the operator has muted it.
    pub fn is_muted_at(&self, now_ms: u64) -> bool {
        now_ms < self.muted_until_ms.load(Ordering::Relaxed)
    }

    /// The time of its last datagram.
    pub fn last_seen_ms(&self) -> u64 {
        self.last_seen_ms.load(Ordering::Relaxed)
    }

    pub fn name(&self) -> Option<Name> {
        self.name.load().as_deref().copied()
    }

    pub fn display_name(&self, address: &PeerAddr) -> DisplayName {
        DisplayName::of(address.socket_addr(), self.name())
    }

    pub(super) fn recipient(&self, address: &PeerAddr) -> Recipient {
        Recipient {
            address: address.at(self.endpoint()),
            protocol: self.protocol(),
            session: self.session,
        }
    }

    /// The way in which rooms send to the peer.
    pub(super) fn send_to(&self) -> SendTo {
        SendTo {
            group: self.options().receive.then(|| self.group()),
            session: self.session,
        }
    }

    /// Returns the recipient of presence notices, if the peer wants them.
    pub(super) fn subscriber(&self, address: &PeerAddr) -> Option<Recipient> {
        self.wants_presence().then(|| self.recipient(address))
    }

    /// Returns the same peer in another group, and with other options.
    pub(super) fn changed(&self, group: SendGroup, options: SessionOptions, now_ms: u64) -> Self {
        self.copy(group, options, now_ms)
    }

    /// Returns a peer at another address, of `network`, that has all that this one has.
    pub(super) fn moved(
        &self,
        newcomer: &Newcomer,
        network: Option<NetworkSlot>,
        now_ms: u64,
    ) -> Self {
        let protocol = match newcomer.options {
            Some(_) => newcomer.protocol,
            None => self.protocol,
        };
        let options = newcomer.options.unwrap_or(self.options());
        let budget = newcomer.budget(network).map(|budget| {
            let shared = self.budget.clone().unwrap_or(budget);
            shared.set_network(network);
            shared
        });
        let group = SendGroup {
            protocol,
            echo: options.echo,
            ..newcomer.group()
        };
        Self {
            owner: newcomer.owner,
            session: newcomer.session,
            budget,
            ..self.copy(group, options, now_ms)
        }
    }

    fn copy(&self, group: SendGroup, options: SessionOptions, now_ms: u64) -> Self {
        Self {
            last_seen_ms: AtomicU64::new(now_ms),
            muted_until_ms: AtomicU64::new(self.muted_until_ms.load(Ordering::Relaxed)),
            session: self.session,
            endpoint: group.endpoint,
            protocol: group.protocol,
            receives: Receives::of(options),
            owner: self.owner,
            memberships: self.memberships.copy(),
            name: ArcSwapOption::new(self.name.load_full()),
            wants_presence: AtomicBool::new(self.wants_presence()),
            budget: self.budget.clone(),
        }
    }

    fn wants_presence(&self) -> bool {
        self.wants_presence.load(Ordering::Relaxed)
    }
}

impl Newcomer {
    fn budget(&self, network: Option<NetworkSlot>) -> Option<Arc<Budget>> {
        let budget = (!self.is_trusted).then(Arc::<Budget>::default)?;
        budget.set_network(network);
        Some(budget)
    }

    fn group(&self) -> SendGroup {
        SendGroup {
            endpoint: self.address.endpoint(),
            protocol: self.protocol,
            echo: self.options.unwrap_or_default().echo,
        }
    }
}

impl Receives {
    /// Its own messages, too.
    const OWN: u8 = 1;
    /// Any messages.
    const ANY: u8 = 2;

    fn of(options: SessionOptions) -> Self {
        Self(u8::from(options.echo) * Self::OWN + u8::from(options.receive) * Self::ANY)
    }
}

impl Memberships {
    /// Its own room, and then the others.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<Room>> {
        std::iter::once(self.own.load_full()).chain(self.others())
    }

    pub(super) fn others(&self) -> Vec<Arc<Room>> {
        let others = self.others.get();
        others.map_or_else(Vec::new, |others| lock(others).clone())
    }

    fn other(&self, number: u32) -> Option<Arc<Room>> {
        let others = lock(self.others.get()?);
        others.iter().find(|room| room.number() == number).cloned()
    }

    fn copy(&self) -> Self {
        let copy = Self {
            own: ArcSwap::new(self.own.load_full()),
            others: OnceBox::new(),
        };
        copy.replace_others(self.others());
        copy
    }

    pub(super) fn replace_own(&self, room: Arc<Room>) {
        self.own.store(room);
    }

    pub(super) fn replace_others(&self, rooms: Vec<Arc<Room>>) {
        if !rooms.is_empty() || self.others.get().is_some() {
            *lock(self.others.get_or_init(Box::default)) = rooms;
        }
    }
}
