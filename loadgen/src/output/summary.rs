//! A run in one file, for programs.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::timeline::Interval;
use super::{Environment, Run, shell_line};
use crate::config::RunConfig;
use crate::described::described;
use crate::outcome::{
    CEILING_NS, Counts, Generator, Latencies, Limited, Outcome, Second, ServerUse,
};
use crate::percentiles::micros;
use crate::units::{per_s, ratio, thousandths};
use crate::verdict::{SloResult, Verdict};

/// `summary.json`. docs/LOADGEN.md has its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// The start of the recording in UTC (RFC 3339).
    pub began_at: String,
    /// The same in seconds since 1970.
    pub began_at_unix_s: f64,
    /// The length of the recording, in seconds.
    pub recorded_s: f64,
    /// The time until all clients were registered, in milliseconds.
    pub registered_in_ms: f64,
    /// The signal that stopped the run.
    pub signal: Option<i32>,
    /// Set if the server said goodbye, which ended the run.
    pub server_said_goodbye: bool,
    /// The start of the last silence of the server, if it was silent for a second or more.
    pub server_silent_from_s: Option<f64>,
    /// The end of it, if it ended.
    pub server_silent_to_s: Option<f64>,
    /// Set if the server restarted, or forgot its clients.
    pub server_restarted: bool,
    /// The clients that the server limited, if there are any.
    #[serde(default)]
    pub limited: Option<Limited>,
    /// The command that repeats the run, quoted for a shell.
    pub command: String,
    /// The verdict on the figures.
    pub verdict: Verdict,
    /// The objectives.
    pub slos: Vec<SloResult>,
    /// The settings of the run.
    pub config: RunConfig,
    /// The machine.
    pub environment: Environment,
    /// The load, and what became of it.
    pub counts: Counts,
    /// The same as rates and shares.
    pub rates: Rates,
    /// The latencies by name, if something was recorded.
    pub latencies: BTreeMap<String, LatencySummary>,
    /// The resources that the generator used.
    pub generator: Generator,
    /// The resources that the server used, if its process was named.
    pub server: Option<ServerSummary>,
    /// The counts of each second, by the time at which datagrams were due.
    pub seconds: Vec<Second>,
    /// The latencies of each interval, by the time at which datagrams arrived.
    pub intervals: Vec<Interval>,
}

described! {
    /// Rates per second of recording.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    pub struct Pace {
        /// Datagrams due per second.
        pub offered_per_s: f64,
        /// Datagrams sent per second.
        pub sent_per_s: f64,
        /// Copies of texts that arrived per second.
        pub deliveries_per_s: f64,
        /// Answers that arrived per second.
        pub answers_per_s: f64,
    }
}

described! {
    /// Shares of the counts. A share of nothing is `null`.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    pub struct Ratios {
        /// `sent` as a share of `due`.
        pub sent_ratio: Option<f64>,
        /// `lost` as a share of `expected`.
        pub loss_ratio: Option<f64>,
        /// `unanswered` as a share of `asked`.
        pub unanswered_ratio: Option<f64>,
    }
}

/// Rates and shares of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Rates per second.
    #[serde(flatten)]
    pub pace: Pace,
    /// Shares.
    #[serde(flatten)]
    pub ratios: Ratios,
}

described! {
    /// One latency in the whole run, in microseconds.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    pub struct LatencySummary {
        /// Latencies recorded.
        pub count: u64,
        /// The least of them.
        pub min_us: f64,
        /// The mean.
        pub mean_us: f64,
        /// Half of them took at most this.
        pub p50_us: f64,
        /// 90 % of them took at most this.
        pub p90_us: f64,
        /// 95 % of them took at most this.
        pub p95_us: f64,
        /// 99 % of them took at most this.
        pub p99_us: f64,
        /// 99.9 % of them took at most this.
        pub p99_9_us: f64,
        /// 99.99 % of them took at most this.
        pub p99_99_us: f64,
        /// The greatest of them.
        pub max_us: f64,
        /// Latencies of 68.7 s or more, which count as 68.7 s.
        pub clamped_count: u64,
        /// The share of what should arrive that is not among them: lost, unanswered or too late.
        /// `null` for the other latencies, and in a single second.
        pub left_out_ratio: Option<f64>,
    }
}

/// The resources that the server used, per delivery, too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServerSummary {
    /// The figures of the process.
    #[serde(flatten)]
    pub used: ServerUse,
    /// [`ServerUse::deliveries_per_cpu_s`].
    pub deliveries_per_cpu_s: Option<f64>,
}

impl Summary {
    /// Returns the summary of `run`.
    pub fn new(run: &Run<'_>, intervals: Vec<Interval>, environment: Environment) -> Self {
        let outcome = run.outcome;
        let began_at = UNIX_EPOCH + outcome.began_at;
        let seconds = |time: Duration| thousandths(time.as_secs_f64());
        Self {
            schema: SCHEMA.to_owned(),
            began_at: humantime::format_rfc3339_millis(began_at).to_string(),
            began_at_unix_s: thousandths(outcome.began_at.as_secs_f64()),
            recorded_s: thousandths(outcome.recorded.as_secs_f64()),
            registered_in_ms: thousandths(outcome.registered_in.as_secs_f64() * 1e3),
            signal: outcome.signal,
            server_said_goodbye: outcome.server_said_goodbye,
            server_silent_from_s: outcome.silence.map(|silence| seconds(silence.from)),
            server_silent_to_s: outcome.silence.and_then(|silence| silence.to.map(seconds)),
            server_restarted: outcome.has_restarted,
            limited: outcome.limited.clone(),
            command: shell_line(run.command),
            verdict: run.verdict.clone(),
            slos: run.slos.to_vec(),
            config: run.config.clone(),
            environment,
            counts: outcome.counts,
            rates: Rates::of(outcome),
            latencies: latencies(&outcome.latencies, |name| outcome.left_out(name)),
            generator: outcome.generator,
            server: outcome.server.map(|used| ServerSummary {
                used,
                deliveries_per_cpu_s: used.deliveries_per_cpu_s(&outcome.counts).map(thousandths),
            }),
            seconds: outcome.seconds.clone(),
            intervals,
        }
    }
}

impl Pace {
    /// Returns the rates of `counts` over `time`.
    pub fn of(counts: &Counts, time: Duration) -> Self {
        Self {
            offered_per_s: per_s(counts.due, time),
            sent_per_s: per_s(counts.sent, time),
            deliveries_per_s: per_s(counts.delivered, time),
            answers_per_s: per_s(counts.answered, time),
        }
    }
}

impl Rates {
    fn of(outcome: &Outcome) -> Self {
        let counts = &outcome.counts;
        Self {
            pace: Pace::of(counts, outcome.recorded),
            ratios: Ratios {
                sent_ratio: ratio(counts.sent, counts.due),
                loss_ratio: ratio(counts.lost, counts.expected),
                unanswered_ratio: ratio(counts.unanswered, counts.asked),
            },
        }
    }
}

impl LatencySummary {
    fn of(histogram: &Histogram<u64>, left_out_ratio: Option<f64>) -> Self {
        let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min_us: micros(histogram.min()),
            mean_us: thousandths(histogram.mean() / 1e3),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: micros(histogram.max()),
            clamped_count: histogram.count_at(CEILING_NS),
            left_out_ratio,
        }
    }
}

impl ServerSummary {
    /// Returns the JSON key and the meaning of each field.
    pub(crate) fn meanings() -> Vec<(&'static str, &'static str)> {
        let mut meanings = ServerUse::MEANINGS.to_vec();
        meanings.push(("deliveries_per_cpu_s", ServerUse::PER_CPU_SECOND));
        meanings
    }
}

/// Returns the latencies of which something was recorded, by name, with the shares that they
/// leave out.
pub(crate) fn latencies(
    latencies: &Latencies,
    left_out: impl Fn(&str) -> Option<f64>,
) -> BTreeMap<String, LatencySummary> {
    let named = latencies.named().into_iter();
    let recorded = named.filter(|(_, histogram)| !histogram.is_empty());
    let summary = |histogram, name| LatencySummary::of(histogram, left_out(name));
    recorded
        .map(|(name, histogram)| (name.to_owned(), summary(histogram, name)))
        .collect()
}

/// The format of `summary.json`. The number rises when a field goes or changes its meaning,
/// and not for a new field.
pub const SCHEMA: &str = "bullhorn-loadgen-summary/1";

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
