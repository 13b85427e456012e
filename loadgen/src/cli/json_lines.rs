//! A run as JSON, one object a line, for programs.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::config::RunConfig;
use crate::config::word;
use crate::outcome::{Counts, Outcome, Sample};
use crate::percentiles::{FEW, MANY, longest, percentile, percentile_name};
use crate::verdict::SloResult;

/// Writes lines, each of which is complete before the next second begins.
///
/// Each second, as it goes on:
///
/// | key | is |
/// | --- | --- |
/// | `kind` | `second` |
/// | `t_s` | when it ended, in seconds since the recording began |
/// | `length_s` | how long it was |
/// | `due_per_s`, `sent_per_s` | datagrams that were due, and that were sent |
/// | `deliveries_per_s`, `answers_per_s` | copies of texts, and answers, that came |
/// | `delivery_p50_us`, `_p99_us`, `_p99_9_us`, `_max_us` | latencies of deliveries from when the text was due, in µs; `null` if none came |
/// | `answer_p50_us`, and so on | the same of answers |
/// | `send_lag_p50_us`, and so on | from when a datagram was due until it was sent |
/// | `lost`, `unanswered` | copies and answers that did not come, of the second that was over one second ago |
/// | `own_drops`, `refused` | datagrams that the generator's own kernel dropped, and refused to send |
///
/// At the end, once:
///
/// | key | is |
/// | --- | --- |
/// | `kind` | `summary` |
/// | `target`, `scenario`, `protocol`, `clients`, `seed` | what was asked for |
/// | `began_at_s` | when the recording began, in seconds since 1970 |
/// | `recorded_s` | for how long it recorded |
/// | `sent_per_s`, `deliveries_per_s`, `answers_per_s` | the mean of the recording |
/// | `due`, `sent`, `owed`, `lost`, and all others of [`Counts`] | totals |
/// | `delivery_p50_us`, `_p90_us`, `_p99_us`, `_p99_9_us`, `_p99_99_us`, `_max_us`, and the same of `answer` and `send_lag` | as above |
/// | `is_valid`, `invalid` | whether the figures are the server's, and if not, why: sentences |
/// | `slo_is_met` | whether all objectives are met; `null` if there are none |
/// | `slo` | objects with `clause`, `measured` and `is_met` |
/// | `signal` | the signal that ended it early, or `null` |
/// | `server_said_goodbye` | whether the server did, which ended it |
pub(super) struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Lines for `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes the line of a second.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn second(&mut self, sample: &Sample<'_>) -> io::Result<()> {
        let (counts, latencies) = (&sample.counts, sample.latencies);
        let per_s = |count| per_s(count, sample.length);
        self.line(&SecondLine {
            kind: "second",
            t_s: thousandths((sample.start + sample.length).as_secs_f64()),
            length_s: thousandths(sample.length.as_secs_f64()),
            due_per_s: per_s(counts.due),
            sent_per_s: per_s(counts.sent),
            deliveries_per_s: per_s(counts.delivered),
            answers_per_s: per_s(counts.answered),
            delivery: Columns::new("delivery", &latencies.delivery, &FEW),
            answer: Columns::new("answer", &latencies.answer, &FEW),
            send_lag: Columns::new("send_lag", &latencies.send_lag, &FEW),
            lost: counts.lost,
            unanswered: counts.unanswered,
            own_drops: counts.own_drops,
            refused: counts.refused,
        })
    }

    /// Writes the line of the whole run; `invalid` is empty if it is valid.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn summary(
        &mut self,
        config: &RunConfig,
        outcome: &Outcome,
        invalid: &[String],
        slo: &[SloResult],
    ) -> io::Result<()> {
        let (counts, latencies) = (&outcome.counts, &outcome.latencies);
        let per_s = |count| per_s(count, outcome.recorded);
        self.line(&SummaryLine {
            kind: "summary",
            target: config.target,
            scenario: word(&config.scenario),
            protocol: word(&config.protocol),
            clients: config.clients,
            seed: config.seed,
            began_at_s: thousandths(outcome.began_at.as_secs_f64()),
            recorded_s: thousandths(outcome.recorded.as_secs_f64()),
            sent_per_s: per_s(counts.sent),
            deliveries_per_s: per_s(counts.delivered),
            answers_per_s: per_s(counts.answered),
            counts,
            delivery: Columns::new("delivery", &latencies.delivery, &MANY),
            answer: Columns::new("answer", &latencies.answer, &MANY),
            send_lag: Columns::new("send_lag", &latencies.send_lag, &MANY),
            is_valid: invalid.is_empty(),
            invalid,
            slo_is_met: (!slo.is_empty()).then(|| slo.iter().all(|result| result.is_met)),
            slo,
            signal: outcome.signal,
            server_said_goodbye: outcome.server_said_goodbye,
        })
    }

    /// Writes a line of any kind.
    pub(super) fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        // In one piece, so that nobody ever reads half a line.
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

#[derive(Serialize)]
struct SecondLine<'a> {
    kind: &'static str,
    t_s: f64,
    length_s: f64,
    due_per_s: f64,
    sent_per_s: f64,
    deliveries_per_s: f64,
    answers_per_s: f64,
    #[serde(flatten)]
    delivery: Columns<'a>,
    #[serde(flatten)]
    answer: Columns<'a>,
    #[serde(flatten)]
    send_lag: Columns<'a>,
    lost: u64,
    unanswered: u64,
    own_drops: u64,
    refused: u64,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    kind: &'static str,
    target: SocketAddr,
    scenario: String,
    protocol: String,
    clients: u32,
    seed: u64,
    began_at_s: f64,
    recorded_s: f64,
    sent_per_s: f64,
    deliveries_per_s: f64,
    answers_per_s: f64,
    #[serde(flatten)]
    counts: &'a Counts,
    #[serde(flatten)]
    delivery: Columns<'a>,
    #[serde(flatten)]
    answer: Columns<'a>,
    #[serde(flatten)]
    send_lag: Columns<'a>,
    is_valid: bool,
    invalid: &'a [String],
    slo_is_met: Option<bool>,
    slo: &'a [SloResult],
    signal: Option<i32>,
    server_said_goodbye: bool,
}

/// Some percentiles of a latency and its maximum, as keys of their own.
struct Columns<'a> {
    name: &'static str,
    recorded: &'a Histogram<u64>,
    percents: &'static [f64],
}

impl<'a> Columns<'a> {
    fn new(name: &'static str, recorded: &'a Histogram<u64>, percents: &'static [f64]) -> Self {
        Self {
            name,
            recorded,
            percents,
        }
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let us = |taken: Option<Duration>| taken.map(|taken| taken.as_nanos() as f64 / 1e3);
        let name = self.name;
        let mut map = serializer.serialize_map(Some(self.percents.len() + 1))?;
        for percent in self.percents {
            // A point in a key would need quotes wherever it is asked for.
            let percentile_name = percentile_name(*percent).replace('.', "_");
            let taken = percentile(self.recorded, *percent);
            map.serialize_entry(&format!("{name}_{percentile_name}_us"), &us(taken))?;
        }
        map.serialize_entry(&format!("{name}_max_us"), &us(longest(self.recorded)))?;
        map.end()
    }
}

fn per_s(count: u64, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => thousandths(count as f64 / time.as_secs_f64()),
    }
}

/// Without digits that mean nothing.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{latencies, outcome, pings, recorded, sample};

    fn second(counts: Counts) -> String {
        let mut latencies = latencies();
        latencies.answer = recorded(&[1500]);
        let mut bytes = Vec::new();
        let mut lines = JsonLines::new(&mut bytes);
        lines.second(&sample(4, counts, &latencies)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn summary(outcome: &Outcome, invalid: &[String], slo: &[SloResult]) -> Value {
        let mut bytes = Vec::new();
        let mut lines = JsonLines::new(&mut bytes);
        lines.summary(&pings(10.0), outcome, invalid, slo).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_second_is_one_line_with_flat_keys_that_have_units() {
        let line = second(Counts {
            due: 100,
            sent: 99,
            answered: 98,
            unanswered: 1,
            ..Counts::default()
        });
        assert!(line.starts_with(r#"{"kind":"second","t_s":5.0,"#), "{line}");
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            json!({
                "kind": "second", "t_s": 5.0, "length_s": 1.0,
                "due_per_s": 100.0, "sent_per_s": 99.0,
                "deliveries_per_s": 0.0, "answers_per_s": 98.0,
                "delivery_p50_us": null, "delivery_p99_us": null,
                "delivery_p99_9_us": null, "delivery_max_us": null,
                "answer_p50_us": 1.5, "answer_p99_us": 1.5,
                "answer_p99_9_us": 1.5, "answer_max_us": 1.5,
                "send_lag_p50_us": null, "send_lag_p99_us": null,
                "send_lag_p99_9_us": null, "send_lag_max_us": null,
                "lost": 0, "unanswered": 1, "own_drops": 0, "refused": 0,
            })
        );
    }

    #[test]
    fn the_summary_has_totals_and_what_they_are_worth() {
        let mut outcome = outcome();
        outcome.counts.sent = 25;
        outcome.counts.asked = 25;
        outcome.latencies.answer = recorded(&[1_000]);
        let good = summary(&outcome, &[], &[]);
        assert_eq!(good["kind"], "summary");
        assert_eq!(good["target"], "127.0.0.1:9999");
        assert_eq!(
            (&good["scenario"], &good["protocol"]),
            (&json!("ping"), &json!("v1"))
        );
        assert_eq!(
            (&good["sent"], &good["sent_per_s"]),
            (&json!(25), &json!(2.5))
        );
        assert_eq!(good["answer_p99_99_us"], 1.0);
        assert_eq!(
            (&good["is_valid"], &good["invalid"]),
            (&json!(true), &json!([]))
        );
        assert_eq!(
            (&good["slo_is_met"], &good["signal"]),
            (&json!(null), &json!(null))
        );

        assert_eq!(good["server_said_goodbye"], false);

        outcome.signal = Some(2);
        outcome.server_said_goodbye = true;
        let result = SloResult {
            clause: "max<1ms".into(),
            measured: "answer 2.00 ms".into(),
            is_met: false,
        };
        let bad = summary(&outcome, &["It fell behind.".into()], &[result]);
        assert_eq!(bad["invalid"], json!(["It fell behind."]));
        let missed = json!({"clause": "max<1ms", "measured": "answer 2.00 ms", "is_met": false});
        assert_eq!(
            (&bad["slo_is_met"], &bad["slo"]),
            (&json!(false), &json!([missed]))
        );
        assert_eq!(
            (&bad["is_valid"], &bad["signal"]),
            (&json!(false), &json!(2))
        );
        assert_eq!(bad["server_said_goodbye"], true);
    }

    #[test]
    fn a_run_without_time_has_no_rate() {
        let mut outcome = outcome();
        outcome.recorded = Duration::ZERO;
        outcome.counts.sent = 1;
        assert_eq!(summary(&outcome, &[], &[])["sent_per_s"], 0.0);
    }
}
