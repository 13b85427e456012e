//! The members of one node: who is in which room, and the names that its peers have claimed.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use indexmap::IndexMap;
use siphasher::sip::SipHasher13;

use crate::wire::cluster::{Change, Claim};
use crate::wire::{DisplayName, Name, RoomName};

/// The members of a node, as it has told of them. The node itself has one, too, so that its digest is
/// that of what it has told.
#[derive(Debug, Default)]
pub struct NodeMembers {
    /// By the name in lower case.
    rooms: IndexMap<RoomName, RoomMembers>,
    /// The number of rooms that each peer is in.
    peers: HashMap<DisplayName, u32>,
    /// The time of each claim, by the name in lower case.
    claims: HashMap<Name, Claim>,
    digest: Digest,
}

/// A sum of the members, which two nodes compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cluster", derive(serde::Serialize, serde::Deserialize))]
pub struct Digest {
    /// Number of memberships and of claims.
    pub entries: u64,
    /// Sum of their hashes, which no order changes.
    pub hash: u64,
}

/// A change does not follow from the members: something was lost before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inconsistent;

#[derive(Debug)]
struct RoomMembers {
    /// As its node writes it.
    name: RoomName,
    /// In the order of joining, but the last takes the place of one that leaves. Peers at several
    /// addresses of a server may have the same address, so each has a number.
    members: IndexMap<DisplayName, u32>,
    len: usize,
}

impl NodeMembers {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Applies a change.
    ///
    /// # Errors
    /// [`Inconsistent`]; nothing has changed.
    pub fn apply(&mut self, change: &Change) -> Result<(), Inconsistent> {
        match change {
            Change::Joined(room, who) => self.join(*room, *who),
            Change::Left(room, who) | Change::TimedOut(room, who) => return self.leave(room, who),
            Change::Renamed(room, before, now) | Change::Moved(room, before, now) => {
                let name = self.room_name(room).ok_or(Inconsistent)?;
                self.leave(room, before)?;
                self.join(name, *now);
            }
            Change::Claimed(claim) => {
                self.free(&claim.name);
                self.claims.insert(claim.name.folded(), *claim);
                self.digest.add(claim_hash(claim));
            }
            Change::Freed(name) => return self.free(name).ok_or(Inconsistent),
        }
        Ok(())
    }

    /// The rooms with members, and the number of members in each.
    pub fn rooms(&self) -> impl ExactSizeIterator<Item = (RoomName, usize)> {
        self.rooms.values().map(|room| (room.name, room.len))
    }

    /// The number of members in a room.
    pub fn len_of(&self, room: &RoomName) -> usize {
        let room = self.rooms.get(&room.folded());
        room.map_or(0, |room| room.len)
    }

    /// The members of a room, each as often as it is there.
    pub fn members_of(&self, room: &RoomName) -> impl Iterator<Item = DisplayName> {
        self.members_from(room, 0)
    }

    /// The members of a room from index `first` on. Those before it take no time if each is there once.
    pub fn members_from(&self, room: &RoomName, first: usize) -> impl Iterator<Item = DisplayName> {
        let room = self.rooms.get(&room.folded());
        let is_once = room.is_some_and(|room| room.members.len() == room.len);
        let (entries, repeated) = if is_once { (first, 0) } else { (0, first) };
        let members = room
            .into_iter()
            .flat_map(move |room| room.members.iter().skip(entries));
        let members = members.flat_map(|(who, count)| std::iter::repeat_n(*who, *count as usize));
        members.skip(repeated)
    }

    /// Returns true if a peer with this name or address is here.
    pub fn has(&self, who: &DisplayName) -> bool {
        self.peers.contains_key(&folded(who))
    }

    /// The claim of a name, in any case.
    pub fn claim(&self, name: &Name) -> Option<&Claim> {
        self.claims.get(&name.folded())
    }

    /// All claims.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values()
    }

    /// The changes that make these members of none.
    pub fn as_changes(&self) -> impl Iterator<Item = Change> {
        let joins = self.rooms.values().flat_map(|room| {
            let members = self.members_of(&room.name);
            members.map(|who| Change::Joined(room.name, who))
        });
        joins.chain(self.claims.values().copied().map(Change::Claimed))
    }

    fn room_name(&self, room: &RoomName) -> Option<RoomName> {
        Some(self.rooms.get(&room.folded())?.name)
    }

    fn join(&mut self, room: RoomName, who: DisplayName) {
        let new = || RoomMembers {
            name: room,
            members: IndexMap::new(),
            len: 0,
        };
        let members = self.rooms.entry(room.folded()).or_insert_with(new);
        *members.members.entry(who).or_default() += 1;
        members.len += 1;
        *self.peers.entry(folded(&who)).or_default() += 1;
        self.digest.add(member_hash(&room, &who));
    }

    fn leave(&mut self, room: &RoomName, who: &DisplayName) -> Result<(), Inconsistent> {
        let key = room.folded();
        let members = self.rooms.get_mut(&key).ok_or(Inconsistent)?;
        let count = members.members.get_mut(who).ok_or(Inconsistent)?;
        *count -= 1;
        if *count == 0 {
            members.members.swap_remove(who);
        }
        members.len -= 1;
        if members.len == 0 {
            self.rooms.swap_remove(&key);
        }
        let peer = folded(who);
        if let Some(rooms) = self.peers.get_mut(&peer) {
            *rooms -= 1;
            if *rooms == 0 {
                self.peers.remove(&peer);
            }
        }
        self.digest.remove(member_hash(room, who));
        Ok(())
    }

    fn free(&mut self, name: &Name) -> Option<()> {
        let claim = self.claims.remove(&name.folded())?;
        self.digest.remove(claim_hash(&claim));
        Some(())
    }
}

impl Digest {
    fn add(&mut self, hash: u64) {
        self.entries += 1;
        self.hash = self.hash.wrapping_add(hash);
    }

    fn remove(&mut self, hash: u64) {
        self.entries -= 1;
        self.hash = self.hash.wrapping_sub(hash);
    }
}

fn folded(who: &DisplayName) -> DisplayName {
    match who {
        DisplayName::Name(name) => DisplayName::Name(name.folded()),
        address => *address,
    }
}

fn member_hash(room: &RoomName, who: &DisplayName) -> u64 {
    let mut hash = hasher();
    room.folded().as_str().hash(&mut hash);
    match who {
        DisplayName::Name(name) => name.as_str().hash(&mut hash),
        // The bus does not carry the zone.
        DisplayName::Address(address) => {
            let address = SocketAddr::new(address.ip(), address.port());
            address.to_string().hash(&mut hash);
        }
    }
    hash.finish()
}

fn claim_hash(claim: &Claim) -> u64 {
    let mut hash = hasher();
    claim.name.as_str().hash(&mut hash);
    claim.claimed_ms.hash(&mut hash);
    hash.finish()
}

/// All nodes have the same key: a digest finds losses, and defends against nobody.
fn hasher() -> SipHasher13 {
    SipHasher13::new_with_keys(0, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(number: u8) -> RoomName {
        format!("Room-{number}").parse().unwrap()
    }

    fn who(number: u8) -> DisplayName {
        match number % 2 {
            0 => DisplayName::Name(name(number)),
            _ => DisplayName::Address(([192, 0, 2, number], 9).into()),
        }
    }

    fn name(number: u8) -> Name {
        format!("peer-{number}").parse().unwrap()
    }

    fn change() -> impl Strategy<Value = Change> {
        (0_u8..8, 0_u8..3, 0_u8..8).prop_map(|(kind, at, peer)| match kind {
            0..=2 => Change::Joined(room(at), who(peer)),
            3 => Change::Left(room(at), who(peer)),
            4 => Change::Renamed(room(at), who(peer), who(peer + 1)),
            5 => Change::Claimed(Claim {
                name: name(peer),
                claimed_ms: at.into(),
            }),
            6 => Change::Moved(room(at), who(peer), who(peer + 1)),
            _ => Change::Freed(name(peer)),
        })
    }

    /// All that can be asked of members, in an order of its own.
    fn facts(members: &NodeMembers) -> Vec<String> {
        let mut facts: Vec<String> = members.as_changes().map(|it| format!("{it:?}")).collect();
        facts.extend(members.rooms().map(|room| format!("{room:?}")));
        facts.sort();
        facts
    }

    proptest! {
        #[test]
        fn members_are_those_of_their_changes(changes in prop::collection::vec(change(), 0..60)) {
            let mut members = NodeMembers::default();
            for change in &changes {
                let before = (facts(&members), members.digest());
                if members.apply(change).is_err() {
                    prop_assert_eq!((facts(&members), members.digest()), before);
                }
            }
            let mut copy = NodeMembers::default();
            for change in members.as_changes() {
                prop_assert_eq!(copy.apply(&change), Ok(()));
            }
            prop_assert_eq!(facts(&copy), facts(&members));
            prop_assert_eq!(copy.digest(), members.digest());
            for peer in 0..9 {
                let mut rooms = (0..3).map(room);
                let is_member = rooms.any(|room| members.members_of(&room).any(|it| it == who(peer)));
                prop_assert_eq!(members.has(&who(peer)), is_member);
            }
            let sum: usize = members.rooms().map(|(_, len)| len).sum();
            let claims = members.claims().count();
            prop_assert_eq!(members.digest().entries, (sum + claims) as u64);
        }
    }

    #[test]
    fn rooms_and_names_are_the_same_in_any_case() {
        let mut members = NodeMembers::default();
        let [lower, upper]: [RoomName; 2] = ["den", "DEN"].map(|name| name.parse().unwrap());
        let ada = DisplayName::Name("Ada".parse().unwrap());
        members.apply(&Change::Joined(upper, ada)).unwrap();
        assert_eq!(members.len_of(&lower), 1);
        assert!(members.has(&DisplayName::Name("aDA".parse().unwrap())));
        let claim = Claim {
            name: "Ada".parse().unwrap(),
            claimed_ms: 5,
        };
        members.apply(&Change::Claimed(claim)).unwrap();
        assert_eq!(members.claim(&"ADA".parse().unwrap()), Some(&claim));
        members.apply(&Change::Left(lower, ada)).unwrap();
        members
            .apply(&Change::Freed("ada".parse().unwrap()))
            .unwrap();
        assert_eq!(members.digest(), Digest::default());
    }

    #[test]
    fn the_digest_shows_who_is_in_which_room_and_when_a_name_was_claimed() {
        let claimed = |claimed_ms| {
            let name = name(1);
            Change::Claimed(Claim { name, claimed_ms })
        };
        let digests = [
            Change::Joined(room(1), who(1)),
            Change::Joined(room(2), who(1)),
            Change::Joined(room(1), who(2)),
            claimed(1),
            claimed(2),
        ];
        let digests = digests.map(|change| {
            let mut members = NodeMembers::default();
            members.apply(&change).unwrap();
            members.digest().hash
        });
        let different = std::collections::HashSet::from(digests);
        assert_eq!(different.len(), digests.len());
    }

    #[test]
    fn a_change_that_does_not_follow_is_an_error() {
        let mut members = NodeMembers::default();
        members.apply(&Change::Joined(room(1), who(1))).unwrap();
        for change in [
            Change::Left(room(2), who(1)),
            Change::TimedOut(room(1), who(2)),
            Change::Renamed(room(1), who(3), who(4)),
            Change::Freed(name(2)),
        ] {
            assert_eq!(members.apply(&change), Err(Inconsistent), "{change:?}");
        }
    }
}
