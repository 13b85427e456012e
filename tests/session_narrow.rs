//! A session of the client library on a path that drops long datagrams, without any message.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::client::{Event, ProtocolChoice, Session, SessionConfig};
use common::{
    Relay, TIMEOUT, TestServer, V4, answer, connect_with, has_v2_session, unpinned_config,
    wait_until,
};

#[test]
fn a_session_on_a_narrow_path_asks_for_small_bundles_and_loses_nothing_more() {
    let server = TestServer::start(unpinned_config(2, V4));
    let relay = Relay::start(server.local_addr(), 1);
    relay.set_max_bytes(NARROW);
    let mut config = SessionConfig::new(relay.address().into());
    config.nick = "ada".parse().ok();
    config.room = "den".parse().ok();
    let narrow = Session::connect(config).unwrap();
    let others = [0; 2].map(|_| connect_with(ProtocolChoice::V2, server.local_addr()));
    wait_until("the sessions", || {
        others.iter().chain([&narrow]).all(has_v2_session)
    });
    for other in &others {
        answer(other.join("den".parse().unwrap()));
    }
    expect_size(&narrow, NARROW);

    let received = |session: &Session| session.stats().messages.received;
    let before = [&narrow, &others[0], &others[1]].map(received);
    // They come in datagrams of 1200 bytes, and would leave in such.
    for burst in 0..BURSTS {
        for text in 0..TEXTS {
            others[0].say(&format!("{text:040}")).unwrap();
        }
        let said = (burst + 1) * TEXTS;
        wait_until("the texts at the others", || {
            received(&others[1]) - before[2] >= said
        });
    }
    let said = BURSTS * TEXTS;
    wait_until("the texts", || received(&narrow) - before[0] >= said);
    assert!(
        narrow.stats().messages.lost * 100 <= said,
        "{:?}",
        narrow.stats()
    );

    // What it says itself passes as well, however much at once.
    let tickets: Vec<_> = (0..TEXTS)
        .map(|text| narrow.say(&format!("own {text:040}")))
        .collect();
    tickets.into_iter().for_each(answer);
    let stats = narrow.stats();
    assert_eq!((stats.sessions, narrow.is_up()), (1, true));
    assert_eq!(narrow.name(), "ada".parse().ok());
    assert_eq!(narrow.room(), "den".parse().ok());
    for other in &others {
        let sizes = other.events().try_iter();
        let mut sizes = sizes.filter(|event| matches!(event, Event::BundleSize(_)));
        assert_eq!(sizes.next(), None, "its path is wide");
    }
}

/// Skips the events before the size of the bundles changes.
#[track_caller]
fn expect_size(session: &Session, bytes: usize) {
    loop {
        match session.events().recv_timeout(TIMEOUT) {
            Ok(Event::BundleSize(size)) => return assert_eq!(size, bytes),
            Ok(_) => {}
            Err(error) => panic!("no change of the size: {error}"),
        }
    }
}

/// The length of what passes an MTU of 576.
const NARROW: usize = 548;

const BURSTS: u64 = 50;
/// Texts per burst, which fill four datagrams.
const TEXTS: u64 = 60;
