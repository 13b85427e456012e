//! The cluster in the answers and events of the admin server.

use serde::Serialize;

use super::sample::{as_object, rounded};
use crate::server::ops::stats::{ClusterCounts, ClusterStats, NodeStatus};

/// The cluster as this node sees it.
#[derive(Debug, Serialize)]
pub(super) struct ClusterState {
    /// The name of the cluster, and that of this node.
    name: String,
    node: String,
    /// The bus is there, and this node takes part.
    is_connected: bool,
    /// The other nodes.
    nodes: Vec<NodeState>,
    /// Counts since the start, by the names of the counters.
    #[serde(serialize_with = "as_object")]
    totals: Vec<(&'static str, u64)>,
}

#[derive(Debug, Serialize)]
struct NodeState {
    name: String,
    peers: u32,
    rooms: u32,
    /// The share of time in which its busiest worker was not asleep, 0 to 1.
    busy: f64,
    version: String,
    /// The address that clients are told of.
    advertise: Option<String>,
    silent_ms: u64,
    round_trip_us: Option<u64>,
    /// Its members are known.
    is_current: bool,
}

/// The rates of the texts between nodes, per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ClusterRates {
    texts_published_per_s: f64,
    texts_received_per_s: f64,
    bytes_published_per_s: f64,
    bytes_received_per_s: f64,
    texts_dropped_per_s: f64,
    texts_missing_per_s: f64,
}

impl ClusterState {
    pub(super) fn new(stats: &ClusterStats) -> Self {
        let (status, counts) = (&stats.status, &stats.counts);
        let names = ClusterCounts::NAMES.iter();
        Self {
            name: status.cluster.clone(),
            node: status.node.clone(),
            is_connected: status.is_connected,
            nodes: status.nodes.iter().map(NodeState::from).collect(),
            totals: names.copied().zip(counts.values()).collect(),
        }
    }
}

impl From<&NodeStatus> for NodeState {
    fn from(node: &NodeStatus) -> Self {
        let (major, minor, patch) = node.version;
        Self {
            name: node.id.to_string(),
            peers: node.peers,
            rooms: node.rooms,
            busy: f64::from(node.busy_percent) / 100.0,
            version: format!("{major}.{minor}.{patch}"),
            advertise: node.advertise.map(|address| address.to_string()),
            silent_ms: node.silent_ms,
            round_trip_us: node.round_trip_us,
            is_current: node.is_current,
        }
    }
}

impl ClusterRates {
    /// Returns the rates between two states.
    pub(super) fn between(before: &ClusterStats, now: &ClusterStats, seconds: f64) -> Self {
        let (was, is) = (&before.counts, &now.counts);
        let per_s = |now: u64, before: u64| rounded(now.saturating_sub(before) as f64 / seconds);
        Self {
            texts_published_per_s: per_s(is.texts_published, was.texts_published),
            texts_received_per_s: per_s(is.texts_received, was.texts_received),
            bytes_published_per_s: per_s(is.bytes_published, was.bytes_published),
            bytes_received_per_s: per_s(is.bytes_received, was.bytes_received),
            texts_dropped_per_s: per_s(is.dropped(), was.dropped()),
            texts_missing_per_s: per_s(is.texts_missing, was.texts_missing),
        }
    }
}
