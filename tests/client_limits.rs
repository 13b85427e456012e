//! The program `client` with input from a pipe, at servers that limit it.

mod common;

use std::fmt::Write;

use bullhorn::ServerConfig;
use bullhorn::config::Trust;
use common::{OutputText, TestServer, V4, run_client, unpinned_config};

/// More than a burst, and few enough to take some seconds only.
const LINES: usize = 100;

#[test]
fn every_line_of_a_pipe_is_said_once_and_in_its_order() {
    std::thread::scope(|scope| {
        for protocol in ["v1", "v2"] {
            scope.spawn(|| pipe(protocol));
        }
    });
}

fn pipe(protocol: &str) {
    let server = TestServer::start(ServerConfig {
        trust: vec![Trust::Nobody],
        ..unpinned_config(1, V4)
    });
    let lines: Vec<_> = (1..=LINES).map(|number| format!("line {number}")).collect();
    // A third of the time for answers is the time for late echoes, here of a busy machine.
    let patience = ["--answer-within", "6s", "--wait", "20s"];
    let who = ["--protocol", protocol, "--nick", "ada", "--room", "den"];
    let arguments = [&patience[..], &who].concat();
    let output = run_client(server.local_addr(), &arguments, &lines);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = output.text();
    assert!(text.contains("* at most 20 texts per second\n"), "{text}");
    let mut expected = String::new();
    for line in lines {
        writeln!(expected, "ada {line}").expect("writing to a String never fails");
    }
    let said: String = text
        .lines()
        .filter(|line| line.starts_with("ada "))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(said, expected, "{protocol}");
}
