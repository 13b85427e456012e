//! Clients leave and come back all the time: everyone should receive what is said while it is
//! there, and gets exactly that.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::time::Duration;

use bullhorn::config::ServiceKind;
use common::{V4, at_once, config, mix, run_through, server, wait_until};
use loadgen::config::{Protocol, Rate, RunConfig, Scenario, Sockets};

#[test]
fn who_leaves_and_comes_back_is_owed_what_was_said_meanwhile_and_no_more() {
    let cases = [
        (Protocol::V1, Scenario::Mixed, Sockets::Shared, MUCH_PER_S),
        (Protocol::V2, Scenario::Mixed, Sockets::Shared, 20.0),
        (Protocol::V1, Scenario::Lobby, Sockets::PerClient, 20.0),
        (Protocol::V2, Scenario::Lobby, Sockets::Shared, MUCH_PER_S),
    ];
    at_once(cases, |(protocol, scenario, sockets, churn_per_s)| {
        let server = server(2, ServiceKind::Chat, V4);
        let is_lobby = scenario == Scenario::Lobby;
        let config = RunConfig {
            protocol,
            scenario,
            sockets,
            clients: 50,
            threads: 2,
            rate: Rate::constant(if is_lobby { 100.0 } else { 1000.0 }),
            mix: mix(if is_lobby { 0.0 } else { 1.0 }, 1.0, 0.0),
            churn_per_s,
            warmup: Duration::from_millis(1500),
            duration: Duration::from_secs(2),
            ..config(server.local_addr())
        };
        let outcome = run_through(&config);
        let counts = outcome.counts;
        println!("{protocol:?} {scenario:?} {counts:?}");
        assert_eq!(counts.sent, counts.due);
        assert_eq!(counts.delivered, counts.expected);
        assert_eq!(counts.answered, counts.asked);
        let never = (counts.lost, counts.repeated, counts.stray, counts.reordered);
        assert_eq!(never, (0, 0, 0, 0));
        assert_eq!((counts.too_late, counts.answered_again), (0, 0));
        if churn_per_s == MUCH_PER_S {
            // Half are away all the time, each for about a second.
            assert!((20..=60).contains(&counts.left), "{}", counts.left);
            assert!(counts.joined >= 20);
        } else {
            assert!((38..=42).contains(&counts.left), "{}", counts.left);
            // Each about a second later.
            assert!((30..=45).contains(&counts.joined), "{}", counts.joined);
        }
        // Somebody who waits for the last texts need not receive what is said meanwhile.
        assert!(counts.not_expected > 0);
        let owed_by_all = counts.texts * if is_lobby { 50 } else { 5 };
        assert!(counts.expected > counts.texts && counts.expected < owed_by_all);
        wait_until("the end of all peers", || server.stats().peers == 0);
        assert_eq!(server.stats().expired, 0);
        server.stop().unwrap();
    });
}

/// More than there are clients: each waits for a second for what it should still receive.
const MUCH_PER_S: f64 = 200.0;
