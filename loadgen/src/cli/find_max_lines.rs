//! A search on standard output, try by try.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::End;
use crate::cli::front::{Report, failed};
use crate::cli::json_lines::JsonLines;
use crate::config::RunConfig;
use crate::limits::find_max::{Ceiling, FoundMax, Quantiles, Try};
use crate::output::Answer;
use crate::units::{latency, number, share_of_one};
use signal_hook::consts::SIGPIPE;

/// Standard output, until writing to it fails.
///
/// As JSON, each try is a line with `kind` `try` and the keys of [`Try`], and the answer
/// one with `kind` `found` and those of [`Answer`]. For people, tries are rows of a table,
/// and the answer is a sentence.
pub(super) struct Lines<W> {
    report: Report,
    columns: Columns,
    out: W,
    is_begun: bool,
    broken: Option<io::Error>,
}

impl<W: Write> Lines<W> {
    /// For a search with tries like `config`.
    pub(super) fn new(report: Report, config: &RunConfig, out: W) -> Self {
        Self {
            report,
            columns: Columns {
                has_deliveries: config.mix.text > 0.0,
                has_answers: config.mix.ping > 0.0,
            },
            out,
            is_begun: false,
            broken: None,
        }
    }

    /// Says what a try brought to light. Returns whether there is still somebody to write
    /// for.
    pub(super) fn tried(&mut self, one: &Try) -> bool {
        let mut text = String::new();
        if !self.is_begun {
            text += &self.columns.head();
            self.is_begun = true;
        }
        text += &self.columns.row(one);
        self.write(&text, "try", one)
    }

    /// Says what was found.
    pub(super) fn found(&mut self, found: &FoundMax, ceiling: Ceiling) {
        let answer = Answer::of(found, ceiling);
        let text = format!("\n{}\n", answer.sentence);
        self.write(&text, "found", &answer);
    }

    /// How a search ends whose output could not be written, if that is so.
    pub(super) fn broken_end(&self) -> Option<End> {
        let error = self.broken.as_ref()?;
        Some(match error.kind() {
            io::ErrorKind::BrokenPipe => End::Signal(SIGPIPE),
            _ => failed(&format!("cannot write to standard output: {error}")),
        })
    }

    fn write(&mut self, text: &str, kind: &'static str, of: &impl Serialize) -> bool {
        if self.broken.is_none() {
            let written = match self.report {
                Report::Nothing => Ok(()),
                Report::Json => JsonLines::new(&mut self.out).line(kind, of),
                Report::Text => {
                    let written = self.out.write_all(text.as_bytes());
                    written.and_then(|()| self.out.flush())
                }
            };
            self.broken = written.err();
        }
        self.broken.is_none()
    }
}

/// Those of the table, which is 80 wide at most.
#[derive(Debug, Clone, Copy)]
struct Columns {
    has_deliveries: bool,
    has_answers: bool,
}

impl Columns {
    fn head(self) -> String {
        let slowest = match self.has_deliveries && self.has_answers {
            true => "of deliveries or answers, whichever took longer",
            false => "from when things were due",
        };
        let about = format!("A second; and percentiles {slowest}:\n");
        about
            + &self.line(
                ["offered", "sent", "deliveries", "answers", "loss"],
                ["p50", "p99", "p99.9"],
                "",
            )
    }

    fn row(self, one: &Try) -> String {
        let figures = [
            number(one.rate_per_s),
            number(one.sent_per_s),
            number(one.deliveries_per_s),
            number(one.answers_per_s),
            share_of_one(one.missing_ratio),
        ];
        let taken = |of: fn(&Quantiles) -> f64| {
            let slowest = one.slowest();
            slowest.map_or("-".to_owned(), |slowest| micros(of(&slowest)))
        };
        let taken = [
            taken(|of| of.p50_us),
            taken(|of| of.p99_us),
            taken(|of| of.p99_9_us),
        ];
        let verdict = if one.is_good { "good" } else { "BAD" };
        let mut text = self.line(
            figures.each_ref().map(String::as_str),
            taken.each_ref().map(String::as_str),
            verdict,
        );
        for missed in &one.missed {
            text += &format!("{:>9} {missed}\n", "");
        }
        for reason in &one.invalid {
            // What comes behind it is advice, for which a table has no room.
            let what = reason.split(':').next().unwrap_or(reason);
            text += &format!("{:>9} {what}\n", "");
        }
        text
    }

    fn line(self, figures: [&str; 5], taken: [&str; 3], verdict: &str) -> String {
        let [offered, sent, deliveries, answers, loss] = figures;
        let mut line = format!("{offered:>9} {sent:>9}");
        if self.has_deliveries {
            line += &format!(" {deliveries:>11}");
        }
        if self.has_answers {
            line += &format!(" {answers:>9}");
        }
        line += &format!(" {loss:>8}");
        for taken in taken {
            line += &format!(" {taken:>7}");
        }
        format!("{line}  {verdict}").trim_end().to_owned() + "\n"
    }
}

fn micros(us: f64) -> String {
    latency(Duration::from_nanos((us * 1e3).round() as u64))
}
