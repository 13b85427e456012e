//! The names of peers. Each belongs to one peer of the server.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard};

use super::capacity_after_flood;
use crate::net::PeerAddr;
use crate::server::ops::supervise::lock;
use crate::wire::Name;

/// All names in use. Names that differ only in case are the same name.
pub(super) struct Names {
    /// The owner of each name, by the name in lower case.
    owners: Mutex<HashMap<Name, PeerAddr>>,
    max_names: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    Taken(Name),
    /// This many names are in use, which is the maximum.
    LimitReached(usize),
}

impl Names {
    pub(super) fn new(max_names: usize) -> Self {
        Self {
            owners: Mutex::default(),
            max_names,
        }
    }

    /// Gives `name` to `peer`, in exchange for its name `before`.
    ///
    /// # Errors
    /// [`NameError`]; the peer keeps `before`.
    pub(super) fn take(
        &self,
        name: Name,
        before: Option<Name>,
        peer: PeerAddr,
    ) -> Result<(), NameError> {
        let (key, before) = (name.folded(), before.map(Name::folded));
        let mut owners = self.lock();
        if before == Some(key) {
            // Its own name in another case.
            return Ok(());
        }
        let is_full = before.is_none() && owners.len() >= self.max_names;
        match owners.entry(key) {
            Entry::Occupied(_) => return Err(NameError::Taken(name)),
            Entry::Vacant(_) if is_full => return Err(NameError::LimitReached(self.max_names)),
            Entry::Vacant(entry) => entry.insert(peer),
        };
        if let Some(before) = before {
            owners.remove(&before);
        }
        Ok(())
    }

    /// Hands a name that is in use over to another peer.
    pub(super) fn hand_over(&self, name: &Name, to: PeerAddr) {
        if let Some(owner) = self.lock().get_mut(&name.folded()) {
            *owner = to;
        }
    }

    pub(super) fn free(&self, name: &Name) {
        let mut owners = self.lock();
        owners.remove(&name.folded());
        if let Some(keep) = capacity_after_flood(owners.len(), owners.capacity()) {
            owners.shrink_to(keep);
        }
    }

    /// Returns the peer with this name, in any case.
    pub(super) fn find(&self, name: &Name) -> Option<PeerAddr> {
        self.lock().get(&name.folded()).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, PeerAddr>> {
        lock(&self.owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
    }

    #[test]
    fn a_name_belongs_to_one_peer_in_any_case_until_it_is_free() {
        let names = Names::new(10);
        assert_eq!(names.take(name("Ada"), None, peer(1)), Ok(()));
        let taken = NameError::Taken(name("aDA"));
        assert_eq!(names.take(name("aDA"), None, peer(2)), Err(taken));
        assert_eq!(names.find(&name("ADA")), Some(peer(1)));
        assert_eq!(names.take(name("ADA"), Some(name("Ada")), peer(1)), Ok(()));
        names.free(&name("ada"));
        assert_eq!(names.find(&name("ADA")), None);
        assert_eq!(names.take(name("aDA"), None, peer(2)), Ok(()));
    }

    #[test]
    fn another_name_frees_the_previous_one() {
        let names = Names::new(10);
        names.take(name("ada"), None, peer(1)).unwrap();
        names.take(name("eve"), Some(name("ada")), peer(1)).unwrap();
        assert_eq!(names.take(name("ada"), None, peer(2)), Ok(()));
        assert_eq!(names.find(&name("eve")), Some(peer(1)));
    }

    #[test]
    fn memory_goes_back_after_a_burst_of_names() {
        let names = Names::new(1_000);
        for number in 0..1_000 {
            let name = name(&format!("n{number}"));
            names.take(name, None, peer(number)).unwrap();
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
        let names = Names::new(2);
        names.take(name("a"), None, peer(1)).unwrap();
        names.take(name("b"), None, peer(2)).unwrap();
        let full = Err(NameError::LimitReached(2));
        assert_eq!(names.take(name("c"), None, peer(3)), full);
        assert_eq!(names.take(name("c"), Some(name("b")), peer(2)), Ok(()));
        assert_eq!(names.take(name("b"), None, peer(3)), full);
    }
}
