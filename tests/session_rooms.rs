//! Names, rooms and private messages of sessions of the client library, with the real
//! server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{
    Event, Message, Name, NoticeCode, ProtocolChoice, RoomName, Session, SessionConfig,
};
use common::{
    TIMEOUT, TestServer, V4, V4_UNSHARED, connect_with, expect_line, expect_reply, has_v2_session,
    next_event, next_line, unpinned_config, wait_until,
};

#[test]
fn name_and_room_survive_a_restart_of_the_server() {
    for protocol in BOTH {
        let server = TestServer::start(unpinned_config(2, V4_UNSHARED));
        let address = server.local_addr();
        let session = Session::connect(ada_in_chess(address, protocol)).unwrap();
        wait_for_name_and_room(&session, "ada", "chess");
        expect_reply(&session, "/nick eve", "* you are eve");
        expect_reply(&session, "/join go", "* you are in go (1 here)");
        // A name that is refused is not kept.
        expect_reply(
            &session,
            "/nick not/one",
            "* usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)",
        );
        server.stop();
        wait_until("the end", || !session.is_up());
        let server = TestServer::restart(unpinned_config(2, &address.to_string()));
        // From here on, only the confirmations of this server count.
        wait_until("the return", || session.is_up());
        wait_for_name_and_room(&session, "eve", "go");
        let other = connect_with(ProtocolChoice::V2, address);
        wait_until("the session", || has_v2_session(&other));
        expect_reply(
            &other,
            "/who",
            &format!("* 1 in lobby: {}", address_of(&other)),
        );
        expect_reply(&other, "/join go", "* you are in go (2 here)");
        session.say("here I am").unwrap();
        assert_eq!(next_line(&other), "eve here I am", "{protocol:?}");
        drop(server);
    }
}

#[test]
fn a_session_in_the_lobby_returns_to_it_after_a_restart() {
    let server = TestServer::start(unpinned_config(1, V4_UNSHARED));
    let address = server.local_addr();
    let session = Session::connect(ada_in_chess(address, ProtocolChoice::V2)).unwrap();
    wait_for_name_and_room(&session, "ada", "chess");
    expect_reply(&session, "/leave", "* you are in lobby (1 here)");
    server.stop();
    let _server = TestServer::restart(unpinned_config(1, &address.to_string()));
    let is_ada = || session.nick().is_some_and(|nick| nick.as_str() == "ada");
    wait_until("another session", || {
        session.stats().sessions == 2 && is_ada()
    });
    assert_eq!(session.room(), None);
    expect_reply(&session, "/who", "* 1 in lobby: ada");
}

#[test]
fn a_name_that_is_taken_is_requested_again() {
    let server = TestServer::start(unpinned_config(1, V4));
    let address = server.local_addr();
    let before = connect_with(ProtocolChoice::V2, address);
    expect_reply(&before, "/nick ada", "* you are ada");
    let mut config = ada_in_chess(address, ProtocolChoice::V2);
    // Far longer than `before` takes to leave.
    config.heartbeat = Duration::from_secs(1);
    let session = Session::connect(config).unwrap();
    expect_line(&session, "* ada is taken");
    before.leave();
    wait_for_name_and_room(&session, "ada", "chess");
}

#[test]
fn notices_private_messages_and_room_changes_are_events() {
    let server = TestServer::start(unpinned_config(2, V4));
    let address = server.local_addr();
    let [ada, bob] = [(); 2].map(|()| connect_with(ProtocolChoice::V2, address));
    wait_until("the sessions", || {
        has_v2_session(&ada) && has_v2_session(&bob)
    });
    ada.say("/nick ada").unwrap();
    let done = |text: &str| Event::Notice {
        code: NoticeCode::Done,
        text: text.to_owned(),
    };
    assert_eq!(next_event(&ada), done("you are ada"));
    ada.say("/join").unwrap();
    let misuse = NoticeCode::Misuse;
    assert!(matches!(next_event(&ada), Event::Notice { code, .. } if code == misuse));
    ada.say("/msg nobody hi").unwrap();
    let refused = NoticeCode::Refused;
    assert!(matches!(next_event(&ada), Event::Notice { code, .. } if code == refused));
    let to = address_of(&bob);
    ada.say(&format!("/msg {to} psst\x1b")).unwrap();
    assert_eq!(next_line(&ada), format!("* to {to}: psst\\x1b"));
    let private = next_event(&bob);
    assert_eq!(private.line().as_deref(), Some("* ada to you: psst\\x1b"));
    let message = Message {
        from: "ada".parse().unwrap(),
        payload: b"psst\x1b".to_vec(),
    };
    assert_eq!(private, Event::Private(message));
    bob.say("/join chess").unwrap();
    let chess = RoomName::parse(b"chess").unwrap();
    assert_eq!(next_event(&bob), Event::Room(chess));
    assert_eq!(next_event(&bob), done("you are in chess (1 here)"));
    // Unknown commands and bytes are messages to the room.
    bob.say("/shrug").unwrap();
    assert_eq!(next_line(&bob), format!("{to} /shrug"));
    bob.say_bytes(b"/leave").unwrap();
    assert_eq!(next_line(&bob), format!("{to} /leave"));
    assert_eq!(bob.room(), Some(chess));
}

#[test]
fn a_round_trip_is_measured_in_either_protocol() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in BOTH {
        let session = connect_with(protocol, server.local_addr());
        session.ping().unwrap();
        assert!(
            matches!(next_event(&session), Event::Pong { .. }),
            "{protocol:?}"
        );
    }
}

#[test]
fn the_counts_are_exact_over_changes_of_room() {
    let server = TestServer::start(unpinned_config(3, V4));
    let address = server.local_addr();
    let sessions: Vec<_> = (0..8)
        .map(|_| connect_with(ProtocolChoice::V2, address))
        .collect();
    wait_until("the sessions", || sessions.iter().all(has_v2_session));
    let (walker, others) = sessions.split_first().unwrap();
    let mut to_walker = 0;
    let mut in_lobby = 0;
    for round in 0..5 {
        for other in others {
            for _ in 0..10 {
                other.say("to the lobby").unwrap();
            }
        }
        in_lobby += 70;
        // All messages arrive before the walker leaves, so their number for it is known.
        wait_until("the messages", || {
            others.iter().all(|other| received(other) == in_lobby)
        });
        to_walker += 70;
        wait_until("the messages to the walker", || {
            received(walker) == to_walker
        });
        walker.say("/join elsewhere").unwrap();
        wait_until("the room", || is_in(walker, "elsewhere"));
        for other in others {
            other.say("not for the walker").unwrap();
        }
        in_lobby += 7;
        wait_until("the messages", || {
            others.iter().all(|other| received(other) == in_lobby)
        });
        walker.say("alone").unwrap();
        to_walker += 1;
        wait_until("the echo", || received(walker) == to_walker);
        walker.say("/leave").unwrap();
        wait_until("the lobby", || is_in(walker, "lobby"));
        println!("round {round} is over");
    }
    for session in &sessions {
        let messages = session.stats().messages;
        assert_eq!(
            (messages.lost, messages.repeated, messages.too_late),
            (0, 0, 0)
        );
        assert_eq!(messages.expected, messages.received);
    }
    assert_eq!(received(walker), to_walker);
}

fn ada_in_chess(server: SocketAddr, protocol: ProtocolChoice) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.nick = Name::parse(b"ada");
    config.room = RoomName::parse(b"chess");
    // The session soon notices the end of the server, in v1 as well.
    config.heartbeat = Duration::from_millis(50);
    config.retry = Duration::from_millis(20);
    config.settle = Duration::from_millis(100);
    config.greet_within = TIMEOUT;
    config
}

/// Waits until the server has confirmed name and room.
#[track_caller]
fn wait_for_name_and_room(session: &Session, nick: &str, room: &str) {
    let is_named = || session.nick().is_some_and(|name| name.as_str() == nick);
    wait_until("name and room", || is_named() && is_in(session, room));
}

fn is_in(session: &Session, room: &str) -> bool {
    session.room().is_some_and(|name| name.as_str() == room)
}

fn received(session: &Session) -> u64 {
    session.stats().messages.received
}

fn address_of(session: &Session) -> SocketAddr {
    session.local_addr().unwrap()
}

const BOTH: [ProtocolChoice; 2] = [ProtocolChoice::V1, ProtocolChoice::V2];
