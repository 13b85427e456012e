//! A worker with more datagrams than it receives in one round, and one that never sleeps.

mod common;

use std::time::{Duration, Instant};

use bullhorn::ServerConfig;
use bullhorn::net::{BufferSizes, bind_group};
use common::{Gate, TestServer, V4, config, wait_until};

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
