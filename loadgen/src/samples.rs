//! Outcomes for tests to change as they need them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::{Counts, Generator, Latencies, Outcome};

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
    Latencies {
        delivery: recorded(&[]),
        delivery_from_send: recorded(&[]),
        answer: recorded(&[]),
        answer_from_send: recorded(&[]),
        answer_closed_loop: recorded(&[]),
        send_lag: recorded(&[]),
    }
}

/// These, in nanoseconds.
pub(crate) fn recorded(values_ns: &[u64]) -> Histogram<u64> {
    let mut recorded = Histogram::new(3).expect("three digits are allowed");
    for value_ns in values_ns {
        recorded += *value_ns;
    }
    recorded
}
