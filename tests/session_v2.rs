//! The library's session in protocol v2, against a server that the test plays, of v2
//! or of v1.
//! Nothing waits for a fixed time: each wait is for something that must happen, with a
//! bound far beyond what it takes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

mod common;

use std::time::Duration;

use bullhorn::client::{DownReason, Event, Protocol, ProtocolChoice, Session, SessionError};
use bullhorn::net::{Packet, PeerAddr, Sender, max_segments};
use bullhorn::wire::v2::{BUNDLE_BYTES, NoticeCode, ServerFrame, push_padding};
use common::{
    FakeServer, GREET_TIMEOUT, REPLY_TIMEOUT, TestServer, connection_refused, datagram,
    has_v2_session, message, next_event, next_line, quick_v2_config, unpinned_config, wait_until,
    welcome,
};

#[test]
fn falls_back_to_v1_and_loses_no_text_by_it() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    session.say("early").unwrap();
    for _ in 0..3 {
        assert_eq!(server.receive_hello(), 64);
    }
    let (heartbeat, client) = server.receive();
    assert_eq!(heartbeat, b"@im@");
    assert_eq!(server.receive_v1(), b"early");
    assert_eq!(session.protocol(), Some(Protocol::V1));
    server.send(b"1.2.3.4:5 early", client);
    assert_eq!(
        next_event(&session),
        Event::Text("1.2.3.4:5 early".to_owned())
    );
    drop(session);
    assert_eq!(server.receive_v1(), b"quit");
}

#[test]
fn a_text_said_to_a_v1_server_at_once_and_left_behind_arrives() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    session.say("and gone").unwrap();
    drop(session);
    for _ in 0..3 {
        server.receive_hello();
    }
    for expected in ["@im@", "and gone", "quit"] {
        assert_eq!(server.receive().0, expected.as_bytes());
    }
}

#[test]
fn a_v1_server_is_down_for_who_speaks_v2_only() {
    let server = FakeServer::start();
    let mut config = quick_v2_config(server.address());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    session.say("never").unwrap();
    assert_eq!(next_event(&session), Event::Down(silent(GREET_TIMEOUT)));
    assert!(matches!(session.say("never"), Err(SessionError::Down)));
    assert_eq!(session.stats().unsent, 1);
    for _ in 0..6 {
        server.receive_hello();
    }
}

#[test]
fn a_v1_server_that_starts_late_is_found() {
    let address = FakeServer::start_unshared().address();
    let session = Session::connect(quick_v2_config(address)).unwrap();
    assert_eq!(next_event(&session), Event::Down(connection_refused()));
    let server = FakeServer::restart(address);
    assert_eq!(next_event(&session), Event::Up);
    wait_until("protocol v1", || session.protocol() == Some(Protocol::V1));
    assert_eq!(server.receive_v1(), b"@im@");
}

#[test]
fn a_v1_server_in_whose_place_comes_one_of_v2_is_left_for_it() {
    let server = FakeServer::start_unshared();
    let address = server.address();
    let session = Session::connect(quick_v2_config(address)).unwrap();
    assert_eq!(server.receive_v1(), b"@im@");
    drop(server);
    assert_eq!(next_event(&session), Event::Down(connection_refused()));
    let _server = TestServer::restart(unpinned_config(2, &address.to_string()));
    assert_eq!(next_event(&session), Event::Up);
    wait_until("the session", || has_v2_session(&session));
}

#[test]
fn silence_is_down_without_anything_said_and_an_answer_is_back() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    let client = server.send_welcome(7);
    // Heartbeats come, and no PONG goes back.
    assert_eq!(next_event(&session), Event::Down(silent(REPLY_TIMEOUT)));
    server.receive_until_hello(7);
    assert_eq!(server.send_welcome(7), client);
    assert_eq!(next_event(&session), Event::Up);
    assert_eq!(session.stats().sessions, 1, "it knew us");
}

#[test]
fn a_server_that_has_forgotten_us_is_greeted_again() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    server.send_welcome(7);
    for _ in 0..5 {
        server.reply_to_ping(7);
    }
    assert!(session.is_up());
    // As after a restart that nobody noticed: another session is given.
    server.receive_until_hello(7);
    server.send_welcome(8);
    assert_eq!(next_event(&session), Event::Down(silent(REPLY_TIMEOUT)));
    assert_eq!(next_event(&session), Event::Up);
    server.reply_to_ping(8);
    assert_eq!(session.stats().sessions, 2);
}

#[test]
fn no_datagram_disturbs_the_session() {
    let server = FakeServer::start();
    let mut config = quick_v2_config(server.address());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    let client = server.send_welcome(7);
    let message = message(0, b"hi");
    let hi = datagram(&[message]);
    let unknown_kind = [&hi[..], &[0x99, 0, 0]].concat();
    let wrong_length = [&hi[..], &[0x84, 0xFF, 0xFF]].concat();
    let long = vec![0xEE; 60_000];
    let malformed = [
        b"1.2.3.4:5 text",
        &hi[..hi.len() - 1],
        &unknown_kind,
        &wrong_length,
        &long,
        b"\xff\x03",
        b"",
    ];
    for bad in malformed {
        server.send(bad, client);
    }
    // These are well formed, and say nothing new.
    let pong = ServerFrame::Pong(b"what?");
    for good in [&datagram(&[]), &datagram(&[pong]), &datagram(&[welcome(9)])] {
        server.send(good, client);
    }
    server.send(&hi, client);
    server.send(&hi, client);
    server.send(
        &datagram(&[ServerFrame::Notice(NoticeCode::Done, b"the end")]),
        client,
    );
    assert_eq!(next_line(&session), "127.0.0.1:7 hi");
    assert_eq!(next_line(&session), "* the end");
    let stats = session.stats();
    assert_eq!(stats.malformed, malformed.len() as u64);
    assert_eq!((stats.messages.repeated, stats.sessions), (1, 1));
    server.reply_to_ping(7);
    assert!(session.is_up());
}

#[test]
fn bundles_that_come_as_one_packet_are_told_apart() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    let client = server.send_welcome(7);
    if max_segments() == 1 {
        println!("not run: the kernel does not cut packets");
        return;
    }
    let mut payload = Vec::new();
    for bundle in 0..20 {
        let start = payload.len();
        payload.extend(datagram(&[
            message(2 * bundle, b"even"),
            message(2 * bundle + 1, b"odd"),
        ]));
        if bundle < 19 {
            push_padding(start, BUNDLE_BYTES, &mut payload);
        }
    }
    let packet = Packet {
        to: &PeerAddr::new(client, 0),
        payload: &payload,
        segment_bytes: BUNDLE_BYTES as u16,
        deliveries: 40,
    };
    assert_eq!(Sender::new(true).send(&server.socket, [packet]).sent, 40);
    for number in 0..40 {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        assert_eq!(next_line(&session), format!("127.0.0.1:7 {parity}"));
    }
    let messages = session.stats().messages;
    assert_eq!((messages.received, messages.lost), (40, 0));
}

fn silent(time: Duration) -> DownReason {
    DownReason::NoAnswer(time)
}
