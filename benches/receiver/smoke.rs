//! A test of `receiver.c`: an independent client counts what the server counts.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

use std::path::Path;
use std::process::Command;

use bullhorn::{Server, ServerConfig};

#[test]
fn an_independent_client_receives_every_message_once() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("receiver");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/receiver/receiver.c");
    let compiled = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", source, "-o"])
        .arg(&program)
        .status();
    assert!(compiled.unwrap().success());
    let server = Server::start(ServerConfig {
        workers: 1,
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        ..ServerConfig::default()
    })
    .unwrap();

    let port = server.local_addr().port().to_string();
    let output = Command::new(program)
        .args(["127.0.0.1", &port, "5", "0.5"])
        .output()
        .unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}");
    let counts: serde_json::Value = serde_json::from_str(&line).expect(&line);
    let count = |key: &str| counts[key].as_u64().expect(key);
    assert!(count("said") > 0, "{line}");
    let faults = ["lost", "repeated", "misdirected"].map(count);
    assert_eq!(faults, [0; 3], "{line}");
    assert_eq!(count("received"), 5 * count("said"), "{line}");
    let total = server.stats().total();
    assert_eq!(
        (total.messages, total.deliveries),
        (count("said"), count("received")),
        "{line}"
    );
}
