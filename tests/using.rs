//! The programs of docs/USING.md are the examples, and the one in Python works as
//! described. Those in Rust are compiled with every test.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::wire::v2::{ServerFrame, SessionId, parse_client};
use common::{
    FakeServer, TestServer, V4, V6, config, datagram_to, lobby, nonce_of, python_script,
    wait_until, welcome,
};

#[test]
fn the_page_contains_the_example_unchanged() {
    let page = include_str!("../docs/USING.md");
    let program = include_str!("../examples/room_bot.rs");
    assert!(page.contains(&format!("\n```rust\n{program}```\n")));
}

#[test]
fn the_python_client_has_at_most_200_lines() {
    let lines = include_str!("../examples/v2.py").lines().count();
    assert!(lines <= 200, "{lines}");
}

#[test]
fn the_python_client_speaks_all_of_version_2() {
    for address in [V4, V6] {
        let server = TestServer::start(config(2, &[address]));
        let other = server.client();
        let at = server.local_addr();
        let arguments = [at.ip().to_string(), at.port().to_string()];
        let mut client = python_script("examples/v2.py", &arguments.each_ref().map(|it| &**it));
        assert_eq!(client.output.next(), "in lobby");
        client.type_line("hi all");
        let received = other.receive_text();
        let port = client.output.next();
        let port = port.strip_suffix(" b'hi all'").unwrap();
        let from = with_colon(port, at.is_ipv4());
        assert_eq!(received, format!("{from} hi all"));

        other.send("hi, gr\u{fc}\u{df}e".as_bytes());
        other.receive_text();
        let (ip, port) = (other.address().ip(), other.address().port());
        let payload = r"b'hi, gr\xc3\xbc\xc3\x9fe'";
        assert_eq!(client.output.next(), format!("{ip} {port} {payload}"));

        client.type_line("?token");
        assert_eq!(client.output.next(), "pong b'token'");
        client.type_line("/nick ada");
        assert_eq!(client.output.next(), "* b'you are ada'");
        other.send(b"/msg ada psst");
        let private = format!("to you: {ip} {port} b'psst'");
        assert_eq!(client.output.next(), private);
        other.receive_text();

        // A second room, in which the other one is.
        client.type_line("+den");
        assert_eq!(client.output.next(), "subscribed to den");
        other.send(b"/join den");
        other.receive_text();
        client.type_line("@den hello");
        assert_eq!(other.receive_text(), "ada hello");
        assert_eq!(client.output.next(), "ada b'hello'");

        // Another port, with the same name and rooms.
        client.type_line("!");
        assert_eq!(client.output.next(), "in lobby");
        client.type_line("@den moved");
        assert_eq!(other.receive_text(), "ada moved");
        assert_eq!(client.output.next(), "ada b'moved'");
        assert_eq!(server.stats().peers, 2);
        client.type_line("-den");
        assert_eq!(client.output.next(), "unsubscribed");
        client.end_input();
        assert_eq!(client.output.next(), "0 of 4 lost, 0 forged datagrams");
        assert!(client.exit_status().success());
        wait_until("the client to leave", || server.stats().peers == 1);
    }
}

#[test]
fn the_python_client_is_not_sent_its_own_messages_if_it_wants_none() {
    let server = TestServer::start(config(1, &[V4]));
    let other = server.client();
    let port = server.local_addr().port().to_string();
    let mut client = python_script("examples/v2.py", &["127.0.0.1", &port, "020100"]);
    assert_eq!(client.output.next(), "in lobby");
    for _ in 0..2 {
        client.type_line("hi");
        other.receive_text();
        other.send(b"hello");
        other.receive_text();
        let hello = format!("127.0.0.1 {} b'hello'", other.address().port());
        assert_eq!(client.output.next(), hello);
    }
    client.end_input();
    assert_eq!(client.output.next(), "0 of 4 lost, 0 forged datagrams");
}

#[test]
fn the_python_client_believes_only_its_nonce_and_its_session() {
    let server = FakeServer::start();
    let port = server.address().port().to_string();
    let mut client = python_script("examples/v2.py", &["127.0.0.1", &port]);
    let (hello, address) = server.receive();
    let nonce = nonce_of(&hello).unwrap();
    // Anybody can send these.
    for number in [0, nonce ^ 1] {
        server.send(&datagram_to(number, &[welcome(7)]), address);
    }
    server.send(&datagram_to(nonce, &[welcome(8)]), address);
    receive_in(&server, 8);
    // The server is started again before the client is in a room.
    server.send(&datagram_to(8, &[ServerFrame::UnknownSession]), address);
    server.receive_until_hello(8);
    server.begin_welcome(9);
    receive_in(&server, 9);
    server.send(&datagram_to(9, &[lobby()]), address);
    assert_eq!(client.output.next(), "in lobby");
    client.end_input();
    assert_eq!(client.output.next(), "0 of 0 lost, 2 forged datagrams");
}

/// Receives datagrams until one has this session.
#[track_caller]
fn receive_in(server: &FakeServer, session: u64) {
    wait_until("a datagram of the session", || {
        parse_client(&server.receive().0).unwrap().0 == SessionId::new(session)
    });
}

/// Returns `ip port` in the form that precedes texts.
fn with_colon(address: &str, is_ipv4: bool) -> String {
    let (ip, port) = address.split_once(' ').unwrap();
    if is_ipv4 {
        format!("{ip}:{port}")
    } else {
        format!("[{ip}]:{port}")
    }
}
