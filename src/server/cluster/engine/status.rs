//! The state of the cluster, as this node sees it.

use std::hash::BuildHasher;
use std::net::SocketAddr;

use super::super::shared::{ClusterStatus, NodeStatus};
use super::{Engine, Now};

impl Engine {
    pub(super) fn publish_status(&self, now: Now) {
        let mut nodes: Vec<NodeStatus> = self
            .nodes
            .iter()
            .map(|node| node.status(now.ms()))
            .collect();
        nodes.sort_unstable_by_key(|node| node.id);
        let others = nodes.iter().filter_map(|node| node.advertise);
        let rank = |address: &SocketAddr| self.hash.hash_one(address);
        let mut others: Vec<SocketAddr> = others.collect();
        others.sort_unstable_by_key(rank);
        others.truncate(MAX_NAMED_SERVERS);
        (self.parts.name_servers)(others);
        self.parts.shared.set_status(ClusterStatus {
            node: self.own.id().to_string(),
            cluster: self.parts.cluster.to_string(),
            is_connected: self.is_active(now.ms()),
            nodes,
        });
    }
}

/// Returns the version of this program.
pub(super) fn version() -> (u16, u16, u16) {
    let number = |text: &str| text.parse().unwrap_or(0);
    (
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    )
}

/// Maximum number of other nodes that a client is told of.
pub const MAX_NAMED_SERVERS: usize = 3;
