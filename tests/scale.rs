//! Ten thousand peers, each with a socket of its own.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use common::{Client, TestServer, V4, config, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const PEERS: usize = 10_000;

#[test]
fn ten_thousand_peers_hear_a_text_exactly_once() {
    let server = TestServer::start(config(2, &[V4]));
    let may_open = file_limit();
    assert!(
        may_open >= PEERS,
        "{may_open} files may be open: raise ulimit -Hn"
    );
    let clients: Vec<Client> = (0..PEERS).map(|_| server.unregistered_client()).collect();
    // In portions that the smallest receive buffer in use holds.
    for portion in clients.chunks(100) {
        let before = server.stats().total().heartbeats;
        for client in portion {
            client.send(b"@im@");
        }
        let expected = before + portion.len() as u64;
        wait_until("the heartbeats", || {
            server.stats().total().heartbeats == expected
        });
    }
    assert_eq!(server.stats().peers, clients.len());

    let speaker = &clients[clients.len() / 2];
    for (round, text) in ["hi all", "that was once"].into_iter().enumerate() {
        speaker.send(text.as_bytes());
        for client in &clients {
            client.expect_text_from(speaker, text);
        }
        server.wait_for_deliveries(((round + 1) * clients.len()) as u64);
    }
    assert!(clients.iter().all(Client::inbox_is_empty));
    assert_eq!(server.stats().total().dropped_total(), 0);
}

/// How many sockets this process may open, beside those that it needs.
fn file_limit() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => {}
        Err(error) => println!("the limit of open files stays: {error}"),
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    usize::try_from(soft).unwrap_or(usize::MAX) - 100
}
