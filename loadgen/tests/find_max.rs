//! `loadgen find-max` as whoever types it meets it: tries, the answer, files, refusals.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;
#[path = "common/scratch.rs"]
mod scratch;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use loadgen::limits::capacity::{self, Capacity};
use loadgen::limits::find_max::Try;
use loadgen::machine::Machine;
use loadgen::output::FindMaxSummary;
use scratch::Scratch;
use serde_json::Value;

fn chat() -> Server {
    common::server(1, ServiceKind::Chat, "127.0.0.1:0")
}

/// A search with short tries of few clients, and a cache directory that is the test's.
fn spawn(server: &Server, scratch: &Scratch, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["find-max", "--clients", "20", "--threads", "1"])
        .args(["--duration", "200ms", "--warmup", "0s"])
        .args(arguments)
        .arg(server.local_addr().to_string())
        .env("XDG_CACHE_HOME", scratch.path("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn search(server: &Server, scratch: &Scratch, arguments: &[&str]) -> Output {
    let child = spawn(server, scratch, arguments);
    child.wait_with_output().unwrap()
}

/// The tries and the answer, which goes with the exit code: on a machine that is busy with
/// others, the generator may fall short at any rate.
#[track_caller]
fn lines(output: &Output) -> (Vec<Try>, Value) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = str::from_utf8(&output.stdout).unwrap().lines();
    let mut lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = lines.pop().unwrap_or_else(|| panic!("{errors}"));
    assert_eq!(found["kind"], "found", "{errors}");
    assert!(lines.iter().all(|line| line["kind"] == "try"));
    let expected = match (
        found["rate_per_s"].is_number(),
        &found["is_generators_limit"],
    ) {
        (_, Value::Bool(true)) => 4,
        (true, _) => 0,
        (false, _) => 3,
    };
    assert_eq!(output.status.code(), Some(expected), "{found}: {errors}");
    let tries = lines.into_iter().map(serde_json::from_value);
    (tries.map(Result::unwrap).collect(), found)
}

#[test]
fn it_tries_rates_up_to_the_highest_that_is_allowed() {
    let (server, scratch) = (chat(), Scratch::new());
    let arguments = [
        "--json",
        "--slo",
        "loss<=100%",
        "--from",
        "500",
        "--to",
        "1k",
    ];
    let output = search(&server, &scratch, &arguments);
    let plan = str::from_utf8(&output.stderr).unwrap();
    assert!(plan.contains("others offer 500/s to 1,000/s"), "{plan}");
    let (tries, found) = lines(&output);
    assert!(tries.len() >= 2);
    for one in &tries {
        assert!((500.0..=1000.0).contains(&one.rate_per_s), "{one:?}");
        assert_eq!(one.is_good, one.invalid.is_empty(), "{one:?}");
        assert!(one.delivery.is_some() && one.answer.is_some(), "{one:?}");
    }
    if found["bad_rate_per_s"].is_null() {
        assert_eq!(found["rate_per_s"], 1000.0);
    }
    server.stop().unwrap();
}

#[test]
fn objectives_that_nothing_meets_end_it_at_the_lowest_rate() {
    let (server, scratch) = (chat(), Scratch::new());
    let dir = scratch.path("out");
    let dir = dir.to_str().unwrap();
    let arguments = ["--slo", "max<1ns", "--from", "500", "--out", dir];
    let with_json = [&arguments[..], &["--json"]].concat();
    let output = search(&server, &scratch, &with_json);
    let (tries, found) = lines(&output);
    // Two, and those that a busy machine spoils.
    assert!((2..=6).contains(&tries.len()), "{tries:?}");
    assert!(
        tries
            .iter()
            .all(|one| one.missed[0].clause == "max<1ns" && !one.missed[0].is_met)
    );
    assert_eq!(found["bad_rate_per_s"], 500.0);

    let read = fs::read_to_string(scratch.path("out/find-max.json")).unwrap();
    let summary: FindMaxSummary = serde_json::from_str(&read).unwrap();
    assert_eq!(summary.tries, tries);
    assert_eq!(summary.found.sentence, found["sentence"]);
    assert_eq!(summary.config.target, server.local_addr());
    assert!(summary.command.contains("find-max") && summary.command.contains("'max<1ns'"));
    let page = fs::read_to_string(scratch.path("out/find-max.html")).unwrap();
    assert!(page.contains(&summary.found.sentence));

    // Another search does not take its place.
    let output = search(&server, &scratch, &arguments);
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--overwrite"), "{errors}");
    assert_eq!(
        fs::read_to_string(scratch.path("out/find-max.json")).unwrap(),
        read
    );
    let overwriting = [&arguments[..], &["--overwrite", "--quiet"]].concat();
    let output = search(&server, &scratch, &overwriting);
    let answer = str::from_utf8(&output.stdout).unwrap();
    assert_eq!(answer.lines().count(), 1, "{answer}");
    assert!(answer.starts_with("No rate is good: "), "{answer}");
    assert!(output.stderr.is_empty());
    assert_ne!(
        fs::read_to_string(scratch.path("out/find-max.json")).unwrap(),
        read
    );
    server.stop().unwrap();
}

#[test]
fn it_goes_no_higher_than_the_generator_was_calibrated_to() {
    let (server, scratch) = (chat(), Scratch::new());
    let capacity = Capacity {
        machine: Machine::here(),
        threads: 1,
        protocol: "v1".into(),
        handled_per_s: 1400.0,
        measured_at_s: 1,
    };
    let path = scratch.path("cache/bullhorn/loadgen.json");
    capacity::store(&path, &capacity).unwrap();
    let arguments = ["--json", "--scenario", "ping", "--slo", "loss<=100%"];
    let (tries, found) = lines(&search(&server, &scratch, &arguments));
    assert!(tries.iter().all(|one| one.rate_per_s <= 700.0), "{tries:?}");
    if found["bad_rate_per_s"].is_null() {
        let sentence = found["sentence"].as_str().unwrap();
        assert!(sentence.contains("calibrated"), "{sentence}");
    }
    let more = [&arguments[..], &["--from", "701"]].concat();
    let output = search(&server, &scratch, &more);
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--force"), "{errors}");
    assert!(output.stdout.is_empty());
    server.stop().unwrap();
}

#[test]
fn a_signal_ends_it_without_an_answer_and_without_files() {
    let (server, scratch) = (chat(), Scratch::new());
    let dir = scratch.path("out");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let arguments = ["--json", "--slo", "loss<=100%", "--out"];
        let arguments = [&arguments[..], &[dir.to_str().unwrap()]].concat();
        let mut search = spawn(&server, &scratch, &arguments);
        let mut output = BufReader::new(search.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains(r#""kind":"try""#), "{line}");
        let pid = search.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(kill.unwrap().success());
        let rest: Vec<String> = output.lines().map(Result::unwrap).collect();
        assert!(rest.iter().all(|line| !line.contains("found")), "{rest:?}");
        assert_eq!(search.wait().unwrap().code(), Some(code));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
    server.stop().unwrap();
}

#[test]
fn a_search_without_a_server_fails() {
    let scratch = Scratch::new();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = nobody.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["find-max", "--slo", "p99<1s", "--clients", "2", &target])
        .env("XDG_CACHE_HOME", scratch.path("cache"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert!(errors.contains("did not answer"), "{errors}");
    assert!(output.stdout.is_empty());
}
