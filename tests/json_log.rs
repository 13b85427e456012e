//! The log of the program `server` in JSON.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::Stdio;

use common::{Client, Lines, Process, ServerProgram, TestFile, V4, output_of, server_command};
use nix::sys::signal::Signal;

#[cfg(feature = "admin")]
#[test]
fn each_line_of_a_log_in_json_is_an_object_with_the_same_keys() {
    // Its path is in a line.
    let file = TestFile::new("json \"\\\u{1b}\n", "log-format = \"json\"");
    let mut command = server_command(&["--bind", V4, "--config", file.path()]);
    let mut process = Process::spawn(command.stderr(Stdio::piped()));
    let log = Lines::new(process.child.stderr.take().unwrap());
    let next = || {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&log.next()).unwrap();
        let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["level", "message", "target", "timestamp"]);
        let time = object["timestamp"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        ["level", "target", "message"].map(|key| object[key].as_str().unwrap().to_owned())
    };
    let address = loop {
        let [_, _, message] = next();
        if let Some(address) = message.strip_prefix("listening on ") {
            break address.parse().unwrap();
        }
    };
    let ann = Client::connect(address);
    ann.send(b"she says \"hi\" \\ \x07\x1b[2J\n, \xff");
    let who = ann.address();
    let line = |target: &str, message| ["INFO".into(), format!("bullhorn::{target}"), message];
    assert_eq!(next(), line("peer", format!("{who} is here")));
    let text = r#"she says "hi" \ \x07\x1b[2J\x0a, "#;
    assert_eq!(next(), line("text", format!("{who} {text}\u{fffd}")));
    process.signal(Signal::SIGTERM);
    assert!(process.exit_status().success());
}

#[test]
fn the_reason_why_a_server_does_not_start_has_the_form_of_the_log() {
    let first = ServerProgram::start(&[]);
    let address = first.address.to_string();
    let start = |arguments: &[&str]| {
        let mut command = server_command(&["--bind", &address]);
        let (code, _, errors) = output_of(command.args(arguments));
        assert_eq!(code, Some(1));
        errors
    };
    let text = start(&[]);
    let reason = text.strip_prefix("server: ").unwrap();
    let json = format!(r#""level":"ERROR","message":"{reason}","#);
    let line = start(&["--log-format", "json"]);
    assert!(line.starts_with('{') && line.contains(&json), "{line}");
    // Without a log, it is not lost.
    assert_eq!(start(&["--log-format", "json", "--log", "off"]), text);
}
