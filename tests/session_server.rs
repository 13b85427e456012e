//! The library's session against the real server, in both protocols.
//! Nothing waits for a fixed time: each wait is for something that must happen, with a
//! bound far beyond what it takes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;

use bullhorn::client::{
    DownReason, Event, Message, Protocol, ProtocolChoice, Session, SessionError,
};
use bullhorn::wire::DisplayName;
use common::{
    TestServer, V4, V4_ALONE, connect_as, is_open, next, next_line, refused, unpinned, wait_until,
};

#[test]
fn peers_of_both_protocols_hear_each_other_and_see_the_same() {
    let server = TestServer::start(unpinned(2, V4));
    let address = server.local_addr();
    let sessions = [ProtocolChoice::V1, ProtocolChoice::V2, ProtocolChoice::Auto]
        .map(|choice| connect_as(choice, address));
    // Netcat, as far as the server can tell.
    let stock = server.stranger();
    stock.send(b"@im@");
    wait_until("the peers", || server.stats().peers == 4);
    let expected = [Protocol::V1, Protocol::V2, Protocol::V2].map(Some);
    wait_until("the protocols", || {
        sessions.each_ref().map(Session::protocol) == expected
    });

    for (at, session) in sessions.iter().enumerate() {
        let from = local_addr(session, address);
        session.say(&format!("text {at} \x1b[2J ümlaut\n")).unwrap();
        let expected = format!("{from} text {at} \\x1b[2J ümlaut");
        for hearing in &sessions {
            assert_eq!(next_line(hearing), expected);
        }
        assert_eq!(stock.receive(), expected.as_bytes());
    }
    sessions[2].say_bytes(b"\xff\0").unwrap();
    let from = local_addr(&sessions[2], address);
    assert_eq!(next_line(&sessions[0]), format!("{from} \u{fffd}\\x00"));
    let payload = b"\xff\0".to_vec();
    assert_eq!(
        next(&sessions[1]),
        Event::Message(Message {
            from: DisplayName::Address(from),
            payload
        })
    );
    stock.send(b"@im@ not");
    let from = stock.address();
    assert_eq!(next_line(&sessions[1]), format!("{from} @im@ not"));
}

#[test]
fn everyone_hears_everyone_on_many_workers_and_nothing_is_lost() {
    let server = TestServer::start(unpinned(4, V4));
    let sessions: Vec<_> = (0..12).map(|_| connect(server.local_addr())).collect();
    wait_until("the sessions", || sessions.iter().all(is_open));
    let mut expected = HashSet::new();
    for session in &sessions {
        for text in ["one", "two", "three"] {
            session.say(text).unwrap();
            let from = local_addr(session, server.local_addr());
            expected.insert(format!("{from} {text}"));
        }
    }
    for session in &sessions {
        let heard: HashSet<_> = expected.iter().map(|_| next_line(session)).collect();
        assert_eq!(heard, expected);
        let stats = session.stats();
        assert_eq!(stats.messages.received, 36);
        assert_eq!((stats.messages.lost, stats.messages.repeated), (0, 0));
        assert_eq!((stats.malformed, stats.sessions), (0, 1));
        let received: u64 = stats.streams.iter().map(|each| each.counts.received).sum();
        assert_eq!(received, 36);
    }
}

#[test]
fn a_server_that_stops_says_goodbye_and_one_that_starts_gives_a_new_session() {
    let server = TestServer::start(unpinned(2, V4_ALONE));
    let address = server.local_addr();
    let session = connect(address);
    session.say("one").unwrap();
    assert!(next_line(&session).ends_with(" one"));
    server.stop();
    assert_eq!(next(&session), Event::Down(DownReason::Goodbye));
    assert!(!session.is_up());
    assert!(matches!(session.say("lost"), Err(SessionError::Down)));

    let _server = TestServer::restart(unpinned(2, &address.to_string()));
    assert_eq!(next(&session), Event::Up);
    assert_eq!(session.stats().sessions, 2);
    // The new server counts from the beginning; that is no repetition.
    session.say("two").unwrap();
    assert!(next_line(&session).ends_with(" two"));
    let messages = session.stats().messages;
    assert_eq!((messages.received, messages.repeated), (2, 0));
}

#[test]
fn leaving_takes_the_peer_out_at_once() {
    let server = TestServer::start(unpinned(1, V4));
    let session = connect(server.local_addr());
    wait_until("the peer", || server.stats().peers == 1);
    wait_until("the session", || is_open(&session));
    session.leave();
    wait_until("the leave", || server.stats().peers == 0);
    assert_eq!(server.stats().expired, 0);
}

#[test]
fn what_is_said_at_once_and_left_behind_arrives() {
    let server = TestServer::start(unpinned(1, V4));
    let hearing = connect(server.local_addr());
    wait_until("the session", || is_open(&hearing));
    for _ in 0..20 {
        let session = connect(server.local_addr());
        session.say("and gone").unwrap();
        drop(session);
        assert!(next_line(&hearing).ends_with(" and gone"));
    }
}

#[test]
fn starts_before_the_server_does() {
    let address = TestServer::start(unpinned(2, V4_ALONE)).local_addr();
    let session = connect(address);
    assert_eq!(next(&session), Event::Down(refused()));
    let _server = TestServer::restart(unpinned(2, &address.to_string()));
    assert_eq!(next(&session), Event::Up);
    wait_until("the session", || is_open(&session));
}

fn connect(server: SocketAddr) -> Session {
    connect_as(ProtocolChoice::Auto, server)
}

/// The session's address as the server sees it.
fn local_addr(session: &Session, server: SocketAddr) -> SocketAddr {
    SocketAddr::new(server.ip(), session.local_addr().unwrap().port())
}
