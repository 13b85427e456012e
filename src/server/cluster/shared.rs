//! State that the thread of the cluster and all others share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::server::egress::inbox::Inbox;
use crate::server::egress::outbox::Outbox;
use crate::server::ops::stats::{ClusterCounts, ClusterStats};
use crate::server::ops::supervise::Wake;
use crate::server::registry::{ChangeQueue, RequestQueue};

pub use crate::server::ops::stats::{ClusterStatus, NodeStatus};

/// The queues from and to the workers, the counters, and what is known of the cluster.
pub struct ClusterShared {
    /// Texts of all workers for other nodes.
    pub outbox: Arc<Outbox>,
    /// Texts and replies for the peers of each worker.
    pub inboxes: Vec<Arc<Inbox>>,
    /// Changes of the members of this node.
    pub changes: Arc<ChangeQueue>,
    /// Requests of peers to other nodes.
    pub requests: Arc<RequestQueue>,
    pub counters: ClusterCounters,
    status: ArcSwap<ClusterStatus>,
}

/// Counts of what came over the bus, and of the bus itself.
#[derive(Debug, Default)]
pub struct ClusterCounters {
    /// Texts of other nodes, handed over to workers.
    pub texts_in: AtomicU64,
    /// Batches of these texts.
    pub batches_in: AtomicU64,
    /// Bytes of these batches.
    pub bytes_in: AtomicU64,
    /// Texts of other nodes that did not come, by the numbers before and after them.
    pub texts_missing: AtomicU64,
    /// Texts of other nodes that came again, or after later ones, and were dropped.
    pub texts_stale: AtomicU64,
    /// Texts of other nodes that were dropped because their worker had no space for them.
    pub texts_dropped: AtomicU64,
    /// Messages that were no texts and no messages of this version.
    pub malformed: AtomicU64,
    /// Messages of nodes to each other, except texts, that had no space on the way to the bus.
    pub messages_shed: AtomicU64,
    /// Messages that this node had no space for, which were lost. Of a burst, the first 128 or so are counted.
    pub slow_consumer: AtomicU64,
    /// Ends of the connection to the bus.
    pub disconnects: AtomicU64,
    /// Names that peers of this node lost to those of others.
    pub names_lost: AtomicU64,
}

impl ClusterShared {
    /// Returns the state of a node with this incarnation and number of workers. `wake` wakes the engine,
    /// and `wake_texts` who takes the texts.
    pub fn new(incarnation: u64, workers: usize, wake: &Wake, wake_texts: Wake) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(incarnation, wake_texts)),
            inboxes: (0..workers).map(|_| Arc::default()).collect(),
            changes: Arc::new(ChangeQueue::new(Arc::clone(wake))),
            requests: Arc::new(RequestQueue::new(Arc::clone(wake))),
            counters: ClusterCounters::default(),
            status: ArcSwap::default(),
        }
    }

    /// The cluster as this node sees it.
    pub fn status(&self) -> Arc<ClusterStatus> {
        self.status.load_full()
    }

    /// Returns the state and the counts at this moment.
    pub fn stats(&self) -> ClusterStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (outbox, counters) = (self.outbox.counters(), &self.counters);
        ClusterStats {
            status: self.status(),
            counts: ClusterCounts {
                texts_published: read(&outbox.published),
                batches_published: read(&outbox.batches),
                bytes_published: read(&outbox.bytes),
                texts_received: read(&counters.texts_in),
                batches_received: read(&counters.batches_in),
                bytes_received: read(&counters.bytes_in),
                dropped_full: read(&outbox.dropped_full),
                dropped_late: read(&outbox.dropped_late),
                dropped_away: read(&outbox.dropped_away),
                dropped_no_space: read(&counters.texts_dropped),
                texts_missing: read(&counters.texts_missing),
                texts_stale: read(&counters.texts_stale),
                messages_malformed: read(&counters.malformed),
                messages_shed: read(&counters.messages_shed),
                requests_shed: self.requests.shed(),
                slow_consumers: read(&counters.slow_consumer),
                disconnects: read(&counters.disconnects),
                names_lost: read(&counters.names_lost),
            },
        }
    }

    pub(super) fn set_status(&self, status: ClusterStatus) {
        self.status.store(Arc::new(status));
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: impl Into<u64>) {
    counter.fetch_add(count.into(), Ordering::Relaxed);
}
