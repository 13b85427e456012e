//! The numbers of one worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::utils::CachePadded;

use super::{Counters, Counts};
use crate::server::ops::histogram::{TimeCounts, TimeHistogram};

/// The number of a worker, from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

impl WorkerId {
    /// The number as an index of a table of all workers.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// The public state of a worker.
#[derive(Debug)]
pub struct WorkerInfo {
    /// The name of the thread.
    pub name: String,
    /// The core that the thread is pinned to.
    pub core: OnceLock<usize>,
    /// The counters, on cache lines that no other worker writes to.
    pub counters: CachePadded<Counters>,
    pub backlog: CachePadded<BacklogGauge>,
    /// The times of the plans whose last slice this worker has sent: from the arrival of a plan's
    /// oldest text to the end of that slice.
    pub plan_times: CachePadded<TimeHistogram>,
}

/// The texts of one worker that wait, as it last wrote.
#[derive(Debug, Default)]
pub struct BacklogGauge {
    cost_ns: AtomicU64,
    age_us: AtomicU64,
}

impl BacklogGauge {
    /// Sets the time in ns to send all waiting texts.
    pub fn set_cost_ns(&self, cost_ns: u64) {
        self.cost_ns.store(cost_ns, Ordering::Relaxed);
        if cost_ns == 0 {
            self.age_us.store(0, Ordering::Relaxed);
        }
    }

    /// Sets the time in µs for which the oldest text of the last plan had waited when it was built.
    pub fn set_age_us(&self, age_us: u64) {
        self.age_us.store(age_us, Ordering::Relaxed);
    }

    pub fn cost_ns(&self) -> u64 {
        self.cost_ns.load(Ordering::Relaxed)
    }

    pub fn age_us(&self) -> u64 {
        self.age_us.load(Ordering::Relaxed)
    }
}

impl WorkerInfo {
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            core: OnceLock::new(),
            counters: CachePadded::default(),
            backlog: CachePadded::default(),
            plan_times: CachePadded::default(),
        })
    }

    /// Returns the state at this moment.
    pub fn stats(&self) -> WorkerStats {
        WorkerStats {
            name: self.name.clone(),
            core: self.core.get().copied(),
            counts: self.counters.read(),
            backlog_cost_ns: self.backlog.cost_ns(),
            backlog_age_us: self.backlog.age_us(),
            plan_times: self.plan_times.read(),
        }
    }
}

/// The state of a worker at one moment.
#[derive(Debug, Clone, Default)]
pub struct WorkerStats {
    /// The name of the thread.
    pub name: String,
    /// The core that the thread is pinned to.
    pub core: Option<usize>,
    /// The counters.
    pub counts: Counts,
    /// The approximate time in ns to send the texts that wait.
    pub backlog_cost_ns: u64,
    /// Time in µs for which the oldest text of the last plan had waited when it was built. 0 if no
    /// text waits.
    pub backlog_age_us: u64,
    /// The times of plans, from the arrival of the oldest text to the last packet.
    pub plan_times: TimeCounts,
}
