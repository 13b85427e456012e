//! In the steady state no datagram costs an allocation: neither in a worker
//! nor anywhere else in the process.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
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
use common::{Client, TestServer, V4, V6, all_threads_sleep, config, wait_until};
use nix::unistd::getpid;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLIENTS: usize = 40;
const ROUNDS: usize = 50;

/// One test, as all of the process is measured.
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
        println!("{log}, greetings at {address}");
        greetings(address);
    }
}

/// Every client sends a heartbeat and a text, and hears the texts of all, in a room
/// in which every other one has a name.
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
    gates.hold_the_reaper();
    measure(&gates, &clients, CLIENTS, |client| {
        client.socket().send(b"@im@").unwrap();
        client
            .socket()
            .send("Grüße\x1b an alle".as_bytes())
            .unwrap();
    });
}

/// Every client sends two datagrams, and hears two greetings.
fn greetings(address: &str) {
    let gates = Gates::default();
    let config = ServerConfig {
        service: ServiceKind::Greet,
        ..config(2, &[address])
    };
    let server = TestServer::start_with_clock(config, gates.clock());
    let clients: [Client; CLIENTS] = std::array::from_fn(|_| server.unregistered_client());
    measure(&gates, &clients, 2, |client| {
        client.socket().send(b"hello world").unwrap();
        client.socket().send(b"hello again").unwrap();
    });
}

/// Checks that rounds in which all clients `speak`, and hear `answers` each,
/// allocate nothing.
fn measure(gates: &Gates, clients: &[Client], answers: usize, speak: impl Fn(&Client)) {
    let mut buffer = [0; 1024];
    let mut hear_all = || {
        for client in clients {
            for _ in 0..answers {
                client.socket().recv(&mut buffer).unwrap();
            }
        }
    };
    // Warm-up: all that one round sends in one batch, the largest there can be.
    gates.workers_held.store(true, SeqCst);
    clients.iter().for_each(&speak);
    gates.workers_held.store(false, SeqCst);
    hear_all();
    // Each has done what it does once: also the log is written, and its thread
    // waits for more.
    wait_until("the rest of all threads", || all_threads_sleep(getpid()));

    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        clients.iter().for_each(&speak);
        hear_all();
    }
    let change = region.change();
    gates.reaper_held.store(false, SeqCst);
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}

/// Holds threads of the server where they read the clock.
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

    /// The reaper allocates a little for each look at the table, which is once
    /// a second and not once a datagram: it waits until the test is over.
    fn hold_the_reaper(&self) {
        self.reaper_held.store(true, SeqCst);
        wait_until("the reaper's rest", || self.reaper_waits.load(SeqCst));
    }
}
