//! What a terminal shows while a run goes on.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::RunConfig;
use crate::outcome::Sample;
use crate::percentiles::{FEW, percentile, percentile_name};
use crate::units::{count, latency, number, share, span};

/// A block at the bottom of the terminal that standard error is, which each [`Sample`]
/// draws anew.
pub(super) struct LiveView {
    bar: ProgressBar,
    block: Block,
}

impl LiveView {
    /// Begins with the warm-up. Nothing is ever drawn unless `is_shown`, or where standard
    /// error is no terminal.
    pub(super) fn begin(config: &RunConfig, is_shown: bool) -> Self {
        let target = match is_shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let length_ms = millis(config.duration);
        let bar = ProgressBar::with_draw_target(Some(length_ms), target);
        // It is right, as a test shows; without it, the bar has another look.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix("getting ready");
        bar.set_message(format!(
            "  clients come, and {} of warm-up is not recorded",
            span(config.warmup)
        ));
        Self {
            bar,
            block: Block::new(config),
        }
    }

    /// Draws what the last interval had.
    pub(super) fn show(&mut self, sample: &Sample<'_>) {
        self.block.take(sample);
        self.bar.set_prefix(self.block.clock());
        self.bar.set_position(millis(self.block.over));
        self.bar.set_message(self.block.lines().join("\n"));
    }

    /// Takes the block away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Leaves the block as it is, for good, and says that the run is ending; from another
    /// thread. Whoever typed the interrupt has moved the cursor, so that nothing could be
    /// drawn in its place any more.
    pub(super) fn settler(&self) -> impl FnOnce() + Send + use<> {
        let bar = self.bar.clone();
        move || {
            if !bar.is_hidden() {
                bar.set_draw_target(ProgressDrawTarget::hidden());
                // Whether anyone reads it changes nothing.
                let _ = io::stderr().write_all(ENDING.as_bytes());
            }
        }
    }
}

/// What the block says.
struct Block {
    has_deliveries: bool,
    has_answers: bool,
    duration: Duration,
    /// Of the recording, so far.
    over: Duration,
    /// Of the last interval; nothing before there was one.
    rows: Vec<Row>,
    /// So far.
    lost: u64,
    owed: u64,
    unanswered: u64,
    asked: u64,
    own_drops: u64,
    refused: u64,
    /// The 99th percentile of the last intervals, the oldest first; nothing where nothing
    /// came.
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
            duration: config.duration,
            over: Duration::ZERO,
            rows: Vec::new(),
            lost: 0,
            owed: 0,
            unanswered: 0,
            asked: 0,
            own_drops: 0,
            refused: 0,
            p99s: VecDeque::new(),
        }
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let (counts, latencies) = (&sample.counts, sample.latencies);
        self.over = sample.start + sample.length;
        self.lost += counts.lost;
        self.owed += counts.owed;
        self.unanswered += counts.unanswered;
        self.asked += counts.asked;
        self.own_drops += counts.own_drops;
        self.refused += counts.refused;
        let length_s = sample.length.as_secs_f64();
        let row = |name, count: u64, lost, recorded: &Histogram<u64>| Row {
            name,
            per_s: if length_s > 0.0 {
                count as f64 / length_s
            } else {
                0.0
            },
            lost,
            percentiles: FEW.map(|percent| percentile(recorded, percent)),
        };
        self.rows = vec![row(
            "sent (lag)",
            counts.sent,
            String::new(),
            &latencies.send_lag,
        )];
        if self.has_deliveries {
            let lost = share(self.lost, self.owed);
            self.rows.push(row(
                "deliveries",
                counts.delivered,
                lost,
                &latencies.delivery,
            ));
        }
        if self.has_answers {
            let lost = share(self.unanswered, self.asked);
            self.rows
                .push(row("answers", counts.answered, lost, &latencies.answer));
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

    /// How far the recording is.
    fn clock(&self) -> String {
        let over = Duration::from_secs(self.over.as_secs_f64().round() as u64);
        format!(
            "{} of {}",
            span(over.min(self.duration)),
            span(self.duration)
        )
    }

    /// Lines of at most 78 columns.
    fn lines(&self) -> Vec<String> {
        let [p50, p99, p99_9] = FEW.map(percentile_name);
        let columns = |name: &str, per_s: &str, lost: &str, [a, b, c]: [&str; 3]| {
            let line = format!("  {name:<15}{per_s:>12}{lost:>12}{a:>12}{b:>12}{c:>12}");
            line.trim_end().to_owned()
        };
        let mut lines = vec![columns("", "a second", "lost", [&p50, &p99, &p99_9])];
        for row in &self.rows {
            let taken = row
                .percentiles
                .map(|taken| taken.map_or("-".to_owned(), latency));
            let [a, b, c] = &taken;
            lines.push(columns(row.name, &number(row.per_s), &row.lost, [a, b, c]));
        }
        lines.extend(self.trend());
        // Neither the server's nor the network's fault, and so to be seen at once.
        if self.own_drops > 0 || self.refused > 0 {
            let (dropped, refused) = (count(self.own_drops), count(self.refused));
            lines.push(format!(
                "  its own kernel dropped {dropped}, refused to send {refused}"
            ));
        }
        lines
    }

    fn trend(&self) -> Option<String> {
        if !self.has_deliveries && !self.has_answers {
            return None;
        }
        let kind = if self.has_deliveries {
            "delivery"
        } else {
            "answer"
        };
        let highest = self.p99s.iter().flatten().max();
        let highest = highest.map_or_else(String::new, |p99| format!("up to {}", latency(*p99)));
        let name = format!("{kind} p99");
        Some(format!(
            "  {name:<15}{:<TREND$}  {highest}",
            sparkline(&self.p99s)
        ))
    }
}

/// A bar for each value, from nothing to the highest; a gap where there is none.
fn sparkline(values: &VecDeque<Option<Duration>>) -> String {
    let highest = values
        .iter()
        .flatten()
        .max()
        .map_or(0.0, Duration::as_secs_f64);
    let bar = |value: &Option<Duration>| match value {
        None => ' ',
        Some(value) => {
            let height = value.as_secs_f64() / highest * BARS.len() as f64;
            // The lowest stands for zero, too, which is no gap.
            BARS[(height.ceil() as usize).clamp(1, BARS.len()) - 1]
        }
    };
    values.iter().map(bar).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const ENDING: &str = "\nloadgen: ending; a second signal ends it at once\n\n";

/// Two lines above each other would be told apart by colour alone; so the rest is plain.
const TEMPLATE: &str = "  {prefix:<15} {bar:59.cyan/dim}\n{msg}";

/// Seconds in the trend: what fits into a line of 80 columns beside its name and highest.
const TREND: usize = 40;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mix;
    use crate::outcome::Counts;
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
            owed: 50_000,
            delivered: 49_000,
            lost: 500,
            ..Counts::default()
        };
        block.take(&sample(0, counts, &latencies));
        latencies.delivery = recorded(&[10_000_000]);
        block.take(&sample(1, counts, &latencies));
        assert_eq!(block.clock(), "2 s of 10 s");
        let expected = [
            "                     a second        lost         p50         p99       p99.9",
            "  sent (lag)           50,000                 42.0 µs     42.0 µs     42.0 µs",
            "  deliveries           49,000      1.00 %     10.0 ms     10.0 ms     10.0 ms",
            "  answers                   0         0 %           -           -           -",
            "  delivery p99   ▁█                                        up to 10.0 ms",
        ];
        assert_eq!(block.lines(), expected);
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
            owed: many,
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
        for line in block.lines() {
            assert!(line.chars().count() <= 79, "{line}");
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
        assert_eq!(block.lines().len(), 2);
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
    fn the_template_is_right_and_a_hidden_view_takes_samples() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        let mut view = LiveView::begin(&pings(1000.0), false);
        view.show(&sample(3, Counts::default(), &latencies()));
        assert_eq!(view.bar.position(), 4000);
        assert_eq!(view.bar.prefix(), "4 s of 10 s");
        view.settler()();
        view.end();
        assert!(view.bar.is_finished());
    }
}
