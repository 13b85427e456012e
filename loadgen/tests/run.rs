//! Runs against a server: in every scenario, everything that was offered is accounted
//! for.

mod common;

use bullhorn::config::{LimitsConfig, PerSecond, Proof, ServiceKind, Trust};
use bullhorn::{Server, ServerConfig};
use common::{V4, at_once, config, mix, run_through, server};
use loadgen::config::{Protocol, RunConfig, Scenario, Sockets};

#[test]
fn a_mixed_load_is_delivered_and_answered_to_the_last() {
    let cases = [
        (1, Sockets::Shared),
        (3, Sockets::Shared),
        (2, Sockets::PerClient),
    ];
    for protocol in [Protocol::V1, Protocol::V2] {
        at_once(cases, |(threads, sockets)| {
            let server = server(2, ServiceKind::Chat, V4);
            let config = RunConfig {
                protocol,
                threads,
                sockets,
                ..config(server.local_addr())
            };
            let outcome = run_through(&config);
            let counts = outcome.counts;
            println!(
                "{protocol:?} {threads} {sockets:?} {counts:?} {:?}",
                outcome.generator
            );
            assert_eq!((counts.due, counts.sent), (1000, 1000));
            assert_eq!(counts.asked + counts.texts, 1000);
            assert!(counts.asked > 400 && counts.texts > 400);
            assert_eq!(counts.answered, counts.asked);
            assert_eq!(counts.expected, counts.texts * 5);
            assert_eq!(counts.delivered, counts.expected);
            assert_eq!(
                counts.lost + counts.unanswered + counts.repeated + counts.stray,
                0
            );
            assert_eq!(outcome.latencies.delivery.len(), counts.delivered);
            assert_eq!(outcome.latencies.answer.len(), counts.answered);
            server.stop().unwrap();
        });
    }
}

#[test]
fn clients_of_both_versions_prove_their_addresses() {
    for (protocol, challenges) in [(Protocol::V1, 20), (Protocol::V2, 0)] {
        let server = ServerConfig {
            proof: Proof::Always,
            trust: vec![Trust::Nobody],
            limits: LimitsConfig {
                // In the lobby one client says everything.
                texts_per_peer: PerSecond(None),
                bytes_per_peer: PerSecond(None),
                ..LimitsConfig::default()
            },
            no_pin: true,
            workers: 2,
            bind: vec![V4.parse().unwrap()],
            ..ServerConfig::default()
        };
        let server = Server::start(server).unwrap();
        for scenario in [Scenario::Chat, Scenario::Lobby] {
            let config = RunConfig {
                protocol,
                scenario,
                mix: mix(0.0, 1.0, 0.0),
                ..config(server.local_addr())
            };
            let counts = run_through(&config).counts;
            assert_eq!((counts.texts, counts.lost, counts.stray), (1000, 0, 0));
        }
        // Each client has two addresses, one per run.
        let total = server.stats().total();
        assert_eq!(total.challenges, 2 * challenges);
        server.stop().unwrap();
    }
}

#[test]
fn every_scenario_is_what_its_name_says() {
    for (scenario, mix) in [
        (Scenario::Chat, mix(0.0, 1.0, 0.0)),
        (Scenario::Ping, mix(1.0, 0.0, 0.0)),
        (Scenario::Heartbeat, mix(0.0, 0.0, 1.0)),
        (Scenario::Lobby, mix(0.0, 1.0, 0.0)),
        (Scenario::Greet, mix(1.0, 0.0, 0.0)),
    ] {
        at_once([Protocol::V1, Protocol::V2], |protocol| {
            let service = match scenario {
                Scenario::Greet => ServiceKind::Greet,
                _ => ServiceKind::Chat,
            };
            let server = server(2, service, V4);
            let config = RunConfig {
                scenario,
                mix,
                protocol,
                threads: 2,
                ..config(server.local_addr())
            };
            let counts = run_through(&config).counts;
            println!("{scenario:?} {protocol:?} {counts:?}");
            let (asked, texts, heartbeats, expected) = match scenario {
                Scenario::Chat => (0, 1000, 0, 5000),
                Scenario::Lobby => (0, 1000, 0, 20_000),
                Scenario::Heartbeat => (0, 0, 1000, 0),
                _ => (1000, 0, 0, 0),
            };
            assert_eq!((counts.asked, counts.answered), (asked, asked));
            assert_eq!((counts.texts, counts.heartbeats), (texts, heartbeats));
            assert_eq!((counts.expected, counts.delivered), (expected, expected));
            assert_eq!(counts.repeated + counts.stray + counts.reordered, 0);
            server.stop().unwrap();
        });
    }
}

#[test]
fn the_time_of_a_servers_process_is_told_if_it_is_named() {
    let server = server(1, ServiceKind::Chat, V4);
    let own = std::process::id();
    for server_pid in [None, Some(own)] {
        let outcome = run_through(&RunConfig {
            server_pid,
            ..config(server.local_addr())
        });
        assert_eq!(outcome.server.is_some(), server_pid.is_some());
    }
}
