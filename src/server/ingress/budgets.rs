//! Datagrams, texts and commands over the budget of their sender, which are dropped.

use std::cell::Cell;

use super::Ingress;
use super::cost::Cost;
use crate::net::PeerAddr;
use crate::server::egress::Egress;
use crate::server::ops::stats::DropReason;
use crate::server::registry::{Budget, Peer};
use crate::wire::Reply;
use crate::wire::reply::Resource;

impl Ingress {
    /// Takes the bytes of a datagram from the budget of its sender. Returns false if they are over
    /// it. Then the datagram is dropped, and has been counted. It is a sign of life all the same.
    #[inline]
    pub(super) fn take_bytes(
        &self,
        from: &PeerAddr,
        peer: &Peer,
        bytes: usize,
        now_ms: u64,
        egress: &mut Egress,
    ) -> bool {
        match peer.budget() {
            None => true,
            Some(budget) => self.take_bytes_from(budget, from, peer, bytes, now_ms, egress),
        }
    }

    fn take_bytes_from(
        &self,
        budget: &Budget,
        from: &PeerAddr,
        peer: &Peer,
        bytes: usize,
        now_ms: u64,
        egress: &mut Egress,
    ) -> bool {
        let (rates, bytes) = (&self.shared.rates, (bytes + from.header_bytes()) as u32);
        let is_within = budget.take(Resource::Bytes, bytes, rates, now_ms);
        if !is_within {
            let next_ms = budget.has_bytes_from_ms(rates);
            self.flooders.insert(from, next_ms);
            self.counters().drop_datagram(DropReason::ByteLimit);
            self.tell_limit(budget, Resource::Bytes, peer, egress);
        }
        is_within
    }

    /// Takes a cost from the budget of a peer.
    ///
    /// # Errors
    /// The resource that the peer has used up. It has been told so.
    #[inline]
    pub(super) fn take_cost(
        &self,
        peer: &Peer,
        cost: impl FnOnce() -> Cost,
        now_ms: u64,
        egress: &mut Egress,
    ) -> Result<(), Resource> {
        match peer.budget() {
            None => Ok(()),
            Some(budget) => self.take_cost_from(budget, cost(), peer, now_ms, egress),
        }
    }

    fn take_cost_from(
        &self,
        budget: &Budget,
        cost: Cost,
        peer: &Peer,
        now_ms: u64,
        egress: &mut Egress,
    ) -> Result<(), Resource> {
        for (resource, units) in [(Resource::Texts, cost.texts), (Resource::Work, cost.work)] {
            if units > 0 && !budget.take(resource, units, &self.shared.rates, now_ms) {
                self.tell_limit(budget, resource, peer, egress);
                return Err(resource);
            }
        }
        Ok(())
    }

    /// Tells a peer which limit it has reached, unless it knows.
    fn tell_limit(&self, budget: &Budget, resource: Resource, peer: &Peer, egress: &mut Egress) {
        let per_second = self.shared.rates.of(resource).per_second();
        if let Some(per_second) = per_second
            && budget.note_told(resource)
        {
            let per_second = per_second.get();
            egress.replies.set_peer(peer);
            egress.replies.reply(
                peer.protocol(),
                &Reply::OverBudget {
                    resource,
                    per_second,
                },
            );
        }
    }
}

impl From<Resource> for DropReason {
    fn from(resource: Resource) -> Self {
        match resource {
            Resource::Texts => Self::TextLimit,
            Resource::Bytes => Self::ByteLimit,
            Resource::Work => Self::WorkLimit,
        }
    }
}

/// Senders that have used up their bytes. Until some are left again, their datagrams are dropped
/// without a look-up in the registry, so that a worker can receive more of them than one sender can
/// send.
pub(super) struct Flooders {
    slots: [Cell<Option<(PeerAddr, u64)>>; SLOTS],
    /// The time from which there are none.
    none_from_ms: Cell<u64>,
}

impl Flooders {
    pub(super) fn new() -> Self {
        Self {
            slots: [const { Cell::new(None) }; SLOTS],
            none_from_ms: Cell::new(0),
        }
    }

    /// Returns true if a datagram from this address is to be dropped.
    #[inline]
    pub(super) fn contains(&self, from: &PeerAddr, now_ms: u64) -> bool {
        now_ms < self.none_from_ms.get() && self.has(from, now_ms)
    }

    fn has(&self, from: &PeerAddr, now_ms: u64) -> bool {
        let found = self.slot(from).get();
        found.is_some_and(|(flooder, until_ms)| now_ms < until_ms && flooder == *from)
    }

    fn insert(&self, from: &PeerAddr, until_ms: u64) {
        self.slot(from).set(Some((*from, until_ms)));
        self.none_from_ms.set(self.none_from_ms.get().max(until_ms));
    }

    /// The slot of an address. A collision costs a look-up for each datagram, and nothing else.
    fn slot(&self, from: &PeerAddr) -> &Cell<Option<(PeerAddr, u64)>> {
        &self.slots[usize::from(from.port()) % SLOTS]
    }
}

/// Number of flooders that are known to a worker.
const SLOTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooder_is_known_until_it_has_bytes_again() {
        let address = |port: u16| PeerAddr::new(([192, 0, 2, 1], port).into(), 0);
        let flooders = Flooders::new();
        assert!(!flooders.contains(&address(5_000), 0));
        flooders.insert(&address(5_000), 20);
        flooders.insert(&address(5_001), 10);
        for (port, now_ms, is_known) in [
            (5_000, 19, true),
            (5_000, 20, false),
            (5_001, 9, true),
            (5_001, 10, false),
            (5_002, 9, false),
            (5_000 + 64, 9, false),
        ] {
            assert_eq!(
                flooders.contains(&address(port), now_ms),
                is_known,
                "{port} at {now_ms}"
            );
        }
        let elsewhere = PeerAddr::new(address(5_000).socket_addr(), 1);
        assert!(
            !flooders.contains(&elsewhere, 5),
            "at another --bind address"
        );
        // The last one has a slot.
        flooders.insert(&address(5_064), 20);
        assert!(!flooders.contains(&address(5_000), 5));
    }
}
