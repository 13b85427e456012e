//! The verdict on a run: the figures describe the server, or the generator itself. And the
//! results of objectives.

use std::fmt;
use std::io;

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
            sent_late(config, outcome),
            read_late(config, outcome),
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
                     a socket.",
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
    silence.into_iter().chain(restart).chain(strays).collect()
}

/// Returns since when the server was silent, if it was.
pub fn silence(config: &RunConfig, outcome: &Outcome) -> Option<String> {
    let silence = outcome.silence?;
    let from = span(silence.from);
    let how_long = match silence.to {
        Some(to) => format!("from {from} to {}", span(to)),
        None => format!("from {from} on"),
    };
    let why = match silence.is_refused {
        true => format!("nothing listened on {}", config.target),
        false => "nothing arrived although answers were due".to_owned(),
    };
    Some(format!("The server was silent {how_long}: {why}."))
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

fn sent_late(config: &RunConfig, outcome: &Outcome) -> Option<String> {
    let lag_ns = outcome.latencies.send_lag.value_at_quantile(LAG_QUANTILE);
    (lag_ns > MAX_LAG_NS).then(|| {
        format!(
            "The generator fell behind: one datagram in a hundred was sent {:.3} ms or more after \
             it was due, and up to {:.3} ms is valid. Offer less, or give it more than {} or \
             processors of its own (--cores).",
            millis(lag_ns),
            millis(MAX_LAG_NS),
            threads(config),
        )
    })
}

fn read_late(config: &RunConfig, outcome: &Outcome) -> Option<String> {
    let lag_ns = outcome
        .latencies
        .receive_lag
        .value_at_quantile(LAG_QUANTILE);
    (lag_ns > MAX_LAG_NS).then(|| {
        format!(
            "The generator read late: one packet in a hundred had waited {:.3} ms or more in its \
             own kernel, and up to {:.3} ms is valid. Offer less, or give it more than {} or \
             processors of its own (--cores).",
            millis(lag_ns),
            millis(MAX_LAG_NS),
            threads(config),
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

fn threads(config: &RunConfig) -> String {
    counted(config.threads.into(), "thread")
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

/// The highest percentile that clients commonly go by.
const LAG_QUANTILE: f64 = 0.99;

/// The server was to get what was asked for. Other measured rates are seldom steadier than
/// this from one run to the next.
const MAX_OFF_PERCENT: u128 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::*;
    use crate::outcome::Silence;
    use crate::testing::sample_run;

    fn reasons(change: impl FnOnce(&mut Outcome)) -> Vec<String> {
        let mut outcome = sample_run::outcome();
        change(&mut outcome);
        Verdict::of(&sample_run::config(), &outcome, &[]).invalid
    }

    /// The one reason of an outcome with `change`.
    #[track_caller]
    fn reason(change: impl FnOnce(&mut Outcome)) -> String {
        let reasons = reasons(change);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        reasons[0].clone()
    }

    #[test]
    fn a_run_that_kept_to_its_schedule_is_valid() {
        let none: Vec<String> = Vec::new();
        assert_eq!(reasons(|_| {}), none);
        assert_eq!(Verdict::default().to_string(), "valid");
    }

    #[test]
    fn losses_of_the_server_leave_a_run_valid() {
        let reasons = reasons(|outcome| {
            outcome.counts.lost += 1_000_000;
            outcome.counts.unanswered += 1_000_000;
        });
        assert!(reasons.is_empty(), "{reasons:?}");
    }

    #[test]
    fn more_than_a_thousandth_of_strays_is_invalid() {
        let strays = |stray| {
            move |outcome: &mut Outcome| {
                outcome.counts.received = 10_000;
                outcome.counts.stray = stray;
            }
        };
        assert!(reasons(strays(10)).is_empty());
        let text = reason(strays(11));
        assert!(
            text.contains("10,000 datagrams that arrived, 11 were stray, 0.110 %"),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_was_silent_or_restarted_is_named() {
        let silence = |to, is_refused| {
            move |outcome: &mut Outcome| {
                let from = Duration::from_millis(3_100);
                outcome.silence = Some(Silence {
                    from,
                    to,
                    is_refused,
                });
            }
        };
        let text = reason(silence(None, true));
        let expected = "The server was silent from 3.1 s on: nothing listened on 127.0.0.1:9999.";
        assert_eq!(text, expected);
        let text = reason(silence(Some(Duration::from_secs(5)), false));
        assert!(
            text.contains("from 3.1 s to 5 s: nothing arrived"),
            "{text}"
        );
        let text = reason(|outcome| outcome.has_restarted = true);
        assert!(
            text.starts_with("The server restarted during the run"),
            "{text}"
        );
    }

    #[test]
    fn who_took_the_cpu_is_named_where_the_generator_fell_short() {
        let busy = |outcome: &mut Outcome| {
            outcome.others = Others {
                cpu: Duration::from_secs(9),
                most: vec![("rustc".to_owned(), Duration::from_millis(7_900))],
            };
        };
        assert!(reasons(busy).is_empty());
        let text = reason(|outcome| {
            busy(outcome);
            outcome
                .latencies
                .send_lag
                .record_n(5_000_000, 1_000)
                .unwrap();
        });
        assert!(text.ends_with(
            "Other processes had 9 s of CPU time meanwhile (those that still run: rustc 7.9 s)."
        ));
    }

    #[test]
    fn a_generator_that_sent_or_read_late_is_named_with_its_lag() {
        type Lag = fn(&mut Outcome) -> &mut Histogram<u64>;
        let sent: Lag = |outcome| &mut outcome.latencies.send_lag;
        let read: Lag = |outcome| &mut outcome.latencies.receive_lag;
        for (lag, wrong) in [(sent, "was sent"), (read, "had waited")] {
            let lags = |late: u64, late_ns: u64| {
                move |outcome: &mut Outcome| {
                    let lag = lag(outcome);
                    lag.reset();
                    lag.record_n(20_000, 1_000 - late).unwrap();
                    lag.record_n(late_ns, late).unwrap();
                }
            };
            let text = reason(lags(11, 3_000_000));
            assert!(text.contains(&format!("{wrong} 3.0")), "{text}");
            assert!(text.contains("2 threads"), "{text}");
            assert!(reasons(lags(10, 3_000_000)).is_empty(), "p99 is below");
            // As exactly as the histogram tells them apart.
            assert!(reasons(lags(11, 999_000)).is_empty());
            assert!(reason(lags(11, 1_001_000)).contains("up to 1.000 ms is valid"));
        }
    }

    #[test]
    fn answers_without_latencies_are_few_or_make_it_invalid() {
        let unmatched = |count| {
            move |outcome: &mut Outcome| {
                outcome.counts.answered = 1_000;
                outcome.counts.unmatched = count;
            }
        };
        assert!(reasons(unmatched(10)).is_empty());
        assert!(reason(unmatched(11)).contains("Of 1,000 answers"));
    }

    #[test]
    fn more_than_a_hundredth_off_the_schedule_either_way_is_invalid() {
        let counts = |due, sent| {
            move |outcome: &mut Outcome| {
                outcome.counts.due = due;
                outcome.counts.sent = sent;
            }
        };
        assert!(reasons(counts(10_000, 9_900)).is_empty());
        assert!(reasons(counts(10_000, 10_100)).is_empty());
        let text = reason(counts(10_000, 9_899));
        assert!(
            text.contains("9,899 of 10,000 datagrams that were due, 98.99 %"),
            "{text}"
        );
        assert!(reason(counts(10_000, 10_101)).contains("101.01 %"));
        assert!(reason(counts(u64::MAX, 0)).contains("0.00 %"));
    }

    #[test]
    fn what_its_own_kernel_refused_or_dropped_is_counted_in_the_reason() {
        let text = reason(|outcome| outcome.counts.refused = 1);
        assert!(text.contains("refused to send 1 datagram: raise"), "{text}");
        let text = reason(|outcome| {
            outcome.counts.refused = 1;
            outcome.send_error = Some(libc::EPERM);
        });
        assert!(text.contains("Operation not permitted"), "{text}");
        assert!(text.contains("its own firewall"), "{text}");
        let text = reason(|outcome| outcome.counts.own_drops = 17);
        assert!(text.contains("dropped 17 datagrams"), "{text}");
        assert!(text.contains("net.core.rmem_max"), "{text}");
    }

    #[test]
    fn a_run_in_which_nothing_was_due_has_that_reason_alone() {
        let text = reason(|outcome| {
            outcome.counts.due = 0;
            outcome.counts.sent = 0;
            outcome.counts.own_drops = 3;
        });
        assert!(text.contains("Nothing was due in 10.000 s"), "{text}");
    }

    #[test]
    fn an_objective_that_the_generator_may_have_missed_is_named() {
        let slo = |is_doubtful| SloResult {
            clause: "p99.9<5ms".to_owned(),
            is_met: false,
            measured: Vec::new(),
            sentence: "answer 5.2 ms".to_owned(),
            is_doubtful,
        };
        let of = |slos: &[SloResult]| {
            Verdict::of(&sample_run::config(), &sample_run::outcome(), slos).invalid
        };
        assert_eq!(of(&[slo(false)]), Vec::<String>::new());
        let reasons = of(&[slo(false), slo(true)]);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].starts_with("p99.9<5ms is missed"), "{reasons:?}");
        assert!(reasons[0].contains("answer 5.2 ms"), "{reasons:?}");
    }

    #[test]
    fn all_reasons_are_given() {
        let reasons = reasons(|outcome| {
            outcome.counts.sent = 1;
            outcome.counts.refused = 2;
            outcome.counts.own_drops = 3;
            outcome
                .latencies
                .send_lag
                .record_n(1 << 32, 1 << 32)
                .unwrap();
        });
        assert_eq!(reasons.len(), 4, "{reasons:?}");
        let verdict = Verdict { invalid: reasons };
        assert!(!verdict.is_valid());
        assert!(
            verdict
                .to_string()
                .starts_with("invalid: The generator fell")
        );
    }
}
