//! The members that rooms have on other nodes.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;

use super::members::{Digest, Inconsistent, NodeMembers};
use crate::wire::cluster::{Change, Claim, NodeId};
use crate::wire::{DisplayName, Name, RoomName};

/// The members of the other nodes. The thread of the cluster changes them, one change at a time, and
/// workers read them for `/who`, `/rooms` and `/msg`. Without a cluster there are none.
#[derive(Debug, Default)]
pub struct RemoteNodes(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    nodes: IndexMap<NodeId, NodeMembers>,
    /// The rooms that have members there, by the name in lower case.
    rooms: IndexMap<RoomName, RemoteRoom>,
}

#[derive(Debug)]
struct RemoteRoom {
    name: RoomName,
    members: usize,
}

impl RemoteNodes {
    /// Adds a node without members.
    pub fn add(&self, id: NodeId) {
        self.write().nodes.entry(id).or_default();
    }

    /// Applies a change of a node.
    ///
    /// # Errors
    /// [`Inconsistent`], also for a node that is not here; nothing has changed.
    pub fn apply(&self, id: &NodeId, change: &Change) -> Result<(), Inconsistent> {
        let state = &mut *self.write();
        let node = state.nodes.get_mut(id).ok_or(Inconsistent)?;
        node.apply(change)?;
        match change {
            Change::Joined(room, _) => {
                let new = || RemoteRoom {
                    name: *room,
                    members: 0,
                };
                state.rooms.entry(room.folded()).or_insert_with(new).members += 1;
            }
            Change::Left(room, _) | Change::TimedOut(room, _) => state.leave(room, 1),
            Change::Renamed(..) | Change::Moved(..) | Change::Claimed(_) | Change::Freed(_) => {}
        }
        Ok(())
    }

    /// Removes a node, and returns the members that it had.
    pub fn remove(&self, id: &NodeId) -> NodeMembers {
        let mut state = self.write();
        let members = state.nodes.swap_remove(id).unwrap_or_default();
        for (room, len) in members.rooms() {
            state.leave(&room, len);
        }
        members
    }

    /// Calls `read` with the members of a node, which are none if it is not here.
    pub fn read<R>(&self, id: &NodeId, read: impl FnOnce(&NodeMembers) -> R) -> R {
        match self.lock().nodes.get(id) {
            Some(members) => read(members),
            None => read(&NodeMembers::default()),
        }
    }

    pub fn digest(&self, id: &NodeId) -> Digest {
        self.read(id, NodeMembers::digest)
    }

    /// The number of members of a room on all other nodes.
    pub fn len_of(&self, room: &RoomName) -> usize {
        let state = self.lock();
        let room = state.rooms.get(&room.folded());
        room.map_or(0, |room| room.members)
    }

    /// Calls `visit` with the members of a room from index `first` on until it returns false. Returns
    /// their number.
    pub fn visit_members(
        &self,
        room: &RoomName,
        first: usize,
        mut visit: impl FnMut(DisplayName) -> bool,
    ) -> usize {
        let state = self.lock();
        let mut skipped = first;
        for node in state.nodes.values() {
            let len = node.len_of(room);
            if !node.members_from(room, skipped).all(&mut visit) {
                break;
            }
            skipped = skipped.saturating_sub(len);
        }
        state
            .rooms
            .get(&room.folded())
            .map_or(0, |room| room.members)
    }

    /// Calls `visit` with the rooms, and the number of members that each has here.
    pub fn visit_rooms(&self, mut visit: impl FnMut(RoomName, usize)) {
        for room in self.lock().rooms.values() {
            visit(room.name, room.members);
        }
    }

    /// The node that has a peer with this name or address.
    pub fn find(&self, who: &DisplayName) -> Option<NodeId> {
        let state = self.lock();
        let mut nodes = state.nodes.iter();
        let found = nodes.find(|(_, members)| members.has(who));
        found.map(|(id, _)| *id)
    }

    /// Returns true if a peer of another server has claimed this name, in any case.
    pub fn has_claim(&self, name: &Name) -> bool {
        let state = self.lock();
        state.nodes.values().any(|node| node.claim(name).is_some())
    }

    /// The claims of a name by other nodes, and the nodes.
    pub fn claims_of(&self, name: &Name) -> Vec<(NodeId, Claim)> {
        let state = self.lock();
        let nodes = state.nodes.iter();
        nodes
            .filter_map(|(id, node)| Some((*id, *node.claim(name)?)))
            .collect()
    }

    fn lock(&self) -> RwLockReadGuard<'_, State> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn leave(&mut self, room: &RoomName, members: usize) {
        let key = room.folded();
        if let Some(room) = self.rooms.get_mut(&key) {
            room.members -= members;
            if room.members == 0 {
                self.rooms.swap_remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> NodeId {
        format!("node-{number}").parse().unwrap()
    }

    fn who(number: u8) -> DisplayName {
        DisplayName::Address(([192, 0, 2, number], 9).into())
    }

    /// Returns the numbers of the addresses that a visit of the lobby yields.
    fn visit(remote: &RemoteNodes, first: usize, max: usize) -> (Vec<u8>, usize) {
        let mut visited = Vec::new();
        let len = remote.visit_members(&room("LOBBY"), first, |member| {
            let numbers = (0..9).find(|number| who(*number) == member);
            visited.push(numbers.unwrap());
            visited.len() < max
        });
        (visited, len)
    }

    fn room(name: &str) -> RoomName {
        name.parse().unwrap()
    }

    #[test]
    fn the_members_of_all_nodes_are_counted_and_listed() {
        let remote = RemoteNodes::default();
        assert_eq!(visit(&remote, 0, 9), (vec![], 0));
        for (node, member) in [(1, 1), (2, 2), (1, 3)] {
            remote.add(id(node));
            let joined = Change::Joined(room("lobby"), who(member));
            remote.apply(&id(node), &joined).unwrap();
        }
        assert_eq!(visit(&remote, 0, 9), (vec![1, 3, 2], 3));
        assert_eq!(visit(&remote, 1, 1), (vec![3], 3));
        assert_eq!(visit(&remote, 2, 9), (vec![2], 3));
        assert_eq!(visit(&remote, 3, 9), (vec![], 3));
        // Two peers of a node have the same address.
        let joined = Change::Joined(room("lobby"), who(1));
        remote.apply(&id(1), &joined).unwrap();
        assert_eq!(visit(&remote, 0, 9), (vec![1, 1, 3, 2], 4));
        assert_eq!(visit(&remote, 1, 2), (vec![1, 3], 4));
        assert_eq!(visit(&remote, 3, 9), (vec![2], 4));
        let left = Change::Left(room("lobby"), who(1));
        remote.apply(&id(1), &left).unwrap();
        assert_eq!(remote.find(&who(2)), Some(id(2)));
        assert_eq!(remote.find(&who(4)), None);
        let mut rooms = Vec::new();
        remote.visit_rooms(|room, members| {
            rooms.push((room.to_string(), members));
        });
        assert_eq!(rooms, [("lobby".to_owned(), 3)]);

        let left = Change::TimedOut(room("lobby"), who(1));
        remote.apply(&id(1), &left).unwrap();
        assert_eq!(remote.apply(&id(1), &left), Err(Inconsistent));
        assert_eq!(remote.apply(&id(3), &left), Err(Inconsistent));
        assert_eq!(remote.len_of(&room("lobby")), 2);
        remote.remove(&id(2));
        assert_eq!(visit(&remote, 0, 9), (vec![3], 1));
        remote.remove(&id(1));
        assert_eq!(remote.len_of(&room("lobby")), 0);
        remote.visit_rooms(|room, _| panic!("{room}"));
    }
}
