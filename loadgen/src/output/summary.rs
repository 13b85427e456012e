//! A run in one file, for programs.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Run;
use super::environment::Environment;
use super::numbers::{micros, ratio, rounded};
use super::settings::Settings;
use super::shell;
use super::timeline::Interval;
use crate::outcome::{Counts, Generator, Latencies, Outcome, Second, ServerUse};
use crate::verdict::SloResult;

/// `summary.json`. docs/LOADGEN.md has its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the recording began, as people write it, in UTC.
    pub began_at: String,
    /// The same in seconds since 1970.
    pub began_at_unix_s: f64,
    /// For how long it recorded, in seconds.
    pub recorded_s: f64,
    /// How long all clients took to come, in milliseconds.
    pub registered_in_ms: f64,
    /// The signal that ended it early.
    pub signal: Option<i32>,
    /// Whether the server said goodbye, which ended it.
    pub server_said_goodbye: bool,
    /// How to do it again, quoted for a shell.
    pub command: String,
    /// Whether the figures are the server's.
    pub verdict: Judgement,
    /// What was asked of the server.
    pub slos: Vec<SloResult>,
    /// What the run was told.
    pub config: Settings,
    /// What it was done on.
    pub environment: Environment,
    /// What was offered, and what became of it.
    pub counts: Counts,
    /// The same as rates and shares.
    pub rates: Rates,
    /// By name; one of which nothing was recorded is missing.
    pub latencies: BTreeMap<String, LatencySummary>,
    /// How the generator fared.
    pub generator: GeneratorUse,
    /// How the server's process fared, if it was named.
    pub server: Option<ServerSummary>,
    /// Second by second, by when things were due.
    pub seconds: Vec<Second>,
    /// Interval by interval, by when things came.
    pub intervals: Vec<Interval>,
}

/// A [`crate::verdict::Verdict`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether there is no reason to the contrary.
    pub is_valid: bool,
    /// The reasons.
    pub invalid: Vec<String>,
}

/// What the counts come to. A share of nothing is `null`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Datagrams due a second.
    pub offered_per_s: f64,
    /// Datagrams sent a second.
    pub sent_per_s: f64,
    /// Copies of texts that came a second.
    pub deliveries_per_s: f64,
    /// Answers a second.
    pub answers_per_s: f64,
    /// Of what was due, the share that was sent.
    pub sent_ratio: Option<f64>,
    /// Of the copies that were owed, the share that did not come.
    pub loss_ratio: Option<f64>,
    /// Of the requests, the share that was not answered.
    pub unanswered_ratio: Option<f64>,
}

/// One latency in the whole run, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many were recorded: at least one.
    pub count: u64,
    /// The least.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Half of them took at most this.
    pub p50_us: f64,
    /// 90 % of them.
    pub p90_us: f64,
    /// 95 % of them.
    pub p95_us: f64,
    /// 99 % of them.
    pub p99_us: f64,
    /// 99.9 % of them.
    pub p99_9_us: f64,
    /// 99.99 % of them.
    pub p99_99_us: f64,
    /// All of them.
    pub max_us: f64,
}

/// A [`Generator`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GeneratorUse {
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// For how long threads waited for a processor, in seconds.
    pub run_queue_delay_s: f64,
    /// How often they were given a processor.
    pub runs: u64,
    /// For how long the machine's processors were another machine's, in seconds.
    pub steal_s: f64,
    /// The most datagrams that were due at once.
    pub largest_burst: u32,
    /// Threads.
    pub threads: u16,
    /// Sockets.
    pub sockets: u32,
    /// Files open when the load began.
    pub files: u32,
    /// Memory for what is known of a client, in bytes.
    pub client_bytes: u32,
    /// Memory at its most, in bytes.
    pub peak_memory_bytes: u64,
}

/// A [`ServerUse`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServerSummary {
    /// CPU time of all its threads, in seconds.
    pub cpu_s: f64,
    /// Copies and answers that came, a second of that; `null` where it took none.
    pub deliveries_per_cpu_s: Option<f64>,
    /// Memory at its most since it started, in bytes.
    pub peak_memory_bytes: u64,
}

impl Summary {
    /// That of `run`.
    pub fn new(run: &Run<'_>, intervals: Vec<Interval>, environment: Environment) -> Self {
        let outcome = run.outcome;
        let began_at = UNIX_EPOCH + outcome.began_at;
        Self {
            schema: SCHEMA.to_owned(),
            began_at: humantime::format_rfc3339_millis(began_at).to_string(),
            began_at_unix_s: seconds(outcome.began_at),
            recorded_s: seconds(outcome.recorded),
            registered_in_ms: rounded(outcome.registered_in.as_secs_f64() * 1e3),
            signal: outcome.signal,
            server_said_goodbye: outcome.server_said_goodbye,
            command: shell::line(run.command),
            verdict: Judgement {
                is_valid: run.verdict.is_valid(),
                invalid: run.verdict.invalid.clone(),
            },
            slos: run.slos.to_vec(),
            config: Settings::from(run.config),
            environment,
            counts: outcome.counts,
            rates: Rates::of(outcome),
            latencies: latencies(&outcome.latencies),
            generator: GeneratorUse::from(&outcome.generator),
            server: outcome
                .server
                .map(|server| ServerSummary::of(server, &outcome.counts)),
            seconds: outcome.seconds.clone(),
            intervals,
        }
    }
}

impl Rates {
    fn of(outcome: &Outcome) -> Self {
        let counts = &outcome.counts;
        let recorded_s = outcome.recorded.as_secs_f64();
        // A run that was stopped before it recorded anything has no rate.
        let per_s = |count: u64| match recorded_s > 0.0 {
            true => rounded(count as f64 / recorded_s),
            false => 0.0,
        };
        Self {
            offered_per_s: per_s(counts.due),
            sent_per_s: per_s(counts.sent),
            deliveries_per_s: per_s(counts.delivered),
            answers_per_s: per_s(counts.answered),
            sent_ratio: ratio(counts.sent, counts.due),
            loss_ratio: ratio(counts.lost, counts.owed),
            unanswered_ratio: ratio(counts.unanswered, counts.asked),
        }
    }
}

impl LatencySummary {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min_us: micros(histogram.min()),
            mean_us: rounded(histogram.mean() / 1e3),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: micros(histogram.max()),
        }
    }
}

impl From<&Generator> for GeneratorUse {
    fn from(generator: &Generator) -> Self {
        Self {
            cpu_s: seconds(generator.cpu),
            run_queue_delay_s: seconds(generator.run_queue_delay),
            runs: generator.runs,
            steal_s: seconds(generator.steal),
            largest_burst: generator.largest_burst,
            threads: generator.threads,
            sockets: generator.sockets,
            files: generator.files,
            client_bytes: generator.client_bytes,
            peak_memory_bytes: generator.peak_memory_bytes,
        }
    }
}

impl ServerSummary {
    fn of(server: ServerUse, counts: &Counts) -> Self {
        Self {
            cpu_s: rounded(server.cpu.as_secs_f64()),
            deliveries_per_cpu_s: server.deliveries_per_cpu_s(counts).map(rounded),
            peak_memory_bytes: server.peak_memory_bytes,
        }
    }
}

/// Those of which something was recorded, by name.
pub(crate) fn latencies(latencies: &Latencies) -> BTreeMap<String, LatencySummary> {
    let named = latencies.named().into_iter();
    let recorded = named.filter(|(_, histogram)| !histogram.is_empty());
    let summaries =
        recorded.map(|(name, histogram)| (name.to_owned(), LatencySummary::of(histogram)));
    summaries.collect()
}

fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// The format of `summary.json`. The number rises when a field changes its meaning or
/// goes; a new field does not raise it.
pub const SCHEMA: &str = "bullhorn-loadgen-summary/1";

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
