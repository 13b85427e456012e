//! Puts the reports of all threads together: into samples while the run goes on, and
//! into the whole at its end.

use std::time::Duration;

use crate::config::RunConfig;
use crate::engine::recorder::{Report, ShardResult};
use crate::engine::schedule::nanoseconds;
use crate::outcome::{Counts, Latencies, Sample, Second};

/// Collects reports.
pub(crate) struct Collector<F> {
    observe: F,
    duration: Duration,
    /// The seconds that each thread has reported.
    reported: Vec<usize>,
    /// The seconds of which there was a sample.
    sampled: usize,
    /// The counts since the last sample.
    counts: Counts,
    settled: Second,
    latencies: Latencies,
    /// The latencies before that.
    all: Latencies,
}

impl<F: FnMut(&Sample<'_>)> Collector<F> {
    pub(crate) fn new(duration: Duration, threads: usize, observe: F) -> Self {
        Self {
            observe,
            duration,
            reported: vec![0; threads],
            sampled: 0,
            counts: Counts::default(),
            settled: Second::default(),
            latencies: Latencies::new(),
            all: Latencies::new(),
        }
    }

    /// Takes what is in a report, and returns it empty. When all threads have reported
    /// a second, there is a sample of it.
    pub(crate) fn take(&mut self, mut report: Box<Report>) -> Box<Report> {
        self.add(&report);
        self.reported[report.thread] = report.seconds;
        report.latencies.clear();
        let seconds = self.reported.iter().copied().min().unwrap_or(0);
        if seconds > self.sampled {
            self.sample(Duration::from_secs(seconds as u64));
            self.sampled = seconds;
        }
        report
    }

    /// Returns the length of the recording, its counts, its latencies and its seconds.
    pub(crate) fn finish(
        mut self,
        results: Vec<ShardResult>,
        config: &RunConfig,
    ) -> (Duration, Counts, Latencies, Vec<Second>) {
        let mut counts = Counts::default();
        let mut seconds: Vec<Second> = Vec::new();
        let mut ended_ns = 0;
        for result in results {
            self.add(&result.report);
            counts += result.counts;
            seconds.resize(seconds.len().max(result.seconds.len()), Second::default());
            for (sum, part) in seconds.iter_mut().zip(result.seconds) {
                *sum += part;
            }
            ended_ns = ended_ns.max(result.ended_ns);
        }
        let recorded = ended_ns.saturating_sub(nanoseconds(config.warmup));
        let recorded = Duration::from_nanos(recorded).min(self.duration);
        seconds.truncate(recorded.as_nanos().div_ceil(SECOND_NS) as usize);
        counts.lost = counts.expected.saturating_sub(counts.delivered);
        counts.unanswered = counts.asked.saturating_sub(counts.answered);
        if recorded > Duration::from_secs(self.sampled as u64) {
            self.sample(recorded);
        } else {
            self.all.add(&self.latencies);
        }
        (recorded, counts, self.all, seconds)
    }

    fn add(&mut self, report: &Report) {
        self.counts += report.counts;
        self.settled += report.settled;
        self.latencies.add(&report.latencies);
    }

    /// Shows what came since the last sample, up to `end`.
    fn sample(&mut self, end: Duration) {
        let start = Duration::from_secs(self.sampled as u64);
        self.counts.lost = self.settled.expected.saturating_sub(self.settled.delivered);
        self.counts.unanswered = self.settled.asked.saturating_sub(self.settled.answered);
        (self.observe)(&Sample {
            start,
            length: end - start,
            counts: self.counts,
            latencies: &self.latencies,
        });
        self.all.add(&self.latencies);
        self.latencies.clear();
        self.counts = Counts::default();
        self.settled = Second::default();
    }
}

const SECOND_NS: u128 = 1_000_000_000;
