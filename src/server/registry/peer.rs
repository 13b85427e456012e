//! One peer, as the table keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::Touch;
use crate::net::PeerAddr;
use crate::server::registry::{Lane, Protocol, Room};
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Name};

/// One peer. When it was heard is written under the table's read lock, all else but its
/// slot under the write lock.
pub struct Peer {
    pub(super) last_seen_ms: AtomicU64,
    /// What every datagram of a v2 peer must carry; `None` for a v1 peer.
    pub(super) session: Option<SessionId>,
    pub(super) protocol: Protocol,
    /// The worker that serves it.
    pub(super) owner: u8,
    pub(super) room: ArcSwap<Room>,
    /// What it is called, if it is.
    pub(super) name: ArcSwapOption<Name>,
    /// Whether it wants to hear who comes and goes in its room.
    pub(super) wants_presence: AtomicBool,
    /// Where its room keeps it; belongs to the room, and to its lock.
    pub(crate) slot: AtomicU32,
}

impl Peer {
    /// One without a name that has just been heard, not yet in its `room`.
    pub(super) fn new(
        room: Arc<Room>,
        protocol: Protocol,
        owner: u8,
        session: Option<SessionId>,
        now_ms: u64,
    ) -> Self {
        Self {
            last_seen_ms: AtomicU64::new(now_ms),
            session,
            protocol,
            owner,
            room: ArcSwap::new(room),
            name: ArcSwapOption::empty(),
            wants_presence: AtomicBool::new(false),
            slot: AtomicU32::new(0),
        }
    }

    /// How those know it who hear it.
    pub fn speaker(&self, address: &PeerAddr) -> DisplayName {
        DisplayName::of(address.socket_addr(), self.name())
    }

    /// Whether it wants to hear who comes and goes in its room.
    pub fn wants_presence(&self) -> bool {
        self.wants_presence.load(Ordering::Relaxed)
    }

    /// The same peer with a session, not yet in its room.
    pub(super) fn with_session(&self, owner: u8, session: SessionId, now_ms: u64) -> Arc<Self> {
        let room = self.room.load_full();
        Arc::new(Self {
            name: ArcSwapOption::new(self.name.load_full()),
            wants_presence: AtomicBool::new(self.wants_presence()),
            ..Self::new(room, Protocol::Frames, owner, Some(session), now_ms)
        })
    }

    pub(super) fn name(&self) -> Option<Name> {
        self.name.load().as_deref().copied()
    }

    pub(super) fn lane(&self, address: &PeerAddr) -> Lane {
        Lane {
            endpoint: address.endpoint(),
            protocol: self.protocol,
            owner: self.owner,
        }
    }

    pub(super) fn touch(&self, session: Option<SessionId>, now_ms: u64) -> Touch {
        if self.session != session {
            return Touch::WrongSession;
        }
        self.last_seen_ms.store(now_ms, Ordering::Relaxed);
        Touch::Refreshed
    }
}
