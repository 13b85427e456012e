//! The peers of the nodes.

use std::sync::Arc;

use super::{WORKERS, World};
use crate::net::PeerAddr;
use crate::server::egress::inbox::{ITEM_BYTES, Incoming, MAX_INBOX_BYTES};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{NameError, Newcomer, Recipient, Renamed, Room};
use crate::wire::v2::{SessionId, SessionOptions};
use crate::wire::{DisplayName, Protocol};

impl World {
    /// Fills the inboxes of a node, which are empty, so that each has space for so many bytes.
    pub(in super::super) fn leave_space(&self, node: usize, bytes: usize) {
        for inbox in &self.nodes[node].shared.inboxes {
            let address = peer(1);
            let filler = Incoming::Private {
                to: Recipient {
                    address,
                    protocol: Protocol::Text,
                    session: None,
                },
                from: DisplayName::Address(address.socket_addr()),
                text: vec![0; MAX_INBOX_BYTES - ITEM_BYTES - bytes].into(),
            };
            assert!(inbox.push(filler).is_ok_and(|is_first| is_first));
        }
    }

    /// Lets the time pass, and returns what is for peers: `node port: Reply`.
    pub(in super::super) fn replies(&mut self, ms: u64) -> Vec<String> {
        let mut replies = Vec::new();
        self.run_until(self.now_us + ms * 1_000, |world, at, incoming| {
            let (to, text) = match incoming {
                Incoming::Reply { to, reply } => (to, format!("{reply:?}")),
                Incoming::Private { to, from, text } => (
                    to,
                    format!("{from} says {}", String::from_utf8_lossy(&text)),
                ),
                Incoming::Texts(_) => panic!("there are no texts"),
            };
            let node = &world.nodes[at.node];
            let port = to.address.socket_addr().port();
            assert_eq!(
                at.worker,
                usize::from(port) % WORKERS,
                "the worker of the peer"
            );
            replies.push(format!("{} {port}: {text}", node.slot));
        });
        replies
    }

    /// Registers a peer.
    pub(in super::super) fn register(&self, node: usize, port: u16) {
        let now_ms = self.now_us / 1_000;
        let newcomer = newcomer(port, None, true);
        self.nodes[node].registry.register(&newcomer, now_ms);
    }

    /// Lets a peer enter a room.
    pub(in super::super) fn join(&self, node: usize, port: u16, room: &str) -> Arc<Room> {
        let joined = self.nodes[node]
            .registry
            .join(&peer(port), room.parse().unwrap());
        joined.unwrap().unwrap()
    }

    /// Lets a peer ask for a name.
    pub(in super::super) fn rename(
        &self,
        node: usize,
        port: u16,
        name: &str,
    ) -> Result<Renamed, NameError> {
        self.set_clock(node);
        let registry = &self.nodes[node].registry;
        registry.rename(&peer(port), name.parse().unwrap()).unwrap()
    }

    /// The name of a peer.
    pub(in super::super) fn name(&self, node: usize, port: u16) -> Option<String> {
        let peer = self.nodes[node].registry.get(&peer(port)).unwrap();
        peer.name().map(|name| name.to_string())
    }

    /// The other nodes that a node knows.
    pub(in super::super) fn others(&self, node: usize) -> Vec<String> {
        let others = self.nodes[node].engine.nodes().iter();
        let mut others: Vec<_> = others.map(|node| node.id().to_string()).collect();
        others.sort_unstable();
        others
    }

    /// The members of a room of a node, as its peers see them.
    pub(in super::super) fn members(&self, node: usize, room: &str) -> Vec<String> {
        let registry = &self.nodes[node].registry;
        let room = registry.directory().find(room.parse().unwrap()).unwrap();
        let mut members = Vec::new();
        registry.visit_members(&room, 0, |who| {
            members.push(who.to_string());
            true
        });
        members.sort_unstable();
        members
    }
}

/// The address of a peer. Ports are unique in a test.
pub(in super::super) fn peer(port: u16) -> PeerAddr {
    PeerAddr::new(([192, 0, 2, 1], port).into(), 0)
}

pub(in super::super) fn newcomer(
    port: u16,
    session: Option<SessionId>,
    is_trusted: bool,
) -> Newcomer {
    let protocol = match session {
        Some(_) => Protocol::Frames(SessionOptions::default().bundle_size),
        None => Protocol::Text,
    };
    Newcomer {
        address: peer(port),
        protocol,
        owner: WorkerId((usize::from(port) % WORKERS) as u8),
        session,
        options: None,
        is_trusted,
    }
}
