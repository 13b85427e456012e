//! What a registry has for the other nodes of a cluster, and of them.

mod changes;
mod members;
mod remote;

use std::sync::Arc;

use super::Registry;

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
}

#[cfg(test)]
mod tests;
