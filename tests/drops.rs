//! Datagrams that the kernel drops before the server receives them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::sync::{Arc, Mutex};

use bullhorn::server::clock::Clock;
use bullhorn::{Server, ServerConfig};
use bytesize::ByteSize;
use common::{Client, V4, config, wait_until};

#[test]
fn short_datagrams_that_overflow_the_receive_buffer_are_counted() {
    overflow(b"@im@", ByteSize::kib(64), 3000);
}

#[test]
fn long_datagrams_that_overflow_the_receive_buffer_are_counted() {
    overflow(&[0xFF; 8000], ByteSize::kib(208), 300);
}

/// Three times, sends `count` copies of `datagram` while the server does not receive.
/// Afterwards each copy must be counted as received or as dropped.
#[track_caller]
fn overflow(datagram: &[u8], receive_buffer: ByteSize, count: u64) {
    // A worker reads the time before it receives, so the test can stop it there.
    let gate = Arc::new(Mutex::new(()));
    let pass = Arc::clone(&gate);
    let clock = Clock::from_fn(move || {
        drop(pass.lock());
        0
    });
    let config = ServerConfig {
        receive_buffer,
        ..config(1, &[V4])
    };
    let server = Server::start_with_clock(config, clock).unwrap();
    let client = Client::connect(server.local_addr());

    let total = || server.stats().total();
    // The count of the kernel continues from round to round.
    for round in 1..=3 {
        let drops_before = total().kernel_drops;
        let closed = gate.lock().unwrap();
        for _ in 0..count {
            client.send(datagram);
        }
        drop(closed);
        wait_until("all datagrams to be counted", || {
            total().datagrams_in + total().kernel_drops >= round * count
        });
        assert!(total().kernel_drops > drops_before);
        assert_eq!(total().datagrams_in + total().kernel_drops, round * count);
    }
    let received = total().heartbeats + total().dropped_total();
    assert_eq!(total().datagrams_in, received);
    server.stop().unwrap();
}
