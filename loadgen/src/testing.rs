//! Helpers of the unit tests: runs and outcomes, which a test changes as it needs.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::config::{Mix, Rate, RunConfig, Scenario};
use crate::limits::find_max::FoundMax;
use crate::outcome::{Counts, Generator, Latencies, Outcome, Sample};
use crate::slo::Slo;

pub(crate) mod documented;
#[path = "../tests/common/sample_run.rs"]
pub(crate) mod sample_run;
#[path = "../tests/common/sample_search.rs"]
pub(crate) mod sample_search;
#[path = "../tests/common/scratch.rs"]
pub(crate) mod scratch;

/// One client that pings ten times a second, for a second.
pub(crate) fn config() -> RunConfig {
    RunConfig {
        clients: 1,
        rate: Rate::constant(10.0),
        scenario: Scenario::Ping,
        mix: mix(9.0, 1.0, 0.0),
        duration: Duration::from_secs(1),
        seed: 7,
        ..RunConfig::new("127.0.0.1:9999".parse().unwrap())
    }
}

/// Shares of pings, texts and heartbeats.
pub(crate) fn mix(ping: f64, text: f64, heartbeat: f64) -> Mix {
    Mix {
        ping,
        text,
        heartbeat,
    }
}

/// Ten clients that ping, for 10 s.
pub(crate) fn pings(rate: f64) -> RunConfig {
    RunConfig {
        clients: 10,
        rate: Rate::constant(rate),
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
        server: None,
        signal: None,
        server_said_goodbye: false,
        silence: None,
        has_restarted: false,
        limited: None,
        send_error: None,
        others: Default::default(),
    }
}

/// A search in which an objective of every metric was missed.
pub(crate) fn search_that_missed_everything() -> FoundMax {
    let slo: Slo = "p99<1ns,loss<0%,rate>1M".parse().expect("clauses");
    let mut found = sample_search::found();
    found.tries[0].missed = slo.check(&sample_run::outcome());
    found
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
