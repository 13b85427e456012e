use std::net::UdpSocket;

use super::*;
use crate::client::config::{MIN_HEARTBEAT, ProtocolChoice};
use crate::client::event::RequestError;
use crate::wire::reply::NoticeCode;
use crate::wire::v2::{MIN_HELLO_BYTES, ServerFrame, push_server_frame, push_server_header};
use crate::wire::{HEARTBEAT, QUIT};

fn bind() -> UdpSocket {
    // An address that no other test uses, so that a port stays free.
    bind_at("127.0.0.79:0".parse().unwrap())
}

fn bind_at(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn closed() -> SocketAddr {
    bind().local_addr().unwrap()
}

/// Receives a datagram, and returns its sender.
fn expect(socket: &UdpSocket, datagram: &[u8]) -> SocketAddr {
    let mut buffer = [0; 64];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], datagram);
    from
}

fn expect_hello(server: &UdpSocket) {
    let mut buffer = [0; 64];
    assert_eq!(server.recv(&mut buffer).unwrap(), 64);
    assert_eq!(buffer[..2], [0xFF, 2]);
}

fn config(server: SocketAddr, protocol: ProtocolChoice) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.retry_delay = MIN_HEARTBEAT;
    config
}

/// Connects in version 1. A text must be answered at once.
fn connect(servers: &[SocketAddr]) -> Session {
    let mut config = config(servers[0], ProtocolChoice::V1);
    config.heartbeat_interval = 2 * PATIENCE;
    config.answer_timeout = MIN_HEARTBEAT;
    Session::connect_to(&[servers.to_vec()], config).unwrap()
}

fn next(session: &Session) -> Event {
    session.events().recv_timeout(PATIENCE).unwrap()
}

fn refused() -> DownReason {
    DownReason::Unreachable(io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_refusal_of_the_first_address_leads_to_the_next_one_at_once() {
    let server = bind();
    let session = connect(&[closed(), server.local_addr().unwrap()]);
    let from = expect(&server, HEARTBEAT);
    server.send_to(b"ada hi", from).unwrap();
    // No word of the first one.
    assert_eq!(next(&session), Event::Up(ProtocolVersion::V1));
    assert!(matches!(next(&session), Event::Message(_)));
}

#[test]
fn silence_at_the_first_address_leads_to_the_next_one() {
    let [silent, server] = [bind(), bind()];
    let addresses = [&silent, &server].map(|socket| socket.local_addr().unwrap());
    let session = connect(&addresses);
    expect(&silent, HEARTBEAT);
    let ticket = session.say("anyone?").unwrap();
    expect(&silent, b"anyone?");
    let undelivered = Event::Undelivered {
        payloads: vec![b"anyone?".to_vec()],
        were_sent: true,
    };
    let silence = DownReason::NoAnswer(MIN_HEARTBEAT);
    assert_eq!(next(&session), Event::Down(silence.clone()));
    assert_eq!(next(&session), undelivered);
    let down = RequestError::Down(silence);
    assert_eq!(ticket.wait(PATIENCE), Err(down));
    expect(&server, HEARTBEAT);
    expect(&silent, QUIT);
}

#[test]
fn each_address_is_greeted_until_one_answers() {
    let servers = [bind(), bind()];
    let addresses = servers.each_ref().map(|each| each.local_addr().unwrap());
    let mut config = config(addresses[0], ProtocolChoice::V2);
    config.greeting_timeout = MIN_HEARTBEAT;
    let session = Session::connect_to(&[addresses.to_vec()], config).unwrap();
    for server in &servers {
        for _ in 0..3 {
            expect_hello(server);
        }
    }
    // Only the silence at the last one counts.
    let silence = DownReason::NoAnswer(MIN_HEARTBEAT);
    assert_eq!(next(&session), Event::Down(silence));
    expect_hello(&servers[0]);
    expect_hello(&servers[1]);
    expect_hello(&servers[0]);
    assert!(session.events().is_empty());
}

#[test]
fn a_refused_greeting_leads_to_the_next_address_at_once() {
    let server = bind();
    let closed = closed();
    let mut config = config(closed, ProtocolChoice::Auto);
    config.heartbeat_interval = 2 * PATIENCE;
    config.retry_delay = PATIENCE;
    let addresses = vec![closed, server.local_addr().unwrap()];
    let session = Session::connect_to(&[addresses], config).unwrap();
    expect_hello(&server);
    assert!(session.events().is_empty(), "no word of the first one");
}

#[test]
fn a_server_that_starts_at_one_of_several_addresses_is_greeted_to_the_end() {
    let addresses = [closed(), closed()];
    let mut config = config(addresses[0], ProtocolChoice::Auto);
    config.greeting_timeout = 3 * MIN_HEARTBEAT;
    config.heartbeat_interval = MIN_HEARTBEAT;
    let session = Session::connect_to(&[addresses.to_vec()], config).unwrap();
    assert!(matches!(next(&session), Event::Down(_)));
    let server = bind_at(addresses[1]);
    for _ in 0..3 {
        expect_hello(&server);
    }
    expect(&server, HEARTBEAT);
    assert_eq!(next(&session), Event::Up(ProtocolVersion::V1));
}

#[test]
fn the_server_is_down_when_all_addresses_refuse() {
    let session = connect(&[closed(), closed()]);
    assert_eq!(next(&session), Event::Down(refused()));
    assert_eq!(session.down(), Some(refused()));
}

#[test]
fn an_address_that_refuses_is_tried_again_after_the_others() {
    let first = closed();
    let second = bind();
    let mut config = config(first, ProtocolChoice::V2);
    config.greeting_timeout = MIN_HEARTBEAT;
    config.heartbeat_interval = MIN_HEARTBEAT;
    let addresses = vec![first, second.local_addr().unwrap()];
    let session = Session::connect_to(&[addresses], config).unwrap();
    assert!(matches!(
        next(&session),
        Event::Down(DownReason::NoAnswer(_))
    ));
    let first = bind_at(first);
    expect_hello(&first);
    drop(session);
}

#[test]
fn texts_that_mean_something_else_are_refused() {
    for (text, expected) in [
        ("", SayError::Blank),
        ("\r\n", SayError::Blank),
        ("\n\n", SayError::Blank),
        ("@IM@\n", SayError::Heartbeat),
        (" @im@", SayError::Heartbeat),
        ("Quit", SayError::Quit),
        ("quit \r\n", SayError::Quit),
        ("\u{feff}", SayError::Blank),
        ("\0\0", SayError::Blank),
        ("@im@\0", SayError::Heartbeat),
        ("\u{feff}quit\0", SayError::Quit),
    ] {
        assert_eq!(checked(text), Err(expected), "{text:?}");
    }
    for (text, sent) in [
        ("hi", "hi"),
        ("quit it", "quit it"),
        ("/who", "/who"),
        ("line\r\n", "line"),
        ("@im@ not", "@im@ not"),
        (" ", " "),
        // As the server takes it. It must not find a command behind the mark.
        ("\u{feff}/nick bomber\0", "/nick bomber"),
    ] {
        assert_eq!(checked(text), Ok(sent), "{text:?}");
    }
    let longest = "x".repeat(MAX_TEXT_BYTES);
    assert_eq!(checked(&longest), Ok(&*longest));
    let bytes = MAX_TEXT_BYTES + 1;
    let too_long = SayError::TooLong { bytes };
    assert_eq!(checked(&"x".repeat(bytes)), Err(too_long));
    // A line end does not count.
    let with_end = format!("{longest}\n");
    assert_eq!(checked(&with_end), Ok(&*longest));
}

/// Far beyond the time that anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_session_leaves_the_address_that_it_turns_away_from() {
    let [silent, server] = [bind(), bind()];
    let addresses = [&silent, &server].map(|socket| socket.local_addr().unwrap());
    let session = connect(&addresses);
    expect(&silent, HEARTBEAT);
    let _ticket = session.say("anyone?").unwrap();
    expect(&silent, b"anyone?");
    expect(&server, HEARTBEAT);
    expect(&silent, QUIT);
}

#[test]
fn an_address_that_has_answered_is_not_left_at_once() {
    let [server, other] = [bind(), bind()];
    let addresses = [&server, &other].map(|socket| socket.local_addr().unwrap());
    let mut config = config(addresses[0], ProtocolChoice::V1);
    config.heartbeat_interval = MIN_HEARTBEAT * 5;
    let session = Session::connect_to(&[addresses.to_vec()], config).unwrap();
    let from = expect(&server, HEARTBEAT);
    server.send_to(b"ada hi", from).unwrap();
    assert_eq!(next(&session), Event::Up(ProtocolVersion::V1));
    assert!(matches!(next(&session), Event::Message(_)));
    drop(server);
    assert_eq!(next(&session), Event::Down(refused()));
}

#[test]
fn the_state_is_as_new_as_the_events() {
    for _ in 0..20 {
        let server = bind();
        let address = server.local_addr().unwrap();
        let session =
            Session::connect_to(&[vec![address]], config(address, ProtocolChoice::V1)).unwrap();
        let from = expect(&server, HEARTBEAT);
        for _ in 0..200 {
            server.send_to(b"ada hi", from).unwrap();
        }
        assert_eq!(next(&session), Event::Up(ProtocolVersion::V1));
        assert!(session.is_up());
    }
}

#[test]
fn in_v1_a_text_may_be_said_to_a_server_that_is_down() {
    let session = connect(&[closed()]);
    assert_eq!(next(&session), Event::Down(refused()));
    assert!(session.say("are you back?").is_ok());
}

#[test]
fn a_direct_message_has_space_for_its_receiver() {
    let server = bind();
    let session = connect(&[server.local_addr().unwrap()]);
    let longest = MAX_TEXT_BYTES - "/msg bob ".len();
    let to: DisplayName = "bob".parse().unwrap();
    assert!(session.private(&to, &"x".repeat(longest)).is_ok());
    let bytes = MAX_TEXT_BYTES + 1;
    let error = session.private(&to, &"x".repeat(longest + 1)).unwrap_err();
    assert_eq!(error, SayError::TooLong { bytes });
}

#[test]
fn the_counts_do_not_wait_for_what_is_said() {
    let silent = bind();
    let server = silent.local_addr().unwrap();
    let mut config = config(server, ProtocolChoice::V2);
    config.greeting_timeout = 1000 * PATIENCE;
    let session = Session::connect_to(&[vec![server]], config).unwrap();
    while session.say("hi").is_ok() {}
    assert_eq!(session.stats(), SessionStats::default());
    // Otherwise the session would wait for an answer before it leaves.
    let mut hello = [0; MIN_HELLO_BYTES];
    let (_, from) = silent.recv_from(&mut hello).unwrap();
    let nonce = u64::from_be_bytes(hello[13..21].try_into().unwrap());
    let full = ServerFrame::Notice(NoticeCode::Refused, b"peer limit reached (2)");
    let mut answer = Vec::new();
    push_server_header(nonce, &mut answer);
    push_server_frame(&full, &mut answer);
    silent.send_to(&answer, from).unwrap();
    assert_eq!(next(&session), Event::Down(DownReason::Full));
}
