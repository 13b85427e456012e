//! Names in a cluster, where other nodes have a say.
//!
//! A name is first reserved here, so that no other peer of this node gets it. Then the node that
//! decides about the name is asked, and the peer has it when the answer has come.

use super::requests::{NameRequest, Request};
use super::{RequestQueue, now_ms_since_1970};
use crate::net::PeerAddr;
use crate::server::registry::{NameError, Peer, Recipient, Registry};
use crate::wire::cluster::Claim;
use crate::wire::{DisplayName, Name};

/// The outcome of a request for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// The peer has it.
    Yes,
    /// The peer has it, but other nodes could not be asked.
    Unconfirmed,
    /// Other nodes are asked. The answer goes to the peer later.
    Pending,
}

/// The answer of other nodes to the request for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameAnswer {
    Granted,
    Taken,
    /// None in time.
    Missing,
}

impl Registry {
    /// Gives a peer another name. Returns `None` if the peer is not registered.
    ///
    /// # Errors
    /// [`NameError`]; the peer keeps the name that it has, if any.
    pub fn rename(&self, address: &PeerAddr, name: Name) -> Option<Result<Renamed, NameError>> {
        let peer = self.peers.get_mut(&self.hash.hash(address))?;
        let is_own = peer.name().map(Name::folded) == Some(name.folded());
        Some(match self.requests.get() {
            Some(requests) if !is_own => self.request_name(requests, address, &peer, name),
            _ => self.take_name(address, &peer, name).map(|()| Renamed::Yes),
        })
    }

    fn take_name(&self, address: &PeerAddr, peer: &Peer, name: Name) -> Result<(), NameError> {
        let (network, now_ms) = (peer.network(), peer.last_seen_ms());
        self.names
            .take(name, peer.name(), *address, network, now_ms)?;
        set_name(address, peer, name);
        Ok(())
    }

    fn request_name(
        &self,
        requests: &RequestQueue,
        address: &PeerAddr,
        peer: &Peer,
        name: Name,
    ) -> Result<Renamed, NameError> {
        if self.remote.has_claim(&name) {
            return Err(NameError::Taken(name));
        }
        let (network, now_ms) = (peer.network(), peer.last_seen_ms());
        self.names
            .reserve(name, peer.name(), *address, network, now_ms)?;
        let claimed_ms = now_ms_since_1970();
        let claim = Claim { name, claimed_ms };
        let request = NameRequest {
            peer: *address,
            session: peer.session,
            claim,
        };
        if requests.push(Request::Name(request)) {
            return Ok(Renamed::Pending);
        }
        self.names.confirm(claim, peer.name(), address, network);
        set_name(address, peer, name);
        Ok(Renamed::Unconfirmed)
    }

    /// Ends a request for a name. Returns the peer, if it is still here and has to be told.
    pub fn settle_name(&self, request: &NameRequest, answer: NameAnswer) -> Option<Recipient> {
        let (address, name) = (&request.peer, request.name());
        let peer = self.peers.get_mut(&self.hash.hash(address));
        // Another peer may be at its address.
        let Some(peer) = peer.filter(|peer| peer.session == request.session) else {
            self.names.release(name, address);
            return None;
        };
        let (before, network) = (peer.name(), peer.network());
        if answer == NameAnswer::Taken {
            self.names.release(name, address);
        } else if self.names.confirm(request.claim, before, address, network) {
            set_name(address, &peer, name);
        }
        Some(peer.recipient(address))
    }

    /// Returns true if a peer of this node has this name, or waits for it.
    pub fn has_name(&self, name: &Name) -> bool {
        self.names.has(name)
    }

    /// Takes a name away from the peer that has it, which has its address as its name then. Returns
    /// the peer, and the name as the peer wrote it.
    pub fn lose_name(&self, name: &Name) -> Option<(Recipient, Name)> {
        let address = self.names.find(name)?;
        let peer = self.peers.get_mut(&self.hash.hash(&address))?;
        let before = peer.name()?;
        if before.folded() != name.folded() {
            return None;
        }
        peer.name.store(None);
        self.names.free(&before);
        let now = DisplayName::Address(address.socket_addr());
        tell_rooms(&peer, DisplayName::Name(before), now);
        Some((peer.recipient(&address), before))
    }
}

fn set_name(address: &PeerAddr, peer: &Peer, name: Name) {
    let before = peer.display_name(address);
    peer.name.store(Some(name.into()));
    if before != DisplayName::Name(name) {
        tell_rooms(peer, before, DisplayName::Name(name));
    }
}

fn tell_rooms(peer: &Peer, before: DisplayName, now: DisplayName) {
    peer.room().rename(before, now);
    for room in peer.memberships.others() {
        room.rename_silently(before, now);
    }
}
