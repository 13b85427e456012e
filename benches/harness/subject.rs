//! The server under measurement, and a window of time in which it, or the
//! bare kernel in its place, is measured.

use std::time::{Duration, Instant};

use bullhorn::config::ServiceKind;
use bullhorn::net::BufferSizes;
use bullhorn::server::clock::Clock;
use bullhorn::{Server, ServerConfig};

use super::Error;
use super::bare_thread::BARE;
use super::cpu::{Meter, Usage};
use super::pairs::{Outcome, Pairs, interleave};
use super::receivers::wait_until;

/// A server with one worker, on the first core. To be called before the
/// calling thread is pinned: a server shares out the cores that it may use.
pub(crate) fn start(service: ServiceKind) -> Result<Server, Error> {
    start_with_clock(service, Clock::monotonic())
}

/// The same, with a clock such as [`Gate::clock`](super::gate::Gate::clock).
pub(crate) fn start_with_clock(service: ServiceKind, clock: Clock) -> Result<Server, Error> {
    Ok(Server::start_with_clock(config(service)?, clock)?)
}

/// What every subject is configured with.
pub(crate) fn config(service: ServiceKind) -> Result<ServerConfig, Error> {
    Ok(ServerConfig {
        workers: 1,
        bind: vec!["127.0.0.1:0".parse()?],
        service,
        // Nobody is dropped between two turns of the subject.
        timeout: Duration::from_secs(3600),
        reap_interval: Duration::from_secs(60),
        ..ServerConfig::default()
    })
}

/// Waits until `server` has registered `count` peers.
pub(crate) fn expect_peers(server: &Server, count: usize) -> Result<(), Error> {
    if wait_until(|| server.stats().peers == count) {
        return Ok(());
    }
    Err(format!("{} of {count} peers registered", server.stats().peers).into())
}

/// The buffers of such a server's socket.
pub(crate) fn buffers() -> BufferSizes {
    let config = ServerConfig::default();
    BufferSizes {
        receive_bytes: config.receive_buffer.as_u64() as usize,
        send_bytes: config.send_buffer.as_u64() as usize,
    }
}

/// The cost of one window of load, or of several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Deliveries, heartbeats or answers that should have come, and that came.
    expected: u64,
    done: u64,
    usage: Usage,
    wall: Duration,
}

/// Measures pairs of windows. `load` gets whether it is the subject's turn, and returns how many
/// should have come and how many came; `value` is what counts of a window. Returns the pairs, and
/// a note that shows whether both sides did the same work in the same portions.
pub(crate) fn compare(
    pairs: usize,
    what: &str,
    mut load: impl FnMut(bool) -> Result<(u64, u64), Error>,
    value: impl Fn(&Cost) -> Outcome,
) -> Result<(Pairs, String), Error> {
    let meters = [Meter::of_thread(BARE)?, Meter::of_thread(WORKER)?];
    let mut totals = [Cost::default(); 2];
    let pairs = interleave(pairs, |is_subject| {
        let meter = &meters[usize::from(is_subject)];
        let before = meter.read_at_rest()?;
        let start = Instant::now();
        let (expected, done) = load(is_subject)?;
        let wall = start.elapsed();
        let usage = meter.read_at_rest()?.since(before);
        let cost = Cost {
            expected,
            done,
            usage,
            wall,
        };
        totals[usize::from(is_subject)].add(&cost);
        Ok(value(&cost))
    })?;
    let [bare, subject] = totals.map(|total| total.text(what));
    Ok((pairs, format!("subject: {subject}; bare: {bare}")))
}

impl Cost {
    /// Returns the CPU time of each in µs, if (nearly) none was lost.
    pub(crate) fn us_each(&self) -> Outcome {
        let lost = self.lost();
        if self.done == 0 || lost * MAX_LOST_ONE_IN > self.expected {
            return Err(format!("{lost} of {} were lost", self.expected));
        }
        Ok(self.usage.cpu.as_secs_f64() * 1e6 / self.done as f64)
    }

    /// Returns the thousands per second of CPU time, if (nearly) none was lost.
    pub(crate) fn thousands_a_cpu_second(&self) -> Outcome {
        Ok(1e3 / self.us_each()?)
    }

    fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.done)
    }

    fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.done += other.done;
        self.usage.sleeps += other.usage.sleeps;
        self.usage.cpu += other.usage.cpu;
        self.wall += other.wall;
    }

    fn text(&self, what: &str) -> String {
        let busy_percent = 100.0 * self.usage.cpu.as_secs_f64() / self.wall.as_secs_f64();
        let between_sleeps = self.done as f64 / self.usage.sleeps.max(1) as f64;
        format!(
            "{busy_percent:.0} % busy, {between_sleeps:.1} {what} between two sleeps, {} lost",
            self.lost()
        )
    }
}

/// More than this share lost, and a window does not count: lost work is cheap.
const MAX_LOST_ONE_IN: u64 = 1000;

/// Name of the thread of a server's first worker.
pub(crate) const WORKER: &str = "worker-0";
