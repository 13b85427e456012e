//! The latencies of a run over time.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::outcome::Sample;
use crate::percentiles::Quantiles;
use crate::units::thousandths;

/// The intervals of a run, in order. It grows by at most seven of them per second, which is
/// 2 MB per hour.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    intervals: Vec<Interval>,
}

/// One latency in one interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// A name of [`crate::outcome::Latencies::named`].
    pub latency: Cow<'static, str>,
    /// The start of the interval, in seconds since that of the recording.
    pub start_s: f64,
    /// The length of the interval, in seconds.
    pub length_s: f64,
    /// Latencies recorded: at least one.
    pub count: u64,
    /// Their quantiles.
    #[serde(flatten)]
    pub quantiles: Quantiles,
}

impl Timeline {
    /// Adds an interval for each latency of which something was recorded.
    pub fn add(&mut self, sample: &Sample<'_>) {
        for (name, histogram) in sample.latencies.named() {
            self.intervals
                .extend(Quantiles::of(histogram).map(|quantiles| Interval {
                    latency: Cow::Borrowed(name),
                    start_s: thousandths(sample.start.as_secs_f64()),
                    length_s: thousandths(sample.length.as_secs_f64()),
                    count: histogram.len(),
                    quantiles,
                }));
        }
    }

    /// Returns all intervals.
    pub fn into_intervals(self) -> Vec<Interval> {
        self.intervals
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
            quantiles: Quantiles {
                p50_us: 500.223,
                p99_us: 990.207,
                p99_9_us: 999.423,
                max_us: 1_000.447,
            },
        };
        assert_eq!(timeline.into_intervals(), [expected]);
    }
}
