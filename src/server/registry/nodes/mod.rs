//! What a registry has for the other nodes of a cluster, and of them.

mod changes;
mod members;
mod remote;

use std::sync::Arc;

use super::Registry;
use crate::wire::cluster::Change;

pub use changes::ChangeQueue;
pub use members::{Digest, Inconsistent, NodeMembers};
pub use remote::RemoteNodes;

impl Registry {
    /// Records all changes of members and names in `changes` from now on, which the registry of a node
    /// needs before its first peer.
    pub fn record_changes(&self, changes: &Arc<ChangeQueue>) {
        debug_assert!(self.is_empty());
        self.directory.events().record_changes(Arc::clone(changes));
        self.names.record_changes(Arc::clone(changes));
    }

    /// Takes note of a change of another node, which [`RemoteNodes`] has already: the number of members
    /// of a room, and an event for its subscribers.
    pub fn note_remote(&self, change: &Change) {
        let Some((name, event)) = change.event() else {
            return;
        };
        if let Some(room) = self.directory.find(name) {
            room.set_remote_members(self.remote.len_of(&name) as u32);
            room.record_remote(event);
        }
    }
}

#[cfg(test)]
mod tests;
