//! In the steady state no datagram of the load allocates, neither in the generator nor in the
//! server: what is measured is not the allocator.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::alloc::System;
use std::sync::Mutex;
use std::time::Duration;

use bullhorn::{Server, ServerConfig};
use common::{V4, at_once, config, mix};
use loadgen::config::{Arrival, Protocol, RunConfig, Sockets};
use loadgen::{Control, run};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test, as all of the process is measured.
#[test]
fn a_second_of_load_costs_no_allocation() {
    for _ in 0..TRIES {
        let change = run_all_at_once();
        if change.allocations <= ALLOWED && change.reallocations == 0 {
            return;
        }
        // A batch that is larger than all before makes the server's memory grow: it was
        // read late, on a machine that had too much else to do.
        println!("{change:?}");
    }
    panic!("something allocates: run one case alone to find out which");
}

/// Runs clients of all kinds at once, and returns what was allocated while all of them
/// were in their second second.
fn run_all_at_once() -> Stats {
    let server = Server::start(ServerConfig {
        workers: 2,
        bind: vec![V4.parse().unwrap()],
        no_pin: true,
        // A look at all peers allocates a little, which is no matter of a datagram.
        reap_interval: Duration::from_secs(60),
        ..ServerConfig::default()
    })
    .unwrap();
    let watch = Watch::default();
    let cases = [
        (Protocol::V1, Sockets::Shared),
        (Protocol::V1, Sockets::PerClient),
        (Protocol::V2, Sockets::Shared),
        (Protocol::V2, Sockets::PerClient),
    ];
    assert_eq!(cases.len(), CASES);
    at_once(cases, |(protocol, sockets)| {
        let config = RunConfig {
            protocol,
            sockets,
            clients: 50,
            arrival: Arrival::Poisson,
            mix: mix(1.0, 1.0, 1.0),
            threads: 2,
            duration: Duration::from_millis(2200),
            ..config(server.local_addr())
        };
        let mut samples = 0;
        let outcome = run(&config, &Control::new(), |_| {
            samples += 1;
            watch.look(samples, &server);
        });
        let counts = outcome.unwrap().counts;
        assert_eq!((samples, counts.lost, counts.unanswered), (3, 0, 0));
    });
    server.stop().unwrap();
    let seen = watch.0.into_inner().unwrap();
    println!("{} deliveries meanwhile", seen.deliveries);
    // It was about a second, of 4000 datagrams.
    assert!(seen.deliveries >= 1000);
    seen.change.unwrap()
}

/// Begins when the last run has its first sample, and ends when the first has its second.
#[derive(Default)]
struct Watch(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    begun: usize,
    region: Option<Region<'static, System>>,
    change: Option<Stats>,
    deliveries: u64,
}

impl Watch {
    fn look(&self, samples: u32, server: &Server) {
        let mut seen = self.0.lock().unwrap();
        if samples == 1 {
            seen.begun += 1;
            if seen.begun == CASES {
                seen.deliveries = server.stats().total().deliveries;
                seen.region = Some(Region::new(ALLOCATOR));
            }
        } else if seen.change.is_none() {
            let region = seen.region.as_ref();
            seen.change = Some(region.expect("all began within a second").change());
            seen.deliveries = server.stats().total().deliveries - seen.deliveries;
        }
    }
}

const CASES: usize = 4;

/// Two runs of version 1 ask up to four times a second whether the server still knows a client, and
/// the server allocates twice to look up a room.
const ALLOWED: usize = 2 * 4 * 2;

/// So often a busy machine may spoil it.
const TRIES: u32 = 10;
