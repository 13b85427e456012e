//! The verdict on a run: the figures describe the server, or the generator itself. And the
//! results of objectives.

use std::fmt;
use std::io;

use hdrhistogram::Histogram;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::RunConfig;
use crate::outcome::{Others, Outcome};
use crate::units::{count, counted, firewall_hint, share, span};

/// The verdict on a run: do the figures describe the server, or the generator?
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// The reasons why the run is invalid, a sentence each. A valid run has none.
    pub invalid: Vec<String>,
}

/// An objective, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloResult {
    /// The clause, as it was written.
    pub clause: String,
    /// Set if the objective is met.
    pub is_met: bool,
    /// The figures that were compared with the clause, all of which must meet it. There are none
    /// if there was nothing to measure.
    pub measured: Vec<Measured>,
    /// The same as a sentence.
    pub sentence: String,
    /// Set if the objective is missed by no more than the generator itself may have added,
    /// because it sent and read late. The server may meet it.
    pub is_doubtful: bool,
}

/// A figure that was compared with a clause.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The subject of the figure.
    pub of: MeasuredOf,
    /// The figure. Its key has the unit.
    #[serde(flatten)]
    pub figure: Figure,
}

/// The subject of a [`Figure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasuredOf {
    /// Copies of texts.
    Delivery,
    /// Answers.
    Answer,
    /// Both together for a loss, and all datagrams for a rate.
    All,
}

/// A figure, as exact as it was compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// A latency from when datagrams were due, in microseconds. It never arrived if there is none.
    LatencyUs(Option<f64>),
    /// The share that did not arrive, if something should.
    MissingRatio(Option<f64>),
    /// Datagrams sent per second, if something was recorded.
    SentPerS(Option<f64>),
}

impl Verdict {
    /// Judges the run. `slos` are the results of the objectives. What the server lost or did
    /// late is what is measured, and leaves a run valid.
    pub fn of(config: &RunConfig, outcome: &Outcome, slos: &[SloResult]) -> Self {
        let mut invalid = faults(config, outcome);
        invalid.extend(Self::of_generator(config, outcome, slos).invalid);
        Self { invalid }
    }

    /// Judges the generator alone.
    pub fn of_generator(config: &RunConfig, outcome: &Outcome, slos: &[SloResult]) -> Self {
        let counts = &outcome.counts;
        if counts.due == 0 {
            let invalid = vec![format!(
                "Nothing was due in {:.3} s of recording: offer more, or for longer.",
                outcome.recorded.as_secs_f64()
            )];
            return Self { invalid };
        }
        let reasons = [
            late(
                config,
                &outcome.latencies.send_lag,
                "The generator fell behind: one datagram in a hundred was sent",
                "after it was due",
            ),
            late(
                config,
                &outcome.latencies.receive_lag,
                "The generator read late: one packet in a hundred had waited",
                "in its own kernel",
            ),
            missed_the_schedule(outcome),
            lost_sight(outcome),
            (counts.refused > 0).then(|| {
                let refused = datagrams(counts.refused);
                let why = match outcome.send_error.filter(|errno| *errno != libc::ENOBUFS) {
                    None => "raise net.core.wmem_max, or offer less".to_owned(),
                    Some(errno) => {
                        let error = io::Error::from_raw_os_error(errno);
                        format!("{error}{}", firewall_hint(Some(errno)))
                    }
                };
                format!("The generator's own kernel refused to send {refused}: {why}.")
            }),
            (counts.own_drops > 0).then(|| {
                format!(
                    "The generator's own sockets dropped {} before it read them, which looks \
                     like a loss of the server: raise net.core.rmem_max, or use fewer clients \
                     per socket.",
                    datagrams(counts.own_drops)
                )
            }),
        ];
        let mut invalid: Vec<_> = reasons.into_iter().flatten().chain(doubts(slos)).collect();
        if let Some(others) = others(outcome)
            && let Some(first) = invalid.first_mut()
        {
            *first += &others;
        }
        Self { invalid }
    }

    /// Returns true if the figures are the server's.
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}

/// Adds `is_valid`, so that programs need not look at the reasons.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Verdict", 2)?;
        fields.serialize_field("is_valid", &self.is_valid())?;
        fields.serialize_field("invalid", &self.invalid)?;
        fields.end()
    }
}

/// The clause, and what was measured.
impl fmt::Display for SloResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.clause, self.sentence)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_valid() {
            return formatter.write_str("valid");
        }
        write!(formatter, "invalid: {}", self.invalid.join(" "))
    }
}

/// Returns what the server did that makes the figures no measure of it, a sentence each.
pub fn faults(config: &RunConfig, outcome: &Outcome) -> Vec<String> {
    let counts = &outcome.counts;
    let is_strange = u128::from(counts.stray) * 1000 > u128::from(counts.received);
    let strays = is_strange.then(|| {
        format!(
            "Of {} that arrived, {} were stray, {}: at most 0.1 % is valid.",
            datagrams(counts.received),
            count(counts.stray),
            share(counts.stray, counts.received)
        )
    });
    let restart = outcome.has_restarted.then(|| RESTARTED.to_owned());
    let silence = silence(config, outcome);
    let limited = outcome
        .limited
        .as_ref()
        .map(|limited| format!("{limited}."));
    silence
        .into_iter()
        .chain(limited)
        .chain(restart)
        .chain(strays)
        .collect()
}

/// Returns since when the server was silent, if it was.
pub fn silence(config: &RunConfig, outcome: &Outcome) -> Option<String> {
    let silence = outcome.silence?;
    let from = span(silence.from);
    let how_long = match silence.to {
        Some(to) => format!("from {from} to {}", span(to)),
        None => format!("from {from} on"),
    };
    let target = silence.target;
    let why = match silence.is_refused {
        true => format!("nothing listened on {target}"),
        false => "nothing arrived although answers were due".to_owned(),
    };
    let server = match config.has_nodes() {
        true => format!("The server at {target}"),
        false => "The server".to_owned(),
    };
    Some(format!("{server} was silent {how_long}: {why}."))
}

/// Returns who took the CPU from the generator, as far as it is known.
fn others(outcome: &Outcome) -> Option<String> {
    let Others { cpu, most } = &outcome.others;
    let names: Vec<_> = most
        .iter()
        .map(|(name, cpu)| format!("{name} {}", span(*cpu)))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            " Other processes had {} of CPU time meanwhile (those that still run: {}).",
            span(*cpu),
            names.join(", ")
        )
    })
}

/// Returns what is wrong if `lag` is too long, as a sentence with the lag after `what`.
fn late(config: &RunConfig, lag: &Histogram<u64>, what: &str, of_what: &str) -> Option<String> {
    let lag_ns = lag.value_at_quantile(LAG_QUANTILE);
    (lag_ns > MAX_LAG_NS).then(|| {
        format!(
            "{what} {:.3} ms or more {of_what}, and up to {:.3} ms is valid. Offer less, or give \
             it more than {} or processors of its own (--cores).",
            millis(lag_ns),
            millis(MAX_LAG_NS),
            counted(config.threads.into(), "thread"),
        )
    })
}

fn missed_the_schedule(outcome: &Outcome) -> Option<String> {
    let (due, sent) = (outcome.counts.due, outcome.counts.sent);
    // Whole numbers, so that the bound itself is within.
    let is_off = u128::from(due.abs_diff(sent)) * 100 > u128::from(due) * MAX_OFF_PERCENT;
    is_off.then(|| {
        format!(
            "The generator sent {} of {} that were due, {:.2} %: at most {MAX_OFF_PERCENT} % off is \
             valid.",
            count(sent),
            datagrams(due),
            100.0 * sent as f64 / due as f64
        )
    })
}

fn lost_sight(outcome: &Outcome) -> Option<String> {
    let (unmatched, answered) = (outcome.counts.unmatched, outcome.counts.answered);
    let is_off = u128::from(unmatched) * 100 > u128::from(answered) * MAX_OFF_PERCENT;
    is_off.then(|| {
        format!(
            "Of {} of the greeting service {} have no latency, as nothing in them says what they \
             answer, and several were under way. Use more clients, or offer less.",
            counted(answered, "answer"),
            count(unmatched),
        )
    })
}

fn doubts(slos: &[SloResult]) -> impl Iterator<Item = String> {
    let doubtful = slos.iter().filter(|slo| slo.is_doubtful);
    doubtful.map(|slo| {
        format!(
            "{} is missed, but by no more than the generator itself was late there ({}): give \
             it processors of its own (--cores), or repeat the run.",
            slo.clause, slo.sentence
        )
    })
}

fn datagrams(count: u64) -> String {
    counted(count, "datagram")
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// In version 1, everyone receives everything from then on, and in version 2 nobody anything.
const RESTARTED: &str = "The server restarted during the run, or forgot its clients: it answered \
                         again without their rooms or sessions.";

/// Latencies are counted from when things were due until they were read, so the generator's
/// delay at both ends is in all of them. A sleeping thread is late by 50 µs to 100 µs on a
/// small machine, and by some hundred where it shares its processor; with more than this,
/// the tail that is reported would be its own.
const MAX_LAG_NS: u64 = 1_000_000;

/// The highest percentile that people commonly go by.
const LAG_QUANTILE: f64 = 0.99;

/// The server was to get what was asked for. Other measured rates are seldom steadier than
/// this from one run to the next.
const MAX_OFF_PERCENT: u128 = 1;

#[cfg(test)]
mod tests;
