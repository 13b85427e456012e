//! One registered peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::room::{Room, SendGroup};
use crate::net::{Endpoint, PeerAddr};
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Name, Protocol};

/// `last_seen_ms` is written under a read lock of the peer's shard, all other fields under
/// the write lock.
pub struct Peer {
    pub(super) last_seen_ms: AtomicU64,
    /// The session that every datagram of a v2 peer must carry, or `None` for a v1 peer.
    pub(super) session: Option<SessionId>,
    pub(super) group: SendGroup,
    /// The worker that receives from the peer.
    pub(super) owner: WorkerId,
    pub(super) memberships: Memberships,
    pub(super) name: ArcSwapOption<Name>,
    pub(super) wants_presence: AtomicBool,
}

/// The rooms that a peer is a member of: exactly one.
pub(super) struct Memberships(ArcSwap<Room>);

impl Peer {
    /// Returns a new peer. The caller makes it a member of `room`.
    pub(super) fn new(
        room: Arc<Room>,
        group: SendGroup,
        owner: WorkerId,
        session: Option<SessionId>,
        now_ms: u64,
    ) -> Self {
        Self {
            last_seen_ms: AtomicU64::new(now_ms),
            session,
            group,
            owner,
            memberships: Memberships(ArcSwap::new(room)),
            name: ArcSwapOption::empty(),
            wants_presence: AtomicBool::new(false),
        }
    }

    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The endpoint to send to the peer from, which may differ from that of its last datagram.
    pub fn endpoint(&self) -> Endpoint {
        self.group.endpoint
    }

    pub fn protocol(&self) -> Protocol {
        self.group.protocol
    }

    pub fn room(&self) -> Arc<Room> {
        self.memberships.0.load_full()
    }

    pub fn name(&self) -> Option<Name> {
        self.name.load().as_deref().copied()
    }

    pub fn display_name(&self, address: &PeerAddr) -> DisplayName {
        DisplayName::of(address.socket_addr(), self.name())
    }

    /// Returns the same peer in another group.
    pub(super) fn in_group(&self, group: SendGroup, now_ms: u64) -> Self {
        let peer = Self::new(self.room(), group, self.owner, self.session, now_ms);
        peer.name.store(self.name.load_full());
        peer.wants_presence
            .store(self.wants_presence(), Ordering::Relaxed);
        peer
    }

    pub(super) fn wants_presence(&self) -> bool {
        self.wants_presence.load(Ordering::Relaxed)
    }
}

impl Memberships {
    pub(super) fn replace(&self, room: Arc<Room>) {
        self.0.store(room);
    }
}
