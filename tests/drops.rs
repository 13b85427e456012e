//! What the kernel drops before the server sees it.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::sync::{Arc, Mutex};

use bullhorn::clock::Clock;
use bullhorn::{Server, ServerConfig};
use bytesize::ByteSize;
use common::{Client, V4, config, wait_until};

#[test]
fn what_overflows_the_receive_buffer_is_counted_to_the_last_datagram() {
    const SENT: u64 = 3000;
    // A worker reads the time before it receives: so the test holds it up.
    let gate = Arc::new(Mutex::new(()));
    let pass = Arc::clone(&gate);
    let clock = Clock::from_fn(move || {
        drop(pass.lock());
        0
    });
    let config = ServerConfig {
        receive_buffer: ByteSize::kib(64),
        ..config(1, &[V4])
    };
    let server = Server::start_with_clock(config, clock).unwrap();
    let client = Client::of(server.local_addr());

    let total = || server.stats().total();
    // The kernel's number goes on where it was.
    for round in 1..=3 {
        let drops_before = total().kernel_drops;
        let closed = gate.lock().unwrap();
        for _ in 0..SENT {
            client.send(b"@im@");
        }
        drop(closed);
        wait_until("all that was sent to be counted", || {
            total().datagrams_in + total().kernel_drops >= round * SENT
        });
        assert!(total().kernel_drops > drops_before);
        assert_eq!(total().datagrams_in + total().kernel_drops, round * SENT);
    }
    assert_eq!(total().datagrams_in, total().heartbeats);
    server.stop().unwrap();
}
