//! Service level objectives: how they are written, and whether they are met.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::{CEILING_NS, Latencies, Outcome};
use crate::percentiles::{is_clamped, longest, mean, percentile, taken as printed};
use crate::units;
use crate::verdict::{Figure, Measured, MeasuredOf, SloResult};

/// Clauses that must all hold, as in
/// `p99<5ms,loss<0.1%,delivery.p99.9<=20ms,answer.max<1s,rate>=49k`.
///
/// A clause is `[delivery.|answer.]METRIC OP VALUE`, with or without spaces; OP is
/// `<`, `<=`, `>` or `>=`.
///
/// | METRIC | is | VALUE |
/// | --- | --- | --- |
/// | `p50`, `p99`, `p99.9`, any `pNN.NN` | the percentile of latencies, from when a datagram was due | a duration: `5ms`, `1.5s` |
/// | `max`, `mean` | the longest, and the mean | a duration |
/// | `loss` | copies and answers that did not come, of all that were expected and asked for | `0.1%`, or a share of 1: `0.001` |
/// | `rate` | datagrams sent a second | as `--rate`: `49k` |
///
/// A percentile counts what was lost as if it took for ever, so a server that loses 2 % misses
/// any `p99`. The longest and the mean are of what arrived.
///
/// With `delivery.` or `answer.` in front it is that kind's alone. Without, a latency
/// must hold for each kind that the run has, and a loss for both together.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    clauses: Vec<Clause>,
}

/// The reason why something is not an [`Slo`], or not one for this run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SloError(String);

impl Slo {
    /// Parses the form in the documentation of [`Slo`].
    pub fn parse(text: &str) -> Result<Self, SloError> {
        let clauses: Result<_, _> = text.split(',').map(Clause::parse).collect();
        clauses.map(|clauses| Self { clauses })
    }

    /// Refuses clauses about something that the run does not have.
    pub fn applies_to(&self, has_deliveries: bool, has_answers: bool) -> Result<(), SloError> {
        for clause in &self.clauses {
            let (has_it, kind) = match clause.of {
                MeasuredOf::Delivery => (has_deliveries, "deliveries"),
                MeasuredOf::Answer => (has_answers, "answers"),
                MeasuredOf::All => (has_deliveries || has_answers, "deliveries or answers"),
            };
            if !has_it && clause.metric != Metric::Rate {
                return Err(SloError(format!(
                    "the clause {} is about {kind}, and this run has none",
                    clause.written
                )));
            }
        }
        Ok(())
    }

    /// Compares each clause with the outcome. A latency of which nothing arrived meets no clause.
    pub fn check(&self, outcome: &Outcome) -> Vec<SloResult> {
        let check = |clause: &Clause| clause.check(outcome);
        self.clauses.iter().map(check).collect()
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        Self::parse(text)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, clause) in self.clauses.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", clause.written)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Clause {
    /// The clause without spaces.
    written: String,
    of: MeasuredOf,
    metric: Metric,
    operator: Operator,
    /// The limit in nanoseconds, as a share of 1, or per second, as the metric needs.
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    Percentile(f64),
    Max,
    Mean,
    Loss,
    Rate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Clause {
    fn parse(text: &str) -> Result<Self, SloError> {
        let written: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if written.is_empty() {
            let empty = "a clause is empty; write some such as p99<5ms,loss<0.1%";
            return Err(SloError(empty.to_owned()));
        }
        let no_operator = || {
            SloError(format!(
                "{written:?} has no <, <=, > or >=; write a clause such as p99<5ms"
            ))
        };
        let at = written.find(['<', '>']).ok_or_else(no_operator)?;
        let (subject, rest) = written.split_at(at);
        let (operator, value) = Operator::parse(rest).ok_or_else(no_operator)?;
        let no_metric = || {
            SloError(format!(
                "{subject:?} is not a metric; write p50, p99, p99.9 or any other percentile above \
                 0 and below 100, max, mean or loss, with delivery. or answer. in front for these \
                 alone, or rate"
            ))
        };
        let (of, metric) = parse_subject(subject).ok_or_else(no_metric)?;
        let limit = match metric {
            Metric::Loss => parse_loss(value).ok_or_else(|| {
                format!(
                    "{value:?} is not a loss; write one from 0% to 100%, such as 0.1%, or a share \
                     of 1 as 0.001"
                )
            }),
            Metric::Rate => units::parse_rate(value)
                .map_err(|wrong| format!("{value:?} is not a rate: it {wrong}")),
            Metric::Percentile(_) | Metric::Max | Metric::Mean => humantime::parse_duration(value)
                .map(|taken| taken.as_nanos() as f64)
                .map_err(|_| format!("{value:?} is not a duration; write one such as 5ms or 1.5s")),
        };
        let limit = limit.map_err(SloError)?;
        Ok(Self {
            of,
            metric,
            operator,
            limit,
            written,
        })
    }

    fn check(&self, outcome: &Outcome) -> SloResult {
        match self.metric {
            Metric::Loss => self.check_loss(outcome),
            Metric::Rate => self.check_rate(outcome),
            Metric::Percentile(_) | Metric::Max | Metric::Mean => self.check_latency(outcome),
        }
    }

    /// Returns a result in which the generator's lag has no part.
    fn result(&self, is_met: bool, measured: Vec<Measured>, sentence: String) -> SloResult {
        SloResult {
            clause: self.written.clone(),
            is_met,
            measured,
            sentence,
            is_doubtful: false,
        }
    }

    fn check_latency(&self, outcome: &Outcome) -> SloResult {
        let (counts, latencies) = (&outcome.counts, &outcome.latencies);
        let (mut is_met, mut is_met_without_lag) = (true, true);
        let (mut measured, mut sentences) = (Vec::new(), Vec::new());
        let deliveries = (counts.expected, counts.lost, &latencies.delivery);
        let answers = (counts.asked, counts.unanswered, &latencies.answer);
        for (kind, name, (expected, lost, recorded)) in [
            (MeasuredOf::Delivery, "delivery", deliveries),
            (MeasuredOf::Answer, "answer", answers),
        ] {
            // Asked for by name, it must be there; otherwise only if the run has it.
            let is_due = match self.of {
                MeasuredOf::All => expected > 0 || !recorded.is_empty(),
                of => of == kind,
            };
            if !is_due {
                continue;
            }
            let metric = self.metric.of_those_that_came(recorded.len(), lost);
            let taken = metric.and_then(|metric| metric.latency(recorded));
            // As far out in the tail, the generator itself may have added so much.
            let lag_ns = metric.map_or(0.0, |metric| metric.lag_ns(latencies));
            let taken_ns = taken.map(|taken| taken.as_nanos() as f64);
            // One that may have been longer is as good as endless.
            let has_clamped = recorded.count_at(CEILING_NS) > 0;
            let is_endless = match self.metric {
                Metric::Mean => has_clamped,
                _ => taken.is_some_and(is_clamped),
            };
            let holds = |ns: f64| {
                let ns = if is_endless { f64::INFINITY } else { ns };
                self.operator.holds(ns, self.limit)
            };
            is_met &= taken_ns.is_some_and(holds);
            is_met_without_lag &= taken_ns.is_some_and(|ns| holds(ns) || holds(ns - lag_ns));
            measured.push(Measured {
                of: kind,
                figure: Figure::LatencyUs(taken_ns.map(|ns| ns / 1e3)),
            });
            sentences.push(match taken {
                Some(taken) if metric == Some(self.metric) && lost > 0 => {
                    let share = units::share(lost, expected);
                    format!(
                        "{name} {} without the {share} that did not come",
                        printed(taken)
                    )
                }
                Some(taken) => format!("{name} {}", printed(taken)),
                None if recorded.is_empty() => format!("{name}: none came"),
                None => {
                    let share = units::share(lost, expected);
                    format!("{name}: never, as {share} did not come")
                }
            });
        }
        if measured.is_empty() {
            return self.result(false, measured, NOTHING_DUE.to_owned());
        }
        SloResult {
            is_doubtful: !is_met && is_met_without_lag,
            ..self.result(is_met, measured, sentences.join(", "))
        }
    }

    fn check_loss(&self, outcome: &Outcome) -> SloResult {
        let counts = &outcome.counts;
        let (lost, expected) = match self.of {
            MeasuredOf::Delivery => (counts.lost, counts.expected),
            MeasuredOf::Answer => (counts.unanswered, counts.asked),
            MeasuredOf::All => (
                counts.lost + counts.unanswered,
                counts.expected + counts.asked,
            ),
        };
        let missing_ratio = units::ratio(lost, expected);
        let measured = Measured {
            of: self.of,
            figure: Figure::MissingRatio(missing_ratio),
        };
        let is_met = missing_ratio.is_some_and(|share| self.operator.holds(share, self.limit));
        let share = units::share(lost, expected);
        let (lost, of) = (units::count(lost), units::count(expected));
        let sentence = match missing_ratio {
            Some(_) => format!("{share} ({lost} of {of})"),
            None => NOTHING_DUE.to_owned(),
        };
        self.result(is_met, vec![measured], sentence)
    }

    fn check_rate(&self, outcome: &Outcome) -> SloResult {
        let recorded_s = outcome.recorded.as_secs_f64();
        let per_s = (recorded_s > 0.0).then(|| outcome.counts.sent as f64 / recorded_s);
        let measured = Measured {
            of: MeasuredOf::All,
            figure: Figure::SentPerS(per_s),
        };
        let is_met = per_s.is_some_and(|per_s| self.operator.holds(per_s, self.limit));
        let sentence = per_s.map_or("nothing was recorded".to_owned(), units::rate);
        self.result(is_met, vec![measured], sentence)
    }
}

impl Metric {
    /// Turns a percentile of everything expected into one of what arrived, as what was lost took
    /// for ever. Returns nothing if the percentile itself was lost. Other metrics are of what
    /// arrived.
    fn of_those_that_came(self, came: u64, lost: u64) -> Option<Self> {
        let Self::Percentile(percent) = self else {
            return Some(self);
        };
        let percent = percent * (came + lost) as f64 / came as f64;
        (percent <= 100.0).then_some(Self::Percentile(percent))
    }

    /// Returns the metric of latencies, if there are any.
    fn latency(self, recorded: &Histogram<u64>) -> Option<Duration> {
        match self {
            Self::Percentile(percent) => percentile(recorded, percent),
            Self::Mean => mean(recorded),
            _ => longest(recorded),
        }
    }

    /// Returns the generator's own lag at this metric.
    fn lag_ns(self, latencies: &Latencies) -> f64 {
        let lags = [&latencies.send_lag, &latencies.receive_lag].into_iter();
        let lag: Duration = lags.filter_map(|lag| self.latency(lag)).sum();
        lag.as_nanos() as f64
    }
}

impl Operator {
    /// Splits an operator from the front of `text`.
    fn parse(text: &str) -> Option<(Self, &str)> {
        // The longer ones first, as the others are their beginnings.
        [
            ("<=", Self::AtMost),
            (">=", Self::AtLeast),
            ("<", Self::Less),
            (">", Self::More),
        ]
        .into_iter()
        .find_map(|(written, operator)| Some((operator, text.strip_prefix(written)?)))
    }

    fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Less => measured < limit,
            Self::AtMost => measured <= limit,
            Self::More => measured > limit,
            Self::AtLeast => measured >= limit,
        }
    }
}

fn parse_subject(text: &str) -> Option<(MeasuredOf, Metric)> {
    let (of, name) = if let Some(name) = text.strip_prefix("delivery.") {
        (MeasuredOf::Delivery, name)
    } else if let Some(name) = text.strip_prefix("answer.") {
        (MeasuredOf::Answer, name)
    } else {
        (MeasuredOf::All, text)
    };
    let metric = match name {
        "max" => Metric::Max,
        "mean" => Metric::Mean,
        "loss" => Metric::Loss,
        // What is sent is of no kind.
        "rate" if of == MeasuredOf::All => Metric::Rate,
        _ => {
            let percent = units::parse_decimal(name.strip_prefix('p')?)?;
            let is_percentile = percent > 0.0 && percent < 100.0;
            is_percentile.then_some(Metric::Percentile(percent))?
        }
    };
    Some((of, metric))
}

/// A share of 1.
fn parse_loss(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => units::parse_decimal(percent)? / 100.0,
        None => units::parse_decimal(text)?,
    };
    (share <= 1.0).then_some(share)
}

const NOTHING_DUE: &str = "nothing was expected or asked for";

#[cfg(test)]
#[path = "slo_tests.rs"]
mod tests;
