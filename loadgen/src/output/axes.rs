//! The axes of plots: which range they show, and where their ticks are.

use std::ops::Range;

use super::numbers::{duration, percent, short};

/// One axis. Positions on it are linear: whoever plots on a logarithmic one gives
/// logarithms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// What it measures, with its unit.
    pub(super) title: &'static str,
    /// What it shows; never empty.
    pub(super) range: Range<f64>,
    /// Positions in the range, in order, and what is written there.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From nothing to `max`, which may be nothing too.
    pub(super) fn linear(title: &'static str, max: f64) -> Self {
        Self::from_zero(title, max, short)
    }

    /// The same of shares of one, in percent.
    pub(super) fn shares(title: &'static str, max: f64) -> Self {
        // A line at nothing is best seen on an axis that shows how little that is.
        Self::from_zero(title, max.max(0.001), percent)
    }

    /// Logarithms (base 10) of microseconds, from `min_us` to `max_us`, and on to the next
    /// round value on either side.
    pub(super) fn latency(title: &'static str, min_us: f64, max_us: f64) -> Self {
        let min = log_us(min_us).min(log_us(max_us));
        let max = log_us(max_us).max(min);
        let mut ticks: Vec<f64> = Vec::new();
        let decades = min.floor() as i32..=max.ceil() as i32;
        let round = decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit: f64| digit.log10() + f64::from(decade)));
        for tick in round {
            if tick <= min + SAME {
                // Of those below, only the last one is of use.
                ticks.clear();
            }
            let is_enough = ticks.last().is_some_and(|last| *last >= max - SAME);
            if !is_enough || ticks.len() < 2 {
                ticks.push(tick);
            }
        }
        let range = ticks[0]..ticks[ticks.len() - 1];
        if ticks.len() > MAX_TICKS {
            ticks.retain(|tick| (tick - tick.round()).abs() < SAME);
        }
        let label = |tick: f64| duration(10_f64.powf(tick));
        Self {
            title,
            range,
            ticks: ticks.into_iter().map(|tick| (tick, label(tick))).collect(),
        }
    }

    /// How far a percentile is from 100 %, as the logarithm (base 10) of 1/(1 - quantile):
    /// up to that which one of `count` values is.
    pub(super) fn percentiles(title: &'static str, count: u64) -> Self {
        let end = (count.max(MIN_COUNT) as f64).log10();
        let ticks = PERCENTILES.into_iter().take_while(|(at, _)| *at <= end);
        Self {
            title,
            range: 0.0..end,
            ticks: ticks.map(|(at, label)| (at, label.to_owned())).collect(),
        }
    }

    fn from_zero(title: &'static str, max: f64, label: fn(f64) -> String) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_above(max / MAX_STEPS);
        let steps = (max / step - SAME).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|at| f64::from(at) * step);
        Self {
            title,
            range: 0.0..steps * step,
            ticks: ticks.map(|tick| (tick, label(tick))).collect(),
        }
    }

    /// The same, but ends where the data does.
    pub(super) fn cut_at(mut self, end: f64) -> Self {
        if end > self.range.start {
            self.range.end = end;
            self.ticks.retain(|(tick, _)| *tick <= end);
        }
        self
    }
}

/// Where a latency is on [`Axis::latency`].
pub(super) fn log_us(us: f64) -> f64 {
    us.max(MIN_US).log10()
}

/// The least of 1, 2, 5, 10, … that is not below `value`, which is above nothing.
fn round_above(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0];
    let digit = digits
        .into_iter()
        .find(|digit| digit * decade >= value * (1.0 - SAME));
    digit.unwrap_or(10.0) * decade
}

/// What histograms cannot tell from nothing: a nanosecond.
const MIN_US: f64 = 0.001;

/// The axis of percentiles has 90 % and 99 % on it, however few values there are.
const MIN_COUNT: u64 = 150;

/// Numbers closer than this are one: powers of ten are not exact.
const SAME: f64 = 1e-9;

/// More labels than this would be a clutter; the axis of latencies then has powers of ten
/// alone.
const MAX_TICKS: usize = 8;

/// The same for the axes that begin at nothing.
const MAX_STEPS: f64 = 6.0;

const PERCENTILES: [(f64, &str); 10] = [
    (0.0, "0"),
    (1.0, "90"),
    (2.0, "99"),
    (3.0, "99.9"),
    (4.0, "99.99"),
    (5.0, "99.999"),
    (6.0, "99.9999"),
    (7.0, "7 nines"),
    (8.0, "8 nines"),
    (9.0, "9 nines"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn linear_axes_begin_at_nothing_and_have_round_steps() {
        let axis = Axis::linear("", 1_002.0);
        assert_eq!(axis.range, 0.0..1_200.0);
        let expected = ["0", "200", "400", "600", "800", "1,000", "1,200"];
        assert_eq!(labels(&axis), expected);
        assert_eq!(labels(&Axis::linear("", 0.0)).len(), 6);
        assert_eq!(Axis::linear("", 10.0).cut_at(9.0).range.end, 9.0);
        assert_eq!(Axis::shares("", 0.0).range, 0.0..0.001);
        assert_eq!(labels(&Axis::shares("", 1.0))[1..3], ["20 %", "40 %"]);
    }

    #[test]
    fn latencies_lie_between_round_values() {
        let axis = Axis::latency("", 83.0, 1_900.0);
        let expected = ["50 µs", "100 µs", "200 µs", "500 µs", "1 ms", "2 ms"];
        assert_eq!(labels(&axis), expected);
        let wide = Axis::latency("", 30.0, 3e6);
        let expected = ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"];
        assert_eq!(labels(&wide), expected);
        assert_eq!(
            labels(&Axis::latency("", 312.0, 313.0)),
            ["200 µs", "500 µs"]
        );
        assert_eq!(
            labels(&Axis::latency("", 200.0, 200.0)),
            ["200 µs", "500 µs"]
        );
    }

    #[test]
    fn percentiles_end_with_the_last_value() {
        let axis = Axis::percentiles("", 45_000);
        let expected = ["0", "90", "99", "99.9", "99.99"];
        assert_eq!(labels(&axis), expected);
        assert_eq!(labels(&Axis::percentiles("", 1)), expected[..3]);
        assert_eq!(labels(&Axis::percentiles("", u64::MAX)).len(), 10);
    }

    proptest! {
        #[test]
        fn any_axis_shows_its_data_and_at_least_two_ticks(
            low in 0.0..1e10_f64,
            high in 0.0..1e10_f64,
            exponent in -6..0,
        ) {
            let scale = 10_f64.powi(exponent);
            let (low, high) = (low.min(high) * scale, low.max(high) * scale);
            let latency = Axis::latency("", low, high);
            let within = latency.range.start - 1e-6..=latency.range.end + 1e-6;
            prop_assert!(within.contains(&log_us(low)), "{low} in {within:?}");
            prop_assert!(within.contains(&log_us(high)), "{high} in {within:?}");
            let linear = Axis::linear("", high);
            prop_assert!(linear.range.end >= high * (1.0 - 1e-6));
            for axis in [latency, linear] {
                prop_assert!((2..=9).contains(&axis.ticks.len()), "{axis:?}");
                let shown = axis.range.start..=axis.range.end;
                let are_shown = axis.ticks.iter().all(|(tick, _)| shown.contains(tick));
                prop_assert!(are_shown, "{axis:?}");
            }
        }
    }
}
