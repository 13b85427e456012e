//! What the tests have in common: a server, and runs against it.

#![allow(dead_code, reason = "every test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod responder;
mod truth;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::config::ServiceKind;
use bullhorn::{Server, ServerConfig};
use loadgen::config::{Mix, RunConfig};
use loadgen::outcome::{Outcome, Second};
use loadgen::{Control, run};

/// A loopback address with a free port.
pub(crate) const V4: &str = "127.0.0.1:0";

/// Waits until `condition` holds; `what` says what was waited for in vain.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// A server for tests, at a free port.
pub(crate) fn server(workers: u16, service: ServiceKind, address: &str) -> Server {
    let config = ServerConfig {
        workers,
        service,
        bind: vec![address.parse().unwrap()],
        no_pin: true,
        ..ServerConfig::default()
    };
    Server::start(config).unwrap()
}

/// Twenty clients in rooms of five, a thousand datagrams a second for one second.
pub(crate) fn config(target: SocketAddr) -> RunConfig {
    RunConfig {
        clients: 20,
        mix: mix(1.0, 1.0, 0.0),
        room_size: 5,
        warmup: Duration::from_millis(200),
        duration: Duration::from_secs(1),
        seed: 7,
        ..RunConfig::new(target)
    }
}

/// Shares of pings, texts and heartbeats.
pub(crate) fn mix(ping: f64, text: f64, heartbeat: f64) -> Mix {
    Mix {
        ping,
        text,
        heartbeat,
    }
}

/// Runs `test` with each of `cases`, all at once.
pub(crate) fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| test(case));
        }
    });
}

/// A run to its end.
#[track_caller]
pub(crate) fn run_through(config: &RunConfig) -> Outcome {
    run(config, &Control::new(), |_| {}).unwrap()
}

/// Checks what must agree in every outcome of which nothing came too late.
#[track_caller]
pub(crate) fn adds_up(outcome: &Outcome) {
    let counts = outcome.counts;
    let mut sum = Second::default();
    for second in &outcome.seconds {
        sum += *second;
    }
    let whole = Second {
        due: counts.due,
        sent: counts.sent,
        asked: counts.asked,
        answered: counts.answered,
        expected: counts.expected,
        delivered: counts.delivered,
    };
    assert_eq!(sum, whole);
    assert_eq!(
        counts.sent,
        counts.asked + counts.texts + counts.heartbeats,
        "each is of one kind"
    );
    assert_eq!(counts.lost, counts.expected - counts.delivered);
    assert_eq!(counts.unanswered, counts.asked - counts.answered);
    let latencies = &outcome.latencies;
    assert_eq!(latencies.delivery.len(), counts.delivered);
    assert_eq!(latencies.delivery_from_send.len(), counts.delivered);
    let nodes = [
        &latencies.delivery_same_node,
        &latencies.delivery_other_node,
    ];
    let by_node = nodes.iter().map(|delivery| delivery.len()).sum::<u64>();
    assert!(by_node == 0 || by_node == counts.delivered);
    let matched = counts.answered - counts.unmatched;
    assert_eq!(latencies.answer.len(), matched);
    assert_eq!(latencies.answer_from_send.len(), matched);
    assert_eq!(latencies.send_lag.len(), counts.sent);
    assert!(
        latencies.receive_lag.len() <= counts.received,
        "a packet has one or more"
    );
    assert_eq!(latencies.receive_lag.is_empty(), counts.received == 0);
    let seconds = outcome.recorded.as_secs_f64().ceil() as usize;
    assert_eq!(outcome.seconds.len(), seconds);
}

/// So long that only a broken program takes it.
const LIMIT: Duration = Duration::from_secs(20);
