//! How latencies went on while a run did.

use std::borrow::Cow;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::numbers::{micros, rounded};
use crate::outcome::Sample;

/// The intervals of a run, in order. It grows by at most six of them a second, which is
/// 2 MB an hour.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    intervals: Vec<Interval>,
}

/// What one latency was in one interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Which one: a name of [`crate::outcome::Latencies::named`].
    pub latency: Cow<'static, str>,
    /// When the interval began, in seconds since the recording did.
    pub start_s: f64,
    /// How long it was, in seconds.
    pub length_s: f64,
    /// How many were recorded in it: at least one.
    pub count: u64,
    /// Half of them took at most this, in microseconds.
    pub p50_us: f64,
    /// 99 % of them.
    pub p99_us: f64,
    /// 99.9 % of them.
    pub p99_9_us: f64,
    /// All of them.
    pub max_us: f64,
}

impl Timeline {
    /// Adds an interval for each latency of which something was recorded in it.
    pub fn add(&mut self, sample: &Sample<'_>) {
        let named = sample.latencies.named().into_iter();
        let recorded = named.filter(|(_, histogram)| !histogram.is_empty());
        let intervals = recorded.map(|(name, histogram)| interval(sample, name, histogram));
        self.intervals.extend(intervals);
    }

    /// All of them.
    pub fn into_intervals(self) -> Vec<Interval> {
        self.intervals
    }
}

fn interval(sample: &Sample<'_>, name: &'static str, histogram: &Histogram<u64>) -> Interval {
    let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
    Interval {
        latency: Cow::Borrowed(name),
        start_s: rounded(sample.start.as_secs_f64()),
        length_s: rounded(sample.length.as_secs_f64()),
        count: histogram.len(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        max_us: micros(histogram.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Counts, Latencies};
    use std::time::Duration;

    #[test]
    fn an_interval_is_what_was_recorded_in_it() {
        let mut latencies = Latencies::new();
        for ns in 1..=1_000 {
            latencies.answer.record(ns * 1_000).unwrap();
        }
        let mut timeline = Timeline::default();
        timeline.add(&Sample {
            start: Duration::from_millis(1_500),
            length: Duration::from_micros(1_000_499),
            counts: Counts::default(),
            latencies: &latencies,
        });
        let expected = Interval {
            latency: Cow::Borrowed("answer"),
            start_s: 1.5,
            length_s: 1.0,
            count: 1_000,
            p50_us: 500.223,
            p99_us: 990.207,
            p99_9_us: 999.423,
            max_us: 1_000.447,
        };
        assert_eq!(timeline.into_intervals(), [expected]);
    }
}
