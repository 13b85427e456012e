//! Who is not heard is dropped: with a clock that the test moves, and once for
//! real.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::supervise::ThreadDied;
use common::{Client, TestServer, V4, V6, config, wait_until};

/// The time of a server's clock, and how often its reaper has read it.
#[derive(Clone, Default)]
struct Time {
    now_ms: Arc<AtomicU64>,
    looks: Arc<AtomicU64>,
}

impl Time {
    fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || {
            let now_ms = time.now_ms.load(SeqCst);
            if thread::current().name() == Some("reaper") {
                time.looks.fetch_add(1, SeqCst);
            }
            now_ms
        })
    }

    fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, SeqCst);
    }

    /// Returns when the reaper has looked at every peer at the present time.
    #[track_caller]
    fn wait_for_the_reaper(&self) {
        // The first look may have read the time before it was set; the second
        // one has the new time; the third shows that the second is over.
        let enough = self.looks.load(SeqCst) + 3;
        wait_until("three looks of the reaper", || {
            self.looks.load(SeqCst) >= enough
        });
    }
}

/// Runs a test for several numbers of workers, at both kinds of address, with
/// a time-out of 10 s.
fn with_a_clock(test: impl Fn(TestServer, Time)) {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            println!("with {workers} workers at {address}");
            let time = Time::default();
            test(
                TestServer::start_with_clock(impatient(workers, address), time.clock()),
                time,
            );
        }
    }
}

/// With a reaper that looks often.
fn impatient(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        reap_interval: Duration::from_millis(10),
        ..config(workers, &[address])
    }
}

#[track_caller]
fn wait_for_expired(server: &TestServer, count: u64) {
    wait_until("the expiry", || server.stats().expired == count);
}

/// A sign of life at the present time.
#[track_caller]
fn refresh(server: &TestServer, client: &Client) {
    let heartbeats = || server.stats().total().heartbeats;
    // The worker may be in a round that began before the time was set: it reads
    // the clock anew for what comes after it.
    for _ in 0..2 {
        let before = heartbeats();
        client.send(b"@im@");
        wait_until("the heartbeat", || heartbeats() == before + 1);
    }
}

#[test]
fn ten_seconds_of_silence_are_allowed_and_a_millisecond_more_is_not() {
    with_a_clock(|server, time| {
        let [ann, bob] = server.clients();
        time.set(10_000);
        time.wait_for_the_reaper();
        assert_eq!((server.stats().peers, server.stats().expired), (2, 0));
        ann.send(b"still here");
        bob.expect_text_from(&ann, "still here");

        // Ann has just spoken; bob is silent for longer than 10 s.
        time.set(10_001);
        wait_for_expired(&server, 1);
        assert_eq!(server.stats().peers, 1);
        time.set(20_000);
        time.wait_for_the_reaper();
        assert_eq!(server.stats().peers, 1);
        time.set(20_001);
        wait_for_expired(&server, 2);
        assert_eq!(server.stats().peers, 0);
    });
}

#[test]
fn a_heartbeat_keeps_a_peer() {
    with_a_clock(|server, time| {
        let ann = server.client();
        for now_ms in (6_000..60_000).step_by(6_000) {
            time.set(now_ms);
            refresh(&server, &ann);
            time.wait_for_the_reaper();
            assert_eq!(server.stats().peers, 1, "at {now_ms}");
        }
        assert_eq!(server.stats().total().registered, 1);
        assert_eq!(server.stats().expired, 0);
    });
}

#[test]
fn peers_are_dropped_also_when_nobody_speaks() {
    with_a_clock(|server, time| {
        let _clients: [Client; 5] = server.clients();
        let datagrams = server.stats().total().datagrams_in;
        time.set(10_001);
        wait_for_expired(&server, 5);
        assert_eq!(server.stats().peers, 0);
        assert_eq!(server.stats().total().datagrams_in, datagrams);
    });
}

#[test]
fn a_dropped_peer_hears_nothing_until_it_comes_back() {
    with_a_clock(|server, time| {
        let [ann, bob] = server.clients();
        // So that a list of whom to send to is there, and must change.
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
fn with_the_real_clock_a_silent_peer_is_dropped() {
    let server = TestServer::start(ServerConfig {
        timeout: Duration::from_millis(200),
        ..impatient(2, V4)
    });
    let _ann = server.client();
    wait_for_expired(&server, 1);
    assert_eq!(server.stats().peers, 0);
}

#[test]
fn a_thread_that_dies_ends_the_server_which_says_why() {
    for name in ["worker-0", "worker-1", "reaper"] {
        let broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&broken);
        let clock = Clock::from_fn(move || {
            let here = thread::current().name() == Some(name);
            assert!(!(here && breaks.load(SeqCst)), "the clock broke");
            0
        });
        let server = TestServer::start_with_clock(impatient(2, V4), clock);
        broken.store(true, SeqCst);
        // A worker looks at the clock when something comes: enough strangers
        // that each worker has some.
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
