//! The part of a registry in a cluster: its members for the other nodes, and theirs.

mod changes;
mod members;
mod naming;
mod remote;
mod requests;

use std::sync::Arc;

use super::{Recipient, Registry};
use crate::net::{MAX_ENDPOINTS, PeerAddr};
use crate::server::ops::stats::WorkerId;
use crate::wire::DisplayName;
use crate::wire::cluster::Change;

#[cfg(all(test, feature = "cluster"))]
pub(crate) use changes::SET_CLOCK_MS;
pub use changes::{ChangeQueue, now_ms_since_1970};
pub use members::{Digest, Inconsistent, NodeMembers};
pub use naming::{NameAnswer, Renamed};
pub use remote::RemoteNodes;
pub use requests::{NameRequest, Request, RequestQueue};

impl Registry {
    /// Records all changes of members and names in `changes` from now on, and asks other nodes by
    /// `requests`. The registry of a node needs this before its first peer.
    pub fn join_cluster(&self, changes: &Arc<ChangeQueue>, requests: Arc<RequestQueue>) {
        self.record_changes(changes);
        // A server joins one cluster, once.
        let _ = self.requests.set(requests);
    }

    fn record_changes(&self, changes: &Arc<ChangeQueue>) {
        debug_assert!(self.is_empty());
        self.directory.events().record_changes(Arc::clone(changes));
        self.names.record_changes(Arc::clone(changes));
    }

    /// The queue of requests to other nodes. `None` without a cluster.
    pub fn requests(&self) -> Option<&RequestQueue> {
        self.requests.get().map(|requests| &**requests)
    }

    /// Returns the peer of this node with a name or an address, and the worker that serves it.
    pub fn find_local(&self, whom: &DisplayName) -> Option<(Recipient, WorkerId)> {
        let found = |address: PeerAddr| {
            let peer = self.peers.get(&self.hash.hash(&address))?;
            Some((peer.recipient(&address), peer.owner))
        };
        match whom {
            DisplayName::Name(name) => found(self.names.find(name)?),
            DisplayName::Address(address) => (0..MAX_ENDPOINTS as u8)
                .map(|bind| PeerAddr::new(*address, bind))
                .find_map(found),
        }
    }

    /// Returns the worker that serves a peer, if it is registered.
    pub fn owner(&self, address: &PeerAddr) -> Option<WorkerId> {
        Some(self.peers.get(&self.hash.hash(address))?.owner)
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
