//! Rows as a person reads them, and as Markdown.

use std::fmt::Write;
use std::fs;

use super::pairs::{Pairs, Spread};

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    pub(crate) pairs: Pairs,
    /// What else was seen, such as how often each went to sleep.
    pub(crate) note: String,
}

/// Where the median of the ratios, subject to bare, should lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// For costs.
    AtMost(f64),
    /// For rates.
    AtLeast(f64),
}

impl Row {
    /// For a person, as soon as it is measured.
    pub(crate) fn text(&self) -> String {
        let [what, subject, bare, ratio, goal, verdict] = self.cells();
        let (valid, invalid) = (self.pairs.valid, self.pairs.invalid.len());
        let mut text = format!(
            "{what}\n    subject {subject}   bare {bare}\n    ratio {ratio}   goal {goal}: \
             {verdict}   ({valid} of {} pairs valid)\n    {}\n",
            valid + invalid,
            self.note,
        );
        for why in &self.pairs.invalid {
            let _ = writeln!(text, "    invalid: {why}");
        }
        text
    }

    fn cells(&self) -> [String; 6] {
        let Pairs {
            subject,
            bare,
            ratio,
            ..
        } = &self.pairs;
        [
            format!("{}, {}", self.name, self.unit),
            values(subject),
            values(bare),
            ratios(ratio),
            self.goal.text(),
            self.verdict().to_owned(),
        ]
    }

    fn verdict(&self) -> &'static str {
        let median = self.pairs.ratio.median;
        match self.goal {
            // What half of the pairs could not show is not shown.
            _ if self.pairs.valid <= self.pairs.invalid.len() => "not measured",
            Goal::AtMost(limit) if median <= limit => "met",
            Goal::AtLeast(limit) if median >= limit => "met",
            _ => "short",
        }
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

/// All rows as Markdown, with the machine and how it was run.
pub(crate) fn markdown(rows: &[Row], command: &str, how: &str) -> String {
    let mut text = format!("{}; `{command}`; {how}\n\n{HEAD}\n", machine());
    for row in rows {
        let _ = writeln!(text, "| {} |", row.cells().join(" | "));
    }
    text
}

/// What the figures were measured on.
pub(crate) fn machine() -> String {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("an unknown CPU");
    let cores = cpu_info.matches("processor\t").count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

fn values(spread: &Spread) -> String {
    let Spread { median, min, max } = *spread;
    let digits = if median < 100.0 { 2 } else { 0 };
    format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
}

fn ratios(spread: &Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.3} ({min:.3}..{max:.3})")
}

const HEAD: &str = "| what, unit | subject | bare | ratio | goal | verdict |
| --- | --- | --- | --- | --- | --- |";
