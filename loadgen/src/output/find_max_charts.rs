//! Which curves the page of a search shows: what became of the load as it grew.

use super::axes::{Axis, log_us};
use super::charts::{Figure, highest, latency_axis};
use super::find_max::FindMaxSummary;
use super::plots::{Colour, Curve, Mark, Plot};
use crate::limits::find_max::{Quantiles, Try};

/// All figures of a search, in the order of the page. What no try had has none.
pub(super) fn figures(summary: &FindMaxSummary) -> Vec<Figure> {
    let figures = [
        latencies(
            summary,
            "Delivery latency over load",
            "From when a text was due until a member of its room had it.",
            |one| one.delivery,
        ),
        latencies(
            summary,
            "Answer latency over load",
            "From when a request was due until its answer was there.",
            |one| one.answer,
        ),
        losses(summary),
        sent(summary),
    ];
    figures.into_iter().flatten().collect()
}

fn latencies(
    summary: &FindMaxSummary,
    title: &'static str,
    what: &str,
    quantiles: fn(&Try) -> Option<Quantiles>,
) -> Option<Figure> {
    type Quantile = fn(Quantiles) -> f64;
    let of_curves: [(&str, Colour, Quantile); 3] = [
        ("p50", Colour::Median, |of| of.p50_us),
        ("p99", Colour::Tail, |of| of.p99_us),
        ("p99.9", Colour::Max, |of| of.p99_9_us),
    ];
    let mut curves = Vec::new();
    let mut marks = Vec::new();
    for (name, colour, quantile) in of_curves {
        let value = |one: &Try| quantiles(one).map(|of| log_us(quantile(of)));
        curves.push(curve(summary, name, colour, value));
        marks.extend(marks_of(summary, colour, value));
    }
    let y = latency_axis(marks.iter().map(|mark| mark.at.1))?;
    let caption = format!("{what} Half took at most p50, and one of a thousand more than p99.9.");
    Some(figure(summary, title, caption, y, curves, marks))
}

fn losses(summary: &FindMaxSummary) -> Option<Figure> {
    let has_any = |one: &Try| one.deliveries_per_s > 0.0 || one.answers_per_s > 0.0;
    let lost = |one: &Try| one.missing_ratio > 0.0;
    if !summary.tries.iter().any(|one| has_any(one) || lost(one)) {
        return None;
    }
    let value = |one: &Try| Some(one.missing_ratio);
    let curves = vec![curve(summary, "loss", Colour::Lost, value)];
    let marks = marks_of(summary, Colour::Lost, value);
    let y = Axis::shares("share lost", top(&marks));
    let caption = "Of the copies owed and the answers asked for, the share that never came.";
    Some(figure(
        summary,
        "Loss over load",
        caption.to_owned(),
        y,
        curves,
        marks,
    ))
}

fn sent(summary: &FindMaxSummary) -> Option<Figure> {
    let value = |one: &Try| Some(one.sent_per_s);
    let curves = vec![
        curve(summary, "sent", Colour::Actual, value),
        curve(summary, "due", Colour::Expected, |one| Some(one.rate_per_s)),
    ];
    let marks = marks_of(summary, Colour::Actual, value);
    if marks.is_empty() {
        return None;
    }
    let y = Axis::linear("datagrams a second", top(&marks).max(highest(&curves)));
    let caption = "What the generator sent of what was due. Where they differ, the generator \
                   was the bottleneck.";
    Some(figure(
        summary,
        "Datagrams sent over load",
        caption.to_owned(),
        y,
        curves,
        marks,
    ))
}

/// With a line where the highest good rate is, if there is one.
fn figure(
    summary: &FindMaxSummary,
    title: &'static str,
    caption: String,
    y: Axis,
    mut curves: Vec<Curve>,
    marks: Vec<Mark>,
) -> Figure {
    if let Some(rate) = summary.found.rate_per_s {
        curves.push(Curve {
            name: "highest good rate",
            colour: Colour::Limit,
            pieces: vec![vec![(rate, y.range.start), (rate, y.range.end)]],
        });
    }
    let rates = summary.tries.iter().map(|one| one.rate_per_s);
    let most = rates.fold(0.0, f64::max);
    // The last marks need some room.
    let x = Axis::linear("datagrams offered a second", most * 1.05).cut_at(most * 1.05);
    Figure {
        title,
        caption,
        plot: Plot {
            x,
            y,
            curves,
            marks,
        },
    }
}

/// Through the middle one of the values at each rate, or the higher one of two.
fn curve(
    summary: &FindMaxSummary,
    name: &'static str,
    colour: Colour,
    value: impl Fn(&Try) -> Option<f64>,
) -> Curve {
    let tries = summary.tries.iter();
    let points = tries.filter_map(|one| Some((one.rate_per_s, value(one)?)));
    let mut points: Vec<_> = points.collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let same_rate = points.chunk_by(|one, other| one.0 == other.0);
    let piece: Vec<_> = same_rate.map(|points| points[points.len() / 2]).collect();
    Curve {
        name,
        colour,
        pieces: if piece.is_empty() {
            vec![]
        } else {
            vec![piece]
        },
    }
}

fn marks_of(
    summary: &FindMaxSummary,
    colour: Colour,
    value: impl Fn(&Try) -> Option<f64>,
) -> Vec<Mark> {
    let mark = |one: &Try| {
        Some(Mark {
            at: (one.rate_per_s, value(one)?),
            colour,
            is_good: one.is_good,
        })
    };
    summary.tries.iter().filter_map(mark).collect()
}

fn top(marks: &[Mark]) -> f64 {
    marks.iter().map(|mark| mark.at.1).fold(0.0, f64::max)
}

#[cfg(test)]
#[path = "find_max_charts_tests.rs"]
mod tests;
