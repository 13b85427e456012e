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
    /// Measured to be known.
    None,
}

impl Row {
    /// For a person, as soon as it is measured.
    pub(crate) fn text(&self) -> String {
        let Pairs {
            subject,
            bare,
            ratio,
            ..
        } = &self.pairs;
        let mut text = format!(
            "{}, {}\n    subject {}   bare {}\n    ratio {}   goal {}: {}   ({})\n    {}\n",
            self.name,
            self.unit,
            values(subject),
            values(bare),
            ratios(ratio),
            self.goal.text(),
            self.verdict(),
            self.count(),
            self.note,
        );
        for why in &self.pairs.invalid {
            let _ = writeln!(text, "    invalid: {why}");
        }
        text
    }

    fn cells(&self) -> [String; COLUMNS] {
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
            Goal::None => "-",
            _ => "short",
        }
    }

    fn count(&self) -> String {
        let (valid, invalid) = (self.pairs.valid, self.pairs.invalid.len());
        format!("{valid} of {} pairs valid", valid + invalid)
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::None => "none".to_owned(),
        }
    }
}

/// All rows as Markdown, with the machine and how it was run.
pub(crate) fn markdown(rows: &[Row], command: &str, how: &str) -> String {
    let mut lines = vec![HEADS.map(String::from)];
    lines.extend(rows.iter().map(Row::cells));
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = lines.iter().map(|cells| cells[column].chars().count());
        cells.max().unwrap_or_default()
    });
    lines.insert(1, widths.map(|width| "-".repeat(width)));

    let mut text = format!("{}; `{command}`; {how}\n\n", machine());
    for cells in lines {
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
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

const COLUMNS: usize = 6;
const HEADS: [&str; COLUMNS] = ["what, unit", "subject", "bare", "ratio", "goal", "verdict"];
