//! Sessions of the client library in both protocols, with the real server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use bullhorn::client::{
    DownReason, Event, Message, ProtocolChoice, ProtocolVersion, RequestError, SayError, Session,
    SessionConfig,
};
use bullhorn::wire::DisplayName;
use common::{
    ServerProgram, TIMEOUT, TestServer, V4, V4_UNSHARED, answer, connect_with, connection_refused,
    expect_up, has_v2_session, next_event, next_line, server_command, unpinned_config, wait_until,
};
use nix::sys::signal::Signal;

#[test]
fn peers_of_both_protocols_receive_the_same_lines() {
    let server = TestServer::start(unpinned_config(2, V4));
    let address = server.local_addr();
    let sessions = [ProtocolChoice::V1, ProtocolChoice::V2, ProtocolChoice::Auto]
        .map(|choice| connect_with(choice, address));
    // A stock client, which sends raw datagrams.
    let stock = server.unregistered_client();
    stock.send(b"@im@");
    wait_until("the peers", || server.stats().peers == 4);
    let expected = [V1, V2, V2].map(Some);
    wait_until("the protocols", || {
        sessions.each_ref().map(Session::protocol) == expected
    });

    for (at, session) in sessions.iter().enumerate() {
        let from = local_addr(session, address);
        let ticket = session.say(&format!("text {at} \x1b[2J ümlaut\n"));
        let expected = format!("{from} text {at} \\x1b[2J ümlaut");
        for (receiver, version) in sessions.iter().zip([V1, V2, V2]) {
            if at == 0 {
                expect_up(receiver, version);
            }
            assert_eq!(next_line(receiver), expected);
        }
        assert_eq!(stock.receive(), expected.as_bytes());
        answer(ticket);
    }
    let ticket = sessions[0].say_bytes(b"\xff\0").unwrap();
    assert_eq!(ticket.wait(TIMEOUT), Err(RequestError::TextOnly));
    assert!(matches!(
        next_event(&sessions[0]),
        Event::Undelivered {
            were_sent: false,
            ..
        }
    ));
    answer(sessions[2].say_bytes(b"\xff\0"));
    let from = local_addr(&sessions[2], address);
    assert_eq!(next_line(&sessions[0]), format!("{from} \u{fffd}\\x00"));
    let payload = b"\xff\0".to_vec();
    assert_eq!(
        next_event(&sessions[1]),
        Event::Message(Message {
            room: "lobby".parse().ok(),
            from: DisplayName::Address(from),
            payload,
            may_be_cut: false,
        })
    );
    stock.send(b"@im@ not");
    let from = stock.address();
    assert_eq!(next_line(&sessions[1]), format!("{from} @im@ not"));
}

#[test]
fn in_v1_a_text_that_begins_with_the_address_of_the_server_is_delivered() {
    let server = TestServer::start(unpinned_config(1, V4));
    let address = server.local_addr();
    let session = connect_with(ProtocolChoice::V1, address);
    for text in [format!("{address} is slow today"), format!("{address} hi")] {
        answer(session.say(&text));
    }
}

#[test]
fn all_messages_reach_all_sessions_on_many_workers() {
    let server = TestServer::start(unpinned_config(4, V4));
    let sessions: Vec<_> = (0..12).map(|_| connect(server.local_addr())).collect();
    wait_until("the sessions", || sessions.iter().all(has_v2_session));
    let mut expected = HashSet::new();
    for session in &sessions {
        for text in ["one", "two", "three"] {
            session.say(text).unwrap();
            let from = local_addr(session, server.local_addr());
            expected.insert(format!("{from} {text}"));
        }
    }
    for session in &sessions {
        expect_up(session, V2);
        let received: HashSet<_> = expected.iter().map(|_| next_line(session)).collect();
        assert_eq!(received, expected);
        let stats = session.stats();
        assert_eq!(stats.messages.received, 36);
        assert_eq!((stats.messages.lost, stats.messages.repeated), (0, 0));
        assert_eq!((stats.malformed, stats.sessions), (0, 1));
    }
}

#[test]
fn a_stopping_server_sends_goodbye_and_a_new_one_opens_a_new_session() {
    let server = TestServer::start(unpinned_config(2, V4_UNSHARED));
    let address = server.local_addr();
    let session = connect(address);
    session.say("one").unwrap();
    expect_up(&session, V2);
    assert!(next_line(&session).ends_with(" one"));
    server.stop();
    assert_eq!(next_event(&session), Event::Down(DownReason::Goodbye));
    assert!(!session.is_up());
    let error = session.say("lost").unwrap_err();
    assert_eq!(error, SayError::Down(DownReason::Goodbye));

    let _server = TestServer::restart(unpinned_config(2, &address.to_string()));
    expect_up(&session, V2);
    assert_eq!(session.stats().sessions, 2);
    // The new server counts from the beginning, which is not a repetition.
    session.say("two").unwrap();
    assert!(next_line(&session).ends_with(" two"));
    let messages = session.stats().messages;
    assert_eq!((messages.received, messages.repeated), (2, 0));
}

#[test]
fn a_server_that_was_killed_and_started_at_once_is_noticed_by_the_next_text() {
    let bind = |address: &str| {
        let mut command = server_command(&["--bind", address, "--timeout", "1h"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        ServerProgram::with_errors_piped(command)
    };
    let mut server = bind(V4_UNSHARED);
    let address = server.address;
    // The sessions take no other sign: within the test no heartbeat is due, and no answer late.
    let mut config = SessionConfig::new(address.into());
    config.protocol = ProtocolChoice::V2;
    config.heartbeat_interval = 10 * TIMEOUT;
    config.answer_timeout = 10 * TIMEOUT;
    let sessions: Vec<Session> = (0..12)
        .map(|_| Session::connect(config.clone()).unwrap())
        .collect();
    for session in &sessions {
        expect_up(session, V2);
    }
    // A session probes its path as soon as it is up, and a probe that the closed port refuses
    // would be a sign. The probes have left when the first text is back.
    for text in ["one", "two"] {
        for session in &sessions {
            session.say(text).unwrap();
        }
        for session in &sessions {
            for _ in &sessions {
                assert!(next_line(session).ends_with(text));
            }
        }
    }
    server.signal(Signal::SIGKILL);
    server.exit_status();
    let _server = bind(&address.to_string());
    let started = Instant::now();
    for session in &sessions {
        session.say("hi").unwrap();
    }
    for session in &sessions {
        wait_until("its new session", || session.stats().sessions == 2);
        assert!(
            session
                .events()
                .try_iter()
                .all(|event| !matches!(event, Event::Down(_)))
        );
    }
    println!(
        "{} sessions are back after {:?}",
        sessions.len(),
        started.elapsed()
    );
}

#[test]
fn leaving_removes_the_peer_at_once() {
    let server = TestServer::start(unpinned_config(1, V4));
    let session = connect(server.local_addr());
    wait_until("the peer", || server.stats().peers == 1);
    wait_until("the session", || has_v2_session(&session));
    session.leave();
    wait_until("the leave", || server.stats().peers == 0);
    assert_eq!(server.stats().expired, 0);
}

#[test]
fn a_text_sent_just_before_leaving_arrives() {
    let server = TestServer::start(unpinned_config(1, V4));
    let receiver = connect(server.local_addr());
    expect_up(&receiver, V2);
    for _ in 0..20 {
        let session = connect(server.local_addr());
        session.say("and gone").unwrap();
        drop(session);
        assert!(next_line(&receiver).ends_with(" and gone"));
    }
}

#[test]
fn can_start_before_the_server() {
    let address = TestServer::start(unpinned_config(2, V4_UNSHARED)).local_addr();
    let session = connect(address);
    assert_eq!(next_event(&session), Event::Down(connection_refused()));
    let _server = TestServer::restart(unpinned_config(2, &address.to_string()));
    expect_up(&session, V2);
    wait_until("the session", || has_v2_session(&session));
}

fn connect(server: SocketAddr) -> Session {
    connect_with(ProtocolChoice::Auto, server)
}

/// Returns the address of a session as the server sees it.
fn local_addr(session: &Session, server: SocketAddr) -> SocketAddr {
    SocketAddr::new(server.ip(), session.local_addr().unwrap().port())
}

const V1: ProtocolVersion = ProtocolVersion::V1;
const V2: ProtocolVersion = ProtocolVersion::V2;
