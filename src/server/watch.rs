//! The watch over the server's sockets. It notices that another process can join them, or has. It
//! also logs what the sandbox refuses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ops::log::Log;
use super::ops::sandbox::Refusals;
use super::ops::supervise::StopSignal;
use crate::net::Guard;
use crate::sync::Parker;

/// Keeps other processes from joining the server's sockets for as long as it lives.
pub(super) struct GroupWatch {
    groups: Vec<Group>,
    alarms: Arc<AtomicU64>,
    refusals: Refusals,
    log: Log,
}

struct Group {
    guard: Guard,
    /// Number of sockets of this server that overlap with the group.
    own_sockets: usize,
    /// True if the last check found that it can be joined, or has been.
    is_open: bool,
}

impl GroupWatch {
    /// Returns a watch, and raises an alarm for each group that another process has joined
    /// already, before it was closed.
    pub(super) fn new(guards: Vec<Guard>, log: Log) -> Self {
        let own_sockets = |guard: &Guard| {
            let own = guards.iter().map(|own| own.own_sockets_at(guard.address()));
            own.sum()
        };
        let own_sockets: Vec<usize> = guards.iter().map(own_sockets).collect();
        let group = |(guard, own_sockets)| Group {
            guard,
            own_sockets,
            is_open: false,
        };
        let mut watch = Self {
            groups: guards.into_iter().zip(own_sockets).map(group).collect(),
            alarms: Arc::default(),
            refusals: Refusals::default(),
            log,
        };
        watch.check();
        watch
    }

    /// Returns the number of alarms.
    pub(super) fn alarms(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.alarms)
    }

    /// Checks the groups from time to time until the stop, which unparks `parker`.
    pub(super) fn run(mut self, stop: &StopSignal, parker: &Parker) -> io::Result<()> {
        while !stop.is_stopping() {
            parker.park_timeout(CHECK_INTERVAL);
            self.check();
            self.refusals.log_new(&self.log);
        }
        Ok(())
    }

    /// Raises an alarm for each group that can be joined, or has been.
    fn check(&mut self) {
        for group in &mut self.groups {
            // An error, such as that of too many open files, says nothing about the group.
            let can_join = group.guard.is_open().unwrap_or(false);
            let joined = group.strangers();
            let was_open = std::mem::replace(&mut group.is_open, can_join || joined > 0);
            if group.is_open && !was_open {
                self.alarms.fetch_add(1, Ordering::Relaxed);
                let address = group.guard.address();
                self.log.warn(if joined > 0 {
                    format!(
                        "{joined} sockets of other processes have joined those of {address}, and \
                         receive some of its datagrams"
                    )
                } else {
                    format!(
                        "processes of the same user can join the sockets of {address}, and would \
                         receive some of its datagrams"
                    )
                });
            }
        }
    }
}

impl Group {
    /// Returns the number of other sockets, or 0 if it is unknown.
    fn strangers(&self) -> usize {
        let sockets = self.guard.overlapping_sockets().unwrap_or(0);
        sockets.saturating_sub(self.own_sockets)
    }
}

/// Time between two checks. A check takes 20 µs per group, and 1 ms per 1,000 UDP sockets of
/// the machine.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use crate::net::{BufferSizes, SocketGroup, bind_closed_group, bind_group};

    const WANTED: BufferSizes = BufferSizes {
        receive_bytes: 65_536,
        send_bytes: 65_536,
    };

    fn open_group() -> SocketGroup {
        bind_group("127.0.0.1:0".parse().unwrap(), 2, WANTED).unwrap()
    }

    fn watch(guards: Vec<Guard>) -> GroupWatch {
        let (log, _writer) = Log::new();
        GroupWatch::new(guards, log)
    }

    /// Returns the number of alarms after one more check.
    fn alarms(watch: &mut GroupWatch) -> u64 {
        watch.check();
        watch.alarms().load(Ordering::Relaxed)
    }

    #[test]
    fn an_open_group_is_one_alarm() {
        let group = open_group();
        let mut watch = watch(vec![Guard::of_open_group(&group)]);
        assert_eq!(watch.alarms().load(Ordering::Relaxed), 1);
        assert_eq!(alarms(&mut watch), 1);
    }

    #[test]
    fn a_stranger_in_the_group_is_an_alarm() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let closed = bind_closed_group(address.parse().unwrap(), 2, WANTED).unwrap();
            let mut watch = watch(vec![closed.guard.expect("Linux 5.7")]);
            assert_eq!(alarms(&mut watch), 0);
            // One of its sockets is not the server's.
            watch.groups[0].own_sockets -= 1;
            assert_eq!([alarms(&mut watch), alarms(&mut watch)], [1, 1]);
            watch.groups[0].own_sockets += 1;
            assert_eq!(alarms(&mut watch), 1);
            watch.groups[0].own_sockets -= 1;
            assert_eq!(alarms(&mut watch), 2);
        }
    }

    #[test]
    fn groups_of_one_server_are_no_strangers() {
        // The list of sockets shows no zones, so that these would look the same.
        let group = open_group();
        let guards = [(); 2].map(|()| Guard::of_open_group(&group));
        for group in watch(guards.into()).groups {
            assert_eq!(group.own_sockets, 4);
        }
    }

    #[test]
    fn the_sockets_of_one_family_hide_no_strangers_in_the_other() {
        let [v4, v6] = ["0.0.0.0:0", "[::]:0"].map(|address| {
            let group = bind_group(address.parse().unwrap(), 2, WANTED).unwrap();
            Guard::of_open_group(&group)
        });
        let addresses = [v4.address(), v6.address()];
        for (guard, address) in [(&v4, addresses[1]), (&v6, addresses[0])] {
            let [own, other] = [guard.address(), address]
                .map(|address| SocketAddr::new(address.ip(), guard.address().port()));
            let next_port = SocketAddr::new(own.ip(), own.port() ^ 1);
            let counts = [own, other, next_port].map(|it| guard.own_sockets_at(it));
            assert_eq!(counts, [2, 0, 0]);
        }
    }
}
