//! Percentiles of recorded latencies.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::described::described;
use crate::outcome::CEILING_NS;
use crate::units::latency;

described! {
    /// The quantiles that follow a latency over time or over load, in microseconds.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    pub struct Quantiles {
        /// Half of them took at most this.
        pub p50_us: f64,
        /// 99 % of them took at most this.
        pub p99_us: f64,
        /// 99.9 % of them took at most this.
        pub p99_9_us: f64,
        /// The greatest of them.
        pub max_us: f64,
    }
}

impl Quantiles {
    /// Returns those of `recorded`, or nothing if it is empty.
    pub fn of(recorded: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| micros(recorded.value_at_quantile(quantile));
        (!recorded.is_empty()).then(|| Self {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: micros(recorded.max()),
        })
    }

    /// Returns the greater one of each quantile.
    pub fn max(self, other: Self) -> Self {
        Self {
            p50_us: self.p50_us.max(other.p50_us),
            p99_us: self.p99_us.max(other.p99_us),
            p99_9_us: self.p99_9_us.max(other.p99_9_us),
            max_us: self.max_us.max(other.max_us),
        }
    }
}

/// Converts nanoseconds to microseconds, of which they are exact thousandths.
pub(crate) fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Returns the time within which `percent` of all were over, or nothing if there were none.
pub fn percentile(of: &Histogram<u64>, percent: f64) -> Option<Duration> {
    (!of.is_empty()).then(|| Duration::from_nanos(of.value_at_percentile(percent)))
}

/// Returns true for a latency that may have been longer: the histograms end there.
pub fn is_clamped(taken: Duration) -> bool {
    taken.as_nanos() >= CEILING_NS.into()
}

/// Prints a latency, and marks one that may have been longer: `≥ 68.7 s`.
pub fn taken(taken: Duration) -> String {
    match is_clamped(taken) {
        true => format!("≥ {}", latency(Duration::from_nanos(CEILING_NS))),
        false => latency(taken),
    }
}

/// Prints the same of microseconds.
pub fn taken_us(us: f64) -> String {
    taken(Duration::from_nanos((us * 1e3).round() as u64))
}

/// Returns the name of a percentile: `p50`, `p99.9`.
pub fn percentile_name(percent: f64) -> String {
    format!("p{percent}")
}

/// Returns the longest, or nothing if there were none.
pub fn longest(of: &Histogram<u64>) -> Option<Duration> {
    (!of.is_empty()).then(|| Duration::from_nanos(of.max()))
}

/// Returns the mean, or nothing if there were none.
pub fn mean(of: &Histogram<u64>) -> Option<Duration> {
    (!of.is_empty()).then(|| Duration::from_nanos(of.mean() as u64))
}

/// The percentiles of the live view.
pub const FEW: [f64; 3] = [50.0, 99.0, 99.9];

/// The percentiles of the summary.
pub const MANY: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_above_the_range_of_the_histograms_is_marked() {
        let mut recorded = crate::outcome::Latencies::new().answer;
        recorded.saturating_record(74_000_000_000);
        recorded.saturating_record(68_600_000_000);
        assert_eq!(longest(&recorded).map(taken), Some("≥ 68.7 s".to_owned()));
        let p50 = percentile(&recorded, 50.0).map(taken);
        assert_eq!(p50, Some("68.6 s".to_owned()));
        assert_eq!(
            taken_us(Quantiles::of(&recorded).unwrap().max_us),
            "≥ 68.7 s"
        );
        assert_eq!(recorded.count_at(CEILING_NS), 1);
    }

    #[test]
    fn of_nothing_there_is_no_percentile() {
        let mut recorded = Histogram::<u64>::new(3).unwrap();
        assert_eq!(percentile(&recorded, 50.0), None);
        assert_eq!(longest(&recorded), None);
        assert_eq!(mean(&recorded), None);
        for ns in [100, 200, 600] {
            recorded.record(ns).unwrap();
        }
        let ns = |ns| Some(Duration::from_nanos(ns));
        assert_eq!(percentile(&recorded, 50.0), ns(200));
        assert_eq!(longest(&recorded), ns(600));
        assert_eq!(mean(&recorded), ns(300));
    }
}
