//! A search on standard output, try by try.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::exit::End;
use crate::cli::front::complain;
use crate::cli::stdout::{Report, Stdout, page_line};
use crate::config::RunConfig;
use crate::limits::find_max::{FoundMax, Quantiles, Try};
use crate::percentiles::taken_us;
use crate::units::{number, share_of_one};

/// The output of a search. In JSON, each try is a line of `kind` `try` with the keys of [`Try`],
/// and the answer one of `kind` `found` with the keys of [`FoundMax`]. For people, tries are rows
/// of a table, and the answer is a sentence.
pub(super) struct Lines<W> {
    stdout: Stdout<W>,
    columns: Columns,
    is_begun: bool,
}

impl<W: Write> Lines<W> {
    /// Begins a search with tries like `config`.
    pub(super) fn new(report: Report, config: &RunConfig, out: W) -> Self {
        Self {
            stdout: Stdout::new(report, out),
            columns: Columns {
                has_deliveries: config.mix.text > 0.0,
                has_answers: config.mix.ping > 0.0,
            },
            is_begun: false,
        }
    }

    /// Writes a try. Returns false if nobody reads any more.
    pub(super) fn tried(&mut self, one: &Try) -> bool {
        match self.stdout.report {
            Report::Json => self.stdout.json(|lines| lines.line("try", one)),
            Report::Verdict => self.stdout.is_read(),
            Report::Text => {
                let head = match self.is_begun {
                    true => String::new(),
                    false => self.columns.head(),
                };
                self.is_begun = true;
                self.stdout.text(&(head + &self.columns.row(one)))
            }
        }
    }

    /// Writes the answer, and the path of the page if there is one.
    /// `note` is what more is known of the generator's limit.
    pub(super) fn found(&mut self, found: &FoundMax, note: &str, page: Option<PathBuf>) {
        let mut sentence = found.sentence.clone();
        if let Some(reason) = found.generators_reason() {
            sentence += &format!(" {reason}{note}");
        }
        if found.is_generators_limit && self.stdout.report.hides_reasons() {
            complain(&format!("loadgen: invalid: {sentence}\n"));
        }
        match self.stdout.report {
            Report::Text => self
                .stdout
                .text(&format!("\n{sentence}\n{}", page_line(page))),
            Report::Verdict => self.stdout.text(&format!("{sentence}\n")),
            Report::Json => self.stdout.json(|lines| lines.line("found", found)),
        };
    }

    /// Returns the end of a search whose output could not be written.
    pub(super) fn broken_end(&self) -> Option<End> {
        self.stdout.broken_end()
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
            slowest.map_or("-".to_owned(), |slowest| taken_us(of(&slowest)))
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
        for reason in one.faults.iter().chain(&one.invalid) {
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
