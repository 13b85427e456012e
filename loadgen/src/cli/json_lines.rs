//! A run and a search as JSON, one object a line, for programs. docs/LOADGEN.md has every
//! key of them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::outcome::{Counts, Sample};
use crate::output::{Environment, LatencySummary, Pace, Run, Summary, latencies};
use crate::units::thousandths;

/// Writes lines, each of which is complete before the next second begins.
pub(super) struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Lines for `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes the line of a second, with the names that a summary has.
    pub(super) fn second(&mut self, sample: &Sample<'_>) -> io::Result<()> {
        self.line("second", &Second::of(sample))
    }

    /// Writes the line of the whole run: its summary, without what the lines before have
    /// told.
    pub(super) fn summary(&mut self, run: &Run<'_>) -> io::Result<()> {
        let summary = Summary::new(run, Vec::new(), Environment::read());
        let mut summary = serde_json::to_value(summary)?;
        if let Some(fields) = summary.as_object_mut() {
            fields.retain(|key, _| !TOLD_BEFORE.contains(&key.as_str()));
        }
        self.line("summary", &summary)
    }

    /// Writes a line with this `kind` and the keys `of` something.
    pub(super) fn line(&mut self, kind: &'static str, of: &impl Serialize) -> io::Result<()> {
        // In one piece, so that nobody ever reads half a line.
        let mut bytes = serde_json::to_vec(&Line { kind, of })?;
        bytes.push(b'\n');
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'static str,
    #[serde(flatten)]
    of: &'a T,
}

#[derive(Serialize)]
struct Second {
    start_s: f64,
    length_s: f64,
    counts: Counts,
    rates: Pace,
    latencies: BTreeMap<String, LatencySummary>,
}

impl Second {
    fn of(sample: &Sample<'_>) -> Self {
        Self {
            start_s: thousandths(sample.start.as_secs_f64()),
            length_s: thousandths(sample.length.as_secs_f64()),
            counts: sample.counts,
            rates: Pace::of(&sample.counts, sample.length),
            // What is lost in one second was due in another.
            latencies: latencies(sample.latencies, |_| None),
        }
    }
}

/// The keys of a summary that grow with a run: its seconds have had lines of their own.
const TOLD_BEFORE: [&str; 2] = ["seconds", "intervals"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::documented::{assert_same, documented, printed};
    use crate::testing::sample_run::{self, SampleRun};
    use crate::testing::{latencies, recorded, sample};
    use crate::verdict::Verdict;

    fn second(sample: &Sample<'_>) -> String {
        let mut bytes = Vec::new();
        JsonLines::new(&mut bytes).second(sample).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// The line of a sample run, and what is in its summary.json.
    fn summary() -> (String, Value) {
        let outcome = sample_run::outcome();
        let slo: crate::slo::Slo = "p99<5ms,loss<1%,rate>1k".parse().unwrap();
        let run = Run {
            command: &["loadgen".to_owned()],
            config: &sample_run::config(),
            outcome: &outcome,
            verdict: &Verdict::default(),
            slos: &slo.check(&outcome),
        };
        let mut bytes = Vec::new();
        JsonLines::new(&mut bytes).summary(&run).unwrap();
        let file = Summary::new(&run, Vec::new(), Environment::read());
        let line = String::from_utf8(bytes).unwrap();
        (line, serde_json::to_value(file).unwrap())
    }

    #[test]
    fn a_second_is_one_line_with_the_names_of_a_summary() {
        let mut latencies = latencies();
        latencies.answer = recorded(&[1500]);
        let counts = Counts {
            due: 100,
            sent: 99,
            answered: 98,
            unanswered: 1,
            ..Counts::default()
        };
        let half = Duration::from_millis(500);
        let line = second(&Sample {
            length: half,
            ..sample(4, counts, &latencies)
        });
        let begins = r#"{"kind":"second","start_s":4.0,"length_s":0.5,"counts":{"#;
        assert!(line.starts_with(begins), "{line}");
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["counts"], serde_json::to_value(counts).unwrap());
        let rates = json!({
            "offered_per_s": 200.0, "sent_per_s": 198.0,
            "deliveries_per_s": 0.0, "answers_per_s": 196.0,
        });
        assert_eq!(value["rates"], rates);
        assert_eq!(value["latencies"]["answer"]["p99_9_us"], 1.5);
        assert_eq!(value["latencies"]["delivery"], Value::Null);
    }

    #[test]
    fn a_second_without_time_has_no_rate() {
        let latencies = latencies();
        let counts = Counts {
            sent: 1,
            ..Counts::default()
        };
        let line = second(&Sample {
            length: Duration::ZERO,
            ..sample(0, counts, &latencies)
        });
        assert!(line.contains(r#""sent_per_s":0.0"#), "{line}");
    }

    #[test]
    fn every_key_of_a_second_is_documented_and_there() {
        let run = SampleRun::of_nodes(1);
        let line = second(&run.samples().next().unwrap());
        let keys = printed([&serde_json::from_str(&line).unwrap()]);
        assert_same(&keys, &documented("### Seconds"));
    }

    /// And so its keys are documented there.
    #[test]
    fn a_summary_is_that_of_the_file_but_for_what_the_seconds_told() {
        let (line, file) = summary();
        assert!(line.starts_with(r#"{"kind":"summary","#), "{line}");
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let mut expected = file;
        let fields = expected.as_object_mut().unwrap();
        assert!(fields.remove("seconds").is_some() && fields.remove("intervals").is_some());
        fields.insert("kind".to_owned(), json!("summary"));
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }
}
