//! The watch over the server's sockets: can another process join them, or has one done so?

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ops::log::Log;
use super::ops::supervise::lock;
use crate::net::Guard;

/// Keeps other processes from joining the server's sockets for as long as it lives.
pub(super) struct GroupWatch {
    groups: Vec<Group>,
    log: Log,
    alarms: Arc<AtomicU64>,
    next_check: Mutex<Instant>,
}

struct Group {
    guard: Guard,
    /// The last check found it open, which has been logged.
    is_open: AtomicBool,
}

impl GroupWatch {
    /// Returns a watch, and raises an alarm for each group that another process has joined
    /// already, before it was closed.
    pub(super) fn new(guards: Vec<Guard>, log: Log) -> Self {
        let group = |guard| Group {
            guard,
            is_open: AtomicBool::new(false),
        };
        let watch = Self {
            groups: guards.into_iter().map(group).collect(),
            log,
            alarms: Arc::default(),
            next_check: Mutex::new(Instant::now()),
        };
        for group in &watch.groups {
            if group.strangers() > 0 {
                watch.raise_alarm(group);
            }
        }
        watch
    }

    /// Returns the number of alarms.
    pub(super) fn alarms(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.alarms)
    }

    /// Tries to join each group, every [`CHECK_INTERVAL`], and raises an alarm for one that
    /// can be joined.
    pub(super) fn check(&self) {
        let now = Instant::now();
        let mut next_check = lock(&self.next_check);
        if now < *next_check {
            return;
        }
        *next_check = now + CHECK_INTERVAL;
        for group in &self.groups {
            // An error, such as that of too many open files, says nothing about the group.
            let is_open = group.guard.is_open().unwrap_or(false);
            let was_open = group.is_open.swap(is_open, Ordering::Relaxed);
            if is_open && !was_open {
                self.raise_alarm(group);
            }
        }
    }

    fn raise_alarm(&self, group: &Group) {
        self.alarms.fetch_add(1, Ordering::Relaxed);
        self.log.warn(format!(
            "other processes of this user can join the sockets of {}: {} have done so, and \
             receive some of the datagrams",
            group.guard.address(),
            group.strangers()
        ));
    }
}

impl Group {
    /// Returns the number of other sockets, or 0 if it is unknown.
    fn strangers(&self) -> usize {
        self.guard.strangers().unwrap_or(0)
    }
}

/// Time between two checks. A check takes 20 µs per group.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
