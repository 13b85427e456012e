//! The library's session in protocol v2, through a relay that makes faults: it
//! counts exactly what happened.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;

use bullhorn::client::{ProtocolChoice, Session};
use common::{
    Relay, RelayCounts, TestServer, V4, connect_with, has_v2_session, next_line, quick_v2_config,
    unpinned_config, wait_until,
};

#[test]
fn the_counts_are_exactly_what_happened() {
    for seed in 1..=5 {
        check_counts(seed);
    }
}

fn check_counts(seed: u64) {
    let server = TestServer::start(unpinned_config(4, V4));
    let relay = Relay::start(server.local_addr(), 0x9E37_79B9_7F4A_7C15 ^ seed);
    let mut config = quick_v2_config(relay.address());
    config.protocol = ProtocolChoice::V2;
    let hearing = Session::connect(config).unwrap();
    let speaking: Vec<_> = (0..6).map(|_| connect(server.local_addr())).collect();
    wait_until("the sessions", || {
        has_v2_session(&hearing) && speaking.iter().all(has_v2_session)
    });

    let mut said = 0;
    let mut say = |burst: usize, what: &str| {
        for speaking in &speaking {
            for _ in 0..burst {
                said += 1;
                speaking.say(&format!("{what} {said}")).unwrap();
            }
        }
        wait_until("the messages", || relay.received() == said);
    };
    // The first and the last one of each stream arrive: before the one and after
    // the other no loss can be told.
    say(1, "first");
    relay.set_faulty(true);
    for burst in [1, 2, 9, 1, 30, 5, 1, 1, 17, 1, 2, 3, 1, 1] {
        say(burst, "text");
    }
    relay.set_faulty(false);
    say(1, "last");

    let did = relay.counts();
    let matches = || {
        let streams = hearing.stats().streams;
        let total: u64 = streams.iter().map(|stream| stream.counts.received).sum();
        let repeated: u64 = streams.iter().map(|stream| stream.counts.repeated).sum();
        total == did.values().map(|counts| counts.forwarded).sum::<u64>()
            && repeated == did.values().map(|counts| counts.repeated).sum::<u64>()
    };
    wait_until("the counts", matches);
    let stats = hearing.stats();
    assert_eq!(stats.streams.len(), did.len());
    for stream in &stats.streams {
        let counts = stream.counts;
        let counted = RelayCounts {
            forwarded: counts.received,
            dropped: counts.lost,
            repeated: counts.repeated,
            reordered: counts.reordered,
        };
        assert_eq!(counted, did[&(stream.room, stream.stream)], "{stream:?}");
        assert_eq!(counts.too_late, 0);
        assert_eq!(counts.expected, counts.received + counts.lost);
    }
    let total = stats.messages;
    assert_eq!(total.expected, said);
    for (what, count) in [
        ("lost", total.lost),
        ("repeated", total.repeated),
        ("reordered", total.reordered),
    ] {
        assert!(count > 0, "seed {seed} had nothing {what}");
    }

    // The application has heard each one that came, once.
    let heard: Vec<_> = (0..total.received).map(|_| next_line(&hearing)).collect();
    let distinct: HashSet<_> = heard.iter().collect();
    assert_eq!(distinct.len(), heard.len());
    assert!(hearing.events().is_empty());
    assert_eq!(
        (stats.malformed, stats.texts_missed, stats.sessions),
        (0, 0, 1)
    );
}

fn connect(server: SocketAddr) -> Session {
    connect_with(ProtocolChoice::Auto, server)
}
