//! Who is called what: a name belongs to one peer of the server.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::net::PeerAddr;
use crate::wire::Name;

/// All names that are taken. Names that differ in case alone are one.
pub struct Names {
    /// By the name in lower case.
    taken: Mutex<HashMap<Name, PeerAddr>>,
    max_names: usize,
}

/// Why a peer cannot have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Another peer is called so.
    #[error("the name {0} belongs to another peer")]
    Taken(Name),
    /// There may be no more.
    #[error("the limit of {0} names is reached")]
    TooMany(usize),
}

impl Names {
    /// None is taken, and at most `max_names` may be.
    pub fn new(max_names: usize) -> Self {
        Self {
            taken: Mutex::default(),
            max_names,
        }
    }

    /// Gives `name` to `peer`, and takes `before` from it.
    ///
    /// # Errors
    /// [`NameError`]; the peer keeps what it had.
    pub fn take(&self, name: Name, before: Option<Name>, peer: PeerAddr) -> Result<(), NameError> {
        let (key, before) = (name.folded(), before.map(Name::folded));
        let mut taken = self.lock();
        if before == Some(key) {
            // Its own, in another case.
            return Ok(());
        }
        let is_one_more = before.is_none() && taken.len() >= self.max_names;
        match taken.entry(key) {
            Entry::Occupied(_) => return Err(NameError::Taken(name)),
            Entry::Vacant(_) if is_one_more => return Err(NameError::TooMany(self.max_names)),
            Entry::Vacant(entry) => entry.insert(peer),
        };
        if let Some(before) = before {
            taken.remove(&before);
        }
        Ok(())
    }

    /// Makes `name` free again.
    pub fn free(&self, name: &Name) {
        let mut taken = self.lock();
        taken.remove(&name.folded());
        // What a storm of names took is not kept for ever.
        if taken.len() < taken.capacity() / 4 {
            let keep = taken.len() * 2;
            taken.shrink_to(keep);
        }
    }

    /// The peer that is called so, in any case.
    pub fn find(&self, name: &Name) -> Option<PeerAddr> {
        self.lock().get(&name.folded()).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, PeerAddr>> {
        // A panic under this lock ends the process (see `supervise`).
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn who_takes_another_name_frees_the_one_before() {
        let names = Names::new(10);
        names.take(name("ada"), None, peer(1)).unwrap();
        names.take(name("eve"), Some(name("ada")), peer(1)).unwrap();
        assert_eq!(names.take(name("ada"), None, peer(2)), Ok(()));
        assert_eq!(names.find(&name("eve")), Some(peer(1)));
    }

    #[test]
    fn a_storm_of_names_gives_its_memory_back() {
        let names = Names::new(1_000);
        for number in 0..1_000 {
            let name = name(&format!("n{number}"));
            names.take(name, None, peer(number)).unwrap();
        }
        for number in 10..1_000 {
            names.free(&name(&format!("n{number}")));
        }
        let capacity = names.lock().capacity();
        assert!(capacity <= 100, "{capacity} places for 10 names");
        assert_eq!(names.find(&name("n9")), Some(peer(9)));
    }

    #[test]
    fn at_the_bound_only_who_has_a_name_may_take_another() {
        let names = Names::new(2);
        names.take(name("a"), None, peer(1)).unwrap();
        names.take(name("b"), None, peer(2)).unwrap();
        let full = Err(NameError::TooMany(2));
        assert_eq!(names.take(name("c"), None, peer(3)), full);
        assert_eq!(names.take(name("c"), Some(name("b")), peer(2)), Ok(()));
        assert_eq!(names.take(name("b"), None, peer(3)), full);
    }
}
