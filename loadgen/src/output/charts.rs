//! Which curves a report shows, and over which axes.

use hdrhistogram::Histogram;

use super::axes::{Axis, log_us};
use super::plots::{Colour, Curve, Plot};
use super::summary::Summary;
use super::timeline::Interval;
use crate::outcome::{Latencies, Second};

/// A plot, and what is written beside it.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) title: &'static str,
    /// What it shows, and what to look for.
    pub(super) caption: String,
    pub(super) plot: Plot,
}

/// All figures of a run, in the order of the report. What the run had none of has none.
pub(super) fn figures(summary: &Summary, latencies: &Latencies) -> Vec<Figure> {
    let bins = Bin::of(&summary.seconds, summary.recorded_s);
    let figures = [
        deliveries_by_percentile(latencies),
        deliveries_over_time(summary),
        answers_by_percentile(latencies),
        answers_over_time(summary),
        offered(summary, &bins),
        delivered(summary, &bins),
        answered(summary, &bins),
        losses(summary, &bins),
    ];
    figures.into_iter().flatten().collect()
}

fn deliveries_by_percentile(latencies: &Latencies) -> Option<Figure> {
    by_percentile(
        "Delivery latency by percentile",
        "From when a text was due until a member of its room had it; and from when it was in \
         fact sent. The further to the right, the rarer.",
        &[
            ("from due", Colour::FromDue, &latencies.delivery),
            ("from send", Colour::FromSend, &latencies.delivery_from_send),
        ],
    )
}

fn answers_by_percentile(latencies: &Latencies) -> Option<Figure> {
    by_percentile(
        "Answer latency by percentile",
        "From when a request was due until its answer was there; and from when it was in fact \
         sent. Closed loop is what a generator would report that waits for each answer before \
         it asks again, and so omits the worst.",
        &[
            ("from due", Colour::FromDue, &latencies.answer),
            ("from send", Colour::FromSend, &latencies.answer_from_send),
            (
                "closed loop",
                Colour::ClosedLoop,
                &latencies.answer_closed_loop,
            ),
        ],
    )
}

fn by_percentile(
    title: &'static str,
    caption: &str,
    histograms: &[(&'static str, Colour, &Histogram<u64>)],
) -> Option<Figure> {
    let recorded = histograms
        .iter()
        .filter(|(_, _, histogram)| !histogram.is_empty());
    let curves = recorded.map(|(name, colour, histogram)| Curve {
        name,
        colour: *colour,
        pieces: vec![quantiles(histogram)],
    });
    let curves: Vec<_> = curves.collect();
    let count = histograms
        .iter()
        .map(|(_, _, histogram)| histogram.len())
        .max()?;
    Some(Figure {
        title,
        caption: caption.to_owned(),
        plot: Plot {
            x: Axis::percentiles("percentile, in %", count),
            y: latency_axis(heights(&curves))?,
            curves,
            marks: Vec::new(),
        },
    })
}

/// The values from the least to the greatest, at equal distances on the axis.
fn quantiles(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let end = (histogram.len() as f64).log10();
    let places = (0..=QUANTILES).map(|at| end * f64::from(at) / f64::from(QUANTILES));
    let places: Vec<_> = places.collect();
    let quantiles = places.iter().map(|place| 1.0 - 10_f64.powf(-place));
    let values = histogram.value_at_quantiles(quantiles.collect::<Vec<_>>());
    let heights = values.map(|ns| log_us(ns as f64 / 1e3));
    places.iter().copied().zip(heights).collect()
}

fn deliveries_over_time(summary: &Summary) -> Option<Figure> {
    let title = "Delivery latency over time";
    over_time(title, "texts", "delivery", summary)
}

fn answers_over_time(summary: &Summary) -> Option<Figure> {
    over_time("Answer latency over time", "answers", "answer", summary)
}

fn over_time(title: &'static str, what: &str, latency: &str, summary: &Summary) -> Option<Figure> {
    let of_it = summary
        .intervals
        .iter()
        .filter(|interval| interval.latency == latency);
    let intervals: Vec<_> = of_it.collect();
    let a_point = intervals.len().div_ceil(MAX_POINTS).max(1);
    let curve = |name, colour, value: fn(&Interval) -> f64| Curve {
        name,
        colour,
        pieces: pieces(&intervals, a_point, value),
    };
    let curves = vec![
        curve("median", Colour::Median, |interval| interval.p50_us),
        curve("p99", Colour::Tail, |interval| interval.p99_us),
        curve("max", Colour::Max, |interval| interval.max_us),
    ];
    let mut caption = format!(
        "Of the {what} that came in each second, counted from when they were due: half took \
         at most the median, 99 % at most p99."
    );
    if a_point > 1 {
        caption += &format!(" Each point is the worst of {a_point} seconds.");
    }
    Some(Figure {
        title,
        caption,
        plot: Plot {
            x: time_axis(summary),
            y: latency_axis(heights(&curves))?,
            curves,
            marks: Vec::new(),
        },
    })
}

/// The highest value of each `a_point` intervals, with a gap wherever an interval is
/// missing.
fn pieces(
    intervals: &[&Interval],
    a_point: usize,
    value: fn(&Interval) -> f64,
) -> Vec<Vec<(f64, f64)>> {
    let follows = |before: &&Interval, after: &&Interval| {
        after.start_s - before.start_s < 1.5 * before.length_s
    };
    let unbroken = intervals.chunk_by(follows);
    let piece = |intervals: &[&Interval]| {
        let points = intervals.chunks(a_point).map(|group| {
            let highest = group
                .iter()
                .map(|interval| value(interval))
                .fold(0.0, f64::max);
            let (first, last) = (group[0], group[group.len() - 1]);
            let middle_s = (first.start_s + last.start_s + last.length_s) / 2.0;
            (middle_s, log_us(highest))
        });
        points.collect()
    };
    unbroken.map(piece).collect()
}

fn offered(summary: &Summary, bins: &[Bin]) -> Option<Figure> {
    let caption = "What the schedule asked for, and what the generator sent of it. Where they \
                   differ, the generator was the bottleneck.";
    let pair = [("due", count_due as Count), ("sent", |second| second.sent)];
    rates(
        summary,
        bins,
        "Datagrams offered",
        caption,
        "datagrams a second",
        pair,
    )
}

fn delivered(summary: &Summary, bins: &[Bin]) -> Option<Figure> {
    let caption = "Copies of texts that members of rooms were owed, by when the text was due, \
                   and those of them that came.";
    let pair = [
        ("owed", (|second| second.owed) as Count),
        ("delivered", |second| second.delivered),
    ];
    rates(
        summary,
        bins,
        "Deliveries",
        caption,
        "copies a second",
        pair,
    )
}

fn answered(summary: &Summary, bins: &[Bin]) -> Option<Figure> {
    let caption = "Requests sent, by when they were due, and those of them that were answered.";
    let pair = [
        ("asked", (|second| second.asked) as Count),
        ("answered", |second| second.answered),
    ];
    rates(summary, bins, "Answers", caption, "requests a second", pair)
}

type Count = fn(&Second) -> u64;

fn count_due(second: &Second) -> u64 {
    second.due
}

fn rates(
    summary: &Summary,
    bins: &[Bin],
    title: &'static str,
    caption: &str,
    unit: &'static str,
    [expected, actual]: [(&'static str, Count); 2],
) -> Option<Figure> {
    if bins.iter().all(|bin| expected.1(&bin.sum) == 0) {
        return None;
    }
    let curve = |(name, count): (&'static str, Count), colour| {
        let points = bins
            .iter()
            .map(|bin| (bin.middle_s, count(&bin.sum) as f64 / bin.length_s));
        Curve {
            name,
            colour,
            pieces: vec![points.collect()],
        }
    };
    let curves = vec![
        curve(actual, Colour::Actual),
        curve(expected, Colour::Expected),
    ];
    Some(Figure {
        title,
        caption: caption.to_owned(),
        plot: Plot {
            x: time_axis(summary),
            y: Axis::linear(unit, highest(&curves)),
            curves,
            marks: Vec::new(),
        },
    })
}

fn losses(summary: &Summary, bins: &[Bin]) -> Option<Figure> {
    let share = |name, colour, [whole, part]: [Count; 2]| {
        let has_any = |bin: &Bin| whole(&bin.sum) > 0;
        let both = bins.chunk_by(|before, after| has_any(before) == has_any(after));
        let some = both.filter(|bins| bins.iter().all(has_any));
        let piece = |bins: &[Bin]| {
            let points = bins.iter().map(|bin| {
                let whole = whole(&bin.sum);
                let missing = whole.saturating_sub(part(&bin.sum));
                (bin.middle_s, missing as f64 / whole as f64)
            });
            points.collect()
        };
        Curve {
            name,
            colour,
            pieces: some.map(piece).collect(),
        }
    };
    let copies: [Count; 2] = [|second| second.owed, |second| second.delivered];
    let requests: [Count; 2] = [|second| second.asked, |second| second.answered];
    let mut curves = vec![
        share("deliveries lost", Colour::Lost, copies),
        share("requests unanswered", Colour::Unanswered, requests),
    ];
    curves.retain(|curve| !curve.pieces.is_empty());
    if curves.is_empty() {
        return None;
    }
    Some(Figure {
        title: "Losses",
        caption: "Of what was due in each second, the share that never came.".to_owned(),
        plot: Plot {
            x: time_axis(summary),
            y: Axis::shares("share lost", highest(&curves)),
            curves,
            marks: Vec::new(),
        },
    })
}

/// Some seconds that are drawn as one point.
struct Bin {
    middle_s: f64,
    length_s: f64,
    sum: Second,
}

impl Bin {
    /// At most [`MAX_POINTS`] of them, of as many seconds each.
    fn of(seconds: &[Second], recorded_s: f64) -> Vec<Self> {
        let a_bin = seconds.len().div_ceil(MAX_POINTS).max(1);
        let bins = seconds.chunks(a_bin).enumerate().map(|(at, seconds)| {
            let start_s = (at * a_bin) as f64;
            // The last second is cut off where the recording was.
            let whole_s = seconds.len() as f64;
            let length_s = (recorded_s - start_s).clamp(MIN_LENGTH_S, whole_s);
            Self {
                middle_s: start_s + length_s / 2.0,
                length_s,
                sum: sum(seconds),
            }
        });
        let mut bins: Vec<_> = bins.collect();
        if bins.len() > 1 {
            // The rate of a fraction of a second says little, and would stand out.
            bins.retain(|bin| bin.length_s >= 0.5);
        }
        bins
    }
}

fn sum(seconds: &[Second]) -> Second {
    let sum = |count: Count| seconds.iter().map(count).sum();
    Second {
        due: sum(|second| second.due),
        sent: sum(|second| second.sent),
        asked: sum(|second| second.asked),
        answered: sum(|second| second.answered),
        owed: sum(|second| second.owed),
        delivered: sum(|second| second.delivered),
    }
}

fn time_axis(summary: &Summary) -> Axis {
    let last = summary
        .intervals
        .iter()
        .map(|interval| interval.start_s + interval.length_s);
    // What was due at the end comes later.
    let end_s = last.fold(summary.recorded_s, f64::max).max(1.0);
    Axis::linear("time since the recording began, in seconds", end_s).cut_at(end_s)
}

/// One on which all of `heights` can be seen, if there is anything to see.
pub(super) fn latency_axis(heights: impl Iterator<Item = f64> + Clone) -> Option<Axis> {
    let heights = || heights.clone().map(|log| 10_f64.powf(log));
    let lowest = heights().reduce(f64::min)?;
    let highest = heights().reduce(f64::max)?;
    Some(Axis::latency("latency (logarithmic)", lowest, highest))
}

pub(super) fn highest(curves: &[Curve]) -> f64 {
    heights(curves).fold(0.0, f64::max)
}

fn heights(curves: &[Curve]) -> impl Iterator<Item = f64> + Clone {
    let pieces = curves.iter().flat_map(|curve| &curve.pieces);
    pieces.flatten().map(|(_, height)| *height)
}

/// Points of a curve over percentiles: one for two units of the plot.
const QUANTILES: u32 = 400;

/// Points of a curve over time: with more, peaks would lie upon each other.
const MAX_POINTS: usize = 300;

/// Nothing is divided by less, as seconds beyond the end of a recording would be.
const MIN_LENGTH_S: f64 = 0.001;

#[cfg(test)]
#[path = "charts_tests.rs"]
mod tests;
