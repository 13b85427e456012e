//! Runs against several servers: what is due at all of them is accounted for, whichever it
//! comes from.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::time::Duration;

use bullhorn::config::ServiceKind;
use bullhorn::{Server, ServerConfig};
use common::process::{ServerProcess, serve};
use common::{V4, adds_up, at_once, config, run_through, server, wait_until};
use loadgen::config::{Protocol, Rate, RunConfig, Scenario, Sockets};
use loadgen::verdict::Verdict;
use loadgen::{Control, RunError, run};
use nix::sys::signal::Signal;

const BOTH: [Protocol; 2] = [Protocol::V1, Protocol::V2];

/// Twenty clients in rooms of ten at these servers.
fn config_of(servers: &[&Server]) -> RunConfig {
    RunConfig {
        other_targets: servers[1..].iter().map(|one| one.local_addr()).collect(),
        room_size: 10,
        threads: 2,
        ..config(servers[0].local_addr())
    }
}

/// A server with two addresses, which are two targets that form one chat, and the run at both.
fn one_chat(protocol: Protocol) -> (Server, RunConfig) {
    let address = V4.parse().unwrap();
    let server = Server::start(ServerConfig {
        workers: 2,
        bind: vec![address, address],
        no_pin: true,
        ..ServerConfig::default()
    });
    let server = server.unwrap();
    let [first, second] = server.local_addrs()[..] else {
        panic!("{:?}", server.local_addrs());
    };
    let config = RunConfig {
        other_targets: vec![second],
        room_size: 10,
        threads: 2,
        protocol,
        ..config(first)
    };
    (server, config)
}

#[test]
fn rooms_that_are_local_to_a_target_are_delivered_to_the_last() {
    for sockets in [Sockets::Shared, Sockets::PerClient] {
        at_once(BOTH, |protocol| {
            local_rooms_are_delivered(protocol, sockets);
        });
    }
}

fn local_rooms_are_delivered(protocol: Protocol, sockets: Sockets) {
    let servers = [(); 2].map(|()| server(1, ServiceKind::Chat, V4));
    let config = RunConfig {
        local_rooms: true,
        protocol,
        sockets,
        ..config_of(&servers.each_ref())
    };
    let outcome = run_through(&config);
    let counts = outcome.counts;
    println!("{protocol:?} {sockets:?} {counts:?}");
    adds_up(&outcome);
    assert_eq!((counts.due, counts.refused), (1000, 0));
    assert!(counts.asked > 400 && counts.texts > 400);
    assert_eq!(counts.expected, counts.texts * 10);
    assert_eq!(counts.delivered, counts.expected);
    assert_eq!(counts.answered, counts.asked);
    assert_eq!(counts.repeated + counts.reordered + counts.stray, 0);
    let latencies = &outcome.latencies;
    assert_eq!(latencies.delivery_same_node.len(), counts.delivered);
    assert!(latencies.delivery_other_node.is_empty());
    // Each has half of the rooms, and so half of the load.
    let texts = servers.each_ref().map(|one| one.stats().total().messages);
    let (least, most) = (texts[0].min(texts[1]), texts[0].max(texts[1]));
    assert!(
        least > 0 && least + most >= counts.texts && most - least <= most / 2,
        "{texts:?}"
    );
    servers.into_iter().for_each(|one| one.stop().unwrap());
}

#[test]
fn rooms_over_targets_that_are_one_chat_are_delivered_to_the_last() {
    at_once(BOTH, |protocol| {
        let (server, config) = one_chat(protocol);
        let outcome = run_through(&config);
        let counts = outcome.counts;
        println!("{protocol:?} {counts:?}");
        adds_up(&outcome);
        assert_eq!((counts.due, counts.refused), (1000, 0));
        assert_eq!(counts.expected, counts.texts * 10);
        assert_eq!(counts.delivered, counts.expected);
        assert_eq!(counts.answered, counts.asked);
        assert_eq!(counts.repeated + counts.reordered + counts.stray, 0);
        // Half of the members are at the sender's own target, the sender included.
        let latencies = &outcome.latencies;
        assert_eq!(latencies.delivery_same_node.len(), counts.texts * 5);
        assert_eq!(latencies.delivery_other_node.len(), counts.texts * 5);
        server.stop().unwrap();
    });
}

#[test]
fn who_leaves_and_comes_back_is_owed_what_was_said_at_all_targets() {
    at_once(BOTH, |protocol| {
        let (server, config) = one_chat(protocol);
        let config = RunConfig {
            clients: 50,
            churn_per_s: 10.0,
            warmup: Duration::from_millis(2_000),
            duration: Duration::from_secs(2),
            ..config
        };
        let counts = run_through(&config).counts;
        println!("{protocol:?} {counts:?}");
        assert_eq!(counts.delivered, counts.expected);
        assert_eq!(counts.answered, counts.asked);
        let never = (counts.lost, counts.repeated, counts.stray, counts.reordered);
        assert_eq!(never, (0, 0, 0, 0));
        assert!((18..=22).contains(&counts.left), "{}", counts.left);
        assert!((15..=25).contains(&counts.joined), "{}", counts.joined);
        // What comes between the answer of the own target and the time from which it is owed.
        assert!(counts.not_expected > 0);
        wait_until("the end of all peers", || server.stats().peers == 0);
        server.stop().unwrap();
    });
}

/// All in the lobby, where one client says everything.
#[test]
fn the_lobby_is_one_room_of_all_targets() {
    at_once(BOTH, |protocol| {
        let (server, config) = one_chat(protocol);
        let config = RunConfig {
            scenario: Scenario::Lobby,
            mix: common::mix(0.0, 1.0, 0.0),
            rate: Rate::constant(100.0),
            ..config
        };
        let outcome = run_through(&config);
        let counts = outcome.counts;
        assert_eq!((counts.texts, counts.expected), (100, 2000));
        assert_eq!((counts.delivered, counts.stray), (2000, 0));
        assert_eq!(outcome.latencies.delivery_other_node.len(), 1000);
        server.stop().unwrap();
    });
}

/// The servers know nothing of each other, so that is half of all copies.
#[test]
fn what_does_not_come_from_the_other_target_is_missing() {
    at_once(BOTH, |protocol| {
        let servers = [(); 2].map(|()| server(1, ServiceKind::Chat, V4));
        let config = RunConfig {
            members_wait: Duration::ZERO,
            protocol,
            ..config_of(&servers.each_ref())
        };
        let outcome = run_through(&config);
        let counts = outcome.counts;
        println!("{protocol:?} {counts:?}");
        adds_up(&outcome);
        assert_eq!(counts.expected, counts.texts * 10);
        assert_eq!(counts.delivered, counts.texts * 5);
        assert_eq!(counts.lost, counts.texts * 5);
        assert_eq!(counts.answered, counts.asked);
        assert_eq!(counts.repeated + counts.reordered + counts.stray, 0);
        let latencies = &outcome.latencies;
        assert_eq!(latencies.delivery_same_node.len(), counts.delivered);
        assert!(latencies.delivery_other_node.is_empty());
        // That is a loss, and no fault of the figures.
        assert!(!outcome.has_restarted && outcome.silence.is_none());
        let verdict = Verdict::of(&config, &outcome, &[]);
        assert!(!verdict.to_string().contains("server"), "{verdict}");
        servers.into_iter().for_each(|one| one.stop().unwrap());
    });
}

#[test]
fn no_load_begins_where_a_target_does_not_show_the_members_at_others() {
    at_once(BOTH, |protocol| {
        let servers = [(); 2].map(|()| server(1, ServiceKind::Chat, V4));
        let config = RunConfig {
            members_wait: Duration::from_millis(600),
            protocol,
            ..config_of(&servers.each_ref())
        };
        let error = run(&config, &Control::new(), |_| {}).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("do the targets form one chat?"), "{text}");
        let RunError::MembersMissing { shown, members, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((shown, members), (5, 10));
        servers.into_iter().for_each(|one| one.stop().unwrap());
    });
}

/// The other one answers all the time.
#[test]
fn the_target_that_is_silent_is_named() {
    for place in 0..2 {
        let servers = [(); 2].map(|()| ServerProcess::start());
        let config = RunConfig {
            other_targets: vec![servers[1].address],
            scenario: Scenario::Ping,
            mix: common::mix(1.0, 0.0, 0.0),
            duration: Duration::from_secs(3),
            ..config(servers[0].address)
        };
        let mut is_stopped = false;
        let outcome = run(&config, &Control::new(), |_| {
            if !is_stopped {
                servers[place].signal(Signal::SIGSTOP);
                is_stopped = true;
            }
        });
        let outcome = outcome.unwrap();
        let silence = outcome.silence.expect("one does not answer");
        assert_eq!(silence.target, servers[place].address);
        assert_eq!(silence.to, None);
        let counts = outcome.counts;
        assert!(counts.unanswered >= 500, "{counts:?}");
        assert!(counts.answered >= 1_000, "{counts:?}");
    }
}

#[test]
#[ignore = "it is the server that the test above starts"]
fn a_server_process() {
    serve();
}

#[test]
fn the_target_where_nothing_listens_is_named() {
    for place in 0..2 {
        let servers = [(); 2].map(|()| server(1, ServiceKind::Chat, V4));
        let config = config_of(&servers.each_ref());
        let mut servers = servers.map(Some);
        servers[place].take().unwrap().stop().unwrap();
        let gone = config.targets().nth(place).unwrap();
        let error = run(&config, &Control::new(), |_| {}).unwrap_err();
        let expected = format!("nothing listens on {gone}");
        assert!(error.to_string().starts_with(&expected), "{error}");
        for server in servers.into_iter().flatten() {
            server.stop().unwrap();
        }
    }
}
