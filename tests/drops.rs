//! What the kernel drops before the server sees it.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::sync::{Arc, Mutex};

use bullhorn::server::clock::Clock;
use bullhorn::{Server, ServerConfig};
use bytesize::ByteSize;
use common::{Client, V4, config, wait_until};

#[test]
fn what_overflows_the_receive_buffer_is_counted_to_the_last_datagram() {
    overflow(b"@im@", ByteSize::kib(64), 3000);
}

#[test]
fn what_overflows_it_in_long_datagrams_is_counted_though_few_fit() {
    overflow(&[0xFF; 8000], ByteSize::kib(208), 300);
}

/// Sends `count` of `datagram`, three times over, to a server that does not take
/// them until all are sent.
#[track_caller]
fn overflow(datagram: &[u8], receive_buffer: ByteSize, count: u64) {
    // A worker reads the time before it receives: so the test holds it up.
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
    // The kernel's number goes on where it was.
    for round in 1..=3 {
        let drops_before = total().kernel_drops;
        let closed = gate.lock().unwrap();
        for _ in 0..count {
            client.send(datagram);
        }
        drop(closed);
        wait_until("all that was sent to be counted", || {
            total().datagrams_in + total().kernel_drops >= round * count
        });
        assert!(total().kernel_drops > drops_before);
        assert_eq!(total().datagrams_in + total().kernel_drops, round * count);
    }
    let taken = total().heartbeats + total().dropped_total();
    assert_eq!(total().datagrams_in, taken);
    server.stop().unwrap();
}
