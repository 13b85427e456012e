//! The JSON that the program `client` prints with `--json`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;

use bullhorn::wire::v2::ClientFrame;
use common::v2_peer::V2Peer;
use common::{
    ClientProgram, FakeServer, OutputText, TestServer, V4, client_command, unpinned_config,
};
use serde_json::{Value, json};

#[test]
fn an_event_is_an_object() {
    let server = TestServer::start(unpinned_config(1, V4));
    let bob = V2Peer::open(server.unregistered_client());
    bob.send(&[ClientFrame::Command(b"/nick bob")]);
    bob.client.receive();
    let mut client = JsonClient::start(server.local_addr(), &["--nick", "ada"]);
    client.expect(&json!({"event": "up", "protocol": "v2"}));
    client.expect(&json!({"event": "notice", "code": "done", "text": "you are ada"}));
    client.type_line("hi \"all\"");
    client.expect(&json!({"event": "message", "from": "ada", "text": "hi \"all\""}));
    bob.send(&[ClientFrame::Say(b"\x1b\xff")]);
    client.expect(&json!({
        "event": "message", "from": "bob", "text": "\u{1b}\u{fffd}", "payload_base64": "G/8=",
    }));
    bob.send(&[ClientFrame::Command("/msg ada psst \u{202e}".as_bytes())]);
    client.expect(&json!({"event": "private", "from": "bob", "text": "psst \u{202e}"}));
    client.type_line("/join chess");
    client.expect(&json!({"event": "room", "room": "chess"}));
    let text = "you are in chess (1 here)";
    client.expect(&json!({"event": "notice", "code": "done", "text": text}));
    client.type_line("/join");
    let text = "usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)";
    client.expect(&json!({"event": "notice", "code": "misuse", "text": text}));
    client.type_line("/nick bob");
    client.expect(&json!({"event": "notice", "code": "refused", "text": "bob is taken"}));
    client.type_line("/ping");
    let pong = client.next();
    assert_eq!((&pong["event"], &pong["lost"]), (&json!("pong"), &json!(0)));
    assert_eq!(pong["expected"], json!(2));
    assert!(pong["round_trip_ms"].is_f64());
    client.type_line("/help");
    let help = client.next();
    assert_eq!(
        (&help["event"], &help["code"]),
        (&json!("notice"), &json!("done"))
    );
    assert!(
        help["text"].as_str().unwrap().contains("\n/msg NAME TEXT "),
        "{help}"
    );
    server.stop();
    client.expect(&json!({"event": "down", "reason": "it said goodbye"}));
}

#[test]
fn version_1_has_the_same_objects() {
    let server = TestServer::start(unpinned_config(1, V4));
    let bob = server.client();
    bob.send(b"/nick bob");
    bob.receive();
    let arguments = ["--nick", "ada", "--protocol", "v1"];
    let mut client = JsonClient::start(server.local_addr(), &arguments);
    client.expect(&json!({"event": "up", "protocol": "v1"}));
    client.expect(&json!({"event": "notice", "code": "done", "text": "you are ada"}));
    client.type_line("hi");
    client.expect(&json!({"event": "message", "from": "ada", "text": "hi"}));
    bob.send(b"/msg ada psst");
    client.expect(&json!({"event": "private", "from": "bob", "text": "psst"}));
    client.type_line("/join chess");
    client.expect(&json!({"event": "room", "room": "chess"}));
    let text = "you are in chess (1 here)";
    client.expect(&json!({"event": "notice", "code": "done", "text": text}));
    client.type_line("/ping");
    let pong = client.next();
    assert!(pong["round_trip_ms"].is_f64(), "{pong}");
    assert_eq!(pong.as_object().unwrap().len(), 2, "{pong}");
    client.type_line("quit");
    let output = client.program.wait_with_output();
    assert_eq!(output.text().lines().count(), 7, "there is no good-bye");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn outages_and_losses_are_objects() {
    let server = FakeServer::start();
    let arguments = [
        "--nick",
        "ada",
        "--protocol",
        "v1",
        "--answer-within",
        "500ms",
    ];
    let mut client = JsonClient::start(server.address(), &arguments);
    let from = server.receive_heartbeat();
    assert_eq!(server.receive_text(), b"/nick ada");
    server.send(b"* you are ada", from);
    client.expect(&json!({"event": "up", "protocol": "v1"}));
    client.expect(&json!({"event": "notice", "code": "done", "text": "you are ada"}));
    client.type_line("who am I?");
    while server.receive_text() != b"who am I?" {}
    server.send(b"127.0.0.1:7 who am I?", from);
    client.expect(&json!({"event": "forgotten"}));
    let text = "who am I?";
    client.expect(&json!({"event": "message", "from": "127.0.0.1:7", "text": text}));
    client.type_line("hi");
    client.expect(&json!({"event": "down", "reason": "no answer within 500ms"}));
    client.expect(&json!({"event": "undelivered", "texts": ["hi"], "sent": true}));
}

/// A client that prints JSON.
struct JsonClient {
    program: ClientProgram,
}

impl JsonClient {
    #[track_caller]
    fn start(server: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = client_command();
        command
            .arg("--json")
            .args(arguments)
            .arg(server.to_string());
        Self {
            program: ClientProgram::spawn(&mut command),
        }
    }

    #[track_caller]
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
