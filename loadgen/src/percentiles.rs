//! Percentiles of what was recorded, where something was.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Within how long `percent` of all were over; nothing if there were none.
pub fn percentile(of: &Histogram<u64>, percent: f64) -> Option<Duration> {
    (!of.is_empty()).then(|| Duration::from_nanos(of.value_at_percentile(percent)))
}

/// What reports call a percentile: `p50`, `p99.9`.
pub fn percentile_name(percent: f64) -> String {
    format!("p{percent}")
}

/// The longest; nothing if there were none.
pub fn longest(of: &Histogram<u64>) -> Option<Duration> {
    (!of.is_empty()).then(|| Duration::from_nanos(of.max()))
}

/// The arithmetic mean; nothing if there were none.
pub fn mean(of: &Histogram<u64>) -> Option<Duration> {
    (!of.is_empty()).then(|| Duration::from_nanos(of.mean() as u64))
}

/// Of which a live view has room to speak.
pub const FEW: [f64; 3] = [50.0, 99.0, 99.9];

/// Of which a report speaks.
pub const MANY: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

#[cfg(test)]
mod tests {
    use super::*;

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
