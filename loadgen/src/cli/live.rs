//! The view of a run while it goes on, on a terminal.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use console::Term;
use hdrhistogram::Histogram;

use crate::config::RunConfig;
use crate::outcome::{Counts, Sample};
use crate::percentiles::{FEW, percentile, percentile_name, taken};
use crate::units::{count, number, per_s, share, span};

/// A block of lines at the bottom of the terminal, which each [`Sample`] draws again.
pub(super) struct LiveView {
    screen: Option<Arc<Mutex<Screen>>>,
    block: Block,
}

impl LiveView {
    /// Begins with the warm-up. It draws nothing unless `is_shown`.
    pub(super) fn begin(config: &RunConfig, is_shown: bool) -> Self {
        let view = Self {
            screen: is_shown.then(Arc::default),
            block: Block::new(config),
        };
        view.draw();
        view
    }

    /// Draws the last interval.
    pub(super) fn show(&mut self, sample: &Sample<'_>) {
        self.block.take(sample);
        self.draw();
    }

    /// Removes the block.
    pub(super) fn end(&self) {
        if let Some(screen) = &self.screen {
            lock(screen).draw(|_| Vec::new());
        }
    }

    /// Returns what a signal does, from another thread: it leaves the block as it is and says
    /// that the run is ending. The echo of Ctrl-C has moved the cursor, so nothing can be drawn
    /// in place any more.
    pub(super) fn settler(&self) -> impl FnOnce() + Send + use<> {
        let screen = self.screen.clone();
        move || {
            if let Some(screen) = screen {
                lock(&screen).is_settled = true;
                // It does not matter whether anyone reads it.
                let _ = io::stderr().write_all(ENDING.as_bytes());
            }
        }
    }

    fn draw(&self) {
        if let Some(screen) = &self.screen {
            lock(screen).draw(|columns| self.block.lines(columns));
        }
    }
}

fn lock(screen: &Mutex<Screen>) -> impl std::ops::DerefMut<Target = Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines that are on the terminal now.
#[derive(Default)]
struct Screen {
    /// The width of each line.
    drawn: Vec<usize>,
    is_settled: bool,
}

impl Screen {
    /// Replaces the lines by those that `lines` returns for the width of the terminal.
    fn draw(&mut self, lines: impl FnOnce(usize) -> Vec<String>) {
        let size = Term::stderr().size_checked();
        let (height, columns) = size.unwrap_or((24, 80));
        if self.is_settled || columns == 0 {
            return;
        }
        let mut lines = lines(columns.into());
        lines.truncate(usize::from(height).saturating_sub(1));
        let text = self.replace(&lines, columns.into());
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn replace(&mut self, lines: &[String], columns: usize) -> String {
        // A terminal that became narrower has broken the old lines.
        let rows = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns).max(1));
        let back = match rows.sum::<usize>() {
            0 => String::new(),
            rows => format!("\x1b[{rows}A"),
        };
        self.drawn = lines.iter().map(|line| line.chars().count()).collect();
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{back}\r\x1b[J{lines}")
    }
}

/// The contents of the view.
struct Block {
    has_deliveries: bool,
    has_answers: bool,
    warmup: Duration,
    duration: Duration,
    /// The part of the recording that is over.
    over: Duration,
    /// The rows of the last interval. There are none before the first one.
    rows: Vec<Row>,
    /// The counts of all intervals.
    all: Counts,
    /// The 99th percentile of the last intervals, the oldest first, where something arrived.
    p99s: VecDeque<Option<Duration>>,
}

struct Row {
    name: &'static str,
    per_s: f64,
    lost: String,
    percentiles: [Option<Duration>; FEW.len()],
}

impl Block {
    fn new(config: &RunConfig) -> Self {
        Self {
            has_deliveries: config.mix.text > 0.0,
            has_answers: config.mix.ping > 0.0,
            warmup: config.warmup,
            duration: config.duration,
            over: Duration::ZERO,
            rows: Vec::new(),
            all: Counts::default(),
            p99s: VecDeque::new(),
        }
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let (counts, latencies) = (&sample.counts, sample.latencies);
        self.over = sample.start + sample.length;
        self.all += *counts;
        let row = |name, count: u64, lost, recorded: &Histogram<u64>| Row {
            name,
            per_s: per_s(count, sample.length),
            lost,
            percentiles: FEW.map(|percent| percentile(recorded, percent)),
        };
        let lag = &latencies.send_lag;
        self.rows = vec![row("sent (lag)", counts.sent, String::new(), lag)];
        if self.has_deliveries {
            let lost = share(self.all.lost, self.all.expected);
            let recorded = &latencies.delivery;
            self.rows
                .push(row("deliveries", counts.delivered, lost, recorded));
        }
        if self.has_answers {
            let lost = share(self.all.unanswered, self.all.asked);
            let recorded = &latencies.answer;
            self.rows
                .push(row("answers", counts.answered, lost, recorded));
        }
        let trend = if self.has_deliveries {
            &latencies.delivery
        } else {
            &latencies.answer
        };
        self.p99s.push_back(percentile(trend, 99.0));
        if self.p99s.len() > TREND {
            self.p99s.pop_front();
        }
    }

    /// Returns lines that are shorter than the terminal is wide.
    fn lines(&self, columns: usize) -> Vec<String> {
        let mut lines = vec![self.clock(columns)];
        if self.rows.is_empty() {
            let warmup = span(self.warmup);
            lines.push(format!("  clients register, then {warmup} of warm-up"));
        } else {
            lines.extend(self.table(columns));
            lines.extend(self.trend(columns));
        }
        // Neither the server nor the network did this.
        let Counts {
            own_drops, refused, ..
        } = self.all;
        if own_drops > 0 || refused > 0 {
            let (dropped, refused) = (count(own_drops), count(refused));
            lines.push(format!(
                "  own kernel: dropped {dropped}, refused {refused}"
            ));
        }
        let most = columns.saturating_sub(1);
        let cut = |line: String| line.trim_end().chars().take(most).collect();
        lines.into_iter().map(cut).collect()
    }

    /// Returns the time and a bar.
    fn clock(&self, columns: usize) -> String {
        let over = Duration::from_secs(self.over.as_secs_f64().round() as u64);
        let (over, all) = (over.min(self.duration), self.duration);
        let width = columns.saturating_sub(20).min(TREND);
        let done = over.as_secs_f64() / all.as_secs_f64() * width as f64;
        let done = "━".repeat(done as usize);
        format!(
            "  {:<15} {done:─<width$}",
            format!("{} of {}", span(over), span(all))
        )
    }

    fn table(&self, columns: usize) -> Vec<String> {
        // A narrow terminal has no room for the last ones of these.
        let mut order = vec![PER_S, LOST, P50, P99, P99_9];
        for unneeded in [P99_9, P50, LOST] {
            if NAME + COLUMN * order.len() >= columns {
                order.retain(|column| *column != unneeded);
            }
        }
        let line = |name: &str, cells: [String; 5]| {
            let cells = order
                .iter()
                .map(|column| format!("{:>COLUMN$}", cells[*column]));
            format!("  {name:<11}{}", cells.collect::<String>())
        };
        let [p50, p99, p99_9] = FEW.map(percentile_name);
        let mut lines = vec![line(
            "",
            ["per second".into(), "lost".into(), p50, p99, p99_9],
        )];
        for row in &self.rows {
            let printed = |time: Option<Duration>| time.map_or("-".to_owned(), taken);
            let [p50, p99, p99_9] = row.percentiles.map(printed);
            let cells = [number(row.per_s), row.lost.clone(), p50, p99, p99_9];
            lines.push(line(row.name, cells));
        }
        lines
    }

    fn trend(&self, columns: usize) -> Option<String> {
        let kind = match (self.has_deliveries, self.has_answers) {
            (true, _) => "delivery p99",
            (false, true) => "answer p99",
            (false, false) => return None,
        };
        let width = columns.saturating_sub(35).min(TREND);
        let older = self.p99s.len().saturating_sub(width);
        let shown: VecDeque<_> = self.p99s.iter().skip(older).copied().collect();
        let highest = shown.iter().flatten().max();
        let highest = highest.map_or_else(String::new, |p99| format!("up to {}", taken(*p99)));
        Some(format!(
            "  {kind:<12} {:<width$}  {highest}",
            sparkline(&shown)
        ))
    }
}

/// Returns a bar for each value, from 0 to the highest, and a gap where there is none.
fn sparkline(values: &VecDeque<Option<Duration>>) -> String {
    let highest = values.iter().flatten().max();
    let highest = highest.map_or(0.0, Duration::as_secs_f64);
    let bar = |value: &Option<Duration>| match value {
        None => ' ',
        Some(value) => {
            let height = value.as_secs_f64() / highest * BARS.len() as f64;
            // The lowest stands for 0, too, which is no gap.
            BARS[(height.ceil() as usize).clamp(1, BARS.len()) - 1]
        }
    };
    values.iter().map(bar).collect()
}

const ENDING: &str = "\nloadgen: ending; a second signal ends it at once\n\n";

/// The columns of the table, by their place in a row.
const PER_S: usize = 0;
const LOST: usize = 1;
const P50: usize = 2;
const P99: usize = 3;
const P99_9: usize = 4;

/// The widths of the names and of a column.
const NAME: usize = 13;
const COLUMN: usize = 12;

/// Seconds in the trend.
const TREND: usize = 40;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mix;
    use crate::testing::{latencies, pings, recorded, sample};

    fn mixed() -> Block {
        let mut config = pings(1000.0);
        config.mix = Mix {
            ping: 9.0,
            text: 1.0,
            heartbeat: 0.0,
        };
        Block::new(&config)
    }

    #[test]
    fn the_block_has_a_row_for_each_kind_and_a_trend() {
        let mut latencies = latencies();
        latencies.delivery = recorded(&[1_250_000]);
        latencies.send_lag = recorded(&[42_000]);
        let mut block = mixed();
        let counts = Counts {
            sent: 50_000,
            asked: 45_000,
            expected: 50_000,
            delivered: 49_000,
            lost: 500,
            ..Counts::default()
        };
        block.take(&sample(0, counts, &latencies));
        latencies.delivery = recorded(&[10_000_000]);
        block.take(&sample(1, counts, &latencies));
        let expected = [
            "  2 s of 10 s     ━━━━━━━━────────────────────────────────",
            "               per second        lost         p50         p99       p99.9",
            "  sent (lag)       50,000                 42.0 µs     42.0 µs     42.0 µs",
            "  deliveries       49,000      1.00 %     10.0 ms     10.0 ms     10.0 ms",
            "  answers               0         0 %           -           -           -",
            "  delivery p99 ▁█                                        up to 10.0 ms",
        ];
        assert_eq!(block.lines(80), expected);
        let expected = [
            "  2 s of 10 s     ━━━━━━────────────────────────",
            "               per second        lost         p99",
            "  sent (lag)       50,000                 42.0 µs",
            "  deliveries       49,000      1.00 %     10.0 ms",
            "  answers               0         0 %           -",
            "  delivery p99 ▁█               up to 10.0 ms",
        ];
        assert_eq!(block.lines(50), expected);
    }

    #[test]
    fn lines_fit_a_terminal_whatever_is_measured() {
        let mut latencies = latencies();
        let longest = recorded(&[86_399_000_000_000]);
        latencies.delivery = longest.clone();
        latencies.answer = longest.clone();
        latencies.send_lag = longest;
        let many = 999_999_999;
        let counts = Counts {
            sent: many,
            asked: many,
            answered: many,
            expected: many,
            delivered: many,
            lost: many / 3,
            unanswered: many / 7,
            own_drops: many,
            refused: many,
            ..Counts::default()
        };
        let mut block = mixed();
        for second in 0..100 {
            block.take(&sample(second, counts, &latencies));
        }
        assert_eq!(block.p99s.len(), TREND);
        for columns in [1, 10, 30, 50, 60, 80, 200] {
            for line in block.lines(columns) {
                let width = line.chars().count();
                assert!(width < columns && width <= 79, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn a_run_of_heartbeats_has_neither_answers_nor_a_trend() {
        let mut config = pings(1000.0);
        config.mix = Mix {
            ping: 0.0,
            text: 0.0,
            heartbeat: 1.0,
        };
        let mut block = Block::new(&config);
        let latencies = latencies();
        block.take(&sample(0, Counts::default(), &latencies));
        assert_eq!(block.lines(80).len(), 3);
    }

    #[test]
    fn a_sparkline_has_gaps_where_nothing_came() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let line = |values: &[Option<Duration>]| sparkline(&values.iter().copied().collect());
        assert_eq!(line(&[ms(1), None, ms(4), ms(8), ms(0)]), "▁ ▄█▁");
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[None, ms(0)]), " ▁");
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_broken_are_replaced_as_well() {
        let mut screen = Screen::default();
        let lines = ["x".repeat(70), String::new()];
        let begins = format!("\r\x1b[J{}\n\n", lines[0]);
        assert_eq!(screen.replace(&lines, 80), begins);
        assert_eq!(screen.replace(&lines[1..], 30), "\x1b[4A\r\x1b[J\n");
        assert_eq!(screen.replace(&[], 30), "\x1b[1A\r\x1b[J");
        assert_eq!(screen.replace(&[], 30), "\r\x1b[J");
    }

    #[test]
    fn a_hidden_view_takes_samples() {
        let mut view = LiveView::begin(&pings(1000.0), false);
        view.show(&sample(3, Counts::default(), &latencies()));
        let clock = view.block.clock(80);
        assert!(
            clock.starts_with("  4 s of 10 s     ━━━━━━━━━━━━━━━━─"),
            "{clock}"
        );
        view.settler()();
        view.end();
    }
}
