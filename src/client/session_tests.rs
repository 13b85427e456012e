use std::net::UdpSocket;

use super::super::config::{HEARTBEAT_MIN, ProtocolChoice};
use super::super::liveness::DownReason;
use super::*;
use crate::wire;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn bind() -> UdpSocket {
    // An address that no other test uses, so that a port stays free.
    let socket = UdpSocket::bind("127.0.0.79:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn expect(socket: &UdpSocket, datagram: &[u8]) {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], datagram);
}

fn connect(servers: &[SocketAddr]) -> Session {
    let mut config = SessionConfig::new(servers[0].into());
    config.protocol = ProtocolChoice::V1;
    config.heartbeat = 2 * PATIENCE;
    config.retry = HEARTBEAT_MIN;
    config.answer_within = HEARTBEAT_MIN;
    Session::connect_to(servers.to_vec(), config).unwrap()
}

fn next(session: &Session) -> Event {
    session.events().recv_timeout(PATIENCE).unwrap()
}

#[test]
fn goes_to_the_next_address_at_once_when_one_refuses() {
    let closed = bind().local_addr().unwrap();
    let server = bind();
    let session = connect(&[closed, server.local_addr().unwrap()]);
    expect(&server, wire::HEARTBEAT);
    let from = session.local_addr().unwrap();
    server.send_to(b"welcome", from).unwrap();
    // Not a word of the first one.
    assert_eq!(next(&session), Event::Text("welcome".to_owned()));
}

#[test]
fn goes_to_the_next_address_when_one_is_silent() {
    let silent = bind();
    let server = bind();
    let addresses = [&silent, &server].map(|socket| socket.local_addr().unwrap());
    let session = connect(&addresses);
    expect(&silent, wire::HEARTBEAT);
    session.say("anyone?").unwrap();
    expect(&silent, b"anyone?");
    assert_eq!(
        next(&session),
        Event::Down(DownReason::NoAnswer(HEARTBEAT_MIN))
    );
    expect(&server, wire::HEARTBEAT);
    expect(&silent, wire::QUIT);
}

/// A session that does not speak v1 first.
fn greet(servers: &[&UdpSocket], protocol: ProtocolChoice) -> Session {
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| server.local_addr().unwrap())
        .collect();
    let mut config = SessionConfig::new(addresses[0].into());
    config.protocol = protocol;
    config.greet_within = HEARTBEAT_MIN;
    config.retry = HEARTBEAT_MIN;
    Session::connect_to(addresses, config).unwrap()
}

fn expect_hello(server: &UdpSocket) {
    let mut buffer = [0; 64];
    assert_eq!(server.recv(&mut buffer).unwrap(), 64);
    assert_eq!(buffer[..2], [0xFF, 2]);
}

#[test]
fn greets_each_address_until_one_answers() {
    let servers = [bind(), bind()];
    let session = greet(&servers.each_ref(), ProtocolChoice::V2);
    for _ in 0..3 {
        expect_hello(&servers[0]);
    }
    assert_eq!(
        next(&session),
        Event::Down(DownReason::NoAnswer(HEARTBEAT_MIN))
    );
    expect_hello(&servers[1]);
    expect_hello(&servers[0]);
    expect_hello(&servers[1]);
}

#[test]
fn greets_the_next_address_at_once_when_one_refuses() {
    let server = bind();
    let closed = bind().local_addr().unwrap();
    let mut config = SessionConfig::new(closed.into());
    config.heartbeat = 2 * PATIENCE;
    config.retry = PATIENCE;
    let addresses = vec![closed, server.local_addr().unwrap()];
    let session = Session::connect_to(addresses, config).unwrap();
    expect_hello(&server);
    assert!(session.events().is_empty(), "not a word of the first one");
}

#[test]
fn a_server_that_starts_at_one_of_several_addresses_is_greeted_to_the_end() {
    let closed = [bind(), bind()].map(|socket| socket.local_addr().unwrap());
    let mut config = SessionConfig::new(closed[0].into());
    config.greet_within = 3 * HEARTBEAT_MIN;
    config.retry = HEARTBEAT_MIN;
    config.heartbeat = HEARTBEAT_MIN;
    let session = Session::connect_to(closed.to_vec(), config).unwrap();
    assert!(matches!(next(&session), Event::Down(_)));
    let server = UdpSocket::bind(closed[1]).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        expect_hello(&server);
    }
    expect(&server, wire::HEARTBEAT);
    assert_eq!(next(&session), Event::Up);
}

#[test]
fn is_down_when_all_addresses_refuse() {
    let closed = [bind(), bind()].map(|socket| socket.local_addr().unwrap());
    let session = connect(&closed);
    let refused = DownReason::Unreachable(io::ErrorKind::ConnectionRefused);
    assert_eq!(next(&session), Event::Down(refused));
}
