//! The counts of a session of the client library in protocol v2, through a relay that
//! drops, repeats and reorders datagrams.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;

use bullhorn::client::{ProtocolChoice, ProtocolVersion, Session};
use common::{
    Relay, RelayCounts, TestServer, V4, connect_with, expect_up, has_v2_session, next_line,
    quick_v2_config, unpinned_config, wait_until,
};

#[test]
fn the_counts_of_a_session_equal_those_of_the_relay() {
    for seed in 1..=5 {
        check_counts(seed);
    }
}

fn check_counts(seed: u64) {
    let server = TestServer::start(unpinned_config(4, V4));
    let relay = Relay::start(server.local_addr(), 0x9E37_79B9_7F4A_7C15 ^ seed);
    let mut config = quick_v2_config(relay.address());
    config.protocol = ProtocolChoice::V2;
    let receiver = Session::connect(config).unwrap();
    let senders: Vec<_> = (0..6).map(|_| connect(server.local_addr())).collect();
    wait_until("the sessions", || {
        has_v2_session(&receiver) && senders.iter().all(has_v2_session)
    });

    let mut sent = 0;
    let mut send = |burst: usize, text: &str| {
        for sender in &senders {
            for _ in 0..burst {
                sent += 1;
                sender.say(&format!("{text} {sent}")).unwrap();
            }
        }
        wait_until("the messages", || relay.received() == sent);
    };
    // The first and the last message of each stream arrive, as losses before and after
    // them cannot be detected.
    send(1, "first");
    relay.set_faulty(true);
    for burst in [1, 2, 9, 1, 30, 5, 1, 1, 17, 1, 2, 3, 1, 1] {
        send(burst, "text");
    }
    relay.set_faulty(false);
    send(1, "last");

    let mut relayed = RelayCounts::default();
    for counts in relay.counts().into_values() {
        relayed.forwarded += counts.forwarded;
        relayed.dropped += counts.dropped;
        relayed.repeated += counts.repeated;
        relayed.reordered += counts.reordered;
    }
    let counted = || {
        let total = receiver.stats().messages;
        RelayCounts {
            forwarded: total.received,
            dropped: total.lost,
            repeated: total.repeated,
            reordered: total.reordered,
        }
    };
    wait_until("the counts", || counted() == relayed);
    let stats = receiver.stats();
    let total = stats.messages;
    assert_eq!((total.expected, total.too_late), (sent, 0));
    assert_eq!(total.expected, total.received + total.lost);
    for (what, count) in [
        ("lost", total.lost),
        ("repeated", total.repeated),
        ("reordered", total.reordered),
    ] {
        assert!(count > 0, "seed {seed} had nothing {what}");
    }

    // The application receives each message that arrived, once.
    expect_up(&receiver, ProtocolVersion::V2);
    let received: Vec<_> = (0..total.received).map(|_| next_line(&receiver)).collect();
    let distinct: HashSet<_> = received.iter().collect();
    assert_eq!(distinct.len(), received.len());
    assert!(receiver.events().is_empty());
    assert_eq!((stats.malformed, stats.missed, stats.sessions), (0, 0, 1));
}

fn connect(server: SocketAddr) -> Session {
    connect_with(ProtocolChoice::Auto, server)
}
