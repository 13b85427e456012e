//! Faults of the server are reported, and no run ends as if nothing had happened.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::io::{BufRead, BufReader, Lines};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use bullhorn::config::ServiceKind;
use common::process::{ServerProcess, serve};
use common::responder::Responder;
use common::{at_once, server};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A run of the program, with JSON lines in a pipe.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn loadgen(arguments: &[&str], target: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(["--clients", "20", "--rate", "500", "--warmup", "0s"])
        .args(arguments)
        .arg(target)
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("no-cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Running {
    fn start(arguments: &[&str], target: SocketAddr) -> Self {
        let mut command = loadgen(arguments, &target.to_string());
        let mut child = command.arg("--json").spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until so many more seconds were recorded.
    fn wait_seconds(&mut self, seconds: usize) {
        for _ in 0..seconds {
            let line = self.lines.next().unwrap().unwrap();
            assert!(line.contains(r#""kind":"second""#), "{line}");
        }
    }

    /// Returns the exit code, the summary and what was said on standard error.
    fn end(self) -> (i32, Value, String) {
        let Self { child, lines } = self;
        let last = lines.last().unwrap().unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let summary: Value = serde_json::from_str(&last).expect(&errors);
        assert_eq!(summary["kind"], "summary", "{errors}");
        (output.status.code().unwrap(), summary, errors)
    }
}

fn reasons(summary: &Value) -> String {
    let reasons = summary["verdict"]["invalid"].as_array().unwrap();
    let reasons = reasons.iter().map(|reason| reason.as_str().unwrap());
    reasons.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_server_that_is_killed_fails_the_run_that_says_since_when() {
    let cases = [("v1", "shared"), ("v2", "shared"), ("v1", "per-client")];
    at_once(cases, |(protocol, sockets)| {
        let server = ServerProcess::start();
        let address = server.address;
        let options = ["-d", "4s", "--protocol", protocol, "--sockets", sockets];
        let mut run = Running::start(&options, address);
        run.wait_seconds(1);
        drop(server);
        let (code, summary, errors) = run.end();
        let reasons = reasons(&summary);
        assert_eq!(code, 1, "{reasons}");
        assert!(
            reasons.starts_with("The server was silent from "),
            "{reasons}"
        );
        let why = format!(" s on: nothing listened on {address}.");
        assert!(reasons.contains(&why), "{reasons}");
        assert!(errors.contains(&why), "{errors}");
        let from_s = summary["server_silent_from_s"].as_f64().unwrap();
        assert!((1.0..4.0).contains(&from_s), "{from_s}");
        assert_eq!(summary["server_silent_to_s"], Value::Null);
        assert_eq!(summary["verdict"]["is_valid"], false);
        assert_eq!(summary["server_restarted"], false);
        let left_out = &summary["latencies"]["answer"]["left_out_ratio"];
        assert_eq!(*left_out, summary["rates"]["unanswered_ratio"]);
        assert!(left_out.as_f64() > Some(0.1), "{left_out}");
    });
}

#[test]
fn a_server_that_stands_still_for_more_than_a_second_fails_the_run_as_well() {
    let server = ServerProcess::start();
    let mut run = Running::start(&["-d", "5s"], server.address);
    run.wait_seconds(1);
    server.signal(Signal::SIGSTOP);
    run.wait_seconds(3);
    server.signal(Signal::SIGCONT);
    let (code, summary, errors) = run.end();
    let reasons = reasons(&summary);
    assert_eq!(code, 1, "{reasons}");
    assert!(errors.contains("The server was silent from "), "{errors}");
    let at = |key: &str| summary[key].as_f64().unwrap();
    let silent_s = at("server_silent_to_s") - at("server_silent_from_s");
    assert!(silent_s >= 1.0, "{silent_s}");
    assert_eq!(summary["server_restarted"], false, "{reasons}");
}

/// In version 1 everyone receives everything from then on; in version 2 nobody anything.
#[test]
fn a_server_that_is_started_again_makes_the_run_invalid() {
    at_once(["v1", "v2"], |protocol| {
        let server = ServerProcess::start();
        let address = server.address.to_string();
        let mut run = Running::start(&["-d", "5s", "--protocol", protocol], server.address);
        run.wait_seconds(1);
        drop(server);
        let _server = ServerProcess::start_at(&address);
        let (code, summary, errors) = run.end();
        let reasons = reasons(&summary);
        assert_eq!(summary["server_restarted"], true, "{reasons}");
        assert!(
            errors.contains("The server restarted during the run"),
            "{errors}"
        );
        // On a machine that is busy with others it may have been gone for long.
        let expected = if summary["server_silent_from_s"].is_null() {
            4
        } else {
            1
        };
        assert_eq!(code, expected, "{reasons}");
    });
}

#[test]
fn strays_make_the_run_invalid() {
    let responding = Responder {
        foresees: true,
        ..Responder::default()
    }
    .start();
    let options = ["-d", "1s", "--room-size", "1"];
    let mut command = loadgen(&options, &responding.address.to_string());
    command.args(["--scenario", "chat", "--quiet"]);
    let Output { status, stdout, .. } = command.output().unwrap();
    let line = str::from_utf8(&stdout).unwrap();
    assert_eq!(status.code(), Some(4), "{line}");
    assert!(
        line.starts_with("INVALID: Of ") && line.contains("were stray"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");

    // The summary may have gone to a file. The reason is on standard error as well.
    let mut command = loadgen(&options, &responding.address.to_string());
    let Output { status, stderr, .. } = command.args(["--scenario", "chat"]).output().unwrap();
    let errors = str::from_utf8(&stderr).unwrap();
    assert_eq!(status.code(), Some(4), "{errors}");
    let reasons = errors
        .lines()
        .filter(|line| line.starts_with("loadgen: invalid: Of "));
    assert_eq!(reasons.count(), 1, "{errors}");
}

#[test]
fn a_name_is_tried_at_all_its_addresses_and_an_error_has_them_all() {
    let addresses = |port| -> Vec<SocketAddr> {
        let found = ("localhost", port).to_socket_addrs().unwrap();
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.dedup();
        found
    };
    let last = addresses(0).pop().unwrap();
    let server = server(1, ServiceKind::Chat, &last.to_string());
    let port = server.local_addr().port();
    let target = format!("localhost:{port}");
    let output = loadgen(&["-d", "100ms", "--json"], &target)
        .output()
        .unwrap();
    let stdout = str::from_utf8(&output.stdout).unwrap();
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["config"]["target"], server.local_addr().to_string());
    server.stop().unwrap();

    let output = loadgen(&["-d", "100ms", "--json"], &target)
        .output()
        .unwrap();
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("nothing listens on "), "{errors}");
    for address in addresses(port) {
        assert!(errors.contains(&address.to_string()), "{address}: {errors}");
    }
}

#[test]
#[ignore = "it is the server that the tests above start"]
fn a_server_process() {
    serve();
}
