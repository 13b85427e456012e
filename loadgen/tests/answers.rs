//! Answers that come late, or not, or in a flood: each is told for what it is.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::responder::Responder;
use common::{adds_up, at_once, config, mix, run_through};
use hdrhistogram::Histogram;
use loadgen::config::{Rate, RunConfig, Scenario, Sockets};
use loadgen::engine::schedule::nanoseconds;

/// One client that only asks.
fn asking(target: SocketAddr, rate_per_s: f64) -> RunConfig {
    RunConfig {
        clients: 1,
        scenario: Scenario::Ping,
        mix: mix(1.0, 0.0, 0.0),
        rate: Rate::constant(rate_per_s),
        ..config(target)
    }
}

/// Nothing is lost that comes within a second, and its time is told.
#[test]
fn what_comes_late_is_waited_for() {
    let responding = Responder {
        delay: DELAY,
        ..Responder::default()
    }
    .start();
    let config = RunConfig {
        clients: 2,
        threads: 2,
        duration: Duration::from_millis(1400),
        // Between two answers it is quiet for longer than it is when all has come.
        ..asking(responding.address, 2.0)
    };
    let outcome = run_through(&config);
    adds_up(&outcome);
    let counts = outcome.counts;
    assert_eq!((counts.due, counts.sent, counts.answered), (3, 3, 3));
    let latencies = &outcome.latencies;
    for latencies in [
        &latencies.answer,
        &latencies.answer_from_send,
        &latencies.answer_closed_loop,
    ] {
        assert_eq!(latencies.len(), 3);
        assert!(latencies.min() >= AT_LEAST_NS);
    }
}

/// Of each the one time is longer than the other by as much as it was sent late.
#[test]
fn the_delay_of_the_generator_itself_is_told_apart() {
    at_once([Scenario::Ping, Scenario::Chat], |scenario| {
        let responding = Responder::default().start();
        let is_ping = scenario == Scenario::Ping;
        let config = RunConfig {
            scenario,
            mix: mix(f64::from(is_ping), f64::from(!is_ping), 0.0),
            room_size: 1,
            ..asking(responding.address, 1000.0)
        };
        let outcome = run_through(&config);
        adds_up(&outcome);
        let counts = outcome.counts;
        assert_eq!(counts.answered + counts.delivered, 1000);
        let latencies = &outcome.latencies;
        let (from_due, from_send) = match is_ping {
            true => (&latencies.answer, &latencies.answer_from_send),
            false => (&latencies.delivery, &latencies.delivery_from_send),
        };
        let lag_ns = latencies.send_lag.mean();
        // A thread that is woken in time is late all the same.
        assert!(lag_ns > 1000.0, "{lag_ns}");
        let between_ns = from_due.mean() - from_send.mean();
        // All three are rounded.
        let error_ns = (between_ns - lag_ns).abs();
        assert!(error_ns < 0.002 * from_due.mean(), "{error_ns}");
    });
}

/// An answer to the next request, and the next text, are of nothing that was sent.
#[test]
fn what_has_not_been_sent_yet_is_stray() {
    let responding = Responder {
        foresees: true,
        ..Responder::default()
    }
    .start();
    let config = RunConfig {
        scenario: Scenario::Mixed,
        mix: mix(1.0, 1.0, 0.0),
        room_size: 1,
        duration: Duration::from_secs(3),
        // So that a busy machine has time to tell it before the next one is sent.
        ..asking(responding.address, 4.0)
    };
    let outcome = run_through(&config);
    adds_up(&outcome);
    let counts = outcome.counts;
    println!("{counts:?}");
    assert_eq!((counts.sent, counts.stray), (12, 12));
    assert!(counts.asked >= 3 && counts.texts >= 3);
    assert_eq!(
        (counts.answered, counts.delivered),
        (counts.asked, counts.texts)
    );
    assert_eq!((counts.answered_again, counts.repeated), (0, 0));
}

/// A client that waits for each answer would wait in vain, and go on after a second.
#[test]
fn a_lost_answer_ends_no_closed_loop() {
    let responding = Responder {
        is_deaf_at_first: true,
        ..Responder::default()
    }
    .start();
    let config = RunConfig {
        warmup: Duration::ZERO,
        duration: Duration::from_millis(2200),
        ..asking(responding.address, 100.0)
    };
    let outcome = run_through(&config);
    adds_up(&outcome);
    assert_eq!((outcome.counts.asked, outcome.counts.unanswered), (220, 1));
    // All but those of the first second, and of when the machine was late.
    let closed_loop = outcome.latencies.answer_closed_loop.len();
    assert!((20..=125).contains(&closed_loop), "{closed_loop}");
}

/// What is under way when the load ends is awaited, but for no longer than it is told.
#[test]
fn what_comes_after_the_drain_is_lost() {
    let responding = Responder {
        delay: DELAY,
        ..Responder::default()
    }
    .start();
    let unanswered = |drain| {
        let config = RunConfig {
            warmup: Duration::ZERO,
            drain,
            ..asking(responding.address, 100.0)
        };
        let outcome = run_through(&config);
        adds_up(&outcome);
        outcome.counts.unanswered
    };
    assert_eq!(
        unanswered(Duration::from_secs(600)),
        0,
        "it ends when all came"
    );
    assert!(unanswered(Duration::ZERO) > 0);
}

/// Nothing in a greeting says to what it is the answer: while several are under way, it
/// counts, and has no time.
#[test]
fn greetings_count_also_while_several_are_under_way() {
    let responding = Responder {
        delay: DELAY,
        greets: true,
        ..Responder::default()
    }
    .start();
    at_once([(1.0, true), (40.0, false)], |(rate_per_s, are_matched)| {
        let config = RunConfig {
            clients: 2,
            scenario: Scenario::Greet,
            // What was asked in this time is answered later, and does not count.
            warmup: Duration::from_millis(600),
            duration: Duration::from_millis(1100),
            ..asking(responding.address, rate_per_s)
        };
        let outcome = run_through(&config);
        adds_up(&outcome);
        let counts = outcome.counts;
        let expected = (rate_per_s * 1.1_f64).round() as u64;
        assert_eq!((counts.asked, counts.answered), (expected, expected));
        assert_eq!(counts.stray, 0);
        let timed: [&Histogram<u64>; 3] = [
            &outcome.latencies.answer,
            &outcome.latencies.answer_from_send,
            &outcome.latencies.answer_closed_loop,
        ];
        if are_matched {
            assert_eq!(counts.unmatched, 0);
            assert!(timed.iter().all(|latencies| latencies.min() >= AT_LEAST_NS));
        } else {
            assert_eq!(counts.unmatched, counts.answered);
            assert!(timed.iter().all(|latencies| latencies.is_empty()));
        }
    });
}

/// One greeting that is lost leaves one client without times, and only until it is taken
/// for lost; the others go on.
#[test]
fn a_lost_greeting_costs_the_others_no_time() {
    let responding = Responder {
        greets: true,
        is_deaf_at_first: true,
        ..Responder::default()
    }
    .start();
    let config = RunConfig {
        clients: 10,
        scenario: Scenario::Greet,
        warmup: Duration::ZERO,
        ..asking(responding.address, 200.0)
    };
    let outcome = run_through(&config);
    adds_up(&outcome);
    let counts = outcome.counts;
    assert_eq!((counts.asked, counts.answered), (200, 199));
    assert_eq!((counts.unmatched, outcome.latencies.answer.len()), (0, 199));
}

/// A server that lets nobody back says so in the counts, and ends no run.
#[test]
fn clients_that_cannot_come_back_end_no_run() {
    let responding = Responder {
        lets_nobody_back: true,
        ..Responder::default()
    }
    .start();
    let config = RunConfig {
        clients: 10,
        churn_per_s: 2.0,
        // A second until they leave, and three until one would have given up.
        duration: Duration::from_millis(5500),
        ..asking(responding.address, 100.0)
    };
    let counts = run_through(&config).counts;
    assert!(counts.left > 0, "{counts:?}");
    assert_eq!((counts.joined, counts.unanswered), (0, 0));
    assert_eq!(counts.asked, 550);
}

/// The kernel drops what the generator does not read in time: this is no loss of the
/// server's, and not one of it is forgotten.
#[test]
fn what_the_generator_drops_itself_is_counted() {
    const FLOOD: usize = 80_000;
    let mut config = RunConfig {
        sockets: Sockets::PerClient,
        duration: Duration::from_millis(600),
        ..asking("127.0.0.1:9".parse().unwrap(), 10.0)
    };
    let responding = Responder {
        flood: Some((
            nanoseconds(config.warmup + Duration::from_millis(50)),
            FLOOD,
        )),
        ..Responder::default()
    }
    .start();
    config.target = responding.address;
    let counts = run_through(&config).counts;
    println!("{counts:?}");
    assert_eq!(counts.asked, 6);
    assert!(counts.own_drops > 0);
    assert_eq!(counts.received + counts.own_drops, FLOOD as u64 + 6);
    assert_eq!(counts.stray + counts.answered, counts.received);
}

/// Far above the time for which a run waits when all has come, and far below that for
/// which it does when something is missing.
const DELAY: Duration = Duration::from_millis(500);

/// As the histograms round.
const AT_LEAST_NS: u64 = 499_500_000;
