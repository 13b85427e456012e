//! The expiry of silent peers, with a clock that the test sets, and once with the real
//! clock.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::supervise::ThreadDied;

use common::v2_peer::V2Peer;
use common::{Client, TestServer, Time, V4, V6, config, wait_until};

#[test]
fn a_peer_expires_after_more_than_ten_seconds_of_silence() {
    with_test_clock(|server, time| {
        let [ann, bob] = server.clients();
        time.set(10_000);
        time.wait_for_reaper();
        assert_eq!((server.stats().peers, server.stats().expired), (2, 0));
        ann.send(b"still here");
        bob.expect_text_from(&ann, "still here");

        // Ann has just sent a text. Bob has been silent for more than 10 s.
        time.set(10_001);
        wait_for_expired(&server, 1);
        assert_eq!(server.stats().peers, 1);
        time.set(20_000);
        time.wait_for_reaper();
        assert_eq!(server.stats().peers, 1);
        time.set(20_001);
        wait_for_expired(&server, 2);
        assert_eq!(server.stats().peers, 0);
    });
}

#[test]
fn a_heartbeat_keeps_a_peer() {
    with_test_clock(|server, time| {
        let ann = server.client();
        for now_ms in (6_000..60_000).step_by(6_000) {
            time.set(now_ms);
            refresh(&server, &ann);
            time.wait_for_reaper();
            assert_eq!(server.stats().peers, 1, "at {now_ms}");
        }
        assert_eq!(server.stats().total().registered, 1);
        assert_eq!(server.stats().expired, 0);
    });
}

#[test]
fn a_text_of_a_session_that_has_expired_is_not_told_to_the_lobby() {
    with_test_clock(|server, time| {
        let session = V2Peer::open(server.unregistered_client());
        time.set(10_001);
        wait_for_expired(&server, 1);
        let ann = server.client();
        session.expect_ended();
        // The same session is given again, and is valid.
        let session = V2Peer::open(session.client);
        session.expect_intact("back");
        ann.expect_text_from(&session.client, "back");
    });
}

#[test]
fn peers_expire_on_an_idle_server() {
    with_test_clock(|server, time| {
        let _clients: [Client; 5] = server.clients();
        let datagrams = server.stats().total().datagrams_in;
        time.set(10_001);
        wait_for_expired(&server, 5);
        assert_eq!(server.stats().peers, 0);
        assert_eq!(server.stats().total().datagrams_in, datagrams);
    });
}

#[test]
fn an_expired_peer_receives_nothing_until_it_returns() {
    with_test_clock(|server, time| {
        let [ann, bob] = server.clients();
        // Builds the list of receivers, which the expiry must change.
        ann.send(b"I shall be silent");
        ann.expect_text_from(&ann, "I shall be silent");
        bob.expect_text_from(&ann, "I shall be silent");
        time.set(6_000);
        refresh(&server, &bob);
        time.set(12_000);
        wait_for_expired(&server, 1);

        bob.send(b"is ann here?");
        bob.expect_text_from(&bob, "is ann here?");
        server.wait_for_deliveries(3);
        ann.send(b"ann is back");
        ann.expect_text_from(&ann, "ann is back");
        bob.expect_text_from(&ann, "ann is back");
    });
}

#[test]
fn a_silent_peer_expires_with_the_real_clock() {
    let server = TestServer::start(ServerConfig {
        timeout: Duration::from_millis(200),
        ..impatient_config(2, V4)
    });
    let _ann = server.client();
    wait_for_expired(&server, 1);
    assert_eq!(server.stats().peers, 0);
}

#[test]
fn a_panicking_thread_stops_the_server_with_its_name_and_reason() {
    for name in ["worker-0", "worker-1", "reaper"] {
        let is_broken = Arc::new(AtomicBool::new(false));
        let panics = Arc::clone(&is_broken);
        let clock = Clock::from_fn(move || {
            let is_affected = thread::current().name() == Some(name);
            assert!(!(is_affected && panics.load(SeqCst)), "the clock broke");
            0
        });
        // With RUST_BACKTRACE, a panic opens files. The program prints no panics.
        let server = TestServer::start_outside_sandbox(impatient_config(2, V4), clock);
        is_broken.store(true, SeqCst);
        // A worker reads the clock when it receives. Of 64 clients, each worker has some.
        for _ in 0..64 {
            server.unregistered_client().send(b"@im@");
        }
        let died = ThreadDied {
            name: name.into(),
            reason: "the clock broke".into(),
        };
        assert_eq!(server.wait_for_end(), Err(died));
    }
}

/// Runs a test for several numbers of workers, over IPv4 and IPv6, with a timeout of 10 s.
fn with_test_clock(test: impl Fn(TestServer, Time)) {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            println!("with {workers} workers at {address}");
            let time = Time::default();
            let config = impatient_config(workers, address);
            let server = TestServer::start_with_clock(config, time.clock());
            test(server, time);
        }
    }
}

/// Returns a configuration with a reaper that runs often.
fn impatient_config(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        reap_interval: Duration::from_millis(10),
        ..config(workers, &[address])
    }
}

#[track_caller]
fn wait_for_expired(server: &TestServer, count: u64) {
    wait_until("the expiry", || server.stats().expired == count);
}

/// Refreshes a peer at the current time.
#[track_caller]
fn refresh(server: &TestServer, client: &Client) {
    let heartbeats = || server.stats().total().heartbeats;
    // The worker may still use the time from before the last `set` for the first
    // heartbeat. It reads the clock again for the second.
    for _ in 0..2 {
        let before = heartbeats();
        client.send(b"@im@");
        wait_until("the heartbeat", || heartbeats() == before + 1);
    }
}
