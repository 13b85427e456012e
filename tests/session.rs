//! Sessions of the client library in protocol v1, with a server that the test plays.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{
    DownReason, Event, NotAText, ProtocolChoice, Session, SessionConfig, SessionError,
};
use common::{FakeServer, TIMEOUT, V6, connection_refused, next_event, quick_config, wait_until};

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
        assert_eq!(server.receive().0, b"me first");
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
    assert_eq!(
        next_event(&session),
        Event::Text("not \u{fffd} utf-8".to_owned())
    );
    assert_eq!(next_event(&session), Event::Text("a text".to_owned()));
    assert!(session.is_up());
}

#[test]
fn sends_texts_unchanged() {
    let server = FakeServer::start();
    let session = connect(&server);
    let long = "x".repeat(60_000);
    for text in [" spaces ", "/who", "ümlaut", &long] {
        session.say(text).unwrap();
        assert_eq!(server.receive_text(), text.as_bytes());
    }
}

#[test]
fn refuses_texts_that_nobody_would_receive() {
    let server = FakeServer::start();
    let session = connect(&server);
    for (text, reason) in [
        ("", NotAText::Blank),
        ("@IM@", NotAText::Heartbeat),
        ("Quit", NotAText::Leave),
    ] {
        match session.say(text) {
            Err(SessionError::NotAText(actual)) => assert_eq!(actual, reason),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let too_long = "x".repeat(70_000);
    match session.say(&too_long) {
        Err(SessionError::TooLong { bytes }) => assert_eq!(bytes, 70_000),
        other => panic!("{other:?}"),
    }
    session.say("still here").unwrap();
    assert_eq!(server.receive_text(), b"still here");
}

#[test]
fn leaving_and_dropping_send_a_quit() {
    let server = FakeServer::start();
    let session = connect(&server);
    let speaker = session.speaker();
    server.receive_heartbeat();
    session.leave();
    assert_eq!(server.receive_text(), b"quit");
    assert!(matches!(speaker.say("late"), Err(SessionError::Ended)));

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

    let server = FakeServer::restart(address);
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(next_event(&session), Event::Up);
    assert!(session.is_up());
    session.say("again").unwrap();
    assert_eq!(server.receive_text(), b"again");
}

#[test]
fn a_text_from_the_server_is_up_at_once() {
    let server = FakeServer::start_unshared();
    let mut config = config_for(&server);
    config.settle = 2 * TIMEOUT;
    let session = Session::connect(config).unwrap();
    server.receive_heartbeat();
    let address = server.stop();
    assert!(matches!(next_event(&session), Event::Down(_)));

    let server = FakeServer::restart(address);
    let client = server.receive_heartbeat();
    server.send(b"welcome back", client);
    assert_eq!(next_event(&session), Event::Up);
    assert_eq!(next_event(&session), Event::Text("welcome back".to_owned()));
}

#[test]
fn can_start_before_the_server() {
    let address = FakeServer::start_unshared().stop();
    let session = Session::connect(v1_config(address)).unwrap();
    assert!(matches!(next_event(&session), Event::Down(_)));
    let server = FakeServer::restart(address);
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(next_event(&session), Event::Up);
}

#[test]
fn a_server_that_echoes_no_text_is_down_until_it_sends_something() {
    let server = FakeServer::start();
    let mut config = config_for(&server);
    config.answer_within = Duration::from_millis(100);
    let session = Session::connect(config).unwrap();
    let client = server.receive_heartbeat();
    session.say("anyone?").unwrap();
    let silent = DownReason::NoAnswer(Duration::from_millis(100));
    assert_eq!(next_event(&session), Event::Down(silent));

    assert_eq!(server.receive_text(), b"anyone?");
    // The session keeps its port, by which the server identifies it.
    assert_eq!(server.receive(), (b"@im@".to_vec(), client));
    server.send(b"here", client);
    assert_eq!(next_event(&session), Event::Up);
    assert_eq!(next_event(&session), Event::Text("here".to_owned()));
}

#[test]
fn texts_beyond_the_limit_are_counted() {
    let server = FakeServer::start();
    let mut config = config_for(&server);
    config.events_max = 2;
    // `Missed` must not wait for a heartbeat.
    config.heartbeat = 2 * TIMEOUT;
    let session = Session::connect(config).unwrap();
    let client = server.receive_heartbeat();
    for n in 0..10 {
        server.send(format!("text {n}").as_bytes(), client);
    }
    wait_until("eight missed texts", || session.texts_missed() == 8);
    assert_eq!(next_event(&session), Event::Text("text 0".to_owned()));
    assert_eq!(next_event(&session), Event::Text("text 1".to_owned()));
    assert_eq!(next_event(&session), Event::Missed(8));
    server.send(b"after", client);
    assert_eq!(next_event(&session), Event::Text("after".to_owned()));
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
    server.send(b"found", client);
    assert_eq!(next_event(&session), Event::Text("found".to_owned()));
}

#[test]
fn a_host_without_an_address_is_an_error() {
    let config = SessionConfig::new("no-such-host.invalid:9999".parse().unwrap());
    let error = Session::connect(config).unwrap_err();
    assert!(matches!(error, SessionError::Resolve { .. }), "{error}");
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
    assert_eq!(next_event(&session), Event::Text("[::1]:7 six".to_owned()));
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
