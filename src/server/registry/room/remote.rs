//! The members that a room has on other nodes, and its texts for them.

use super::Room;
use crate::server::ops::stats::WorkerId;
use crate::sync::atomic::{AtomicU32, Ordering};

impl Room {
    /// The number of members on other nodes of the cluster.
    pub fn remote_members(&self) -> u32 {
        self.remote_members.load(Ordering::Relaxed)
    }

    /// The number of members on all nodes.
    pub fn all_members(&self) -> usize {
        self.len() + self.remote_members() as usize
    }

    pub fn set_remote_members(&self, count: u32) {
        self.remote_members.store(count, Ordering::Relaxed);
    }

    /// The number of the next text that `worker` publishes to other nodes.
    pub fn published(&self, worker: WorkerId) -> u32 {
        let published = self.published.get();
        published.map_or(0, |published| {
            published[worker.index()].load(Ordering::Relaxed)
        })
    }

    /// Counts texts that `worker` publishes to other nodes.
    pub fn add_published(&self, worker: WorkerId, texts: u16) {
        let workers = self.sequences.len();
        let new = || (0..workers).map(|_| AtomicU32::new(0)).collect();
        let published = self.published.get_or_init(new);
        published[worker.index()].fetch_add(texts.into(), Ordering::Relaxed);
    }
}
