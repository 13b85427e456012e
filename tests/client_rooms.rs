//! Names, rooms and private messages in the program `client`, with the real server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::Command;

use bullhorn::Server;
use bullhorn::client::ProtocolChoice;
use common::{
    ClientProgram, OutputText, TestServer, V4, client_command, connect_with, expect_line,
    expect_reply, run_with_input, unpinned_config, wait_until,
};
use serde_json::{Value, json};

#[test]
fn name_and_room_can_come_from_arguments_or_the_environment() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in ["v1", "v2"] {
        let mut command = client_to(&server, &["--nick", "ada", "--protocol", protocol]);
        command.env("BULLHORN_CLIENT_ROOM", "chess");
        let output = run_with_input(&mut command, &["hi".to_owned()]);
        let expected = "* you are ada\n* you are in chess (1 here)\nada hi\n";
        assert_eq!(output.text(), expected, "{output:?}");
        wait_until("the leave", || server.stats().peers == 0);
    }
}

#[test]
fn bad_names_and_rooms_are_refused_with_what_is_expected() {
    for (arguments, expected) in [
        (["--nick", "a b"], "1 to 24 of A-Z a-z 0-9 _ -"),
        (["--nick", ""], "1 to 24"),
        (["--room", "a/b"], "1 to 32 of A-Z a-z 0-9 _ -"),
        (["--room", &"x".repeat(33)], "1 to 32"),
        (["--json", "--greet=hi"], "cannot be used with"),
    ] {
        let output = ClientProgram::spawn(client_command().args(arguments)).wait_with_output();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.errors().contains(expected),
            "{arguments:?}: {output:?}"
        );
    }
    for (variable, wrong) in [("NICK", "ü"), ("ROOM", "")] {
        let mut command = client_command();
        command.env(format!("BULLHORN_CLIENT_{variable}"), wrong);
        let output = ClientProgram::spawn(&mut command).wait_with_output();
        assert_eq!(output.status.code(), Some(2), "{variable}");
    }
}

#[test]
fn both_protocols_print_the_same_lines() {
    let server = TestServer::start(unpinned_config(2, V4));
    let bob = connect_with(ProtocolChoice::V2, server.local_addr());
    expect_reply(&bob, "/nick bob", "* you are bob");
    for protocol in ["v1", "v2"] {
        let arguments = ["--nick", "ada", "--protocol", protocol];
        let mut client = ClientProgram::spawn(&mut client_to(&server, &arguments));
        client.expect_output("* you are ada\n");
        bob.say("/msg ada psst").unwrap();
        client.expect_output("* bob to you: psst\n");
        client.type_in("/msg bob hi\n");
        client.expect_output("* to bob: hi\n");
        expect_line(&bob, "* ada to you: hi");
        client.type_in("/who 1\n");
        client.expect_output("* 2 in lobby: bob ada\n");
        client.type_in("/ping 77\n");
        client.expect_output("* pong 77\n");
        client.end_input();
        assert_eq!(client.wait_with_output().status.code(), Some(0));
        wait_until("the leave", || server.stats().peers == 1);
    }
}

#[test]
fn ping_without_a_token_prints_the_round_trip_and_the_losses() {
    let server = TestServer::start(unpinned_config(1, V4));
    for (protocol, losses) in [("v1", ""), ("v2", ", 0 of 1 messages lost")] {
        let arguments = ["--protocol", protocol];
        let mut client = ClientProgram::spawn(&mut client_to(&server, &arguments));
        for (ping, losses) in [("/ping", ""), ("  /PING ", losses)] {
            client.type_in(&format!("{ping}\n"));
            client.expect_output("* pong: ");
            let pong = client.expect_output("\n");
            let time = pong.strip_suffix(losses).unwrap();
            let time_ms = time.strip_suffix(" ms").unwrap();
            assert!(time_ms.parse::<f64>().is_ok(), "{pong}");
            client.type_in("hi\n");
            client.expect_output(" hi\n");
        }
        client.type_in("/ping\n");
        client.end_input();
        let output = client.wait_with_output();
        assert_eq!(
            output.text().matches("* pong: ").count(),
            3,
            "the client waits for the last one"
        );
        wait_until("the leave", || server.stats().peers == 0);
    }
}

#[test]
fn json_output_is_an_object_per_event() {
    let server = TestServer::start(unpinned_config(1, V4));
    let bob = connect_with(ProtocolChoice::V2, server.local_addr());
    expect_reply(&bob, "/nick bob", "* you are bob");
    let mut client = JsonClient::start(&server, &["--nick", "ada", "--protocol", "v2"]);
    client.expect(&json!({"event": "notice", "code": "done", "text": "you are ada"}));
    client.type_line("hi \"all\"");
    client.expect(&json!({"event": "message", "from": "ada", "text": "hi \"all\""}));
    bob.say_bytes(b"\x1b\xff").unwrap();
    client.expect(&json!({
        "event": "message", "from": "bob", "text": "\u{1b}\u{fffd}", "payload_base64": "G/8=",
    }));
    bob.say("/msg ada psst \u{202e}").unwrap();
    client.expect(&json!({"event": "private", "from": "bob", "text": "psst \u{202e}"}));
    client.type_line("/join chess");
    client.expect(&json!({"event": "room", "room": "chess"}));
    let text = "you are in chess (1 here)";
    client.expect(&json!({"event": "notice", "code": "done", "text": text}));
    client.type_line("/join");
    let text = "usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)";
    client.expect(&json!({"event": "notice", "code": "misuse", "text": text}));
    client.type_line("/ping");
    let pong = client.next();
    assert_eq!((&pong["event"], &pong["lost"]), (&json!("pong"), &json!(0)));
    assert_eq!(pong["expected"], json!(2));
    assert!(pong["round_trip_ms"].is_f64());
    server.stop();
    client.expect(&json!({"event": "down", "reason": "it has stopped"}));
}

#[test]
fn json_output_of_v1_is_an_object_per_line() {
    let server = TestServer::start(unpinned_config(1, V4));
    let mut client = JsonClient::start(&server, &["--nick", "ada", "--protocol", "v1"]);
    client.expect(&json!({"event": "text", "text": "* you are ada"}));
    client.type_line("hi");
    client.expect(&json!({"event": "text", "text": "ada hi"}));
    client.type_line("quit");
    assert_eq!(client.program.wait_with_output().text().lines().count(), 2);
}

#[test]
fn output_to_a_pipe_contains_no_escape_sequences() {
    let server = TestServer::start(unpinned_config(1, V4));
    let lines = ["/nick ada", "hi \x1b[31m", "/who"].map(str::to_owned);
    for json in [&[][..], &["--json"]] {
        let mut command = client_to(&server, json);
        command.env("TERM", "xterm");
        let output = run_with_input(&mut command, &lines);
        assert!(output.text().contains("ada"), "{output:?}");
        assert!(!output.stdout.contains(&0x1b), "{output:?}");
        wait_until("the leave", || server.stats().peers == 0);
    }
}

/// A client that prints JSON.
struct JsonClient {
    program: ClientProgram,
}

impl JsonClient {
    fn start(server: &TestServer, arguments: &[&str]) -> Self {
        let program = ClientProgram::spawn(client_to(server, arguments).arg("--json"));
        Self { program }
    }

    fn type_line(&mut self, line: &str) {
        self.program.type_in(&format!("{line}\n"));
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let line = self.program.expect_output("\n");
        serde_json::from_str(&line).unwrap()
    }

    #[track_caller]
    fn expect(&mut self, expected: &Value) {
        assert_eq!(self.next(), *expected);
    }
}

fn client_to(server: &Server, arguments: &[&str]) -> Command {
    let mut command = client_command();
    command.args(["--linger", "20s"]).args(arguments);
    command.arg(server.local_addr().to_string());
    command
}
