//! Runs at a server that does not trust its peers, and limits them.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::process::Command;
use std::time::Duration;

use bullhorn::config::Trust;
use bullhorn::{Server, ServerConfig};
use common::{at_once, mix, run_through};
use loadgen::config::{Protocol, Rate, RunConfig};
use loadgen::outcome::Limited;
use loadgen::verdict::Verdict;

fn server() -> Server {
    let config = ServerConfig {
        workers: 1,
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        no_pin: true,
        trust: vec![Trust::Nobody],
        ..ServerConfig::default()
    };
    Server::start(config).unwrap()
}

#[test]
fn clients_that_are_limited_are_counted_once_each() {
    let server = server();
    at_once([Protocol::V1, Protocol::V2], |protocol| {
        let config = RunConfig {
            clients: 2,
            protocol,
            mix: mix(1.0, 0.0, 0.0),
            rate: Rate::constant(2_000.0),
            warmup: Duration::ZERO,
            duration: Duration::from_secs(2),
            ..RunConfig::new(server.local_addr())
        };
        let outcome = run_through(&config);
        let limited = Limited {
            clients: 2,
            limit: "at most 200 units of work per second".to_owned(),
            network: Some("127.0.0.0/8".to_owned()),
        };
        assert_eq!(outcome.limited, Some(limited));
        assert_eq!(outcome.silence, None);
        assert_eq!(outcome.counts.stray, 0);
        let reasons = Verdict::of(&config, &outcome, &[]).invalid;
        let expected = "limited: 2 clients were told \"at most 200 units of work per second\": \
                        run the server with --trust 127.0.0.0/8.";
        assert_eq!(reasons[0], expected);
    });
}

#[test]
fn a_search_ends_where_the_server_limits_it() {
    let server = server();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "find-max",
            "--clients",
            "1",
            "--threads",
            "1",
            "--slo",
            "p99<60s",
        ])
        .args([
            "--duration",
            "1s",
            "--warmup",
            "0s",
            "--from",
            "1000",
            "--to",
            "2000",
        ])
        .args(["--json", &server.local_addr().to_string()])
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("no-cache"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert!(
        errors.contains("limited: 1 client was told \"at most "),
        "{errors}"
    );
    assert!(errors.contains("with --trust 127.0.0.0/8"), "{errors}");
    let lines = str::from_utf8(&output.stdout).unwrap();
    assert!(!lines.contains("\"kind\":\"found\""), "{lines}");
}
