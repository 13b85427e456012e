//! What is due is sent, all of it, and no client is forgotten over it.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::time::Duration;

use bullhorn::config::ServiceKind;
use bullhorn::{Server, ServerConfig};
use common::{V4, at_once, config, mix, run_through, server};
use loadgen::config::{Arrival, Protocol, Rate, RunConfig, Scenario};
use loadgen::engine::schedule::Schedule;

#[test]
fn all_that_is_due_is_sent() {
    let cases = [(Arrival::Uniform, 2), (Arrival::Poisson, 1)];
    at_once(cases, |(arrival, threads)| {
        let server = server(1, ServiceKind::Chat, V4);
        let config = RunConfig {
            arrival,
            threads,
            rate: Rate::constant(5000.0),
            scenario: Scenario::Heartbeat,
            mix: mix(0.0, 0.0, 1.0),
            duration: Duration::from_secs(3),
            ..config(server.local_addr())
        };
        let outcome = run_through(&config);
        let counts = outcome.counts;
        assert_eq!((counts.sent, counts.heartbeats), (counts.due, counts.due));
        assert_eq!(outcome.recorded, config.duration);
        check_count(arrival, counts.due, 15_000);
        assert_eq!(outcome.seconds.len(), 3);
        for second in &outcome.seconds {
            assert_eq!(second.sent, second.due);
            check_count(arrival, second.due, 5000);
        }
        // Nobody was silent for long enough to need one.
        assert_eq!(counts.keepalives, 0);
        server.stop().unwrap();
    });
}

#[test]
fn the_schedule_of_a_minute_has_the_rate_in_every_second() {
    for arrival in [Arrival::Uniform, Arrival::Poisson] {
        let config = RunConfig {
            arrival,
            rate: Rate::constant(50_000.0),
            duration: Duration::from_secs(60),
            warmup: Duration::from_secs(1),
            ..config("127.0.0.1:9".parse().unwrap())
        };
        let mut seconds = [0; 61];
        for share in 0..4 {
            let mut schedule = Schedule::new(&config, share, 4);
            while let Some(due_ns) = schedule.due_ns() {
                seconds[(due_ns / 1_000_000_000) as usize] += 1;
                schedule.advance();
            }
        }
        let recorded = &seconds[1..];
        check_count(arrival, recorded.iter().sum(), 3_000_000);
        for count in recorded {
            check_count(arrival, *count, 50_000);
        }
    }
}

/// There are fewer datagrams a second than threads, and than clients.
#[test]
fn nobody_expires_who_has_little_to_say() {
    at_once([Protocol::V1, Protocol::V2], |protocol| {
        let server = Server::start(ServerConfig {
            workers: 1,
            bind: vec![V4.parse().unwrap()],
            no_pin: true,
            timeout: Duration::from_secs(1),
            reap_interval: Duration::from_millis(50),
            ..ServerConfig::default()
        })
        .unwrap();
        let config = RunConfig {
            protocol,
            clients: 10,
            threads: 4,
            rate: Rate::constant(3.0),
            scenario: Scenario::Ping,
            mix: mix(1.0, 0.0, 0.0),
            duration: Duration::from_secs(3),
            heartbeat: Duration::from_millis(200),
            ..config(server.local_addr())
        };
        let outcome = run_through(&config);
        let counts = outcome.counts;
        println!("{counts:?}");
        assert_eq!(outcome.generator.threads, 4);
        assert_eq!((counts.due, counts.sent, counts.answered), (9, 9, 9));
        // Each is silent for 300 ms at most, and there is some time for a busy machine.
        assert!(counts.keepalives >= 10 * 5);
        let stats = server.stats();
        assert_eq!(stats.expired, 0);
        assert_eq!(stats.total().registered, 10);
        server.stop().unwrap();
    });
}

/// Checks that so many came by chance or by design.
#[track_caller]
fn check_count(arrival: Arrival, count: u64, expected: u64) {
    let expected = expected as f64;
    let most = match arrival {
        Arrival::Uniform => expected / 1000.0,
        // Four standard deviations; what comes by chance is always the same.
        Arrival::Poisson => 4.0 * expected.sqrt(),
    };
    let error = (count as f64 - expected).abs();
    assert!(error <= most, "{arrival:?}: {count} of {expected}");
}
