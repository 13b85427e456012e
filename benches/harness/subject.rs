//! The server under measurement, and a window of time in which it, or the
//! bare kernel in its place, is measured.

use std::time::{Duration, Instant};

use bullhorn::config::ServiceKind;
use bullhorn::net::BufferSizes;
use bullhorn::server::clock::Clock;
use bullhorn::{Server, ServerConfig};

use super::Error;
use super::cpu::{ThreadMeter, Usage};
use super::pairs::Outcome;

/// A server with one worker, on the first core. To be called before the
/// calling thread is pinned: a server shares out the cores that it may use.
pub(crate) fn start(service: ServiceKind) -> Result<Server, Error> {
    start_with_clock(service, Clock::monotonic())
}

/// A chat server with so many workers, the first on the first core.
pub(crate) fn start_workers(workers: u16) -> Result<Server, Error> {
    let config = config(ServiceKind::Chat)?;
    Ok(Server::start(ServerConfig { workers, ..config })?)
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

/// The buffers of such a server's socket.
pub(crate) fn buffers() -> BufferSizes {
    let config = ServerConfig::default();
    BufferSizes {
        receive_bytes: config.receive_buffer.as_u64() as usize,
        send_bytes: config.send_buffer.as_u64() as usize,
    }
}

/// What one window of load cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Deliveries, heartbeats or answers that should have come, and that came.
    pub(crate) expected: u64,
    pub(crate) done: u64,
    pub(crate) usage: Usage,
    pub(crate) wall: Duration,
}

impl Cost {
    /// Runs `load`, which returns how many should have come and how many came,
    /// and reads what it cost the thread of `meter`.
    pub(crate) fn of(
        meter: &ThreadMeter,
        load: impl FnOnce() -> Result<(u64, u64), Error>,
    ) -> Result<Self, Error> {
        let before = meter.read_at_rest()?;
        let start = Instant::now();
        let (expected, done) = load()?;
        let wall = start.elapsed();
        let usage = meter.read_at_rest()?.since(before);
        Ok(Self {
            expected,
            done,
            usage,
            wall,
        })
    }

    /// CPU time of each, in µs, if (nearly) none was lost.
    pub(crate) fn us_each(&self) -> Outcome {
        self.check()?;
        Ok(self.usage.cpu.as_secs_f64() * 1e6 / self.done as f64)
    }

    /// Thousands in a second of CPU time, if (nearly) none was lost.
    pub(crate) fn thousands_a_cpu_second(&self) -> Outcome {
        Ok(1e3 / self.us_each()?)
    }

    fn check(&self) -> Result<(), String> {
        let lost = self.lost();
        if self.done == 0 || lost * MAX_LOST_ONE_IN > self.expected {
            return Err(format!("{lost} of {} were lost", self.expected));
        }
        Ok(())
    }

    fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.done)
    }
}

/// What both sides did in all windows together, to show that they were given
/// the same work in the same portions.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    bare: Total,
    subject: Total,
}

#[derive(Debug, Default)]
struct Total {
    done: u64,
    lost: u64,
    sleeps: u64,
    cpu: Duration,
    wall: Duration,
}

impl Totals {
    /// Adds one window of the subject or of the bare kernel.
    pub(crate) fn add(&mut self, is_subject: bool, cost: &Cost) {
        let total = if is_subject {
            &mut self.subject
        } else {
            &mut self.bare
        };
        total.done += cost.done;
        total.lost += cost.lost();
        total.sleeps += cost.usage.sleeps;
        total.cpu += cost.usage.cpu;
        total.wall += cost.wall;
    }

    /// How busy each was, how much was lost, and how many of `what` it handled between two sleeps.
    pub(crate) fn note(&self, what: &str) -> String {
        let text = |side: &Total| {
            let busy_percent = 100.0 * side.cpu.as_secs_f64() / side.wall.as_secs_f64();
            let between_sleeps = side.done as f64 / side.sleeps.max(1) as f64;
            let lost = side.lost;
            format!(
                "{busy_percent:.0} % busy, {between_sleeps:.1} {what} between two sleeps, {lost} lost"
            )
        };
        format!(
            "subject: {}; bare: {}",
            text(&self.subject),
            text(&self.bare)
        )
    }
}

/// More than this share lost, and a window does not count: lost work is cheap.
const MAX_LOST_ONE_IN: u64 = 1000;
