//! Names, rooms and private messages of sessions of the client library, with the real
//! server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bullhorn::client::{
    Answer, DisplayName, Event, Joined, Listing, Message, Name, NoticeCode, ProtocolChoice,
    ProtocolVersion, Refusal, RequestError, RoomName, Session, SessionConfig,
};
use common::{
    TIMEOUT, TestServer, V4, V4_UNSHARED, answer, connect_with, expect_line, expect_up,
    has_v2_session, line_of, next_event, next_line, unpinned_config, wait_until,
};

#[test]
fn name_and_room_survive_a_restart_of_the_server() {
    for protocol in BOTH {
        let server = TestServer::start(unpinned_config(2, V4_UNSHARED));
        let address = server.local_addr();
        let session = Session::connect(ada_in_chess(address, protocol)).unwrap();
        wait_for_name_and_room(&session, "ada", "chess");
        answer(session.nick(name("eve")));
        expect_line(&session, "* you are eve");
        let joined = answer(session.join(room("go")));
        assert_eq!((joined.room, joined.members), (room("go"), 1));
        expect_line(&session, "* you are in go (1 here)");
        // A name that is refused is not kept.
        let bob = connect_with(ProtocolChoice::V2, address);
        answer(bob.nick(name("bob")));
        let taken = RequestError::Refused(Refusal::NameTaken(name("bob")));
        let ticket = session.nick(name("bob")).unwrap();
        assert_eq!(ticket.wait(TIMEOUT), Err(taken));
        expect_line(&session, "* bob is taken");
        bob.leave();
        server.stop();
        wait_until("the end", || !session.is_up());
        let server = TestServer::restart(unpinned_config(2, &address.to_string()));
        // From here on, only the confirmations of this server count.
        wait_until("the return", || session.is_up());
        wait_for_name_and_room(&session, "eve", "go");
        let other = connect_with(ProtocolChoice::V2, address);
        let members = answer(other.who());
        let entries = vec![DisplayName::Address(address_of(&other))];
        let (first, total) = (1, 1);
        let expected = Listing {
            entries,
            first,
            total,
        };
        assert_eq!(members.room, room("lobby"));
        assert_eq!(members.list, expected);
        expect_line(&other, &format!("* 1 in lobby: {}", address_of(&other)));
        assert_eq!(answer(other.join(room("go"))).members, 2);
        answer(session.say("here I am"));
        expect_line(&other, "eve here I am");
        let rooms = answer(session.rooms());
        assert_eq!(rooms.entries, [room("lobby"), room("go")]);
        drop(server);
    }
}

#[test]
fn a_v1_server_that_restarts_while_the_session_is_idle_hears_the_name_before_the_text() {
    let server = TestServer::start(unpinned_config(2, V4_UNSHARED));
    let address = server.local_addr();
    let mut config = SessionConfig::new(address.into());
    config.protocol = ProtocolChoice::V1;
    // No heartbeat notices it.
    config.heartbeat_interval = 2 * TIMEOUT;
    let session = Session::connect(config).unwrap();
    answer(session.nick(name("ada")));
    answer(session.join(room("den")));
    let confirmed_at = Instant::now();
    let restart = unpinned_config(2, &address.to_string());
    // The server sends nothing when it stops.
    server.stop();
    let _server = TestServer::restart(restart);
    let other = connect_with(ProtocolChoice::V2, address);
    assert_eq!(answer(other.join(room("den"))).members, 1);
    // A faster restart may be taken for none.
    let pause = Duration::from_millis(260);
    wait_until("a pause", || confirmed_at.elapsed() > pause);
    assert!(session.is_up());
    answer(session.say("still here"));
    expect_line(&other, "ada still here");
    let lines: Vec<_> = session
        .events()
        .try_iter()
        .filter_map(|event| line_of(&event))
        .collect();
    let expected = [
        "* you are ada",
        "* you are in den (1 here)",
        "ada still here",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        (session.name(), session.room()),
        (Some(name("ada")), Some(room("den")))
    );
}

#[test]
fn a_session_in_the_lobby_returns_to_it_after_a_restart() {
    let server = TestServer::start(unpinned_config(1, V4_UNSHARED));
    let address = server.local_addr();
    let session = Session::connect(ada_in_chess(address, ProtocolChoice::V2)).unwrap();
    wait_for_name_and_room(&session, "ada", "chess");
    assert_eq!(answer(session.join(room("lobby"))).members, 1);
    expect_line(&session, "* you are in lobby (1 here)");
    server.stop();
    let _server = TestServer::restart(unpinned_config(1, &address.to_string()));
    let is_ada = || session.name() == Some(name("ada"));
    wait_until("another session", || {
        session.stats().sessions == 2 && is_ada()
    });
    assert_eq!(session.room(), Some(room("lobby")));
    let members = answer(session.who());
    assert_eq!(members.room, room("lobby"));
    assert_eq!(members.list.entries, [DisplayName::Name(name("ada"))]);
    expect_line(&session, "* 1 in lobby: ada");
}

#[test]
fn a_name_that_is_taken_is_requested_again() {
    let server = TestServer::start(unpinned_config(1, V4));
    let address = server.local_addr();
    let before = connect_with(ProtocolChoice::V2, address);
    answer(before.nick(name("ada")));
    let mut config = ada_in_chess(address, ProtocolChoice::V2);
    // Far longer than `before` takes to leave.
    config.heartbeat_interval = Duration::from_secs(1);
    let session = Session::connect(config).unwrap();
    expect_line(&session, "* ada is taken");
    before.leave();
    wait_for_name_and_room(&session, "ada", "chess");
}

#[test]
fn notices_private_messages_answers_and_room_changes_are_events() {
    let server = TestServer::start(unpinned_config(2, V4));
    let address = server.local_addr();
    let [ada, bob] = [(); 2].map(|()| connect_with(ProtocolChoice::V2, address));
    for session in [&ada, &bob] {
        expect_up(session, ProtocolVersion::V2);
    }
    let done = |text: &str| Event::Notice {
        code: NoticeCode::Done,
        text: text.to_owned(),
    };
    let result = |ticket, result| Event::Answer { ticket, result };
    let named = ada.nick(name("ada")).unwrap();
    assert_eq!(next_event(&ada), done("you are ada"));
    assert_eq!(next_event(&ada), result(named.id(), Ok(Answer::Done)));
    let nobody = DisplayName::Name(name("nobody"));
    let ticket = ada.private(&nobody, "hi").unwrap();
    let refused = NoticeCode::Refused;
    assert!(matches!(next_event(&ada), Event::Notice { code, .. } if code == refused));
    let error = RequestError::Refused(Refusal::NoSuchPeer(nobody));
    assert_eq!(next_event(&ada), result(ticket.id(), Err(error.clone())));
    assert_eq!(ticket.wait(TIMEOUT), Err(error));
    let to = address_of(&bob);
    answer(ada.private(&DisplayName::Address(to), "psst\x1b"));
    assert_eq!(next_line(&ada), format!("* to {to}: psst\\x1b"));
    let private = next_event(&bob);
    let message = Message {
        room: None,
        from: "ada".parse().unwrap(),
        payload: b"psst\x1b".to_vec(),
        may_be_cut: false,
    };
    assert_eq!(private, Event::Private(message));
    let chess = room("chess");
    let joined = bob.join(chess).unwrap();
    assert_eq!(next_event(&bob), Event::Room(chess));
    assert_eq!(next_event(&bob), done("you are in chess (1 here)"));
    let members = 1;
    let entered = Answer::Joined(Joined {
        room: chess,
        members,
    });
    assert_eq!(next_event(&bob), result(joined.id(), Ok(entered)));
    // Commands and bytes are messages to the room if they are said.
    for text in ["/shrug", "/leave"] {
        answer(bob.say(text));
        assert_eq!(next_line(&bob), format!("{to} {text}"));
    }
    answer(bob.say_bytes(b"/leave"));
    assert_eq!(next_line(&bob), format!("{to} /leave"));
    assert_eq!(bob.room(), Some(chess));
    // Ada is not in the room, and is told nothing.
    answer(ada.presence(true));
    answer(bob.join(room("lobby")));
    expect_line(&ada, &format!("* {to} joined (2 here)"));
}

#[test]
fn a_round_trip_is_measured_in_either_protocol() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in BOTH {
        let session = connect_with(protocol, server.local_addr());
        let ticket = session.ping().unwrap();
        assert!(matches!(next_event(&session), Event::Up(_)));
        let event = next_event(&session);
        let id = ticket.id();
        assert!(
            matches!(event, Event::Answer { ticket, result: Ok(Answer::RoundTrip(_)) } if ticket == id),
            "{protocol:?}: {event:?}"
        );
        let time = answer(Ok(ticket));
        assert!(time < TIMEOUT);
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
        answer(walker.join(room("elsewhere")));
        assert!(is_in(walker, "elsewhere"));
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
        answer(walker.join(room("lobby")));
        assert!(is_in(walker, "lobby"));
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
    config.heartbeat_interval = Duration::from_millis(50);
    config.retry_delay = Duration::from_millis(20);
    config.settle_time = Duration::from_millis(100);
    config.greeting_timeout = TIMEOUT;
    config
}

/// Waits until the server has confirmed name and room.
#[track_caller]
fn wait_for_name_and_room(session: &Session, nick: &str, room: &str) {
    let is_named = || session.name().is_some_and(|name| name.as_str() == nick);
    wait_until("name and room", || is_named() && is_in(session, room));
}

fn is_in(session: &Session, room: &str) -> bool {
    session.room().is_some_and(|name| name.as_str() == room)
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn received(session: &Session) -> u64 {
    session.stats().messages.received
}

fn address_of(session: &Session) -> SocketAddr {
    session.local_addr().unwrap()
}

const BOTH: [ProtocolChoice; 2] = [ProtocolChoice::V1, ProtocolChoice::V2];
