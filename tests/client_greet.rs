//! The program `client` as a greeter, with a server that the test plays.

mod common;

use common::{ClientProgram, FakeServer, OutputText, V6};

#[test]
fn prints_the_addresses_and_the_reply_to_a_greeting() {
    let server = FakeServer::start();
    let client = ClientProgram::start(&server, &["--greet", "hello world"]);
    let (greeting, from) = server.receive();
    assert_eq!(greeting, b"hello world");
    server.send(b"", from);
    server.send(b"well met \x1b", from);
    let output = client.wait_with_output();
    let (port, remote) = (from.port(), server.address());
    let expected = format!(
        "before connecting: local 0.0.0.0:{port}, remote none\n\
         after connecting: local 127.0.0.1:{port}, remote {remote}\n\
         well met \\x1b\n"
    );
    assert_eq!(output.text(), expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn greets_again_without_a_reply() {
    let server = FakeServer::start();
    let options = ["--greet", "hello", "--wait", "100ms", "--attempts", "100"];
    let client = ClientProgram::start(&server, &options);
    let first = server.receive();
    let second = server.receive();
    assert_eq!(first, second);
    server.send(b"at last", second.1);
    let output = client.wait_with_output();
    assert!(output.text().ends_with("\nat last\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn no_reply_to_any_attempt_is_an_error() {
    let server = FakeServer::start();
    let options = ["--greet", "hello", "--wait", "10ms", "--attempts", "2"];
    let output = ClientProgram::start(&server, &options).wait_with_output();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("no answer from {} to 2 attempts", server.address());
    assert!(output.errors().contains(&expected), "{output:?}");
    for _ in 0..2 {
        assert_eq!(server.receive().0, b"hello");
    }
    assert!(server.inbox_is_empty(), "two attempts are two datagrams");
}

#[test]
fn greeting_an_unused_port_is_an_error() {
    let address = FakeServer::start_unshared().stop().to_string();
    let options = ["--greet", "hello", "--wait", "10ms"];
    let output = ClientProgram::start_at(&address, &options).wait_with_output();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("{address} refused");
    assert!(output.errors().contains(&expected), "{output:?}");
}

#[test]
fn a_greeting_longer_than_a_datagram_is_an_error() {
    let server = FakeServer::start();
    let text = "x".repeat(70_000);
    let output = ClientProgram::start(&server, &["--greet", &text]).wait_with_output();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.errors().contains("does not fit"), "{output:?}");
}

#[test]
fn greets_over_ipv6_and_by_name() {
    let server = FakeServer::start();
    let name = format!("localhost:{}", server.address().port());
    let client = ClientProgram::start_at(&name, &["--greet", "hello"]);
    server.send(b"hi", server.receive().1);
    assert!(client.wait_with_output().text().ends_with("\nhi\n"));

    let server = FakeServer::start_at(V6);
    let client = ClientProgram::start(&server, &["--greet", "hello"]);
    server.send(b"hi", server.receive().1);
    assert!(client.wait_with_output().text().ends_with("\nhi\n"));
}
