//! Names, rooms and private messages: the library's session against the real server.
//! Nothing waits for a fixed time: each wait is for something that must happen, with a
//! bound far beyond what it takes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{
    Event, Message, Name, NoticeCode, ProtocolChoice, RoomName, Session, SessionConfig,
};
use common::{
    LIMIT, TestServer, V4, V4_ALONE, ask, connect_as, hears, is_open, next, next_line, unpinned,
    wait_until,
};

#[test]
fn name_and_room_are_had_from_the_beginning_and_after_a_restart_of_the_server() {
    for protocol in BOTH {
        let server = TestServer::start(unpinned(2, V4_ALONE));
        let address = server.local_addr();
        let session = Session::connect(ada_in_chess(address, protocol)).unwrap();
        has(&session, "ada", "chess");
        ask(&session, "/nick eve", "* you are eve");
        ask(&session, "/join go", "* you are in go (1 here)");
        // What is refused is not kept.
        ask(
            &session,
            "/nick not/one",
            "* usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)",
        );
        server.stop();
        wait_until("the end", || !session.is_up());
        let server = TestServer::restart(unpinned(2, &address.to_string()));
        // From here on, what this server confirms counts alone.
        wait_until("the return", || session.is_up());
        has(&session, "eve", "go");
        let other = connect_as(ProtocolChoice::V2, address);
        wait_until("the session", || is_open(&other));
        ask(&other, "/who", &format!("* 1 in lobby: {}", own(&other)));
        ask(&other, "/join go", "* you are in go (2 here)");
        session.say("here I am").unwrap();
        assert_eq!(next_line(&other), "eve here I am", "{protocol:?}");
        drop(server);
    }
}

#[test]
fn who_has_gone_to_the_lobby_is_there_after_a_restart() {
    let server = TestServer::start(unpinned(1, V4_ALONE));
    let address = server.local_addr();
    let session = Session::connect(ada_in_chess(address, ProtocolChoice::V2)).unwrap();
    has(&session, "ada", "chess");
    ask(&session, "/leave", "* you are in lobby (1 here)");
    server.stop();
    let _server = TestServer::restart(unpinned(1, &address.to_string()));
    let is_ada = || session.nick().is_some_and(|nick| nick.as_str() == "ada");
    wait_until("another session", || {
        session.stats().sessions == 2 && is_ada()
    });
    assert_eq!(session.room(), None);
    ask(&session, "/who", "* 1 in lobby: ada");
}

#[test]
fn a_name_that_is_taken_is_asked_for_again() {
    let server = TestServer::start(unpinned(1, V4));
    let address = server.local_addr();
    let before = connect_as(ProtocolChoice::V2, address);
    ask(&before, "/nick ada", "* you are ada");
    let mut config = ada_in_chess(address, ProtocolChoice::V2);
    // Far more than it takes to leave, three times.
    config.heartbeat = Duration::from_secs(1);
    let session = Session::connect(config).unwrap();
    hears(&session, "* ada is taken");
    before.leave();
    has(&session, "ada", "chess");
}

#[test]
fn what_the_server_and_one_peer_say_comes_as_events_of_its_own() {
    let server = TestServer::start(unpinned(2, V4));
    let address = server.local_addr();
    let [ada, bob] = [(); 2].map(|()| connect_as(ProtocolChoice::V2, address));
    wait_until("the sessions", || is_open(&ada) && is_open(&bob));
    ada.say("/nick ada").unwrap();
    let done = |text: &str| Event::Notice {
        code: NoticeCode::Done,
        text: text.to_owned(),
    };
    assert_eq!(next(&ada), done("you are ada"));
    ada.say("/join").unwrap();
    let misuse = NoticeCode::Misuse;
    assert!(matches!(next(&ada), Event::Notice { code, .. } if code == misuse));
    ada.say("/msg nobody hi").unwrap();
    let refused = NoticeCode::Refused;
    assert!(matches!(next(&ada), Event::Notice { code, .. } if code == refused));
    let to = own(&bob);
    ada.say(&format!("/msg {to} psst\x1b")).unwrap();
    assert_eq!(next_line(&ada), format!("* to {to}: psst\\x1b"));
    let private = next(&bob);
    assert_eq!(private.line().as_deref(), Some("* ada to you: psst\\x1b"));
    let message = Message {
        from: "ada".parse().unwrap(),
        payload: b"psst\x1b".to_vec(),
    };
    assert_eq!(private, Event::Private(message));
    bob.say("/join chess").unwrap();
    let chess = RoomName::parse(b"chess").unwrap();
    assert_eq!(next(&bob), Event::Room(chess));
    assert_eq!(next(&bob), done("you are in chess (1 here)"));
    // What the server does not know, and bytes, are for everyone.
    bob.say("/shrug").unwrap();
    assert_eq!(next_line(&bob), format!("{to} /shrug"));
    bob.say_bytes(b"/leave").unwrap();
    assert_eq!(next_line(&bob), format!("{to} /leave"));
    assert_eq!(bob.room(), Some(chess));
}

#[test]
fn a_round_trip_is_measured_in_either_protocol() {
    let server = TestServer::start(unpinned(1, V4));
    for protocol in BOTH {
        let session = connect_as(protocol, server.local_addr());
        session.ping().unwrap();
        assert!(matches!(next(&session), Event::Pong { .. }), "{protocol:?}");
    }
}

#[test]
fn the_counts_are_exact_over_changes_of_room() {
    let server = TestServer::start(unpinned(3, V4));
    let address = server.local_addr();
    let sessions: Vec<_> = (0..8)
        .map(|_| connect_as(ProtocolChoice::V2, address))
        .collect();
    wait_until("the sessions", || sessions.iter().all(is_open));
    let (walker, others) = sessions.split_first().unwrap();
    let mut heard = 0;
    let mut in_lobby = 0;
    for round in 0..5 {
        for other in others {
            for _ in 0..10 {
                other.say("to the lobby").unwrap();
            }
        }
        in_lobby += 70;
        // All of them, before the walker leaves: so it is known what was sent to it.
        wait_until("the messages", || {
            others.iter().all(|other| received(other) == in_lobby)
        });
        heard += 70;
        wait_until("the same", || received(walker) == heard);
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
        heard += 1;
        wait_until("the echo", || received(walker) == heard);
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
    assert_eq!(received(walker), heard);
}

fn ada_in_chess(server: SocketAddr, protocol: ProtocolChoice) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.nick = Name::parse(b"ada");
    config.room = RoomName::parse(b"chess");
    // So that the end of the server is noticed soon, in v1 too.
    config.heartbeat = Duration::from_millis(50);
    config.retry = Duration::from_millis(20);
    config.settle = Duration::from_millis(100);
    config.greet_within = LIMIT;
    config
}

/// Waits until the server has confirmed these.
#[track_caller]
fn has(session: &Session, nick: &str, room: &str) {
    let is_named = || session.nick().is_some_and(|name| name.as_str() == nick);
    wait_until("name and room", || is_named() && is_in(session, room));
}

fn is_in(session: &Session, room: &str) -> bool {
    session.room().is_some_and(|name| name.as_str() == room)
}

fn received(session: &Session) -> u64 {
    session.stats().messages.received
}

fn own(session: &Session) -> SocketAddr {
    session.local_addr().unwrap()
}

const BOTH: [ProtocolChoice; 2] = [ProtocolChoice::V1, ProtocolChoice::V2];
