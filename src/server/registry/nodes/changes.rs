//! The changes of the members of this node, for the others.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::server::ops::supervise::{Wake, lock};
use crate::sync::Mutex;
use crate::wire::cluster::Change;

/// The changes that the other nodes have not been told of. The thread of the cluster takes them every
/// 100 ms at the latest, and waits for nothing. So there are at most as many as the workers make in that
/// time.
pub struct ChangeQueue {
    changes: Mutex<Vec<Change>>,
    wake: Wake,
}

impl ChangeQueue {
    /// `wake` wakes the thread of the cluster.
    pub fn new(wake: Wake) -> Self {
        Self {
            changes: Mutex::default(),
            wake,
        }
    }

    /// Takes all changes, in their order.
    pub fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *lock(&self.changes))
    }

    /// Adds a change, in the order of those of the same peer, room or name.
    pub(in crate::server::registry) fn push(&self, change: Change) {
        let mut changes = lock(&self.changes);
        changes.push(change);
        let is_first = changes.len() == 1;
        drop(changes);
        if is_first {
            (self.wake)();
        }
    }
}

#[cfg(test)]
thread_local! {
    /// The time that a test has set for its thread.
    pub(crate) static SET_CLOCK_MS: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// The time by the clock of this machine, in ms since 1970.
pub fn now_ms_since_1970() -> u64 {
    #[cfg(test)]
    if let Some(now_ms) = SET_CLOCK_MS.get() {
        return now_ms;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}
