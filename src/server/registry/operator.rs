//! The operator's hold on peers: they are listed, removed and muted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::room::LeaveReason;
use super::{AddressHash, Drain, Peer, RecentAddresses, Recipient, Registry, Room};
use crate::net::{MAX_ENDPOINTS, PeerAddr};
use crate::server::ops::supervise::lock;
use crate::sync::Mutex;
use crate::wire::{DisplayName, Name};

/// The peers that the operator has muted or removed, and the end of the server. A peer is known by its address and port, at
/// whichever `--bind` address it comes back.
pub(super) struct Rulings {
    hash: AddressHash,
    removed: RecentAddresses,
    /// The time up to which each address is muted. It is read only when a peer registers or moves.
    /// No other lock is taken under its own.
    muted: Mutex<HashMap<SocketAddr, u64>>,
    /// The number of addresses in it, so that without any the lock is not taken.
    muted_len: AtomicUsize,
    pub(super) drain: Drain,
}

/// The maximum of addresses, [`MAX_MUTED`], is muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyMutes;

impl Registry {
    /// Calls `visit` with every peer, under a read lock of its shard.
    pub fn visit_peers(&self, mut visit: impl FnMut(PeerAddr, &Peer)) {
        for entry in &self.peers {
            visit(entry.key().address, entry.value());
        }
    }

    /// Returns the addresses of the peers that `whom` may mean: one with a name, but one for each
    /// `--bind` address with an address.
    pub fn find_all(&self, whom: &DisplayName) -> Vec<PeerAddr> {
        let mut found = match whom {
            DisplayName::Name(name) => Vec::from_iter(self.names.find(name)),
            DisplayName::Address(address) => (0..MAX_ENDPOINTS as u8)
                .map(|bind| PeerAddr::new(*address, bind))
                .collect(),
        };
        found.retain(|address| self.get(address).is_some());
        found
    }

    /// Returns the recipients for all peers.
    pub fn all_recipients(&self) -> Vec<Recipient> {
        let mut recipients = Vec::with_capacity(self.len());
        self.visit_peers(|address, peer| recipients.push(peer.recipient(&address)));
        recipients
    }

    /// Returns the ways to all members of a room, also to those that receive no messages.
    pub fn recipients_in(&self, room: &Room) -> Vec<Recipient> {
        let (members, _) = room.page(0, usize::MAX);
        let recipient = |address: &PeerAddr| Some(self.get(address)?.recipient(address));
        members.iter().filter_map(recipient).collect()
    }

    /// Removes a peer. Returns its name and the way to it, or `None` if it is not registered.
    pub fn remove(&self, address: &PeerAddr) -> Option<(Option<Name>, Recipient)> {
        let peer = self.remove_if(&self.hash.hash(address), LeaveReason::Left, |_| true)?;
        Some((peer.name(), peer.recipient(address)))
    }

    /// Removes a peer as [`Registry::remove`] does, and keeps it from registering for
    /// [`REMOVED_S`].
    pub fn kick(&self, address: &PeerAddr, now_ms: u64) -> Option<(Option<Name>, Recipient)> {
        // First, so that it cannot register in between.
        let hash = self.rulings.hash_of(address);
        self.rulings.removed.insert(hash, now_ms);
        self.remove(address)
    }

    /// Returns true if a peer with this address was kicked within the last [`REMOVED_S`].
    pub fn was_kicked(&self, address: &PeerAddr, now_ms: u64) -> bool {
        let Rulings { removed, .. } = &self.rulings;
        removed.contains(self.rulings.hash_of(address), now_ms)
    }

    /// Mutes a peer up to a time, also when it leaves and comes back, or moves. Returns its name and
    /// the recipient, or `None` if it is not registered.
    ///
    /// # Errors
    /// [`TooManyMutes`]; nothing changes.
    pub fn mute(
        &self,
        address: &PeerAddr,
        until_ms: u64,
        now_ms: u64,
    ) -> Result<Option<(Option<Name>, Recipient)>, TooManyMutes> {
        // First, for a peer that comes back in between.
        let address_alone = address.socket_addr();
        self.rulings.insert(address_alone, until_ms, now_ms)?;
        let muted = self.set_muted(address, until_ms);
        if muted.is_none() {
            self.rulings.remove(&address_alone);
        }
        Ok(muted)
    }

    /// Ends the mute of an address. Returns true if it was muted.
    pub fn unmute(&self, address: &SocketAddr, now_ms: u64) -> bool {
        self.rulings
            .remove(address)
            .is_some_and(|until_ms| now_ms < until_ms)
    }

    /// Ends the mute of a peer. Returns its name and the way to it.
    pub fn unmute_peer(&self, address: &PeerAddr) -> Option<(Option<Name>, Recipient)> {
        self.set_muted(address, 0)
    }

    fn set_muted(&self, address: &PeerAddr, until_ms: u64) -> Option<(Option<Name>, Recipient)> {
        let peer = self.peers.get(&self.hash.hash(address))?;
        peer.muted_until_ms.store(until_ms, Ordering::Relaxed);
        Some((peer.name(), peer.recipient(address)))
    }
}

impl Rulings {
    pub(super) fn new(hash: AddressHash) -> Self {
        Self {
            hash,
            removed: RecentAddresses::new(REMOVED_SLOTS, REMOVED_S),
            muted: Mutex::default(),
            muted_len: AtomicUsize::new(0),
            drain: Drain::new(),
        }
    }

    /// Mutes a peer that is about to be registered, if its address is muted.
    pub(super) fn mute_newcomer(&self, peer: &Peer, address: &PeerAddr) {
        if self.muted_len.load(Ordering::Relaxed) > 0 {
            let until_ms = lock(&self.muted).get(&address.socket_addr()).copied();
            peer.muted_until_ms
                .store(until_ms.unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Mutes a peer that comes from another address, if one of the two is muted. Then both are.
    pub(super) fn mute_moved(&self, peer: &Peer, from: &PeerAddr, to: &PeerAddr) {
        if self.muted_len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut muted = lock(&self.muted);
        let until_ms = |address: &PeerAddr| muted.get(&address.socket_addr()).copied();
        let until_ms = until_ms(from).max(until_ms(to)).unwrap_or(0);
        peer.muted_until_ms.store(until_ms, Ordering::Relaxed);
        if peer.is_muted() {
            muted.insert(to.socket_addr(), until_ms);
            if muted.len() > MAX_MUTED_BY_MOVES {
                // The peer stays muted where it is.
                muted.remove(&from.socket_addr());
            }
            self.muted_len.store(muted.len(), Ordering::Relaxed);
        }
    }

    fn insert(&self, address: SocketAddr, until_ms: u64, now_ms: u64) -> Result<(), TooManyMutes> {
        let mut muted = lock(&self.muted);
        muted.retain(|_, until_ms| now_ms < *until_ms);
        if muted.len() >= MAX_MUTED && !muted.contains_key(&address) {
            return Err(TooManyMutes);
        }
        muted.insert(address, until_ms);
        self.muted_len.store(muted.len(), Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self, address: &SocketAddr) -> Option<u64> {
        let mut muted = lock(&self.muted);
        let removed = muted.remove(address);
        self.muted_len.store(muted.len(), Ordering::Relaxed);
        removed
    }

    fn hash_of(&self, address: &PeerAddr) -> u64 {
        let address = PeerAddr::new(address.socket_addr(), 0);
        self.hash.hash(&address).hash
    }
}

/// Time in s for which a peer that was kicked cannot register. Otherwise a v1 peer would be back with
/// its next heartbeat.
pub const REMOVED_S: u64 = 30;

/// Number of slots for addresses that were kicked within that time. Later ones replace earlier ones.
const REMOVED_SLOTS: usize = 1 << 12;

/// Maximum number of addresses that are muted. They take half a megabyte.
pub const MAX_MUTED: usize = 10_000;

/// Number of them up to which a peer that moves leaves its former address muted. So nobody who moves
/// on and on keeps the operator from muting others.
const MAX_MUTED_BY_MOVES: usize = MAX_MUTED / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ops::stats::WorkerId;
    use crate::wire::Protocol;

    fn peer(port: u16, bind: u8) -> PeerAddr {
        PeerAddr::new(([192, 0, 2, 7], port).into(), bind)
    }

    fn registry(peers: &[PeerAddr]) -> Registry {
        let registry = Registry::plain(1, 100);
        for peer in peers {
            registry.touch(peer, Protocol::Text, WorkerId(0), 0);
        }
        registry
    }

    fn is_muted(registry: &Registry, address: &PeerAddr) -> bool {
        registry.touch(address, Protocol::Text, WorkerId(0), 50);
        registry.get(address).unwrap().is_muted()
    }

    #[test]
    fn an_address_means_the_peers_at_all_bind_addresses() {
        let registry = registry(&[peer(1, 0), peer(1, 3), peer(2, 1)]);
        let ada = "ada".parse().unwrap();
        registry.rename(&peer(2, 1), ada).unwrap().unwrap();
        let found = |whom: &str| registry.find_all(&whom.parse().unwrap());
        assert_eq!(found("192.0.2.7:1"), [peer(1, 0), peer(1, 3)]);
        assert_eq!(found("ADA"), [peer(2, 1)]);
        assert_eq!(found("192.0.2.7:3"), []);
        assert_eq!(found("eve"), []);
    }

    #[test]
    fn a_ruling_holds_at_all_bind_addresses() {
        let registry = registry(&[peer(1, 0), peer(2, 0)]);
        assert!(registry.kick(&peer(1, 0), 0).is_some());
        assert!(registry.was_kicked(&peer(1, 5), 30_000));
        assert!(!registry.was_kicked(&peer(1, 5), 31_000));
        assert!(!registry.was_kicked(&peer(2, 0), 0));
        registry.mute(&peer(2, 0), 100, 0).unwrap().unwrap();
        assert!(is_muted(&registry, &peer(2, 5)));
        assert!(!is_muted(&registry, &peer(1, 0)));
    }

    #[test]
    fn a_peer_that_is_not_here_is_not_muted() {
        let registry = registry(&[]);
        assert_eq!(registry.mute(&peer(1, 0), 100, 0), Ok(None));
        assert!(!is_muted(&registry, &peer(1, 0)));
    }

    #[test]
    fn ten_thousand_addresses_can_be_muted_and_those_that_are_over_do_not_count() {
        let registry = registry(&[peer(1, 0), peer(2, 0)]);
        let insert = |port| {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            registry.rulings.insert(address, 100, 0).unwrap();
        };
        (0..MAX_MUTED as u16 - 1).for_each(insert);
        assert!(registry.mute(&peer(1, 0), 200, 0).is_ok());
        assert_eq!(registry.mute(&peer(2, 0), 200, 0), Err(TooManyMutes));
        assert!(
            registry.mute(&peer(1, 0), 300, 0).is_ok(),
            "it is muted already"
        );
        assert!(registry.mute(&peer(2, 0), 200, 100).is_ok());
        assert_eq!(lock(&registry.rulings.muted).len(), 2);
    }

    #[test]
    fn moves_of_a_muted_peer_leave_half_of_the_table() {
        let registry = registry(&[peer(1, 0)]);
        registry.mute(&peer(1, 0), 100, 0).unwrap().unwrap();
        let muted = registry.get(&peer(1, 0)).unwrap();
        for port in 1..10_000 {
            let (from, to) = (peer(port, 0), peer(port + 1, 0));
            registry.rulings.mute_moved(&muted, &from, &to);
            assert!(muted.is_muted());
        }
        assert!(is_muted(&registry, &peer(10_000, 0)));
        assert!(is_muted(&registry, &peer(1, 0)));
        assert_eq!(lock(&registry.rulings.muted).len(), MAX_MUTED / 2);
    }
}
