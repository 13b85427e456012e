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
        let is_new = self
            .names
            .reserve(name, peer.name(), *address, network, now_ms)?;
        if !is_new {
            return Ok(Renamed::Pending);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::ChangeQueue;
    use super::*;
    use crate::server::ops::stats::WorkerId;
    use crate::server::registry::Newcomer;
    use crate::wire::Protocol;
    use crate::wire::cluster::Change;

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::new(([192, 0, 2, 1], port).into(), 0)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// Returns a registry with two peers, and its queues.
    fn node() -> (Registry, Arc<ChangeQueue>, Arc<RequestQueue>) {
        let registry = Registry::plain(1, 10);
        let changes = Arc::new(ChangeQueue::new(Arc::new(|| {})));
        let requests = Arc::new(RequestQueue::new(Arc::new(|| {})));
        registry.join_cluster(&changes, Arc::clone(&requests));
        requests.set_open(true);
        for port in 1..=2 {
            let newcomer = Newcomer {
                address: peer(port),
                protocol: Protocol::Text,
                session: None,
                options: None,
                owner: WorkerId(0),
                is_trusted: false,
            };
            registry.register(&newcomer, 0);
        }
        changes.take();
        (registry, changes, requests)
    }

    fn request(requests: &RequestQueue) -> NameRequest {
        match &requests.take()[..] {
            [Request::Name(request)] => *request,
            others => panic!("{others:?}"),
        }
    }

    fn name_of(registry: &Registry, port: u16) -> Option<String> {
        let name = registry.get(&peer(port)).unwrap().name();
        name.map(|name| name.to_string())
    }

    #[test]
    fn a_peer_has_a_name_when_the_answer_has_come() {
        for (answer, expected) in [
            (NameAnswer::Granted, Some("ada".to_owned())),
            (NameAnswer::Missing, Some("ada".to_owned())),
            (NameAnswer::Taken, None),
        ] {
            let (registry, changes, requests) = node();
            let renamed = registry.rename(&peer(1), name("ada")).unwrap();
            assert_eq!(renamed, Ok(Renamed::Pending));
            let request = request(&requests);
            assert_eq!((request.peer, request.name()), (peer(1), name("ada")));
            assert_eq!((name_of(&registry, 1), changes.take()), (None, vec![]));
            let told = registry.settle_name(&request, answer).unwrap();
            assert_eq!(told.address, peer(1));
            assert_eq!(name_of(&registry, 1), expected);
            let is_claim = |change: &Change| *change == Change::Claimed(request.claim);
            assert_eq!(changes.take().iter().any(is_claim), expected.is_some());
            assert_eq!(registry.has_name(&name("ADA")), expected.is_some());
            let counted = u32::from(expected.is_some());
            assert_eq!(registry.network_totals()[1], counted);
        }
    }

    #[test]
    fn a_name_of_another_node_is_taken_and_nobody_is_asked() {
        let (registry, _, requests) = node();
        let id = "there".parse().unwrap();
        registry.remote().add(id);
        let claim = Claim {
            name: name("Ada"),
            claimed_ms: 1,
        };
        let remote = registry.remote();
        remote.apply(&id, &Change::Claimed(claim)).unwrap();
        let taken = Err(NameError::Taken(name("ada")));
        assert_eq!(registry.rename(&peer(1), name("ada")), Some(taken));
        assert_eq!(requests.take(), []);
        assert_eq!(registry.network_totals()[1], 0);
    }

    #[test]
    fn a_name_is_not_confirmed_if_nobody_can_be_asked() {
        let (registry, changes, requests) = node();
        requests.set_open(false);
        let renamed = registry.rename(&peer(1), name("ada"));
        assert_eq!(renamed, Some(Ok(Renamed::Unconfirmed)));
        assert_eq!(name_of(&registry, 1), Some("ada".to_owned()));
        assert_eq!(changes.take().len(), 2, "of the lobby, and of the name");
        let taken = Err(NameError::Taken(name("ADA")));
        assert_eq!(registry.rename(&peer(2), name("ADA")), Some(taken));
    }

    #[test]
    fn a_request_of_a_peer_that_is_gone_ends_without_a_word() {
        let (registry, _, requests) = node();
        registry.rename(&peer(1), name("ada")).unwrap().unwrap();
        let request = request(&requests);
        registry.leave(&peer(1), None).unwrap();
        assert_eq!(registry.settle_name(&request, NameAnswer::Granted), None);
        assert!(!registry.has_name(&name("ada")));
        assert_eq!(registry.network_totals()[1], 0);
    }

    #[test]
    fn a_lost_name_leaves_its_peer_with_the_address_in_all_its_rooms() {
        let (registry, changes, requests) = node();
        requests.set_open(false);
        let den = "den".parse().unwrap();
        registry.subscribe(&peer(1), den).unwrap().unwrap();
        registry.rename(&peer(1), name("ada")).unwrap().unwrap();
        registry.rename(&peer(1), name("Ada")).unwrap().unwrap();
        changes.take();
        let (told, lost) = registry.lose_name(&name("ADA")).unwrap();
        assert_eq!((told.address, lost), (peer(1), name("Ada")));
        assert_eq!(name_of(&registry, 1), None);
        assert!(!registry.has_name(&name("ada")));
        let (before, now) = (
            DisplayName::Name(lost),
            DisplayName::Address(peer(1).socket_addr()),
        );
        let lobby = *registry.lobby().name();
        let expected = [
            Change::Freed(lost),
            Change::Renamed(lobby, before, now),
            Change::Moved(den, before, now),
        ];
        assert_eq!(changes.take(), expected);
        assert_eq!(registry.lose_name(&name("ada")), None);
    }
}
