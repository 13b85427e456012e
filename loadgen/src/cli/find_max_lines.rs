//! A search on standard output, try by try.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use signal_hook::consts::SIGPIPE;

use crate::cli::exit::End;
use crate::cli::front::{Report, complain, failed, page_line};
use crate::cli::json_lines::JsonLines;
use crate::config::RunConfig;
use crate::limits::find_max::{Ceiling, FoundMax, Quantiles, Try};
use crate::output::Answer;
use crate::units::{latency_us, number, share_of_one};

/// Standard output, until writing to it fails.
///
/// In JSON, each try is a line of `kind` `try` with the keys of [`Try`], and the answer one of
/// `kind` `found` with the keys of [`Answer`]. For people, tries are rows of a table, and the
/// answer is a sentence.
pub(super) struct Lines<W> {
    report: Report,
    columns: Columns,
    out: W,
    is_begun: bool,
    broken: Option<io::Error>,
}

impl<W: Write> Lines<W> {
    /// Begins a search with tries like `config`.
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

    /// Writes a try. Returns false if nobody reads any more.
    pub(super) fn tried(&mut self, one: &Try) -> bool {
        let mut text = String::new();
        if !self.is_begun {
            text += &self.columns.head();
            self.is_begun = true;
        }
        text += &self.columns.row(one);
        self.write(&text, "", "try", one)
    }

    /// Writes the answer, and the path of the page if there is one.
    pub(super) fn found(&mut self, found: &FoundMax, ceiling: Ceiling, page: Option<PathBuf>) {
        let answer = Answer::of(found, ceiling);
        let mut sentence = answer.sentence.clone();
        if let Some(reason) = found.generators_reason() {
            sentence += &format!(" {reason}");
            if found.rate_per_s.is_none() && self.report == Report::Json {
                complain(&format!("loadgen: invalid: {sentence}\n"));
            }
        }
        let text = format!("\n{sentence}\n{}", page_line(page));
        self.write(&text, &format!("{sentence}\n"), "found", &answer);
    }

    /// Returns the end of a search whose output could not be written.
    pub(super) fn broken_end(&self) -> Option<End> {
        let error = self.broken.as_ref()?;
        Some(match error.kind() {
            io::ErrorKind::BrokenPipe => End::Signal(SIGPIPE),
            _ => failed(&format!("cannot write to standard output: {error}")),
        })
    }

    /// Writes the text, the quiet text or the JSON line, as the report has it.
    fn write(&mut self, text: &str, quiet: &str, kind: &'static str, of: &impl Serialize) -> bool {
        if self.broken.is_none() {
            let mut print = |text: &str| {
                let written = self.out.write_all(text.as_bytes());
                written.and_then(|()| self.out.flush())
            };
            let written = match self.report {
                Report::Text => print(text),
                Report::Verdict => print(quiet),
                Report::Json => JsonLines::new(&mut self.out).line(kind, of),
            };
            self.broken = written.err();
        }
        self.broken.is_none()
    }
}

/// The columns of the table, which is at most 80 wide.
#[derive(Debug, Clone, Copy)]
struct Columns {
    has_deliveries: bool,
    has_answers: bool,
}

impl Columns {
    fn head(self) -> String {
        let slowest = match self.has_deliveries && self.has_answers {
            true => "of deliveries or answers, the longer ones",
            false => "from when things were due",
        };
        let about = format!("Per second, and percentiles {slowest}:\n");
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
            slowest.map_or("-".to_owned(), |slowest| latency_us(of(&slowest)))
        };
        let taken = [
            taken(|of| of.p50_us),
            taken(|of| of.p99_us),
            taken(|of| of.p99_9_us),
        ];
        let verdict = if one.is_good { "good" } else { "bad" };
        let mut text = self.line(
            figures.each_ref().map(String::as_str),
            taken.each_ref().map(String::as_str),
            verdict,
        );
        for missed in &one.missed {
            text += &format!("{:>9} {missed}\n", "");
        }
        for reason in &one.invalid {
            // The advice after the colon has no room in a table.
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
