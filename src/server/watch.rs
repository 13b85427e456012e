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
    pub(super) fn new(guards: Vec<Guard>, log: &Log) -> Self {
        let group = |guard| Group {
            guard,
            is_open: AtomicBool::new(false),
        };
        let watch = Self {
            groups: guards.into_iter().map(group).collect(),
            alarms: Arc::default(),
            next_check: Mutex::new(Instant::now()),
        };
        for group in &watch.groups {
            if group.strangers() > 0 {
                watch.raise_alarm(group, log);
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
    pub(super) fn check(&self, log: &Log) {
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
                self.raise_alarm(group, log);
            }
        }
    }

    fn raise_alarm(&self, group: &Group, log: &Log) {
        self.alarms.fetch_add(1, Ordering::Relaxed);
        log.warn(format!(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{BufferSizes, SocketGroup, bind_closed_group, bind_group};

    const WANTED: BufferSizes = BufferSizes {
        receive_bytes: 65_536,
        send_bytes: 65_536,
    };

    fn open_group() -> SocketGroup {
        bind_group("127.0.0.1:0".parse().unwrap(), 2, WANTED).unwrap()
    }

    /// Returns the numbers of alarms after the start, and after checks 5 s apart.
    fn alarms(guard: Guard, checks: usize) -> Vec<u64> {
        let (log, _writer) = Log::new();
        let watch = GroupWatch::new(vec![guard], &log);
        let alarms = watch.alarms();
        let mut counts = vec![alarms.load(Ordering::Relaxed)];
        for _ in 0..checks {
            watch.check(&log);
            // Too early.
            watch.check(&log);
            counts.push(alarms.load(Ordering::Relaxed));
            *lock(&watch.next_check) -= CHECK_INTERVAL;
        }
        counts
    }

    #[test]
    fn an_open_group_is_one_alarm() {
        let group = open_group();
        assert_eq!(alarms(Guard::of_open_group(&group), 3), [0, 1, 1, 1]);
    }

    #[test]
    fn a_stranger_in_the_group_at_the_start_is_an_alarm() {
        let mut group = open_group();
        // One of these is not the server's.
        let stranger = group.sockets.pop();
        assert_eq!(alarms(Guard::of_open_group(&group), 0), [1]);
        drop(stranger);
        assert_eq!(alarms(Guard::of_open_group(&group), 0), [0]);
    }

    #[test]
    fn a_closed_group_is_none() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let closed = bind_closed_group(address.parse().unwrap(), 2, WANTED).unwrap();
            let (_group, _spares) = (closed.group, closed.spares);
            assert_eq!(alarms(closed.guard.expect("Linux 5.7"), 2), [0, 0, 0]);
        }
    }
}
