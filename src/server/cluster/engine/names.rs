//! Names that peers of several nodes want.

use super::super::bus::Bus;
use super::super::grants::{deciding_node, is_earlier};
use super::super::message::Body;
use super::super::nodes::Node;
use super::super::shared::add;
use super::{Engine, Now};
use crate::server::registry::{NameAnswer, NameRequest};
use crate::wire::cluster::NodeId;
use crate::wire::{Name, Reply};

impl Engine {
    /// Takes note of a claim of a node, which [`RemoteNodes`](crate::server::registry::RemoteNodes) or the
    /// members of this node have already.
    pub(super) fn note_claim(&mut self, name: &Name, node: &NodeId) {
        self.grants.end(name, node);
        self.compare(name);
    }

    /// Takes a name away from a peer of this node if one of another node has claimed it earlier.
    pub(super) fn compare(&mut self, name: &Name) {
        let (id, registry) = (self.own.id(), &self.parts.registry);
        let Some(own) = self.own.members().claim(name) else {
            return;
        };
        let claims = registry.remote().claims_of(name);
        let mut claims = claims.iter();
        if !claims.any(|(node, claim)| is_earlier(claim, node, own, &id)) {
            return;
        }
        match registry.lose_name(name) {
            Some((peer, name)) => {
                add(&self.parts.shared.counters.names_lost, 1_u64);
                let address = peer.address.socket_addr();
                self.tell(peer, Reply::NameLost(name, address));
            }
            // It moves or leaves at this moment.
            None => self.contested.push(*name),
        }
    }

    pub(super) fn request_name(&mut self, request: NameRequest, now: Now, bus: &mut impl Bus) {
        let ids = self.nodes.iter().map(Node::id);
        let name = request.name();
        let own = self.own.id();
        let node = deciding_node(&name, ids.chain([own])).unwrap_or(own);
        if node == own {
            let answer = match self.grant(&name, own, now.ms()) {
                true => NameAnswer::Granted,
                false => NameAnswer::Taken,
            };
            return self.settle(&request, answer);
        }
        let number = self.waiting.add(request, now.ms());
        let claim = request.claim;
        self.send(bus, Some(node), Body::NameRequest { number, claim });
    }

    /// Decides about a name that a peer of a node wants.
    pub(super) fn grant(&mut self, name: &Name, node: NodeId, now_ms: u64) -> bool {
        let registry = &self.parts.registry;
        let is_here = node != self.own.id() && registry.has_name(name);
        let claims = registry.remote().claims_of(name);
        let is_there = claims.iter().any(|(other, _)| *other != node);
        !is_here && !is_there && self.grants.add(name, node, now_ms)
    }

    /// Ends a request for a name, and tells its peer.
    pub(super) fn settle(&mut self, request: &NameRequest, answer: NameAnswer) {
        let (name, own) = (request.name(), self.own.id());
        let claims = self.parts.registry.remote().claims_of(&name);
        let is_later = claims
            .iter()
            .any(|(node, claim)| is_earlier(claim, node, &request.claim, &own));
        let answer = match is_later {
            true => NameAnswer::Taken,
            false => answer,
        };
        if let Some(peer) = self.parts.registry.settle_name(request, answer) {
            let reply = match answer {
                NameAnswer::Granted => Reply::Named(name),
                NameAnswer::Taken => Reply::NameTaken(name),
                NameAnswer::Missing => Reply::NamedUnconfirmed(name),
            };
            self.tell(peer, reply);
        }
    }
}
