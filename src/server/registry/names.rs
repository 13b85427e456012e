//! The names of peers. Each belongs to one peer of the server.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

use super::limits::SharedLimits;
use super::memory::capacity_after_flood;
use super::network_limits::{NetworkShares, NetworkSlot};
use super::nodes::{ChangeQueue, now_ms_since_1970};
use crate::net::PeerAddr;
use crate::server::ops::supervise::lock;
use crate::sync::{Mutex, MutexGuard};
use crate::wire::cluster::{Change, Claim};
use crate::wire::{Limit, Name};

/// All names in use. Names that differ only in case are the same name.
pub(super) struct Names {
    /// The owner of each name, by the name in lower case.
    owners: Mutex<HashMap<Name, Owner>>,
    limits: Arc<SharedLimits>,
    pub(super) shares: NetworkShares,
    /// Not set without a cluster.
    changes: OnceLock<Arc<ChangeQueue>>,
}

struct Owner {
    peer: PeerAddr,
    /// The network that the name is counted for. `None` if the peer is trusted, or if it has another
    /// name that is counted.
    network: Option<NetworkSlot>,
    /// The peer waits for the name, which other nodes are asked about.
    is_reserved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    Taken(Name),
    LimitReached(Limit),
}

impl Names {
    pub(super) fn new(limits: Arc<SharedLimits>) -> Self {
        Self {
            owners: Mutex::default(),
            limits,
            shares: NetworkShares::default(),
            changes: OnceLock::new(),
        }
    }

    /// Records all claims for the other nodes of a cluster from now on. Only the first call has an
    /// effect.
    pub(super) fn record_changes(&self, changes: Arc<ChangeQueue>) {
        let _ = self.changes.set(changes);
    }

    /// Gives `name` to `peer`, in exchange for its name `before`. `network` is `None` if the peer is
    /// trusted.
    ///
    /// # Errors
    /// [`NameError`]; the peer keeps `before`.
    pub(super) fn take(
        &self,
        name: Name,
        before: Option<Name>,
        peer: PeerAddr,
        network: Option<NetworkSlot>,
        now_ms: u64,
    ) -> Result<(), NameError> {
        let (key, before) = (name.folded(), before.map(Name::folded));
        let mut owners = self.lock();
        if before == Some(key) {
            // Its own name in another case.
            return Ok(());
        }
        let used = owners.len();
        let Entry::Vacant(entry) = owners.entry(key) else {
            return Err(NameError::Taken(name));
        };
        let taken = match before {
            Some(_) => self.shares.take(network, now_ms),
            None => self
                .shares
                .enter(network, used, self.limits.max_names(), now_ms),
        };
        taken.map_err(NameError::LimitReached)?;
        entry.insert(Owner {
            peer,
            network,
            is_reserved: false,
        });
        if let Some(before) = before {
            owners.remove(&before);
        }
        if let Some(changes) = self.changes.get() {
            before
                .into_iter()
                .for_each(|name| changes.push(Change::Freed(name)));
            let claimed_ms = now_ms_since_1970();
            changes.push(Change::Claimed(Claim { name, claimed_ms }));
        }
        Ok(())
    }

    /// Keeps `name` for `peer`, which has the name `before` until [`Names::confirm`] or
    /// [`Names::release`]. Returns false if the peer waits for it already.
    ///
    /// # Errors
    /// [`NameError`].
    pub(super) fn reserve(
        &self,
        name: Name,
        before: Option<Name>,
        peer: PeerAddr,
        network: Option<NetworkSlot>,
        now_ms: u64,
    ) -> Result<bool, NameError> {
        let mut owners = self.lock();
        let used = owners.len();
        let entry = match owners.entry(name.folded()) {
            Entry::Vacant(entry) => entry,
            Entry::Occupied(entry) if entry.get().is_reserved && entry.get().peer == peer => {
                return Ok(false);
            }
            Entry::Occupied(_) => return Err(NameError::Taken(name)),
        };
        let max = self.limits.max_names();
        let taken = match before {
            Some(_) => self.shares.take(network, now_ms),
            None => self.shares.enter(network, used, max, now_ms),
        };
        taken.map_err(NameError::LimitReached)?;
        entry.insert(Owner {
            peer,
            network: network.filter(|_| before.is_none()),
            is_reserved: true,
        });
        Ok(true)
    }

    /// Gives a reserved name to its peer, in exchange for its name `before`. Returns false if the name
    /// is not reserved for the peer.
    pub(super) fn confirm(
        &self,
        claim: Claim,
        before: Option<Name>,
        peer: &PeerAddr,
        network: Option<NetworkSlot>,
    ) -> bool {
        let mut owners = self.lock();
        let owners = &mut *owners;
        let key = claim.name.folded();
        let is_it = |owner: &&mut Owner| owner.is_reserved && owner.peer == *peer;
        if owners.get_mut(&key).filter(is_it).is_none() {
            return false;
        }
        let before = before.and_then(|name| owners.remove_entry(&name.folded()));
        if let Some(owner) = owners.get_mut(&key) {
            owner.is_reserved = false;
            let counted = before.as_ref().and_then(|(_, before)| before.network);
            match (owner.network, counted) {
                (Some(_), counted) => self.shares.leave(counted),
                (None, Some(_)) => owner.network = counted,
                // It has lost the name that was counted.
                (None, None) => {
                    self.shares.add_one(network);
                    owner.network = network;
                }
            }
        }
        if let Some(changes) = self.changes.get() {
            if let Some((before, _)) = before {
                changes.push(Change::Freed(before));
            }
            changes.push(Change::Claimed(claim));
        }
        true
    }

    /// Frees a name that is reserved for this peer.
    pub(super) fn release(&self, name: Name, peer: &PeerAddr) {
        let mut owners = self.lock();
        if let Entry::Occupied(entry) = owners.entry(name.folded())
            && entry.get().is_reserved
            && entry.get().peer == *peer
        {
            self.shares.leave(entry.remove().network);
        }
    }

    /// Hands a name that is in use over to a peer of this network. Returns false if that network may
    /// have no more names. Then the name is free.
    pub(super) fn hand_over(
        &self,
        name: &Name,
        peer: PeerAddr,
        network: Option<NetworkSlot>,
    ) -> bool {
        let mut owners = self.lock();
        let used = owners.len();
        let Some(owner) = owners.get_mut(&name.folded()) else {
            return false;
        };
        let (shares, max) = (&self.shares, self.limits.max_names());
        if shares.hand_over(owner.network, network, used, max).is_ok() {
            *owner = Owner {
                peer,
                network,
                is_reserved: false,
            };
            return true;
        }
        self.remove(&mut owners, name);
        false
    }

    pub(super) fn free(&self, name: &Name) {
        let mut owners = self.lock();
        self.remove(&mut owners, name);
        if let Some(keep) = capacity_after_flood(owners.len(), owners.capacity()) {
            owners.shrink_to(keep);
        }
    }

    /// Returns the peer with this name, in any case.
    pub(super) fn find(&self, name: &Name) -> Option<PeerAddr> {
        let owners = self.lock();
        let owner = owners.get(&name.folded())?;
        (!owner.is_reserved).then_some(owner.peer)
    }

    /// Returns true if the name is in use or reserved, in any case.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.lock().contains_key(&name.folded())
    }

    fn remove(&self, owners: &mut HashMap<Name, Owner>, name: &Name) {
        if let Some(owner) = owners.remove(&name.folded()) {
            self.shares.leave(owner.network);
            if let Some(changes) = self.changes.get() {
                changes.push(Change::Freed(*name));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Owner>> {
        lock(&self.owners)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::RegistryLimits;
    use super::*;

    fn names(max_names: usize) -> Names {
        Names::new(SharedLimits::new(RegistryLimits {
            max_peers: 1_000_000,
            max_names,
            max_rooms: 1,
            max_room_members: 1,
        }))
    }

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
    }

    /// Gives a name to a trusted peer.
    fn take(
        names: &Names,
        name: Name,
        before: Option<Name>,
        peer: PeerAddr,
    ) -> Result<(), NameError> {
        names.take(name, before, peer, None, 0)
    }

    #[test]
    fn a_name_belongs_to_one_peer_in_any_case_until_it_is_free() {
        let names = names(10);
        assert_eq!(take(&names, name("Ada"), None, peer(1)), Ok(()));
        let taken = NameError::Taken(name("aDA"));
        assert_eq!(take(&names, name("aDA"), None, peer(2)), Err(taken));
        assert_eq!(names.find(&name("ADA")), Some(peer(1)));
        assert_eq!(
            take(&names, name("ADA"), Some(name("Ada")), peer(1)),
            Ok(())
        );
        names.free(&name("ada"));
        assert_eq!(names.find(&name("ADA")), None);
        assert_eq!(take(&names, name("aDA"), None, peer(2)), Ok(()));
    }

    #[test]
    fn another_name_frees_the_previous_one() {
        let names = names(10);
        take(&names, name("ada"), None, peer(1)).unwrap();
        take(&names, name("eve"), Some(name("ada")), peer(1)).unwrap();
        assert_eq!(take(&names, name("ada"), None, peer(2)), Ok(()));
        assert_eq!(names.find(&name("eve")), Some(peer(1)));
    }

    #[test]
    fn memory_goes_back_after_a_burst_of_names() {
        let names = names(1_000);
        for number in 0..1_000 {
            let name = name(&format!("n{number}"));
            take(&names, name, None, peer(number)).unwrap();
        }
        for number in 10..1_000 {
            names.free(&name(&format!("n{number}")));
        }
        let capacity = names.lock().capacity();
        assert!(capacity <= 100, "{capacity} slots for 10 names");
        assert_eq!(names.find(&name("n9")), Some(peer(9)));
    }

    #[test]
    fn at_the_limit_only_a_peer_with_a_name_may_take_another() {
        let names = names(2);
        take(&names, name("a"), None, peer(1)).unwrap();
        take(&names, name("b"), None, peer(2)).unwrap();
        let full = Err(NameError::LimitReached(Limit::of_server(2)));
        assert_eq!(take(&names, name("c"), None, peer(3)), full);
        assert_eq!(take(&names, name("c"), Some(name("b")), peer(2)), Ok(()));
        assert_eq!(take(&names, name("b"), None, peer(3)), full);
    }

    fn claim(text: &str) -> Claim {
        Claim {
            name: name(text),
            claimed_ms: 7,
        }
    }

    /// The networks of two peers that are not trusted.
    fn network(number: u16) -> Option<NetworkSlot> {
        Some(NetworkSlot(number.try_into().unwrap()))
    }

    fn reserve(names: &Names, text: &str, before: Option<&str>, port: u16) -> bool {
        let before = before.map(name);
        let reserved = names.reserve(name(text), before, peer(port), network(port), 0);
        reserved.is_ok()
    }

    fn confirm(names: &Names, text: &str, before: Option<&str>, port: u16) -> bool {
        let before = before.map(name);
        names.confirm(claim(text), before, &peer(port), network(port))
    }

    fn changes_of(names: &Names) -> Arc<ChangeQueue> {
        let changes = Arc::new(ChangeQueue::new(Arc::new(|| {})));
        names.record_changes(Arc::clone(&changes));
        changes
    }

    #[test]
    fn a_reserved_name_is_nobodys_until_it_is_confirmed() {
        let names = names(10);
        let changes = changes_of(&names);
        assert!(reserve(&names, "Ada", None, 1));
        assert_eq!(names.find(&name("ada")), None);
        assert!(names.has(&name("ADA")));
        assert!(!reserve(&names, "ada", None, 2));
        let taken = Err(NameError::Taken(name("aDA")));
        assert_eq!(take(&names, name("aDA"), None, peer(2)), taken);
        assert!(!confirm(&names, "ada", None, 2), "it is for another peer");
        names.release(name("ada"), &peer(2));
        assert!(names.has(&name("ada")));
        assert_eq!(changes.take(), []);

        assert!(confirm(&names, "Ada", None, 1));
        assert!(!confirm(&names, "Ada", None, 1), "it has it");
        assert_eq!(names.find(&name("ada")), Some(peer(1)));
        assert_eq!(changes.take(), [Change::Claimed(claim("Ada"))]);
        names.release(name("ada"), &peer(1));
        assert_eq!(
            names.find(&name("ada")),
            Some(peer(1)),
            "it is not reserved"
        );

        assert!(reserve(&names, "eve", Some("Ada"), 1));
        assert_eq!(names.find(&name("ada")), Some(peer(1)), "up to then");
        assert!(confirm(&names, "eve", Some("Ada"), 1));
        assert!(!names.has(&name("ada")));
        let freed = Change::Freed(name("ada"));
        assert_eq!(changes.take(), [freed, Change::Claimed(claim("eve"))]);
        assert!(reserve(&names, "bob", Some("eve"), 1));
        names.release(name("BOB"), &peer(1));
        assert!(!names.has(&name("bob")));
        assert_eq!(changes.take(), []);
    }

    #[test]
    fn a_peer_is_counted_once_for_its_network_whatever_it_reserves() {
        let names = names(10);
        let total = || names.shares.total();
        // The first name, and two more that are reserved in the meantime.
        assert!(reserve(&names, "a", None, 1));
        assert!(reserve(&names, "b", None, 1));
        assert_eq!(total(), 2);
        assert!(confirm(&names, "a", None, 1));
        assert!(reserve(&names, "c", Some("a"), 1));
        assert_eq!(total(), 2);
        assert!(confirm(&names, "b", Some("a"), 1));
        assert_eq!(total(), 1);
        assert!(confirm(&names, "c", Some("b"), 1));
        assert_eq!((total(), names.shares.count(network(1).unwrap())), (1, 1));
        // Released, with and without another name.
        assert!(reserve(&names, "d", Some("c"), 1));
        names.release(name("d"), &peer(1));
        assert!(reserve(&names, "e", None, 2));
        assert_eq!(total(), 2);
        names.release(name("e"), &peer(2));
        assert_eq!(total(), 1);
        // It loses its name while it waits for another one.
        assert!(reserve(&names, "f", Some("c"), 1));
        names.free(&name("c"));
        assert_eq!(total(), 0);
        assert!(confirm(&names, "f", None, 1));
        assert_eq!((total(), names.shares.count(network(1).unwrap())), (1, 1));
        names.free(&name("f"));
        assert_eq!((total(), names.len()), (0, 0));
    }

    #[test]
    fn reserved_names_are_limited_as_others_are() {
        let names = names(2);
        assert!(reserve(&names, "a", None, 1));
        assert!(reserve(&names, "b", None, 2));
        let full = Err(NameError::LimitReached(Limit::of_server(2)));
        assert_eq!(names.reserve(name("c"), None, peer(3), None, 0), full);
        assert!(confirm(&names, "b", None, 2));
        assert!(reserve(&names, "c", Some("b"), 2));
    }
}
