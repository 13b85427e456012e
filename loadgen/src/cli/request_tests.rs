//! From a command line to a run, and refusals.

use clap::Parser;

use super::*;
use crate::config::{Arrival, Mix};

#[track_caller]
fn request(line: &str) -> Result<Request, UseError> {
    let words = ["loadgen"].into_iter().chain(line.split_whitespace());
    match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments.request(),
        Err(error) => panic!("{line}: {error}"),
    }
}

#[track_caller]
fn run(line: &str) -> RunRequest {
    match request(line) {
        Ok(Request::Run(run)) => run,
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn refused(line: &str, why: &str) {
    match request(line) {
        Ok(accepted) => panic!("{line}: {accepted:?}"),
        Err(error) => assert!(error.to_string().contains(why), "{line}: {error}"),
    }
}

#[test]
fn without_arguments_it_is_the_documented_run() {
    let half = thread::available_parallelism().unwrap().get() / 2;
    let expected = RunConfig {
        target: "127.0.0.1:9999".parse().unwrap(),
        other_targets: Vec::new(),
        local_rooms: false,
        members_wait: Duration::from_secs(10),
        clients: 100,
        rate: Rate::constant(1000.0),
        arrival: Arrival::Uniform,
        scenario: Scenario::Mixed,
        mix: Mix {
            ping: 90.0,
            text: 10.0,
            heartbeat: 0.0,
        },
        room_size: 10,
        payload: Payload::fixed(48),
        protocol: Protocol::V1,
        churn_per_s: 0.0,
        warmup: Duration::from_secs(1),
        duration: Duration::from_secs(10),
        drain: Duration::from_secs(5),
        seed: 1,
        heartbeat: Duration::from_secs(4),
        sockets: Sockets::Shared,
        gro: true,
        threads: u16::try_from(half).unwrap().clamp(1, 100),
        cores: Vec::new(),
        spin: false,
        server_pid: None,
    };
    let run = run("");
    assert_eq!(run.config, expected);
    assert_eq!(run.slo, None);
    assert!(!run.is_forced);
}

#[test]
fn every_option_arrives() {
    let line = "--clients 50 --ramp 1k..5k --arrival poisson --scenario mixed \
                --mix ping=1,text=2,heartbeat=3 --room-size 5 --payload 32..64 --protocol v2 \
                --churn 7 --duration 20s --warmup 2s --drain 3s --seed 18446744073709551615 \
                --heartbeat 3s --sockets per-client --threads 2 --cores 0 --no-sleep \
                --slo p99<5ms,loss<0.1% --out there --overwrite --force --i-own-the-target \
                --json --quiet localhost:7";
    let run = run(line);
    let config = run.config;
    assert_eq!(config.target, "127.0.0.1:7".parse().unwrap());
    assert_eq!(config.clients, 50);
    let (from, to) = (1000.0, 5000.0);
    assert_eq!(config.rate, Rate { from, to });
    assert_eq!(config.arrival, Arrival::Poisson);
    assert_eq!(
        (config.mix.ping, config.mix.text, config.mix.heartbeat),
        (1.0, 2.0, 3.0)
    );
    assert_eq!(config.room_size, 5);
    assert_eq!(config.payload.to_string(), "32..64");
    assert_eq!(config.protocol, Protocol::V2);
    assert_eq!(config.churn_per_s, 7.0);
    assert_eq!(config.duration, Duration::from_secs(20));
    assert_eq!(config.warmup, Duration::from_secs(2));
    assert_eq!(config.drain, Duration::from_secs(3));
    assert_eq!(config.seed, u64::MAX);
    assert_eq!(config.heartbeat, Duration::from_secs(3));
    assert_eq!(config.sockets, Sockets::PerClient);
    assert_eq!(
        (config.threads, config.cores, config.spin),
        (2, vec![0], true)
    );
    assert_eq!(run.slo.unwrap().to_string(), "p99<5ms,loss<0.1%");
    let output = run.output;
    assert_eq!(output.out, Some("there".into()));
    assert!(output.overwrite && output.json && output.quiet && run.is_forced);
}

#[test]
fn several_targets_arrive_in_their_order() {
    let config = run("127.0.0.1:9001 127.0.0.2 127.0.0.1:9003 --local-rooms").config;
    assert!(config.local_rooms);
    assert_eq!(
        config.targets_text(),
        "127.0.0.1:9001, 127.0.0.2:9999, 127.0.0.1:9003"
    );
    assert_eq!(config.sockets, Sockets::Shared);
    // Each must be allowed, and near enough for shared sockets.
    let config = run("127.0.0.1:1 10.0.0.1:2").config;
    assert_eq!(config.sockets, Sockets::PerClient);
    refused("127.0.0.1:1 8.8.8.8:2", "8.8.8.8:2 is neither");
    run("127.0.0.1:1 8.8.8.8:2 --i-own-the-target");
    refused(
        "127.0.0.1:1 10.0.0.1:2 --sockets shared",
        "10.0.0.1:2 answers to such addresses only",
    );
    refused("127.0.0.1:1 0.0.0.0:1", "no address that a server has");
}

#[test]
fn targets_that_make_no_sense_are_refused() {
    refused("127.0.0.1:1 127.0.0.1:1", "127.0.0.1:1 is given twice");
    refused("--local-rooms", "give more than one");
    let two = "127.0.0.1:1 127.0.0.1:2";
    refused(
        &format!("{two} --clients 1 --room-size 1"),
        "2 targets are more than the 1 client",
    );
    refused(
        &format!("{two} --clients 10 --local-rooms"),
        "2 targets are more than the 1 room",
    );
    refused(
        &format!("{two} --scenario lobby --local-rooms"),
        "--local-rooms goes with --scenario mixed or chat",
    );
    refused(
        &format!("{two} --mix ping=1 --local-rooms"),
        "--local-rooms is about texts",
    );
    refused(
        &format!("{two} --server-pid {}", std::process::id()),
        "--server-pid is about one server",
    );
}

#[test]
fn a_scenario_sets_the_mix() {
    assert_eq!(run("--scenario lobby").config.mix.text, 1.0);
    let greet = run("--scenario greet --payload 64").config;
    assert_eq!((greet.mix.ping, greet.mix.text), (1.0, 0.0));
}

#[test]
fn what_means_nothing_in_a_scenario_is_refused() {
    for scenario in ["chat", "ping", "heartbeat", "greet", "lobby"] {
        let line = format!("--mix ping=1 --scenario {scenario}");
        refused(&line, "--mix goes with --scenario mixed; ");
        if scenario != "chat" {
            let line = format!("--room-size 5 --scenario {scenario}");
            refused(&line, "--room-size goes with --scenario mixed or chat");
        }
    }
    for scenario in ["ping", "heartbeat"] {
        let line = format!("--payload 48 --scenario {scenario}");
        refused(&line, "--payload goes with");
    }
    refused("--scenario greet --churn 1", "--churn goes with");
    refused("--scenario greet --heartbeat 1s", "--heartbeat goes with");
    refused("--scenario greet --protocol v2", "--protocol v1");
    refused("--mix ping=1 --room-size 5", "give text a weight");
    refused("--mix ping=1 --payload 48", "give text a weight");
}

#[test]
fn objectives_are_about_what_the_run_has() {
    assert!(request("--scenario ping --slo answer.p99<1s").is_ok());
    refused("--scenario ping --slo delivery.p99<1s", "has none");
    refused("--scenario chat --slo answer.loss<1%", "has none");
    refused("--scenario heartbeat --slo p99<1s", "has none");
    refused("find-max --scenario heartbeat --slo p99<1s", "has none");
}

#[test]
fn numbers_must_go_together() {
    refused("--clients 5 --room-size 6", "ask for more --clients");
    let many = run("--clients 20k --room-size 2k").config;
    assert_eq!((many.clients, many.room_size), (20_000, 2_000));
    assert_eq!(
        run("--clients 5").config.room_size,
        10,
        "as many as there are"
    );
    refused(
        "--clients 5 --churn 3",
        "--churn 3/s is more than half of the 5 clients",
    );
    let two = "--clients 9 127.0.0.1:1 127.0.0.1:2";
    refused(&format!("{two} --churn 4"), "more than a third of the 9");
    run(&format!("{two} --churn 4 --local-rooms --room-size 3"));
    refused("--payload 901", "--protocol v1 900 are the most");
    refused("--payload 48:1,32..1000:1", "up to 1000 bytes");
    assert!(request("--payload 1152 --protocol v2").is_ok());
    refused("--rate 0.5 --duration 1s", "0.5/s for 1s offers nothing");
    assert!(request("--rate 0.5 --duration 2s").is_ok());
}

#[test]
fn what_outgrows_numbers_of_32_bits_is_refused() {
    // One client, and then one room: 3.6 billion, and 4 billion.
    for (load, what) in [
        ("--scenario ping --clients 1", "requests of one client"),
        ("--scenario chat --clients 10", "texts to one room"),
        ("--scenario lobby --clients 500", "texts to one room"),
    ] {
        let line = |rest: &str| format!("{load} --threads 1 --duration 1h {rest}");
        for fits in ["--rate 1M", "--ramp 1..2M"] {
            assert!(request(&line(fits)).is_ok(), "{load} {fits}");
        }
        for many in ["--rate 1.1M", "--ramp 1..2.2M", "--rate 1M --warmup 10m"] {
            let why = format!(" {what} are more than numbers of 32 bits");
            refused(&line(many), &why);
        }
        let search = format!("find-max --slo loss<1% {load} --duration 1h --to");
        assert!(request(&format!("{search} 1M")).is_ok(), "{load}");
        refused(&format!("{search} 1.1M"), what);
    }
    for (load, fits, many) in [
        ("--scenario ping --clients 2", "2M", "2.2M"),
        ("--scenario chat --clients 20", "2M", "2.2M"),
        // Half of them go to the second thread, whose only client is alone in its room.
        ("--scenario chat --clients 11 --threads 2", "2M", "2.2M"),
        // 11 take turns, and 10 of these are in one room.
        ("--scenario chat --clients 11 --threads 1", "1.1M", "1.2M"),
        ("--clients 10 --mix ping=1,text=9", "1.1M", "1.2M"),
    ] {
        let threads = if load.contains("--threads") {
            ""
        } else {
            "--threads 1"
        };
        let line = |rate| format!("{load} {threads} --duration 1h --rate {rate}");
        assert!(request(&line(fits)).is_ok(), "{load}");
        refused(&line(many), "offer less, or for a shorter time");
    }
    // Nobody answers these, or knows which one an answer is to.
    for scenario in ["heartbeat", "greet"] {
        let line = format!("--scenario {scenario} --clients 1 --rate 10M --duration 1h");
        assert!(request(&line).is_ok(), "{scenario}");
    }
}

#[test]
fn a_server_that_is_watched_is_there() {
    let own = std::process::id();
    let line = format!("--server-pid {own}");
    assert_eq!(run(&line).config.server_pid, Some(own));
    assert_eq!(run("").config.server_pid, None);
    // Linux gives away none above 2²².
    refused("--server-pid 4194305", "there is no such process");
}

#[test]
fn shared_sockets_are_on_loopback_alone() {
    assert_eq!(run("[::1]:7").config.sockets, Sockets::PerClient);
    assert_eq!(run("127.9.9.9:7").config.sockets, Sockets::Shared);
    assert_eq!(run("10.0.0.1:7").config.sockets, Sockets::PerClient);
    refused("--sockets shared 10.0.0.1:7", "use --sockets per-client");
    refused("--sockets shared [::1]:7", "use --sockets per-client");
}

#[test]
fn foreign_targets_need_a_word() {
    refused("8.8.8.8:9999", "--i-own-the-target");
    assert!(request("8.8.8.8:9999 --i-own-the-target").is_ok());
    refused("224.0.0.1:9999 --i-own-the-target", "a multicast address");
    refused("find-max --slo p99<1s 8.8.8.8:9999", "--i-own-the-target");
}

#[test]
fn threads_have_clients_and_cores_have_threads() {
    assert_eq!(run("--clients 1").config.threads, 1);
    assert_eq!(run("--cores 0").config.threads, 1);
    assert_eq!(run("--cores 0 --threads 3").config.threads, 3);
    let no_rooms = "--clients 2 --scenario ping --threads 3";
    refused(no_rooms, "more than the 2 clients: each thread needs one");
    refused(
        "--clients 20 --threads 3",
        "more than the 2 rooms: each thread",
    );
    assert_eq!(run("--clients 21 --threads 3").config.threads, 3);
    refused("--threads 1 --cores 0,1", "ask for --threads 2");
    refused("--cores 1023", "--cores has 1023; this process may use 0");
    refused("calibrate --threads 1 --cores 0,1", "ask for --threads 2");
}

#[test]
fn a_search_has_rates_of_its_own() {
    let search = |line: &str| match request(line) {
        Ok(Request::FindMax(search)) => search,
        other => panic!("{other:?}"),
    };
    let plain = search("find-max --slo p99<5ms");
    assert_eq!((plain.from, plain.to), (None, None));
    assert_eq!(plain.config.rate, Rate::constant(1000.0));
    assert_eq!(plain.config.duration, Duration::from_secs(5));
    let bounded = search("find-max --slo p99<5ms --from 2k --to 1M --duration 1s");
    assert_eq!(bounded.config.rate, Rate::constant(2000.0));
    assert_eq!(bounded.to, Some(1e6));
    let low = search("find-max --slo p99<5ms --to 500");
    assert_eq!(low.config.rate, Rate::constant(500.0));
    refused(
        "find-max --slo p99<5ms --from 2k --to 1k",
        "--from 2,000/s must be below",
    );
}

#[test]
fn a_calibration_has_threads_and_a_protocol() {
    let request = request("calibrate --cores 0 --protocol v2").unwrap();
    let Request::Calibrate(calibration) = request else {
        panic!("{request:?}");
    };
    assert_eq!(
        (calibration.threads, calibration.protocol),
        (1, Protocol::V2)
    );
    assert_eq!(calibration.cores, [0]);
    // The responder has another processor, where there is one.
    assert_ne!(calibration.responder_core, Some(0));
}
