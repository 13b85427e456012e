//! A run made by hand: what an engine might have brought to light. The library's own
//! tests use it, too.

#![allow(dead_code, reason = "every test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::time::Duration;

use loadgen::config::{Arrival, Mix, RunConfig};
use loadgen::outcome::{Counts, Generator, Latencies, Outcome, Sample, Second, ServerUse};

/// A run of this many whole seconds.
pub(crate) struct SampleRun {
    pub(crate) outcome: Outcome,
    /// What came in each second; together, this is all that came.
    pub(crate) intervals: Vec<Latencies>,
}

impl SampleRun {
    /// The one of `seconds`, always the same: in the sixth second of each ten, the server
    /// stands still for a while.
    pub(crate) fn of(seconds: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let intervals: Vec<_> = (0..seconds)
            .map(|second| interval(&mut random, second))
            .collect();
        let mut latencies = Latencies::new();
        for interval in &intervals {
            latencies.add(interval);
        }
        let seconds: Vec<_> = (0..seconds).map(second).collect();
        let outcome = Outcome {
            began_at: Duration::new(1_790_000_000, 250_000_000),
            recorded: Duration::from_secs(seconds.len() as u64),
            registered_in: Duration::from_micros(48_211),
            counts: counts(&seconds),
            latencies,
            seconds,
            generator: generator(),
            server: Some(ServerUse {
                cpu: Duration::from_millis(4_000),
                peak_memory_bytes: 9 << 20,
            }),
            signal: None,
            server_said_goodbye: false,
            silence: None,
            limited: None,
            has_restarted: false,
            send_error: None,
            others: Default::default(),
        };
        Self { outcome, intervals }
    }

    /// The same of a run with several targets: a third of the copies stay at the sender's own.
    pub(crate) fn of_nodes(seconds: u64) -> Self {
        let mut run = Self::of(seconds);
        let all = run.intervals.iter_mut();
        for latencies in all.chain([&mut run.outcome.latencies]) {
            latencies.delivery_same_node = latencies.delivery.clone();
            latencies.delivery_other_node = latencies.delivery.clone();
            latencies.delivery_other_node += &latencies.delivery;
            latencies.delivery += &latencies.delivery_other_node;
        }
        run
    }

    /// What the engine would tell, second by second.
    pub(crate) fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        (0..).zip(&self.intervals).map(|(at, latencies)| Sample {
            start: Duration::from_secs(at),
            length: Duration::from_secs(1),
            counts: Counts::default(),
            latencies,
        })
    }
}

/// What [`SampleRun::of`] 10 seconds has brought to light.
pub(crate) fn outcome() -> Outcome {
    SampleRun::of(10).outcome
}

/// What such a run would have been told.
pub(crate) fn config() -> RunConfig {
    RunConfig {
        clients: 1_000,
        arrival: Arrival::Poisson,
        mix: Mix {
            ping: 0.4,
            text: 0.5,
            heartbeat: 0.1,
        },
        warmup: Duration::from_millis(1_500),
        seed: 7,
        heartbeat: Duration::from_secs(3),
        threads: 2,
        cores: vec![0, 1],
        ..RunConfig::new(([127, 0, 0, 1], 9999).into())
    }
}

/// What a run would have been told that has all settings of several targets.
pub(crate) fn config_of_nodes() -> RunConfig {
    RunConfig {
        other_targets: vec![([127, 0, 0, 1], 9998).into()],
        local_rooms: true,
        ..config()
    }
}

fn interval(random: &mut fastrand::Rng, second: u64) -> Latencies {
    let mut latencies = Latencies::new();
    // The server stands still at the end of a second, and all that is due waits for it.
    let stall_ns: u64 = if stalls(second) { 150_000_000 } else { 0 };
    for at in 0..900 {
        let lag_ns = 10_000 + random.u64(..60_000);
        let served_ns = 80_000.0 - 45_000.0 * random.f64().max(1e-9).ln();
        let left_ns = 1_000_000_000 - at * 1_111_111;
        let wait_ns = stall_ns.saturating_sub(left_ns);
        let from_send_ns = served_ns as u64 + wait_ns / 3;
        let from_due_ns = served_ns as u64 + wait_ns + lag_ns;
        latencies.send_lag.record(lag_ns).unwrap();
        latencies.receive_lag.record(lag_ns / 2).unwrap();
        if at % 2 == 0 {
            latencies.delivery.record_n(from_due_ns, 10).unwrap();
            let from_send = &mut latencies.delivery_from_send;
            from_send.record_n(from_send_ns, 10).unwrap();
        } else {
            latencies.answer.record(from_due_ns).unwrap();
            latencies.answer_from_send.record(from_send_ns).unwrap();
            if wait_ns == 0 {
                latencies.answer_closed_loop.record(from_send_ns).unwrap();
            }
        }
    }
    latencies
}

fn second(at: u64) -> Second {
    let lost = if stalls(at) { 37 } else { 0 };
    Second {
        due: 1_000 + at % 3,
        sent: 1_000 + at % 3,
        asked: 450,
        answered: 450 - lost / 10,
        expected: 4_500,
        delivered: 4_500 - lost,
    }
}

fn stalls(second: u64) -> bool {
    second % 10 == 6
}

fn counts(seconds: &[Second]) -> Counts {
    let sum = |count: fn(&Second) -> u64| seconds.iter().map(count).sum::<u64>();
    let (expected, delivered) = (
        sum(|second| second.expected),
        sum(|second| second.delivered),
    );
    let (asked, answered) = (sum(|second| second.asked), sum(|second| second.answered));
    let sent = sum(|second| second.sent);
    Counts {
        due: sum(|second| second.due),
        sent,
        asked,
        texts: asked,
        heartbeats: sent - 2 * asked,
        keepalives: 12,
        sent_bytes: 48 * sent,
        answered,
        unanswered: asked - answered,
        expected,
        delivered,
        lost: expected - delivered,
        reordered: 3,
        received: delivered + answered,
        received_bytes: 64 * (delivered + answered),
        ..Counts::default()
    }
}

fn generator() -> Generator {
    Generator {
        cpu: Duration::from_millis(2_345),
        run_queue_delay: Duration::from_millis(41),
        runs: 1234,
        steal: Duration::ZERO,
        largest_burst: 9,
        threads: 2,
        sockets: 4,
        files: 19,
        client_bytes: 96,
        peak_memory_bytes: 21 << 20,
    }
}
