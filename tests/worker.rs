//! A worker with more datagrams than it receives in one round, one that waits for another
//! worker, and one that never sleeps.

mod common;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::ServerConfig;
use bullhorn::net::{BufferSizes, bind_group};
use bullhorn::server::clock::Clock;
use bullhorn::server::egress::MAX_PLANS;
use common::{Client, Gate, TestServer, V4, config, wait_until};

#[test]
fn all_queued_datagrams_are_received_even_if_none_follows() {
    let wanted = BufferSizes {
        receive_bytes: 4 << 20,
        send_bytes: 1 << 16,
    };
    let group = bind_group(V4.parse().expect("an address"), 1, wanted).expect("a free port");

    let fit = (group.granted.receive_bytes / QUEUED_BYTES) as u64;
    let queued = QUEUED.min(fit);
    println!("{queued} datagrams fit into a socket");
    // With a second socket, which is empty while the first is not.
    for addresses in [&[V4][..], &[V4, V4]] {
        let gate = Gate::default();
        let server = TestServer::start_with_clock(config(1, addresses), gate.clock());
        let ann = server.client();
        let closed = gate.close(&ann);
        for _ in 0..queued {
            ann.send(b"@im@");
        }
        drop(closed);
        wait_until("all heartbeats", || {
            server.stats().total().heartbeats == 2 + queued
        });
        assert_eq!(server.stats().total().datagrams_in, 2 + queued);
    }
}

#[test]
fn a_worker_that_waits_for_another_continues_when_the_other_has_sent() {
    const MEMBERS: u64 = 100;
    // Worker 1 reads the time before it sends its share.
    let gate = Arc::new(Mutex::new(()));
    let pass = Arc::clone(&gate);
    let clock = Clock::from_fn(move || {
        if thread::current().name() == Some("worker-1") {
            drop(pass.lock());
        }
        0
    });
    let server = TestServer::start_with_clock(config(2, &[V4]), clock);
    let members: Vec<Client> = (0..MEMBERS).map(|_| server.client()).collect();
    let datagrams = || server.stats().workers[0].counts.datagrams_in;
    let own_members = datagrams();
    let own = members.iter().find(|member| {
        let before = server.stats().total().datagrams_in;
        let own_before = datagrams();
        member.send(b"@im@");
        wait_until("the heartbeat", || {
            server.stats().total().datagrams_in > before
        });
        datagrams() > own_before
    });
    let sender = own.expect("worker 0 has members");

    let closed = gate.lock().expect("nobody panicked");
    let deliveries = || server.stats().total().deliveries;
    for text in 1..=MAX_PLANS as u64 {
        sender.send(b"hi");
        wait_until("the share of worker 0", || {
            deliveries() == text * own_members
        });
    }
    let texts = server.stats().total().texts;
    sender.send(b"one more than may be under way");
    wait_until("the text", || server.stats().total().texts > texts);
    // Gives worker 0 time to fall asleep. Before that it checks for a free plan itself.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(deliveries(), MAX_PLANS as u64 * own_members);
    drop(closed);
    server.wait_for_deliveries((MAX_PLANS as u64 + 1) * MEMBERS);
}

#[test]
fn a_worker_that_spins_answers_at_once() {
    let server = TestServer::start(ServerConfig {
        spin_us: 1_000_000,
        ..config(1, &[V4])
    });
    let ann = server.client();
    let start = Instant::now();
    for _ in 0..50 {
        ann.send(b"hi");
        ann.expect_text_from(&ann, "hi");
    }
    // It would take 50 s if a worker received only after the end of its spinning.
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// More than twice the number of datagrams that a worker receives before it sends.
const QUEUED: u64 = 3000;
/// Half of the bytes that the kernel charges to a socket for a short datagram, as
/// `BufferSizes` counts halves.
const QUEUED_BYTES: usize = 400;
