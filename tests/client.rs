//! The program `client` over pipes: its lines, its arguments and its signals.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::thread;

use common::{
    ClientProgram, FakeServer, OutputText, TestServer, V4, client_command, run_client,
    run_with_input, unpinned_config, v1_client_command,
};
use nix::sys::signal::Signal;

#[test]
fn the_client_waits_for_the_echo_of_piped_text() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &["--wait", "1m", "--heartbeat", "1m"]);
    client.type_in("hi\n");
    client.end_input();
    let from = server.receive_heartbeat();
    assert_eq!(server.receive_text(), b"hi");
    server.send(b"ann something else", from);
    server.send(b"127.0.0.1:7 hi", from);
    let output = client.wait_with_output();
    assert_eq!(output.text(), "ann something else\n127.0.0.1:7 hi\n");
    assert_eq!(output.errors(), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(server.receive_text(), b"quit");
}

#[test]
fn a_piped_command_prints_its_whole_reply() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &["--wait", "1m"]);
    client.type_in("/who\n");
    client.end_input();
    let from = server.receive_heartbeat();
    assert_eq!(server.receive_text(), b"/who 1");
    // This is no reply to it.
    server.send(b"* bob left (2 here)", from);
    server.send(b"* 2 in den: ann cem", from);
    let output = client.wait_with_output();
    assert_eq!(output.text(), "* bob left (2 here)\n* 2 in den: ann cem\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn quit_prints_bye_bye_and_blank_lines_are_not_sent() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    client.type_in("\n   \n\t\n  QuiT \r\nnever said\n");
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(server.receive().0, b"quit");
    let output = client.wait_with_output();
    assert_eq!(output.text(), "bye bye\n");
    assert_eq!(output.errors(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn texts_are_sent_without_the_blanks_around_them() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    client.type_in(" \t hi  all \t\r\n");
    assert_eq!(server.receive_text(), b"hi  all");
}

#[test]
fn received_control_characters_are_escaped() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    let from = server.receive_heartbeat();
    server.send(b"eve \x1b[2J\r\x07\ttab\n\xff \xc2\x9b", from);
    server.send("eve \u{202e}".as_bytes(), from);
    client.expect_output("eve \\x1b[2J\\x0d\\x07\ttab\\x0a\u{fffd} \\x9b\n");
    client.expect_output("eve \\u{202e}\n");
}

#[test]
fn prints_an_error_for_a_text_that_cannot_be_sent_and_continues() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    let from = server.receive_heartbeat();
    client.type_in(&format!("{}\n@im@\n", "x".repeat(65_520)));
    client.type_in(&format!("{}\nstill here\n", "x".repeat(200_000)));
    assert_eq!(server.receive_text(), b"still here");
    server.send(b"127.0.0.1:7 still here", from);
    client.type_in("quit\n");
    let output = client.wait_with_output();
    assert_eq!(output.status.code(), Some(0), "the last text was delivered");
    let errors = output.errors();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].contains("65520 bytes are too long"), "{errors}");
    assert!(lines[1].contains("heartbeat"), "{errors}");
    assert!(lines[2].contains("too long"), "{errors}");
}

#[test]
fn signals_make_the_client_leave() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let server = FakeServer::start();
        let client = ClientProgram::start(&server, &[]);
        server.receive_heartbeat();
        client.signal(signal);
        assert_eq!(server.receive_text(), b"quit", "{signal}");
        assert_eq!(client.wait_with_output().status.code(), Some(0), "{signal}");
    }
}

#[test]
fn piped_text_arrives_complete_in_either_protocol() {
    let server = TestServer::start(unpinned_config(2, V4));
    for protocol in ["auto", "v1", "v2"] {
        let lines: Vec<String> = (1..=2000).map(|number| number.to_string()).collect();
        let output = run_client(server.local_addr(), &["--protocol", protocol], &lines);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = output.text();
        let received: Vec<_> = printed
            .lines()
            .map(|line| line.split_once(' ').unwrap().1)
            .collect();
        assert_eq!(received, lines, "{protocol}");
    }
}

#[test]
fn piped_text_is_sent_even_without_echoes() {
    let server = FakeServer::start();
    let address = server.address();
    let lines: Vec<String> = (1..=150).map(|number| number.to_string()).collect();
    let arguments = ["--wait", "0s", "--protocol", "v1"];
    let client = thread::spawn({
        let lines = lines.clone();
        move || run_client(address, &arguments, &lines)
    });
    assert_eq!(server.receive().0, b"@im@");
    for line in &lines {
        assert_eq!(server.receive_text(), line.as_bytes());
    }
    client.join().unwrap();
}

#[test]
fn options_can_come_from_the_environment() {
    let server = FakeServer::start();
    let mut command = v1_client_command();
    command.env("BULLHORN_SERVER", server.address().to_string());
    command.env("BULLHORN_CLIENT_HEARTBEAT", "20ms");
    let _client = ClientProgram::spawn(&mut command);
    for _ in 0..3 {
        assert_eq!(server.receive().0, b"@im@");
    }
}

#[test]
fn the_protocol_can_come_from_the_environment() {
    let server = FakeServer::start();
    let mut command = client_command();
    command.arg(server.address().to_string());
    command.env("BULLHORN_CLIENT_PROTOCOL", "v1");
    let output = run_with_input(&mut command, &[]);
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_missing_port_is_9999() {
    // A port cannot be reserved for a test, so the client is only asked for its name.
    for (host, server) in [
        ("127.0.0.78", "127.0.0.78:9999"),
        ("[::1]", "[::1]:9999"),
        ("no-such-host.invalid", "no-such-host.invalid:9999"),
    ] {
        let options = ["--greet", "hi", "--wait", "1ms", "--attempts", "1"];
        let output = ClientProgram::start_at(host, &options).wait_with_output();
        let named = output.errors() + &output.text();
        assert!(named.contains(server), "{output:?}");
    }
}

#[test]
fn bad_arguments_are_refused_with_what_is_expected() {
    for (arguments, expected) in [
        (&[":9999"][..], "write HOST or HOST:PORT"),
        (&["localhost:"], "1 to 65535"),
        (&["localhost:70000"], "1 to 65535"),
        (&["::1:9999"], "[::1]:9999"),
        (&["127.0.0.1:9999", "more:"], "1 to 65535"),
        (&["--heartbeat", "5"], "such as 10s or 250ms"),
        (&["--heartbeat", "1ms"], "between 10ms and 1m"),
        (&["--settle", "2h"], "between 10ms and 1m"),
        (&["--wait", "2m"], "between 0s and 1m"),
        (&["--protocol", "v3"], "auto, v1, v2"),
        (&["--greet", ""], "a value is required"),
        (&["--greet", "hi", "--attempts", "0"], "1..=100"),
        (&["--linger", "1s"], "unexpected argument"),
    ] {
        let output = ClientProgram::spawn(v1_client_command().args(arguments)).wait_with_output();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.errors().contains(expected),
            "{arguments:?}: {output:?}"
        );
    }
}
