//! Reports of a server to its service manager, by the checks of the watchdog.

use std::time::{Duration, Instant};

use super::ServerHandle;
use super::config::{ServerConfig, WATCHDOG_OFF};
use super::ops::log::Log;
use super::ops::manager::ServiceManager;
use super::ops::operated::Operated;
use super::ops::supervise::Supervisor;
use super::ops::watchdog::Watchdog;
use crate::net::InheritedSockets;

/// The parts that a program has from its service manager.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Managed {
    /// The manager, if it waits for the states of the service.
    pub manager: Option<ServiceManager>,
    /// The sockets, if the manager has opened them.
    pub sockets: Option<InheritedSockets>,
}

/// A server that is reported to its service manager.
struct Reporter {
    manager: ServiceManager,
    server: ServerHandle,
    is_draining: bool,
    /// The time of the last status, and the deliveries until then.
    last: (Instant, u64),
}

/// Makes the supervisor check the workers, and report to `manager` at each check.
pub(super) fn watch(
    config: &ServerConfig,
    server: &ServerHandle,
    manager: Option<ServiceManager>,
    log: Log,
    supervisor: &mut Supervisor,
) {
    let workers = server.workers.clone();
    let limit = (config.watchdog != WATCHDOG_OFF).then_some(config.watchdog);
    let Some(manager) = manager else {
        if limit.is_some() {
            let mut watchdog = Watchdog::new(workers, limit, None, log);
            supervisor.watch(watchdog.interval(), move || watchdog.check());
        }
        return;
    };
    let max_interval = manager.watchdog().map(|limit| limit / REPORTS_PER_LIMIT);
    let mut watchdog = Watchdog::new(workers, limit, max_interval, log);
    supervisor.at_stop({
        let manager = manager.clone();
        move || manager.stopping()
    });
    let mut reporter = Reporter {
        manager,
        server: server.clone(),
        is_draining: false,
        last: (Instant::now(), 0),
    };
    reporter.manager.ready();
    reporter.report_status();
    supervisor.watch(watchdog.interval(), move || {
        let died = watchdog.check();
        reporter.report(watchdog.all_turn());
        died
    });
}

impl Reporter {
    /// Reports once. `all_turn` is true if no worker is stuck.
    fn report(&mut self, all_turn: bool) {
        self.manager.repeat_ready();
        if all_turn && self.manager.watchdog().is_some() {
            self.manager.keep_alive();
        }
        let drains_now = self.server.is_draining() && !self.is_draining;
        if drains_now || self.last.0.elapsed() >= STATUS_INTERVAL {
            self.report_status();
        }
    }

    fn report_status(&mut self) {
        let stats = self.server.stats();
        let (now, deliveries) = (Instant::now(), stats.total().deliveries);
        let seconds = now.duration_since(self.last.0).as_secs_f64().max(1e-3);
        let rate = deliveries.saturating_sub(self.last.1) as f64 / seconds;
        self.is_draining = self.server.is_draining();
        let state = if self.is_draining { "draining; " } else { "" };
        let (peers, rooms) = (stats.peers, stats.rooms);
        self.manager.status(&format!(
            "{state}peers: {peers}, rooms: {rooms}, deliveries: {rate:.0}/s"
        ));
        self.last = (now, deliveries);
    }
}

/// A worker that misses the turn of one check costs nothing.
const REPORTS_PER_LIMIT: u32 = 4;

/// Time between two lines about the server. Each is a datagram, and a look at every worker.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
