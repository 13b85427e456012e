//! Outcomes for tests to change as they need them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::config::{Rate, RunConfig, Scenario};
use crate::outcome::{Counts, Generator, Latencies, Outcome, Sample};
use crate::testing::config;

/// Ten clients that ping, for 10 s.
pub(crate) fn pings(rate: f64) -> RunConfig {
    RunConfig {
        clients: 10,
        rate: Rate::Constant(rate),
        mix: Scenario::Ping.mix(config().mix),
        duration: Duration::from_secs(10),
        seed: 1,
        ..config()
    }
}

/// The second that begins at `start_s`.
pub(crate) fn sample(start_s: u64, counts: Counts, latencies: &Latencies) -> Sample<'_> {
    Sample {
        start: Duration::from_secs(start_s),
        length: Duration::from_secs(1),
        counts,
        latencies,
    }
}

/// Nothing was due, for 10 s.
pub(crate) fn outcome() -> Outcome {
    Outcome {
        began_at: Duration::from_secs(1_700_000_000),
        recorded: Duration::from_secs(10),
        registered_in: Duration::from_millis(20),
        counts: Counts::default(),
        latencies: latencies(),
        seconds: Vec::new(),
        generator: Generator {
            threads: 1,
            ..Generator::default()
        },
        signal: None,
    }
}

/// Nothing was recorded.
pub(crate) fn latencies() -> Latencies {
    Latencies::new()
}

/// These, in nanoseconds.
pub(crate) fn recorded(values_ns: &[u64]) -> Histogram<u64> {
    let mut recorded = Histogram::new(3).expect("three digits are allowed");
    for value_ns in values_ns {
        recorded += *value_ns;
    }
    recorded
}
