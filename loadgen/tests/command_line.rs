//! The program `loadgen` as whoever types it meets it: help, refusals, exit codes.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bullhorn::{Server, ServerConfig};
use loadgen::config::Protocol;
use loadgen::limits::capacity::{self, Capacity};
use serde_json::Value;

/// Runs the program, with a cache directory that has nothing unless the test has put it
/// there.
fn loadgen(arguments: &[&str], cache: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .env("XDG_CACHE_HOME", cache)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn nowhere() -> PathBuf {
    std::env::temp_dir().join("loadgen-has-no-cache-here")
}

/// The exit code is that of wrong use, nothing is on standard output, and the error has
/// these words.
#[track_caller]
fn is_refused(arguments: &[&str], words: &str) {
    let output = loadgen(arguments, &nowhere());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    // Lines are wrapped where a terminal would end.
    let unwrapped = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains(words), "{arguments:?}: {errors}");
}

#[test]
fn values_out_of_bounds_are_refused() {
    for (arguments, words) in [
        (&["--clients", "0"][..], "1 to 1,000,000, such as 500, 10k"),
        (&["--clients", "1.5k"], "a whole number from 1 to 1,000,000"),
        (&["--rate", "0"], "must be above 0"),
        (&["--rate", "101M"], "must be at most 100 M/s"),
        (&["--rate", "fast"], "such as 20000, 50k, 1.5M or 0.5"),
        (&["--ramp", "1k"], "two rates, such as 1k..50k"),
        (&["--arrival", "often"], "uniform, poisson"),
        (&["--scenario", "talk"], "mixed, chat, ping"),
        (&["--mix", "ping=x"], "such as ping=90,text=10"),
        (
            &["--room-size", "1001k"],
            "1 to 1,000,000, such as 500, 10k",
        ),
        (&["--payload", "31"], "32 to 1152 bytes"),
        (&["--protocol", "v3"], "v1, v2"),
        (&["--churn", "x"], "such as 20000"),
        (&["--duration", "99ms"], "between 100ms and 1day"),
        (&["--warmup", "2h"], "between 0s and 1h"),
        (&["--drain", "2h"], "between 0s and 1h"),
        (&["--heartbeat", "1ms"], "between 10ms and 1day"),
        (&["--seed", "x"], "invalid digit"),
        (&["--seed", "18446744073709551616"], "number too large"),
        (&["--sockets", "some"], "shared, per-client"),
        (&["--threads", "0"], "1..=256"),
        (&["--cores", "x"], "such as 1,3-5"),
        (&["--slo", "fast"], "has no <, <=, > or >="),
        (&["localhost:"], "write HOST or HOST:PORT"),
        (&["localhost:0"], "the port must be 1 to 65535"),
        (&["http://localhost"], "speaks UDP and not http"),
        (&["::1:9999"], "an IPv6 address goes in brackets"),
        (&["calibrat"], "did you mean the command calibrate"),
        (&["findmax"], "did you mean the command find-max"),
        (&["--nonsense"], "unexpected argument"),
    ] {
        is_refused(arguments, words);
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (arguments, words) in [
        (
            &["--rate", "1k", "--ramp", "1..2"][..],
            "cannot be used with",
        ),
        (&["--overwrite"], "--out"),
        (
            &["--scenario", "chat", "--mix", "ping=1"],
            "--mix goes with",
        ),
        (
            &["--scenario", "ping", "--room-size", "5"],
            "--room-size goes with",
        ),
        (
            &["--scenario", "greet", "--protocol", "v2"],
            "--protocol v1",
        ),
        (&["--payload", "1000"], "900 are the most"),
        (
            &["--sockets", "shared", "[::1]:9999"],
            "--sockets per-client",
        ),
        (
            &["--scenario", "heartbeat", "--slo", "p99<1s"],
            "this run has none",
        ),
        (&["--rate", "1", "--duration", "100ms"], "offers nothing"),
        (&["find-max"], "--slo"),
        (&["find-max", "--slo", "p99<1s", "--rate", "5"], "--rate"),
        // What the server took is told of a run alone.
        (
            &["find-max", "--slo", "p99<1s", "--server-pid", "1"],
            "--server-pid",
        ),
        (
            &["find-max", "--slo", "p99<1s", "--from", "2", "--to", "1"],
            "must be below",
        ),
        (&["calibrate", "--clients", "5"], "--clients"),
        (&["--clients", "5", "calibrate"], "calibrate"),
    ] {
        is_refused(arguments, words);
    }
}

#[test]
fn load_goes_only_where_it_may() {
    is_refused(&["8.8.8.8:9999"], "--i-own-the-target");
    is_refused(&["[2001:db8::1]:9999"], "--i-own-the-target");
    for target in [
        "224.0.0.1:9999",
        "255.255.255.255:9999",
        "0.0.0.0:9999",
        "[ff02::1]:9",
    ] {
        is_refused(&[target, "--i-own-the-target"], "of one server");
    }
}

#[test]
fn help_has_every_option_and_the_exit_codes() {
    let output = loadgen(&["--help"], &nowhere());
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for option in [
        "--clients",
        "--rate",
        "--ramp",
        "--arrival",
        "--scenario",
        "--mix",
        "--room-size",
        "--payload",
        "--protocol",
        "--churn",
        "--duration",
        "--warmup",
        "--seed",
        "--heartbeat",
        "--sockets",
        "--threads",
        "--cores",
        "--no-sleep",
        "--slo",
        "--out",
        "--overwrite",
        "--force",
        "--i-own-the-target",
        "--json",
        "--quiet",
        "-c, --clients",
        "-r, --rate",
        "-d, --duration",
        "-t, --threads",
        "-o, --out",
        "calibrate",
        "find-max",
        "130, 143",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
}

#[test]
fn the_files_of_another_run_are_not_replaced_unless_one_says_so() {
    let name = format!("loadgen-taken-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("summary.json"), "{}").unwrap();
    let path = dir.to_str().unwrap();
    is_refused(&["--out", path], "holds another run");
    let left = fs::read_to_string(dir.join("summary.json"));
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(left.unwrap(), "{}");
}

/// A cache directory of one test, in which this machine has a capacity.
struct Calibrated(PathBuf);

impl Calibrated {
    fn to(handled_per_s: f64) -> Self {
        let name = format!("loadgen-calibrated-{handled_per_s}-{}", std::process::id());
        let cache = std::env::temp_dir().join(name);
        let path = cache.join("bullhorn").join("loadgen.json");
        let capacity = Capacity::here(1, Protocol::V1, handled_per_s);
        capacity::store(&path, &capacity).unwrap();
        Self(cache)
    }
}

impl Drop for Calibrated {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn more_than_the_calibrated_capacity_is_refused() {
    let cache = Calibrated::to(1999.0);
    let arguments = ["--threads", "1", "--scenario", "ping", "--rate", "1k"];
    let output = loadgen(&arguments, &cache.0);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--force"), "{errors}");
}

/// A chat on a port of its own.
fn server() -> Server {
    let config = ServerConfig {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        ..ServerConfig::default()
    };
    Server::start(config).unwrap()
}

/// A run against `server` that is under way, with its standard output in a pipe.
fn spawn(server: &Server, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--clients", "20", "--rate", "200", "--warmup", "0s"])
        .args(arguments)
        .arg(server.local_addr().to_string())
        .env("XDG_CACHE_HOME", nowhere())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn values(output: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(output).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_run_says_what_it_will_offer_and_what_came() {
    let server = server();
    let arguments = ["--json", "-d", "1s", "--slo", "max<1ns,rate>1"];
    let run = spawn(&server, &arguments);
    let output = run.wait_with_output().unwrap();
    let plan = str::from_utf8(&output.stderr).unwrap();
    let is_explained = plan.contains("loadgen: invalid: ");
    assert!(
        plan.contains("20 clients on shared sockets, 2 rooms of 10"),
        "{plan}"
    );
    let values = values(&output.stdout);
    let summary = values.last().unwrap();
    assert_eq!(values[0]["kind"], "second");
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["counts"]["due"], 200);
    assert_eq!(summary["slos"][0]["is_met"], false);
    assert_eq!(summary["slos"][1]["is_met"], true);
    // On a machine that is busy with others it may be invalid.
    let code = if summary["verdict"]["is_valid"] == true {
        3
    } else {
        4
    };
    assert_eq!(output.status.code(), Some(code), "{summary}");
    assert_eq!(is_explained, code == 4, "{plan}");
}

#[test]
fn a_run_into_a_pipe_ends_with_a_summary_and_a_quiet_one_with_its_verdict() {
    let server = server();
    let name = format!("loadgen-summary-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let out = dir.to_str().unwrap();
    let run = spawn(&server, &["-d", "1s", "-o", out]);
    let output = run.wait_with_output().unwrap();
    let text = str::from_utf8(&output.stdout).unwrap();
    let is_page = dir.join("report.html").is_file();
    fs::remove_dir_all(&dir).unwrap();
    assert!(is_page);
    assert!(
        text.ends_with(&format!("\nReport: {out}/report.html\n")),
        "{text}"
    );
    let verdict = match output.status.code() {
        Some(0) => "valid: 1 s of mixed",
        // On a machine that is busy with others it may be invalid.
        Some(4) => "INVALID: 1 s of mixed",
        other => panic!("{other:?}: {text}"),
    };
    assert!(text.starts_with(verdict), "{text}");
    assert!(text.contains("  answers  "), "{text}");

    let run = spawn(&server, &["-d", "1s", "--quiet", "--slo", "max<1ns"]);
    let output = run.wait_with_output().unwrap();
    let line = str::from_utf8(&output.stdout).unwrap();
    assert!(output.stderr.is_empty());
    assert_eq!(line.lines().count(), 1, "{line}");
    let begins = match output.status.code() {
        Some(3) => "valid, objectives MISSED: max<1ns: delivery ",
        Some(4) => "INVALID: ",
        other => panic!("{other:?}: {line}"),
    };
    assert!(line.starts_with(begins), "{line}");
}

#[test]
fn a_signal_ends_a_run_with_its_code_and_a_summary() {
    let server = server();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut run = spawn(&server, &["--duration", "1m", "--json"]);
        let mut output = BufReader::new(run.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains(r#""kind":"second""#), "{line}");
        let pid = run.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(kill.unwrap().success());
        let last = output.lines().last().unwrap().unwrap();
        let summary: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(summary["kind"], "summary");
        assert_eq!(summary["signal"], code - 128);
        assert_eq!(run.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_server_that_says_goodbye_fails_a_run_that_tells_what_it_recorded() {
    let server = server();
    let arguments = ["--protocol", "v2", "--duration", "1m", "--quiet", "--json"];
    let mut run = spawn(&server, &arguments);
    let mut output = BufReader::new(run.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    server.stop().unwrap();
    let last = output.lines().last().unwrap().unwrap();
    let summary: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["server_said_goodbye"], true);
    assert_eq!(summary["signal"], Value::Null);
    assert!(
        summary["counts"]["delivered"].as_u64() > Some(0),
        "{summary}"
    );
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(errors, "loadgen: the server said goodbye\n");
}

#[test]
fn a_reader_that_goes_ends_the_run_quietly() {
    let server = server();
    let mut run = spawn(&server, &["--duration", "1m", "--quiet", "--json"]);
    let mut output = BufReader::new(run.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(str::from_utf8(&output.stderr).unwrap(), "");
}

#[test]
fn a_run_without_a_server_fails() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = nobody.local_addr().unwrap().to_string();
    let output = loadgen(&["--clients", "2", &target], &nowhere());
    assert_eq!(output.status.code(), Some(1));
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert!(errors.contains("did not answer"), "{errors}");
    assert!(output.stdout.is_empty());
}
