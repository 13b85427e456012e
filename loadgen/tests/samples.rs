//! What a run tells while it goes on, and at its end, is one thing; however it ends.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::thread;
use std::time::Duration;

use bullhorn::config::ServiceKind;
use common::{V4, adds_up, at_once, config, mix, run_through, server};
use loadgen::config::{Arrival, Payload, Protocol, Rate, RunConfig, Scenario, Sockets};
use loadgen::outcome::{Counts, Latencies, Outcome, Sample};
use loadgen::{Control, run};

/// What was told in samples, put together.
#[derive(Default)]
struct Told {
    counts: Counts,
    latencies: Latencies,
    /// Where each ended.
    ends: Vec<Duration>,
}

impl Told {
    fn add(&mut self, sample: &Sample<'_>) {
        assert_eq!(sample.start, self.ends.last().copied().unwrap_or_default());
        self.ends.push(sample.start + sample.length);
        self.counts += sample.counts;
        self.latencies.add(sample.latencies);
    }

    /// Checks that it is what the whole run has.
    #[track_caller]
    fn is_all_of(&self, outcome: &Outcome) {
        println!("{:?}\n{:?}", outcome.counts, self.ends);
        assert_eq!(self.ends.last().copied(), Some(outcome.recorded));
        let counts = Counts {
            // A second is over when what is under way has had its time.
            lost: self.counts.lost,
            unanswered: self.counts.unanswered,
            ..outcome.counts
        };
        assert_eq!(self.counts, counts);
        let all = outcome.latencies.named();
        for ((name, told), (_, all)) in self.latencies.named().into_iter().zip(all) {
            assert!(told == all, "{name}: {} and {}", told.len(), all.len());
            assert_eq!((told.max(), told.min()), (all.max(), all.min()), "{name}");
        }
        adds_up(outcome);
    }
}

#[test]
fn the_samples_together_are_the_whole() {
    let cases = [(1, mix(1.0, 1.0, 1.0)), (3, mix(1.0, 1.0, 0.0))];
    at_once(cases, |(threads, mix)| {
        let server = server(2, ServiceKind::Chat, V4);
        let config = RunConfig {
            duration: Duration::from_millis(2300),
            threads,
            mix,
            ..config(server.local_addr())
        };
        let mut told = Told::default();
        let outcome = run(&config, &Control::new(), |sample| told.add(sample)).unwrap();
        told.is_all_of(&outcome);
        let milliseconds = [1000, 2000, 2300].map(Duration::from_millis);
        assert_eq!(told.ends, milliseconds);
        assert_eq!(outcome.recorded, config.duration);
        assert_eq!(outcome.signal, None);
        assert_eq!((outcome.counts.due, outcome.counts.sent), (2300, 2300));
        assert_eq!(outcome.counts.lost + outcome.counts.unanswered, 0);
        assert_eq!(outcome.seconds[2].due, 300);
        let generator = outcome.generator;
        assert_eq!(generator.threads, threads);
        assert!(generator.largest_burst >= 1 && generator.peak_memory_bytes > 1 << 20);
        // Its threads slept most of the time.
        assert!(generator.cpu > Duration::from_millis(10));
        assert!(generator.cpu < outcome.recorded * u32::from(threads));
        server.stop().unwrap();
    });
}

/// The load is over before the second second is looked at.
#[test]
fn who_looks_on_may_be_slow() {
    let server = server(1, ServiceKind::Chat, V4);
    let config = RunConfig {
        duration: Duration::from_millis(2200),
        ..config(server.local_addr())
    };
    let mut told = Told::default();
    let outcome = run(&config, &Control::new(), |sample| {
        told.add(sample);
        if told.ends.len() == 1 {
            thread::sleep(Duration::from_millis(1300));
        }
    })
    .unwrap();
    told.is_all_of(&outcome);
    assert_eq!((outcome.counts.due, outcome.counts.sent), (2200, 2200));
    assert_eq!(outcome.counts.lost + outcome.counts.unanswered, 0);
    server.stop().unwrap();
}

#[test]
fn a_run_that_is_stopped_accounts_for_all_that_it_has_sent() {
    at_once([Protocol::V1, Protocol::V2], |protocol| {
        let server = server(2, ServiceKind::Chat, V4);
        let config = RunConfig {
            duration: Duration::from_secs(60),
            threads: 2,
            protocol,
            ..config(server.local_addr())
        };
        let control = Control::new();
        let mut told = Told::default();
        let outcome = run(&config, &control, |sample| {
            told.add(sample);
            control.stop(2);
        })
        .unwrap();
        told.is_all_of(&outcome);
        assert_eq!(outcome.signal, Some(2));
        assert!(outcome.recorded >= Duration::from_secs(1));
        assert!(outcome.recorded < Duration::from_secs(60));
        let counts = outcome.counts;
        // What came due in the last turn is nobody's failure.
        assert!(counts.sent >= 1000 && counts.due == counts.sent);
        let expected = 1000.0 * outcome.recorded.as_secs_f64();
        assert!((0.9 * expected..expected + 2.0).contains(&(counts.due as f64)));
        assert_eq!((counts.lost, counts.unanswered, counts.stray), (0, 0, 0));
        server.stop().unwrap();
    });
}

/// While it waits in vain, another second passes.
#[test]
fn what_is_not_answered_is_missing_also_when_the_run_is_stopped() {
    let server = server(1, ServiceKind::Chat, V4);
    let config = RunConfig {
        duration: Duration::from_secs(60),
        scenario: Scenario::Ping,
        mix: mix(1.0, 0.0, 0.0),
        ..config(server.local_addr())
    };
    let control = Control::new();
    let mut server = Some(server);
    let mut told = Told::default();
    let outcome = run(&config, &control, |sample| {
        told.add(sample);
        match server.take() {
            // In version 1 nobody is told.
            Some(server) => server.stop().unwrap(),
            None => {
                // Into the next second, of which there is no sample any more.
                thread::sleep(Duration::from_millis(300));
                control.stop(15);
            }
        }
    })
    .unwrap();
    told.is_all_of(&outcome);
    let counts = outcome.counts;
    assert_eq!(outcome.signal, Some(15));
    assert!(counts.answered > 0 && counts.unanswered > 0, "{counts:?}");
    assert_eq!(outcome.latencies.answer.len(), counts.answered);
}

/// Texts are longer than any datagram: this machine's kernel refuses them.
#[test]
fn what_the_kernel_refuses_was_due_and_was_not_sent() {
    let server = server(1, ServiceKind::Chat, V4);
    let config = RunConfig {
        payload: Payload::fixed(65_535),
        // So that some go out together, each from a socket of its own.
        rate: Rate::constant(400.0),
        arrival: Arrival::Poisson,
        sockets: Sockets::PerClient,
        ..config(server.local_addr())
    };
    let outcome = run_through(&config);
    adds_up(&outcome);
    let counts = outcome.counts;
    println!("{counts:?}");
    assert!(outcome.generator.largest_burst > 1);
    assert!(counts.refused >= 150 && counts.sent >= 150);
    assert_eq!(counts.sent + counts.refused, counts.due);
    assert_eq!((counts.texts, counts.expected, counts.delivered), (0, 0, 0));
    assert_eq!((counts.asked, counts.answered), (counts.sent, counts.sent));
    assert_eq!(counts.stray, 0);
    server.stop().unwrap();
}
