//! The program `client` over pipes: its lines, its arguments and its exit code.

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
    let mut client = ClientProgram::start(&server, &["--linger", "1m"]);
    client.type_in("hi\n");
    client.end_input();
    let from = server.receive_heartbeat();
    assert_eq!(server.receive_text(), b"hi");
    server.send(b"ann something else", from);
    server.send(b"127.0.0.1:7 hi", from);
    let output = client.wait_with_output();
    assert_eq!(output.text(), "ann something else\n127.0.0.1:7 hi\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(server.receive_text(), b"quit");
}

#[test]
fn a_piped_command_prints_its_whole_reply() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &["--linger", "1m"]);
    client.type_in("/who\n");
    client.end_input();
    let from = server.receive_heartbeat();
    assert_eq!(server.receive_text(), b"/who");
    server.send(b"* ann", from);
    server.send(b"* bob", from);
    let output = client.wait_with_output();
    assert_eq!(output.text(), "* ann\n* bob\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn piped_text_without_an_echo_ends_after_the_linger_time_with_a_warning() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &["--linger", "50ms"]);
    client.type_in("hi\n");
    client.end_input();
    let output = client.wait_with_output();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.errors().contains("did not echo"), "{output:?}");
}

#[test]
fn piped_text_to_a_server_that_is_down_is_an_error() {
    let address = FakeServer::start_unshared().stop();
    let mut client = ClientProgram::start_at(&address.to_string(), &["--linger", "1m"]);
    client.expect_output(&format!("{address} is down\n"));
    client.type_in("hi\n");
    client.end_input();
    let output = client.wait_with_output();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.errors().contains("not delivered"), "{output:?}");
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
fn prints_that_the_server_is_down_and_back() {
    let server = FakeServer::start_unshared();
    let mut client = ClientProgram::start(&server, &QUICK);
    server.receive_heartbeat();
    let address = server.stop();
    client.expect_output(&format!("{address} is down\n"));
    let server = FakeServer::restart(address);
    client.expect_output(&format!("{address} is back\n"));
    assert_eq!(server.receive().0, b"@im@");
}

#[test]
fn prints_that_the_server_does_not_reply() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &["--answer-within", "50ms"]);
    client.type_in("hi\n");
    let address = server.address();
    client.expect_output(&format!("{address} is down (no answer within 50ms)\n"));
}

#[test]
fn prints_an_error_for_a_text_that_cannot_be_sent_and_continues() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    let from = server.receive_heartbeat();
    client.type_in(&format!("{}\n@im@\n", "x".repeat(65_520)));
    client.type_in(&format!("{}\nstill here\n", "x".repeat(200_000)));
    assert_eq!(server.receive_text(), b"still here");
    client.type_in("quit\n");
    server.send(b"me still here", from);
    let errors = client.wait_with_output().errors();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].contains("65520 bytes does not fit"), "{errors}");
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
    let arguments = ["--linger", "0s", "--protocol", "v1"];
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
fn bad_arguments_are_refused_with_what_is_expected() {
    for (arguments, expected) in [
        (&["localhost"][..], "write HOST:PORT"),
        (&["localhost:70000"], "1 to 65535"),
        (&["::1:9999"], "[::1]:9999"),
        (&["127.0.0.1:9999", "more"], "unexpected argument"),
        (&["--heartbeat", "5"], "such as 10s or 250ms"),
        (&["--heartbeat", "1ms"], "between 10ms and 1m"),
        (&["--settle", "2h"], "between 10ms and 1m"),
        (&["--linger", "2m"], "between 0s and 1m"),
        (&["--protocol", "v3"], "auto, v1 or v2"),
        (&["--greet", ""], "a value is required"),
        (&["--greet", "hi", "--attempts", "0"], "1..=100"),
        (&["--no-such"], "unexpected argument"),
    ] {
        let output = ClientProgram::spawn(v1_client_command().args(arguments)).wait_with_output();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.errors().contains(expected),
            "{arguments:?}: {output:?}"
        );
    }
}

/// Options with which the client soon notices that the server is down, and soon tries
/// again.
const QUICK: [&str; 6] = [
    "--heartbeat",
    "50ms",
    "--retry",
    "20ms",
    "--settle",
    "100ms",
];
