//! The server under measurement, and a window of time in which it, or the
//! bare kernel in its place, is measured.

use std::time::Duration;

use bullhorn::config::ServiceKind;
use bullhorn::net::BufferSizes;
use bullhorn::{Server, ServerConfig};

use super::Error;
use super::cpu::{ThreadMeter, Usage};
use super::pairs::Outcome;

/// A server with one worker, on the first core. To be called before the
/// calling thread is pinned: a server shares out the cores that it may use.
pub(crate) fn start(service: ServiceKind) -> Result<Server, Error> {
    Ok(Server::start(ServerConfig {
        workers: 1,
        bind: vec!["127.0.0.1:0".parse()?],
        service,
        // Nobody is dropped between two turns of the subject.
        timeout: Duration::from_secs(3600),
        reap_interval: Duration::from_secs(60),
        ..ServerConfig::default()
    })?)
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
}

impl Cost {
    /// Runs `load`, which returns how many should have come and how many came,
    /// and reads what it cost the thread of `meter`.
    pub(crate) fn of(
        meter: &ThreadMeter,
        load: impl FnOnce() -> Result<(u64, u64), Error>,
    ) -> Result<Self, Error> {
        let before = meter.read_at_rest()?;
        let (expected, done) = load()?;
        let usage = meter.read_at_rest()?.since(before);
        Ok(Self {
            expected,
            done,
            usage,
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
        let lost = self.expected.saturating_sub(self.done);
        if self.done == 0 || lost * MAX_LOST_ONE_IN > self.expected {
            return Err(format!("{lost} of {} were lost", self.expected));
        }
        Ok(())
    }
}

/// Sums up, over all windows, how often each side went to sleep.
#[derive(Debug, Default)]
pub(crate) struct Sleeps {
    done: [u64; 2],
    sleeps: [u64; 2],
}

impl Sleeps {
    /// Adds one window of the subject or of the bare kernel.
    pub(crate) fn add(&mut self, is_subject: bool, cost: &Cost) {
        self.done[usize::from(is_subject)] += cost.done;
        self.sleeps[usize::from(is_subject)] += cost.usage.sleeps;
    }

    /// How many of `what` each handled between two sleeps.
    pub(crate) fn note(&self, what: &str) -> String {
        let each = |side: usize| self.done[side] as f64 / self.sleeps[side].max(1) as f64;
        format!(
            "{what} between two sleeps: subject {:.1}, bare {:.1}",
            each(1),
            each(0)
        )
    }
}

/// More than this share lost, and a window does not count: lost work is cheap.
const MAX_LOST_ONE_IN: u64 = 1000;
