//! In the steady state no datagram costs an allocation, neither in a worker nor anywhere
//! else in the process.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::alloc::System;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::config::ServiceKind;
use bullhorn::server::clock::Clock;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use common::v2_peer::{self, V2Peer};
use common::{Client, TestServer, V4, V6, all_threads_sleep, config, wait_until};
use nix::unistd::getpid;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test, as the whole process is measured.
#[test]
fn datagrams_cost_no_allocation() {
    measure_both("no log");

    let (filter, level) = reload::Layer::new(LevelFilter::OFF);
    let lines = fmt::layer().with_writer(io::sink);
    registry().with(filter).with(lines).init();
    measure_both("a log that is off");

    level.reload(LevelFilter::INFO).unwrap();
    measure_both("a log of everything");
}

fn measure_both(log: &str) {
    for address in [V4, V6] {
        println!("{log}, chat at {address}");
        chat(address);
        println!("{log}, chat in version 2 at {address}");
        chat_v2(address);
        println!("{log}, greetings at {address}");
        greetings(address);
    }
}

/// Each client sends a heartbeat and a text, and receives the texts of all, in a room in
/// which every second client has a name.
fn chat(address: &str) {
    let gates = Gates::default();
    let config = ServerConfig {
        reap_interval: Duration::from_millis(10),
        ..config(2, &[address])
    };
    let server = TestServer::start_with_clock(config, gates.clock());
    let clients: [Client; CLIENTS] = server.clients();
    for (number, client) in clients.iter().enumerate() {
        client.send(b"/join den");
        client.receive_text();
        if number % 2 == 0 {
            client.send(format!("/nick n{number}").as_bytes());
            client.receive_text();
        }
    }
    gates.hold_reaper();
    measure(&gates, &clients, receive(CLIENTS), |client| {
        client.socket().send(b"@im@").unwrap();
        client
            .socket()
            .send("Grüße\x1b an alle".as_bytes())
            .unwrap();
    });
}

/// Each client sends a text, and receives the texts of all, several in a datagram.
fn chat_v2(address: &str) {
    let gates = Gates::default();
    let config = ServerConfig {
        reap_interval: Duration::from_millis(10),
        ..config(2, &[address])
    };
    let server = TestServer::start_with_clock(config, gates.clock());
    let peers: [V2Peer; CLIENTS] =
        std::array::from_fn(|_| V2Peer::open(server.unregistered_client()));
    gates.hold_reaper();
    let texts = peers
        .each_ref()
        .map(|peer| v2_peer::datagram(peer.number, &[ClientFrame::Say(b"to all")]));
    let receive = |peer: &V2Peer| {
        let mut buffer = [0; 2048];
        let mut messages = 0;
        while messages < CLIENTS {
            let length = peer.client.receive_into(&mut buffer);
            let frames = parse_server(&buffer[..length]).unwrap();
            messages += frames
                .filter(|frame| matches!(frame, ServerFrame::Message(_)))
                .count();
        }
    };
    let send = |(peer, text): &(V2Peer, Vec<u8>)| {
        peer.client.socket().send(text).unwrap();
    };
    let speakers: Vec<_> = peers.into_iter().zip(texts).collect();
    measure(&gates, &speakers, |(peer, _)| receive(peer), send);
}

/// Each client sends two datagrams, and receives two greetings.
fn greetings(address: &str) {
    let gates = Gates::default();
    let config = ServerConfig {
        service: ServiceKind::Greet,
        ..config(2, &[address])
    };
    let server = TestServer::start_with_clock(config, gates.clock());
    let clients: [Client; CLIENTS] = std::array::from_fn(|_| server.unregistered_client());
    measure(&gates, &clients, receive(2), |client| {
        client.socket().send(b"hello world").unwrap();
        client.socket().send(b"hello again").unwrap();
    });
}

/// Returns a function with which a client receives `count` datagrams.
fn receive(count: usize) -> impl Fn(&Client) {
    move |client| {
        let mut buffer = [0; 1024];
        for _ in 0..count {
            client.receive_into(&mut buffer);
        }
    }
}

/// Checks that nothing is allocated in rounds in which each client runs `send`, and then each
/// one runs `receive`.
fn measure<T>(gates: &Gates, clients: &[T], receive: impl Fn(&T), send: impl Fn(&T)) {
    let receive_all = || clients.iter().for_each(&receive);
    // The warm-up handles a whole round as one batch, which is the largest possible.
    gates.workers_held.store(true, SeqCst);
    clients.iter().for_each(&send);
    gates.workers_held.store(false, SeqCst);
    receive_all();
    // Each thread has done its work once. The log is written as well, and its thread waits.
    wait_until("all threads to sleep", || all_threads_sleep(getpid()));

    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        clients.iter().for_each(&send);
        receive_all();
    }
    let change = region.change();
    gates.reaper_held.store(false, SeqCst);
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}

/// Stops threads of the server where they read the clock.
#[derive(Clone, Default)]
struct Gates {
    workers_held: Arc<AtomicBool>,
    reaper_held: Arc<AtomicBool>,
    reaper_waits: Arc<AtomicBool>,
}

impl Gates {
    fn clock(&self) -> Clock {
        let gates = self.clone();
        Clock::from_fn(move || {
            let is_reaper = thread::current().name() == Some("reaper");
            while (if is_reaper {
                &gates.reaper_held
            } else {
                &gates.workers_held
            })
            .load(SeqCst)
            {
                gates.reaper_waits.fetch_or(is_reaper, SeqCst);
                thread::park_timeout(Duration::from_millis(1));
            }
            0
        })
    }

    /// Stops the reaper until the measurement is over. It allocates a little each time it
    /// checks the table, which is once per second and not per datagram.
    fn hold_reaper(&self) {
        self.reaper_held.store(true, SeqCst);
        wait_until("the reaper to wait", || self.reaper_waits.load(SeqCst));
    }
}

const CLIENTS: usize = 40;
const ROUNDS: usize = 50;
