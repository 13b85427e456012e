//! Ten thousand peers, each with its own socket.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use common::{Client, TestServer, V4, config, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[test]
fn ten_thousand_peers_receive_a_text_exactly_once() {
    let server = TestServer::start(config(2, &[V4]));
    let limit = socket_limit();
    assert!(
        limit >= PEERS,
        "at most {limit} sockets can be open: raise ulimit -Hn"
    );
    let clients: Vec<Client> = (0..PEERS).map(|_| server.unregistered_client()).collect();
    // In portions that fit into the smallest receive buffer in use.
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

    let sender = &clients[clients.len() / 2];
    for (round, text) in ["hi all", "that was once"].into_iter().enumerate() {
        sender.send(text.as_bytes());
        for client in &clients {
            client.expect_text_from(sender, text);
        }
        server.wait_for_deliveries(((round + 1) * clients.len()) as u64);
    }
    assert!(clients.iter().all(Client::inbox_is_empty));
    assert_eq!(server.stats().total().dropped_total(), 0);
}

/// Returns how many sockets the clients can open. 100 files are left for the server.
fn socket_limit() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => {}
        Err(error) => println!("cannot raise the limit of open files: {error}"),
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    usize::try_from(soft).unwrap_or(usize::MAX) - 100
}

const PEERS: usize = 10_000;
