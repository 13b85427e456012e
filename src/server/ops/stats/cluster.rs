//! The cluster, as one of its nodes sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::wire::cluster::NodeId;

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct ClusterStats {
    /// The state as of the last second.
    pub status: Arc<ClusterStatus>,
    /// The counts at this moment.
    pub counts: ClusterCounts,
}

/// The cluster as this node sees it, once per second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The name of this node.
    pub node: String,
    /// The name of the cluster.
    pub cluster: String,
    /// True while the bus is there and this node takes part: no older server has its name.
    pub is_connected: bool,
    /// The other nodes, by name.
    pub nodes: Vec<NodeStatus>,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub id: NodeId,
    /// Number of its peers.
    pub peers: u32,
    /// Number of its rooms with members.
    pub rooms: u32,
    /// The share of time in which its busiest worker was not asleep, in percent.
    pub busy_percent: u8,
    /// Its version: major, minor and patch.
    pub version: (u16, u16, u16),
    /// The address under which clients reach it, if it has told.
    pub advertise: Option<SocketAddr>,
    /// Time since its last message, in ms.
    pub silent_ms: u64,
    /// Time of a round trip over the bus to the node and back, in µs.
    pub round_trip_us: Option<u64>,
    /// True if its members are known as it has told of them.
    pub is_current: bool,
}

/// Declares the counts, with their names and values, from one list.
macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts of a node of a cluster since its start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct ClusterCounts {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl ClusterCounts {
            /// The names of the counts.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The counts, in the order of [`Self::NAMES`].
            pub fn values(&self) -> impl Iterator<Item = u64> {
                [$(self.$name),*].into_iter()
            }
        }

        #[cfg(test)]
        impl ClusterCounts {
            /// The counts, in the order of [`Self::NAMES`].
            pub fn values_mut(&mut self) -> impl Iterator<Item = &mut u64> {
                [$(&mut self.$name),*].into_iter()
            }
        }
    };
}

counts! {
    /// Texts for other nodes, handed over to the bus.
    texts_published,
    /// Batches of these texts.
    batches_published,
    /// Bytes of these batches.
    bytes_published,
    /// Texts of other nodes, handed over to workers.
    texts_received,
    /// Batches of these texts.
    batches_received,
    /// Bytes of these batches.
    bytes_received,
    /// Texts for other nodes that were dropped because too many bytes waited for the bus.
    dropped_full,
    /// Texts for other nodes that were dropped because they had waited for the bus for too long.
    dropped_late,
    /// Texts for other nodes that were dropped because the bus was away.
    dropped_away,
    /// Texts of other nodes that were dropped because their worker had no space for them.
    dropped_no_space,
    /// Texts of other nodes that did not come, by the numbers before and after them.
    texts_missing,
    /// Texts of other nodes that came again, or after later ones, and were dropped.
    texts_stale,
    /// Messages that were no texts and no messages of this version.
    messages_malformed,
    /// Messages of nodes to each other, except texts, that had no space on the way to the bus.
    messages_shed,
    /// Requests of peers to other nodes that had no space.
    requests_shed,
    /// Messages that this node had no space for, which were lost. Of a burst, the first 128 or so are counted.
    slow_consumers,
    /// Ends of the connection to the bus.
    disconnects,
    /// Names that peers of this node lost to those of others.
    names_lost,
}

impl ClusterCounts {
    /// The texts that were dropped, by reason.
    pub fn drops(&self) -> [(&'static str, u64); 4] {
        [
            ("full", self.dropped_full),
            ("late", self.dropped_late),
            ("bus away", self.dropped_away),
            ("no space", self.dropped_no_space),
        ]
    }

    /// Returns the number of texts that were dropped for any reason.
    pub fn dropped(&self) -> u64 {
        self.drops().into_iter().map(|(_, count)| count).sum()
    }
}
