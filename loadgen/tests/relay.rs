//! Between the clients and the server there is a relay that makes faults: the run
//! finds each of them, and nothing else.

mod common;

use std::time::Duration;

use bullhorn::config::ServiceKind;
use common::relay::{Plan, Relay, RoomPlan};
use common::{V4, config, mix, run_through, server};
use loadgen::config::{Arrival, Protocol, Rate, RunConfig, Scenario, Sockets};
use loadgen::engine::schedule::nanoseconds;
use loadgen::outcome::{Counts, Second};

#[test]
fn every_fault_is_found_in_version_1() {
    check(1, |config| config.threads = 2);
}

#[test]
fn every_fault_is_found_in_version_2() {
    check(2, |config| {
        config.protocol = Protocol::V2;
        // Texts that come close together go out in one bundle.
        config.arrival = Arrival::Poisson;
    });
}

#[test]
fn every_fault_is_found_with_a_socket_for_each_client() {
    check(3, |config| config.sockets = Sockets::PerClient);
}

/// Here those who receive are in other threads than the one who speaks.
#[test]
fn every_fault_is_found_in_the_lobby() {
    check(4, |config| {
        config.scenario = Scenario::Lobby;
        config.mix = mix(0.0, 1.0, 0.0);
        config.rate = Rate::constant(400.0);
        config.protocol = Protocol::V2;
        config.threads = 3;
    });
}

fn check(seed: u64, change: impl FnOnce(&mut RunConfig)) {
    let server = server(2, ServiceKind::Chat, V4);
    let mut config = RunConfig {
        rate: Rate::constant(1600.0),
        duration: Duration::from_millis(1400),
        seed,
        ..config(server.local_addr())
    };
    change(&mut config);
    let is_lobby = config.scenario == Scenario::Lobby;
    let (begin, end) = (config.warmup, config.warmup + config.duration);
    let plan = Plan {
        seed,
        protocol: config.protocol,
        faults_ns: nanoseconds(begin)..nanoseconds(end - LAST_WITHOUT_FAULTS),
        rooms: if is_lobby {
            RoomPlan::Lobby(config.clients)
        } else {
            RoomPlan::Rooms(config.room_size)
        },
        has_strangers: config.sockets == Sockets::Shared,
    };
    let relay = Relay::start(server.local_addr(), plan.clone());
    config.target = relay.address();
    let outcome = run_through(&config);
    let (did, truth) = relay.finish();
    println!("{did:?}\n{:?}\n{:?}", outcome.counts, outcome.generator);

    let expected = Counts {
        // What the relay does not know.
        due: truth.counts().sent,
        received: outcome.counts.received,
        received_bytes: outcome.counts.received_bytes,
        ..truth.counts()
    };
    let counts = Counts {
        // Of the generator, and of a machine that has more to do.
        keepalives: 0,
        ..outcome.counts
    };
    assert_eq!(counts, expected);
    let with_due = |second: &Second| Second {
        due: second.sent,
        ..*second
    };
    let seconds: Vec<Second> = truth.seconds().iter().map(with_due).collect();
    assert_eq!(outcome.seconds, seconds);
    assert_eq!(seconds.len(), 2);
    assert_eq!(outcome.latencies.delivery.len(), counts.delivered);
    assert_eq!(outcome.latencies.answer.len(), counts.answered);

    // The same from what the relay did on purpose.
    assert_eq!(counts.lost, did.dropped);
    assert_eq!(counts.unanswered, did.answers_dropped);
    assert_eq!(counts.repeated, did.repeated_at_once + did.repeated_later);
    assert_eq!(counts.answered_again, did.answers_repeated);
    let strays =
        did.misdirected + did.sessions_forged + did.forged + did.impersonated + did.garbage;
    let of_answers = did.answers_misdirected + did.answers_forged;
    assert_eq!(counts.stray, strays + of_answers);

    // And every fault was made.
    let mut made = vec![
        did.dropped,
        did.repeated_at_once,
        did.repeated_later,
        did.swapped,
        did.forged,
        did.garbage,
        counts.reordered,
    ];
    if !is_lobby {
        made.extend([
            did.misdirected,
            did.answers_dropped,
            did.answers_repeated,
            did.answers_misdirected,
            did.answers_forged,
        ]);
    }
    if config.arrival == Arrival::Poisson {
        made.push(did.bundles);
    }
    if config.protocol == Protocol::V2 {
        made.push(did.sessions_forged);
    }
    if plan.has_strangers {
        made.push(did.impersonated);
    }
    assert!(made.iter().all(|count| *count >= 5), "{made:?}");
    // Most of what is swapped is overtaken by another speaker's text, in rooms.
    assert!(is_lobby || counts.reordered < did.swapped / 2);
    server.stop().expect("it ends in order");
}

/// What is kept back is sent after the next text, which many follow in this time.
const LAST_WITHOUT_FAULTS: Duration = Duration::from_millis(300);
