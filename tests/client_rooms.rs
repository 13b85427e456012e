//! Names, rooms and private messages in the program `client`, which speaks with the
//! real server.
//! Nothing waits for a fixed time: each wait is for something that must happen, with a
//! bound far beyond what it takes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

mod common;

use std::process::Command;

use bullhorn::Server;
use bullhorn::client::ProtocolChoice;
use common::{
    ClientProgram, OutputText, TestServer, V4, ask, client_command, connect_as, hears, pipe,
    unpinned, wait_until,
};
use serde_json::{Value, json};

#[test]
fn the_program_has_the_name_and_the_room_of_its_arguments_or_environment() {
    let server = TestServer::start(unpinned(1, V4));
    for protocol in ["v1", "v2"] {
        let mut command = client_to(&server, &["--nick", "ada", "--protocol", protocol]);
        command.env("BULLHORN_CLIENT_ROOM", "chess");
        let output = pipe(&mut command, &["hi".to_owned()]);
        let expected = "* you are ada\n* you are in chess (1 here)\nada hi\n";
        assert_eq!(output.text(), expected, "{output:?}");
        wait_until("the end of it", || server.stats().peers == 0);
    }
}

#[test]
fn bad_names_and_rooms_are_refused_with_what_is_right() {
    for (arguments, right) in [
        (["--nick", "a b"], "1 to 24 of A-Z a-z 0-9 _ -"),
        (["--nick", ""], "1 to 24"),
        (["--room", "a/b"], "1 to 32 of A-Z a-z 0-9 _ -"),
        (["--room", &"x".repeat(33)], "1 to 32"),
        (["--json", "--greet=hi"], "cannot be used with"),
    ] {
        let output = ClientProgram::spawn(client_command().args(arguments)).finish();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.errors().contains(right), "{arguments:?}: {output:?}");
    }
    for (variable, wrong) in [("NICK", "ü"), ("ROOM", "")] {
        let mut command = client_command();
        command.env(format!("BULLHORN_CLIENT_{variable}"), wrong);
        let output = ClientProgram::spawn(&mut command).finish();
        assert_eq!(output.status.code(), Some(2), "{variable}");
    }
}

#[test]
fn people_see_the_same_in_either_protocol() {
    let server = TestServer::start(unpinned(2, V4));
    let bob = connect_as(ProtocolChoice::V2, server.local_addr());
    ask(&bob, "/nick bob", "* you are bob");
    for protocol in ["v1", "v2"] {
        let arguments = ["--nick", "ada", "--protocol", protocol];
        let mut client = ClientProgram::spawn(&mut client_to(&server, &arguments));
        client.prints("* you are ada\n");
        bob.say("/msg ada psst").unwrap();
        client.prints("* bob to you: psst\n");
        client.type_in("/msg bob hi\n");
        client.prints("* to bob: hi\n");
        hears(&bob, "* ada to you: hi");
        client.type_in("/who 1\n");
        client.prints("* 2 in lobby: bob ada\n");
        client.type_in("/ping 77\n");
        client.prints("* pong 77\n");
        client.end_input();
        assert_eq!(client.finish().status.code(), Some(0));
        wait_until("the end of it", || server.stats().peers == 1);
    }
}

#[test]
fn a_ping_alone_measures_and_tells_what_was_lost() {
    let server = TestServer::start(unpinned(1, V4));
    for (protocol, losses) in [("v1", ""), ("v2", ", 0 of 1 messages lost")] {
        let arguments = ["--protocol", protocol];
        let mut client = ClientProgram::spawn(&mut client_to(&server, &arguments));
        for (ping, losses) in [("/ping", ""), ("  /PING ", losses)] {
            client.type_in(&format!("{ping}\n"));
            client.prints("* pong: ");
            let pong = client.prints("\n");
            let time = pong.strip_suffix(losses).unwrap();
            let time_ms = time.strip_suffix(" ms").unwrap();
            assert!(time_ms.parse::<f64>().is_ok(), "{pong}");
            client.type_in("hi\n");
            client.prints(" hi\n");
        }
        client.type_in("/ping\n");
        client.end_input();
        let output = client.finish();
        assert_eq!(
            output.text().matches("* pong: ").count(),
            3,
            "it is waited for"
        );
        wait_until("the end of it", || server.stats().peers == 0);
    }
}

#[test]
fn programs_get_an_object_a_line() {
    let server = TestServer::start(unpinned(1, V4));
    let bob = connect_as(ProtocolChoice::V2, server.local_addr());
    ask(&bob, "/nick bob", "* you are bob");
    let mut client = JsonClient::start(&server, &["--nick", "ada", "--protocol", "v2"]);
    client.prints(&json!({"event": "notice", "code": "done", "text": "you are ada"}));
    client.says("hi \"all\"");
    client.prints(&json!({"event": "message", "from": "ada", "text": "hi \"all\""}));
    bob.say_bytes(b"\x1b\xff").unwrap();
    client.prints(&json!({
        "event": "message", "from": "bob", "text": "\u{1b}\u{fffd}", "payload_base64": "G/8=",
    }));
    bob.say("/msg ada psst \u{202e}").unwrap();
    client.prints(&json!({"event": "private", "from": "bob", "text": "psst \u{202e}"}));
    client.says("/join chess");
    client.prints(&json!({"event": "room", "room": "chess"}));
    let text = "you are in chess (1 here)";
    client.prints(&json!({"event": "notice", "code": "done", "text": text}));
    client.says("/join");
    let text = "usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)";
    client.prints(&json!({"event": "notice", "code": "misuse", "text": text}));
    client.says("/ping");
    let pong = client.next();
    assert_eq!((&pong["event"], &pong["lost"]), (&json!("pong"), &json!(0)));
    assert_eq!(pong["expected"], json!(2));
    assert!(pong["round_trip_ms"].is_f64());
    server.stop();
    client.prints(&json!({"event": "down", "reason": "it has stopped"}));
}

#[test]
fn lines_of_v1_are_objects_too() {
    let server = TestServer::start(unpinned(1, V4));
    let mut client = JsonClient::start(&server, &["--nick", "ada", "--protocol", "v1"]);
    client.prints(&json!({"event": "text", "text": "* you are ada"}));
    client.says("hi");
    client.prints(&json!({"event": "text", "text": "ada hi"}));
    client.says("quit");
    assert_eq!(client.program.finish().text().lines().count(), 2);
}

#[test]
fn what_goes_into_a_pipe_has_no_escapes() {
    let server = TestServer::start(unpinned(1, V4));
    let lines = ["/nick ada", "hi \x1b[31m", "/who"].map(str::to_owned);
    for json in [&[][..], &["--json"]] {
        let mut command = client_to(&server, json);
        command.env("TERM", "xterm");
        let output = pipe(&mut command, &lines);
        assert!(output.text().contains("ada"), "{output:?}");
        assert!(!output.stdout.contains(&0x1b), "{output:?}");
        wait_until("the end of it", || server.stats().peers == 0);
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

    fn says(&mut self, line: &str) {
        self.program.type_in(&format!("{line}\n"));
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let line = self.program.prints("\n");
        serde_json::from_str(&line).unwrap()
    }

    #[track_caller]
    fn prints(&mut self, expected: &Value) {
        assert_eq!(self.next(), *expected);
    }
}

fn client_to(server: &Server, arguments: &[&str]) -> Command {
    let mut command = client_command();
    command.args(["--linger", "20s"]).args(arguments);
    command.arg(server.local_addr().to_string());
    command
}
