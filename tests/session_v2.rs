//! Sessions of the client library in protocol v2, with a server of v2 or v1 that the test
//! plays.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::num::NonZeroU16;
use std::time::Duration;

use bullhorn::client::{
    DownReason, Event, ProtocolChoice, ProtocolVersion, RequestError, SayError, Session,
};
use bullhorn::net::{Gso, Packet, PeerAddr, Sender, max_segments};
use bullhorn::wire::v2::{BUNDLE_BYTES, MIN_HELLO_BYTES, NoticeCode, ServerFrame, push_padding};
use common::{
    FakeServer, GREET_TIMEOUT, REPLY_TIMEOUT, TIMEOUT, TestServer, answer, connection_refused,
    datagram_to, expect_up, has_v2_session, message, next_event, next_line, quick_v2_config,
    undelivered, unpinned_config, wait_until, welcome,
};

#[test]
fn falls_back_to_v1_without_losing_a_text() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    let early = session.say("early");
    for _ in 0..3 {
        assert_eq!(server.receive_hello(), MIN_HELLO_BYTES);
    }
    let (heartbeat, client) = server.receive();
    assert_eq!(heartbeat, b"@im@");
    assert_eq!(server.receive_v1(), b"early");
    wait_until("protocol v1", || session.protocol() == Some(V1));
    server.send(b"1.2.3.4:5 early", client);
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "1.2.3.4:5 early");
    answer(early);
    drop(session);
    assert_eq!(server.receive_v1(), b"quit");
}

#[test]
fn a_text_sent_to_a_v1_server_just_before_leaving_arrives() {
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
fn a_v1_server_is_down_for_a_v2_only_session() {
    let server = FakeServer::start();
    let mut config = quick_v2_config(server.address());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    let ticket = session.say("never").unwrap();
    assert_eq!(next_event(&session), Event::Down(silent(GREET_TIMEOUT)));
    assert_eq!(next_event(&session), undelivered("never", false));
    let down = RequestError::Down(silent(GREET_TIMEOUT));
    assert_eq!(ticket.wait(TIMEOUT), Err(down));
    wait_until("the state", || session.down().is_some());
    let down = SayError::Down(silent(GREET_TIMEOUT));
    assert_eq!(session.say("never").unwrap_err(), down);
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
    expect_up(&session, V1);
    wait_until("protocol v1", || session.protocol() == Some(V1));
    assert_eq!(server.receive_v1(), b"@im@");
}

#[test]
fn switches_to_v2_when_a_v2_server_replaces_a_v1_server() {
    let server = FakeServer::start_unshared();
    let address = server.address();
    let session = Session::connect(quick_v2_config(address)).unwrap();
    assert_eq!(server.receive_v1(), b"@im@");
    drop(server);
    assert_eq!(next_event(&session), Event::Down(connection_refused()));
    let _server = TestServer::restart(unpinned_config(2, &address.to_string()));
    // If the server takes long to start, it seems to be one of v1 at first.
    assert!(matches!(next_event(&session), Event::Up(_)));
    wait_until("the session", || has_v2_session(&session));
}

#[test]
fn a_silent_server_is_down_until_it_replies() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    let client = server.send_welcome(7);
    expect_up(&session, V2);
    // Heartbeats arrive, but the server sends no PONG.
    assert_eq!(next_event(&session), Event::Down(silent(REPLY_TIMEOUT)));
    server.receive_until_hello(7);
    assert_eq!(server.send_welcome(7), client);
    expect_up(&session, V2);
    assert_eq!(session.stats().sessions, 1, "the session is the same");
}

#[test]
fn a_server_that_lost_the_session_receives_a_hello() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    server.send_welcome(7);
    expect_up(&session, V2);
    for _ in 0..5 {
        server.reply_to_ping(7);
    }
    assert!(session.is_up());
    // The WELCOME has another session, as after an unnoticed restart.
    server.receive_until_hello(7);
    server.send_welcome(8);
    assert_eq!(next_event(&session), Event::Down(silent(REPLY_TIMEOUT)));
    expect_up(&session, V2);
    server.reply_to_ping(8);
    assert_eq!(session.stats().sessions, 2);
}

#[test]
fn no_datagram_breaks_the_session() {
    let server = FakeServer::start();
    let mut config = quick_v2_config(server.address());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    let client = server.send_welcome(7);
    let message = message(0, b"hi");
    let hi = datagram_to(7, &[message]);
    let unknown_kind = [&hi[..], &[0x99, 0, 0]].concat();
    let wrong_length = [&hi[..], &[0x84, 0xFF, 0xFF]].concat();
    let long = vec![0xEE; 60_000];
    let malformed = [
        b"1.2.3.4:5 text",
        &hi[..hi.len() - 2],
        &wrong_length,
        &long,
        b"\xff\x03",
        b"",
    ];
    for bad in malformed {
        server.send(bad, client);
    }
    // These are well formed, but change nothing.
    let pong = ServerFrame::Pong(b"what?");
    for frames in [&[][..], &[pong], &[welcome(9)]] {
        server.send(&datagram_to(7, frames), client);
    }
    // Somebody else may have sent these.
    for receiver in [0, 1, 6, u64::MAX] {
        server.send(&datagram_to(receiver, &[ServerFrame::Goodbye]), client);
    }
    // A frame of a later version is skipped.
    server.send(&unknown_kind, client);
    server.send(&hi, client);
    let end = ServerFrame::Notice(NoticeCode::Done, b"the end");
    server.send(&datagram_to(7, &[end]), client);
    expect_up(&session, V2);
    assert_eq!(next_line(&session), "127.0.0.1:7 hi");
    assert_eq!(next_line(&session), "* the end");
    let stats = session.stats();
    assert_eq!(stats.malformed, malformed.len() as u64);
    assert_eq!(stats.forged, 4);
    assert_eq!((stats.messages.repeated, stats.sessions), (1, 1));
    server.reply_to_ping(7);
    assert!(session.is_up());
}

#[test]
fn bundles_that_arrive_as_one_packet_are_separated() {
    let server = FakeServer::start();
    let session = Session::connect(quick_v2_config(server.address())).unwrap();
    let client = server.send_welcome(7);
    if max_segments() == 1 {
        println!("skipped: the kernel does not segment packets");
        return;
    }
    let mut payload = Vec::new();
    for bundle in 0..20 {
        let start = payload.len();
        let messages = [
            message(2 * bundle, b"even"),
            message(2 * bundle + 1, b"odd"),
        ];
        payload.extend(datagram_to(7, &messages));
        if bundle < 19 {
            push_padding(start, BUNDLE_BYTES, &mut payload);
        }
    }
    let packet = Packet {
        to: &PeerAddr::new(client, 0),
        payload: &payload,
        segment_bytes: NonZeroU16::new(BUNDLE_BYTES as u16),
        deliveries: 40,
        tag: None,
    };
    assert_eq!(Sender::new(Gso::On).send(&server.socket, [packet]).sent, 40);
    expect_up(&session, V2);
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

const V1: ProtocolVersion = ProtocolVersion::V1;
const V2: ProtocolVersion = ProtocolVersion::V2;
