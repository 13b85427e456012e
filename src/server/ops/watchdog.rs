//! The watchdog, which finds workers that do not turn their loop.

use std::time::Duration;

use super::log::Log;
use super::supervise::ThreadDied;
use super::turns::{Turns, WorkerHandle};

/// Checks the workers at intervals. The supervisor calls it.
///
/// It counts its own checks and reads no clock. A pause of the whole process, such as SIGSTOP
/// or a virtual machine that is stopped, is one interval however long it is.
pub struct Watchdog {
    turns: Turns,
    /// The number of checks without a turn after which the worker counts as dead.
    max_checks: u32,
    interval: Duration,
    log: Log,
}

impl Watchdog {
    /// Returns a watchdog for workers that may be stuck for `limit`, which is not zero, or for any
    /// time. There is at most `max_interval` between its checks.
    pub fn new(
        workers: Vec<WorkerHandle>,
        limit: Option<Duration>,
        max_interval: Option<Duration>,
        log: Log,
    ) -> Self {
        let of_limit = limit.map_or(MAX_INTERVAL, |limit| limit / MIN_CHECKS);
        let of_caller = max_interval.unwrap_or(MAX_INTERVAL).max(MIN_INTERVAL);
        let interval = of_limit.min(of_caller).min(MAX_INTERVAL);
        let limit = limit.unwrap_or(Duration::MAX);
        let max_checks = limit.as_nanos() / interval.as_nanos().max(1);
        Self {
            turns: Turns::asked(workers),
            max_checks: u32::try_from(max_checks).unwrap_or(u32::MAX),
            interval,
            log,
        }
    }

    /// The time between two checks.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns true if no worker was stuck at the last check.
    pub fn all_turn(&self) -> bool {
        let mut workers = self.turns.workers();
        workers.all(|worker| self.turns.silent_checks(worker) == 0)
    }

    /// Checks all workers, and logs which of them are stuck or go on. Returns the first one that
    /// has been stuck for too long.
    pub fn check(&mut self) -> Option<ThreadDied> {
        let mut dead = None;
        for worker in self.turns.workers() {
            let time = |checks| humantime::format_duration(self.interval * checks);
            let before = self.turns.silent_checks(worker);
            let silent = self.turns.check(worker);
            let name = &self.turns.info(worker).name;
            if silent == 0 {
                if before >= LOGGED_CHECKS {
                    let time = time(before);
                    self.log
                        .warn(format!("{name} goes on: it was stuck for {time}"));
                }
                self.turns.ask(worker);
                continue;
            }
            let time = time(silent);
            if silent == LOGGED_CHECKS {
                self.log.warn(format!("{name} has been stuck for {time}"));
            }
            if silent >= self.max_checks && dead.is_none() {
                dead = Some(ThreadDied {
                    name: name.to_owned(),
                    reason: format!("it has been stuck for {time}"),
                });
            }
        }
        dead
    }
}

/// Minimum number of checks within the limit. A pause of the process takes one, and a worker
/// that goes on after it has the time of all others.
const MIN_CHECKS: u32 = 30;

/// Maximum time between two checks. A stuck worker is logged within three of them.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between two checks. An idle worker wakes up and turns in less.
const MIN_INTERVAL: Duration = Duration::from_millis(5);

/// The number of checks after which a stuck worker is logged. The first check after a pause of
/// the process may come before the workers' turns.
const LOGGED_CHECKS: u32 = 2;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::log::LogWriter;
    use super::super::turns::tests::worker;
    use super::*;

    fn watchdog(is_stuck: &Arc<AtomicBool>, limit: Duration) -> (Watchdog, LogWriter) {
        let (log, writer) = Log::new();
        let workers = vec![
            worker("worker-0", &Arc::default()),
            worker("worker-1", is_stuck),
        ];
        (Watchdog::new(workers, Some(limit), None, log), writer)
    }

    #[test]
    fn a_worker_that_is_stuck_for_the_limit_counts_as_dead() {
        for (limit_ms, interval_ms, checks) in
            [(30_000, 1_000, 30), (3_000, 100, 30), (90_000, 1_000, 90)]
        {
            let is_stuck = Arc::new(AtomicBool::new(true));
            let (mut watchdog, _log) = watchdog(&is_stuck, Duration::from_millis(limit_ms));
            assert_eq!(watchdog.interval(), Duration::from_millis(interval_ms));
            for _ in 1..checks {
                assert_eq!(watchdog.check(), None);
            }
            let died = watchdog.check().expect("it is stuck");
            assert_eq!(died.name, "worker-1");
            let limit = humantime::format_duration(Duration::from_millis(limit_ms));
            assert_eq!(died.reason, format!("it has been stuck for {limit}"));
        }
    }

    #[test]
    fn checks_are_as_frequent_as_the_caller_wants_and_need_no_limit() {
        let is_stuck = Arc::<AtomicBool>::default();
        let interval = |limit_ms: Option<u64>, max_ms: u64| {
            let (limit, max) = (
                limit_ms.map(Duration::from_millis),
                Duration::from_millis(max_ms),
            );
            Watchdog::new(Vec::new(), limit, Some(max), Log::new().0).interval()
        };
        for (limit_ms, max_ms, interval_ms) in [
            (Some(30_000), 250, 250),
            (Some(3_000), 250, 100),
            (None, 250, 250),
            (None, 60_000, 1_000),
            (None, 0, 5),
        ] {
            let expected = Duration::from_millis(interval_ms);
            assert_eq!(interval(limit_ms, max_ms), expected);
        }
        let workers = vec![worker("worker-0", &is_stuck)];
        let mut watchdog = Watchdog::new(workers, None, None, Log::new().0);
        assert_eq!((watchdog.check(), watchdog.all_turn()), (None, true));
        is_stuck.store(true, Ordering::Relaxed);
        // The request of the last check has been fulfilled.
        assert_eq!((watchdog.check(), watchdog.all_turn()), (None, true));
        for _ in 0..1_000 {
            assert_eq!((watchdog.check(), watchdog.all_turn()), (None, false));
        }
    }

    #[test]
    fn a_turn_in_time_saves_a_worker() {
        let is_stuck = Arc::new(AtomicBool::new(false));
        let (mut watchdog, log) = watchdog(&is_stuck, Duration::from_secs(30));
        for _ in 0..100 {
            assert_eq!(watchdog.check(), None);
        }
        assert_eq!(log.take_warnings(), [""; 0]);
        for _ in 0..3 {
            is_stuck.store(true, Ordering::Relaxed);
            // The request of the last check has been fulfilled.
            assert_eq!(watchdog.check(), None);
            for _ in 0..29 {
                assert_eq!(watchdog.check(), None);
            }
            assert_eq!(log.take_warnings(), ["worker-1 has been stuck for 2s"]);
            is_stuck.store(false, Ordering::Relaxed);
            (watchdog.turns.workers()).for_each(|worker| watchdog.turns.ask(worker));
            assert_eq!(watchdog.check(), None);
            let expected = ["worker-1 goes on: it was stuck for 29s"];
            assert_eq!(log.take_warnings(), expected);
        }
        // One silent check may be a pause of the process, which is not logged.
        is_stuck.store(true, Ordering::Relaxed);
        assert_eq!([watchdog.check(), watchdog.check()], [None, None]);
        is_stuck.store(false, Ordering::Relaxed);
        (watchdog.turns.workers()).for_each(|worker| watchdog.turns.ask(worker));
        assert_eq!(watchdog.check(), None);
        assert_eq!(log.take_warnings(), [""; 0]);
    }
}
