//! The move of a v2 peer to another address.

use std::sync::Arc;

use super::hash::HashedAddr;
use super::network_limits::NetworkSlot;
use super::peer::{Newcomer, Peer};
use super::room::LeaveReason;
use super::{Registry, Touch};
use crate::net::PeerAddr;
use crate::sync::dashmap::Entry;
use crate::wire::DisplayName;
use crate::wire::v2::Move;

impl Registry {
    /// Gives a peer at a new address what a session at another address has: its name, its rooms,
    /// its presence notices and its options. That session ends. There is no presence event, as the
    /// peer stays where it is. Returns [`Touch::Unknown`] if there is no such session, or if the
    /// network of the new address may have no more peers, and nothing changes. A name is lost if that
    /// network may have no more names. Otherwise a network could fill a table through another one.
    ///
    /// First the other session is taken out of the registry and its rooms, whose places and name
    /// are kept. Then the peer gets them. So no two shards are locked at a time, and no room has
    /// the peer twice.
    pub fn take_over(&self, newcomer: &Newcomer, former: &Move, now_ms: u64) -> Touch {
        let bind = newcomer.address.endpoint().bind();
        let old_key = self.hash.hash(&PeerAddr::new(former.address, bind));
        let key = self.hash.hash(&newcomer.address);
        if old_key == key {
            return Touch::Unknown;
        }
        let network = self.network_of(newcomer);
        let mut old_name = DisplayName::Address(former.address);
        let removed = self.peers.remove_if(&old_key, |key, old| {
            let is_it = old.session == Some(former.session)
                && self.shares.take(network, now_ms).is_ok()
                && self.hand_over_place(old.network(), network).is_ok();
            if is_it {
                old_name = old.display_name(&key.address);
                old.memberships.iter().for_each(|room| room.step_out(key));
                if let Some(name) = old.name()
                    && !self.names.hand_over(&name, newcomer.address, network)
                {
                    old.name.store(None);
                }
                self.note_end(key);
            }
            is_it
        });
        let Some((_, old)) = removed else {
            return Touch::Unknown;
        };
        match self.peers.entry(key) {
            Entry::Vacant(entry) => {
                // The number of peers stays, as the other session was one of them.
                let peer =
                    self.come_back((&old_key, &old, old_name), &key, newcomer, network, now_ms);
                entry.insert(Arc::clone(&peer));
                Touch::Moved(peer)
            }
            Entry::Occupied(mut entry) if entry.get().session == newcomer.session => {
                let registered = Arc::clone(entry.get());
                self.debts.note(&key, &registered);
                for room in registered.memberships.iter() {
                    self.leave_room(&room, &key, &registered, LeaveReason::Left);
                }
                if let Some(name) = registered.name() {
                    self.names.free(&name);
                }
                let peer =
                    self.come_back((&old_key, &old, old_name), &key, newcomer, network, now_ms);
                entry.insert(Arc::clone(&peer));
                self.uncount(registered.network());
                Touch::Moved(peer)
            }
            // Another session, or a v1 peer, was registered at the address meanwhile.
            Entry::Occupied(_) => {
                for room in old.memberships.iter() {
                    room.stay_away(old_name);
                    self.directory.release_place(&room);
                }
                if let Some(name) = old.name() {
                    self.names.free(&name);
                }
                self.uncount(network);
                Touch::Unknown
            }
        }
    }

    fn come_back(
        &self,
        (old_key, old, old_name): (&HashedAddr, &Peer, DisplayName),
        key: &HashedAddr,
        newcomer: &Newcomer,
        network: Option<NetworkSlot>,
        now_ms: u64,
    ) -> Arc<Peer> {
        let peer = old.moved(newcomer, network, now_ms);
        self.debts.note(old_key, old);
        self.debts.charge(key, &peer);
        self.rulings
            .mute_moved(&peer, &old_key.address, &key.address);
        let mut subscriber = peer.subscriber(&key.address);
        for room in peer.memberships.iter() {
            let names = || [old_name, peer.display_name(&key.address)];
            room.come_back(key, peer.send_to(), subscriber.take(), names);
        }
        Arc::new(peer)
    }
}

#[cfg(test)]
mod tests;
