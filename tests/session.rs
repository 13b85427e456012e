//! Sessions of the client library in protocol v1, with a server that the test plays.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{
    ConnectError, DownReason, Event, MAX_TEXT_BYTES, Message, ProtocolChoice, ProtocolVersion,
    RequestError, SayError, Session, SessionConfig,
};
use common::{
    FakeServer, TIMEOUT, TestServer, V4, V6, answer, connection_refused, expect_up, next_event,
    next_line, quick_config, undelivered, unpinned_config, wait_until,
};

#[test]
fn sends_heartbeats_from_the_start() {
    let server = FakeServer::start();
    let _session = connect(&server);
    let (first, from) = server.receive();
    assert_eq!(first, b"@im@");
    for _ in 0..3 {
        assert_eq!(server.receive(), (b"@im@".to_vec(), from));
    }
}

#[test]
fn sends_the_first_heartbeat_before_any_text() {
    for _ in 0..50 {
        let server = FakeServer::start();
        let session = connect(&server);
        session.say("me first").unwrap();
        assert_eq!(server.receive().0, b"@im@");
        // On a busy machine, more heartbeats may come before it.
        assert_eq!(server.receive_text(), b"me first");
    }
}

#[test]
fn receives_texts_and_ignores_anything_else() {
    let server = FakeServer::start();
    let session = connect(&server);
    let client = server.receive_heartbeat();
    for datagram in [&b""[..], b"\n", b"not \xff utf-8", b"", b"a text\n"] {
        server.send(datagram, client);
    }
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "not \u{fffd} utf-8");
    let message = Message {
        room: None,
        from: "a".parse().unwrap(),
        payload: b"text".to_vec(),
        may_be_cut: false,
    };
    assert_eq!(next_event(&session), Event::Message(message));
    assert!(session.is_up());
}

#[test]
fn sends_texts_unchanged() {
    let server = FakeServer::start();
    let session = connect(&server);
    let long = "x".repeat(MAX_TEXT_BYTES);
    for text in [" spaces ", "/shrug", "ümlaut", &long] {
        session.say(text).unwrap();
        assert_eq!(server.receive_text(), text.as_bytes());
    }
    // But for commands.
    session.say("/who").unwrap();
    assert_eq!(server.receive_text(), b" /who");
}

#[test]
fn refuses_texts_that_nobody_would_receive() {
    let server = FakeServer::start();
    let session = connect(&server);
    for (text, reason) in [
        ("", SayError::Blank),
        ("@IM@", SayError::Heartbeat),
        ("Quit", SayError::Quit),
    ] {
        assert_eq!(session.say(text).unwrap_err(), reason, "{text:?}");
    }
    let bytes = MAX_TEXT_BYTES + 1;
    let error = session.say(&"x".repeat(bytes)).unwrap_err();
    assert_eq!(error, SayError::TooLong { bytes });
    let error = session.say_bytes(&vec![b'x'; bytes]).unwrap_err();
    assert_eq!(error, SayError::TooLong { bytes });
    let to = "ada".parse().unwrap();
    for text in ["", " \n"] {
        let error = session.private(&to, text).unwrap_err();
        assert_eq!(error, SayError::Blank);
    }
    let error = session.private(&to, &"x".repeat(bytes)).unwrap_err();
    assert!(matches!(error, SayError::TooLong { .. }), "{error}");
    session.say("still here").unwrap();
    assert_eq!(server.receive_text(), b"still here");
}

#[test]
fn leaving_and_dropping_send_a_quit() {
    let server = FakeServer::start();
    let session = connect(&server);
    let ticket = session.say("no echo").unwrap();
    assert_eq!(server.receive_text(), b"no echo");
    session.leave();
    assert_eq!(server.receive_text(), b"quit");
    assert_eq!(ticket.wait(TIMEOUT), Err(RequestError::Ended));

    drop(connect(&server));
    assert_eq!(server.receive_text(), b"quit");
}

#[test]
fn a_refused_connection_is_down_and_an_accepted_heartbeat_is_up() {
    let server = FakeServer::start_unshared();
    let session = connect(&server);
    server.receive_heartbeat();
    let address = server.stop();
    assert_eq!(next_event(&session), Event::Down(connection_refused()));
    assert!(!session.is_up());
    assert_eq!(session.down(), Some(connection_refused()));

    let server = FakeServer::restart(address);
    assert_eq!(server.receive().0, b"@im@");
    expect_up(&session, V1);
    assert!(session.is_up());
    session.say("again").unwrap();
    assert_eq!(server.receive_text(), b"again");
}

#[test]
fn a_text_from_the_server_is_up_at_once() {
    let server = FakeServer::start_unshared();
    let mut config = config_for(&server);
    config.settle_time = 2 * TIMEOUT;
    let session = Session::connect(config).unwrap();
    server.receive_heartbeat();
    let address = server.stop();
    assert!(matches!(next_event(&session), Event::Down(_)));

    let server = FakeServer::restart(address);
    let client = server.receive_heartbeat();
    server.send(b"welcome back", client);
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "welcome back");
}

#[test]
fn can_start_before_the_server() {
    let address = FakeServer::start_unshared().stop();
    let session = Session::connect(v1_config(address)).unwrap();
    assert!(matches!(next_event(&session), Event::Down(_)));
    let server = FakeServer::restart(address);
    assert_eq!(server.receive().0, b"@im@");
    expect_up(&session, V1);
}

#[test]
fn a_server_that_echoes_no_text_is_down_until_it_sends_something() {
    let server = FakeServer::start();
    let mut config = config_for(&server);
    config.answer_timeout = Duration::from_millis(100);
    let session = Session::connect(config).unwrap();
    let client = server.receive_heartbeat();
    let ticket = session.say("anyone?").unwrap();
    let silent = DownReason::NoAnswer(Duration::from_millis(100));
    assert_eq!(next_event(&session), Event::Down(silent.clone()));
    assert_eq!(next_event(&session), undelivered("anyone?", true));
    assert_eq!(ticket.wait(TIMEOUT), Err(RequestError::Down(silent)));

    assert_eq!(server.receive_text(), b"anyone?");
    // The session keeps its port, by which the server identifies it.
    assert_eq!(server.receive(), (b"@im@".to_vec(), client));
    server.send(b"here", client);
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "* here");
}

#[test]
fn texts_beyond_the_limit_are_counted() {
    let server = FakeServer::start();
    let mut config = config_for(&server);
    config.max_events = 3;
    // `Missed` must not wait for a heartbeat.
    config.heartbeat_interval = 2 * TIMEOUT;
    let session = Session::connect(config).unwrap();
    let client = server.receive_heartbeat();
    for n in 0..10 {
        server.send(format!("ada {n}").as_bytes(), client);
    }
    wait_until("eight missed texts", || session.stats().missed == 8);
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "ada 0");
    assert_eq!(next_line(&session), "ada 1");
    assert_eq!(next_event(&session), Event::Missed(8));
    server.send(b"ada after", client);
    assert_eq!(next_line(&session), "ada after");
}

#[test]
fn each_address_of_a_host_is_tried() {
    // Often `localhost` has an IPv6 address as well, which comes first.
    let server = FakeServer::start();
    let name = format!("localhost:{}", server.address().port());
    let mut config = SessionConfig::new(name.parse().unwrap());
    config.protocol = ProtocolChoice::V1;
    let session = Session::connect(config).unwrap();
    let client = server.receive_heartbeat();
    server.send(b"ada found", client);
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "ada found");
}

#[test]
fn a_host_without_an_address_is_an_error() {
    let config = SessionConfig::new("no-such-host.invalid:9999".parse().unwrap());
    let error = Session::connect(config).unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error}");
}

#[test]
fn works_over_ipv6() {
    let server = FakeServer::start_at(V6);
    let session = connect(&server);
    let client = server.receive_heartbeat();
    assert!(client.is_ipv6());
    session.say("six").unwrap();
    assert_eq!(server.receive_text(), b"six");
    server.send(b"[::1]:7 six", client);
    expect_up(&session, V1);
    assert_eq!(next_line(&session), "[::1]:7 six");
}

#[test]
fn a_text_is_delivered_by_its_echo() {
    let server = FakeServer::start();
    let session = connect(&server);
    let client = server.receive_heartbeat();
    let ticket = session.say("hi\x07");
    assert_eq!(server.receive_text(), b"hi\x07");
    server.send(format!("{client} hi\\x07").as_bytes(), client);
    answer(ticket);
}

#[test]
fn a_server_that_is_silent_at_one_address_is_found_at_the_next() {
    // Often `localhost` has two addresses, and is skipped here otherwise.
    let server = TestServer::start(unpinned_config(1, V4));
    let port = server.local_addr().port();
    let name = format!("localhost:{port}");
    let mut config = SessionConfig::new(name.parse().unwrap());
    config.greeting_timeout = Duration::from_millis(100);
    let addresses = config.server.resolve().unwrap();
    if addresses.len() < 2 || !addresses[0].is_ipv6() {
        println!("skipped: localhost has no IPv6 address before the other one");
        return;
    }
    let silent = FakeServer::start_at(&format!("[::1]:{port}"));
    let session = Session::connect(config).unwrap();
    expect_up(&session, ProtocolVersion::V2);
    answer(session.say("found"));
    silent.receive_hello();
}

#[test]
fn a_text_is_never_waited_for() {
    // Nobody reads, and no echo comes.
    let server = FakeServer::start();
    let mut config = config_for(&server);
    config.heartbeat_interval = 2 * TIMEOUT;
    config.answer_timeout = Duration::from_secs(1);
    let session = Session::connect(config).unwrap();
    say_until_full(&session);
    // The thread still has its turn.
    session.stats();

    // Nobody answers the greeting.
    let server = FakeServer::start();
    let mut config = SessionConfig::new(server.address().into());
    config.greeting_timeout = 2 * TIMEOUT;
    let session = Session::connect(config).unwrap();
    let said = say_until_full(&session);
    assert!((1024..2048).contains(&said), "{said}");
    server.send_welcome(7);
    drop(session);
    let text = server.receive().0;
    assert!(text.ends_with(b"hi"), "{text:02x?}");
}

/// Returns the number of texts that were taken.
#[track_caller]
fn say_until_full(session: &Session) -> usize {
    let mut said = 0;
    wait_until("a full queue", || {
        for _ in 0..10_000 {
            match session.say("hi") {
                Ok(_) => said += 1,
                Err(SayError::Full) => return true,
                Err(error) => panic!("{error}"),
            }
        }
        false
    });
    said
}

fn connect(server: &FakeServer) -> Session {
    Session::connect(config_for(server)).unwrap()
}

fn config_for(server: &FakeServer) -> SessionConfig {
    v1_config(server.address())
}

fn v1_config(server: SocketAddr) -> SessionConfig {
    let mut config = quick_config(server);
    config.protocol = ProtocolChoice::V1;
    config
}

const V1: ProtocolVersion = ProtocolVersion::V1;
