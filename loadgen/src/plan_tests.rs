//! What plans count, and how they read.

use std::time::Duration;

use clap::Parser;

use super::*;
use crate::cli::args::Arguments;
use crate::cli::request::Request;

fn plan(line: &str) -> Plan {
    let words = ["loadgen", "--threads", "1"].into_iter();
    let arguments = Arguments::try_parse_from(words.chain(line.split_whitespace())).unwrap();
    match arguments.request().unwrap() {
        Request::Run(run) => Plan::of(&run.config),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_reads_calmly() {
    let expected = "\
127.0.0.1:9999  mixed, v1, seed 1, 1 thread
  clients  100 clients on shared sockets, 10 rooms of 10
  offers   1,000/s: 900 pings, 100 texts, evenly
  expects  1,000/s deliveries, 900/s answers
  payload  about 39.0 kB/s out, 99.1 kB/s in
  time     1 s of warm-up, 10 s recorded: 11,000 datagrams in all
";
    assert_eq!(plan("").to_string(), expected);
    let expected = "\
[::1]:7  chat, v2, seed 9, 1 thread
  clients  25 clients on a socket each, 3 rooms of up to 10
  offers   1/s to 3/s texts, at random times (Poisson)
  also     6/s heartbeats of idle clients, 2/s clients leave and 2/s come
  expects  9/s to 27/s deliveries (bundled, so the capacity does not count them)
  payload  about 139 B/s to 261 B/s out, 603 B/s to 1.81 kB/s in
  time     0 s of warm-up, 10 s recorded: 20 datagrams in all
";
    let line = "[::1]:7 --scenario chat --protocol v2 --seed 9 --clients 25 --ramp 1..3 \
                --arrival poisson --churn 2 --warmup 0s";
    let plan = plan(line);
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn several_targets_and_the_place_of_rooms_are_named() {
    let targets = "127.0.0.1:1 127.0.0.1:2";
    let text = plan(targets).to_string();
    let begins = "\
127.0.0.1:1, 127.0.0.1:2  mixed, v1, seed 1, 1 thread
  clients  100 clients on shared sockets, 10 rooms of 10 over all targets
";
    assert!(text.starts_with(begins), "{text}");
    let text = plan(&format!("{targets} --local-rooms")).to_string();
    assert!(
        text.contains(", 10 rooms of 10, each at one target\n"),
        "{text}"
    );
}

#[test]
fn every_plan_has_four_to_eight_lines_of_a_terminal() {
    for scenario in ["mixed", "chat", "ping", "heartbeat", "greet", "lobby"] {
        // More texts than that to one room have no numbers.
        let longest = if scenario == "lobby" { "30s" } else { "24h" };
        let most = format!("--rate 100M --clients 1000000 --duration {longest}");
        for rest in ["", "--ramp 1..70M", &most] {
            let text = plan(&format!("--scenario {scenario} {rest}")).to_string();
            assert!((4..=8).contains(&text.lines().count()), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
        }
    }
}

#[test]
fn a_text_is_delivered_to_all_of_its_room() {
    let deliveries = |line: &str| plan(line).last.deliveries;
    assert_eq!(deliveries("--scenario chat --rate 100"), 1000.0);
    assert_eq!(
        deliveries("--scenario lobby --rate 100 --clients 250"),
        25_000.0
    );
    assert_eq!(
        deliveries("--scenario chat --rate 100 --room-size 1"),
        100.0
    );
    assert_eq!(deliveries("--scenario chat --rate 100 --clients 4"), 400.0);
    assert_eq!(deliveries("--scenario ping --rate 100"), 0.0);
    // Two rooms of 10, and one of 5: of 25 texts 20 go to 10, and 5 to 5.
    let uneven = plan("--scenario chat --rate 25 --clients 25");
    assert_eq!((uneven.rooms, uneven.last.deliveries), (3, 225.0));
}

#[test]
fn a_client_whose_turn_comes_seldom_sends_heartbeats_in_between() {
    let keepalives = |line: &str| plan(line).last.keepalives;
    // Each client's turn comes after 1 s, after 10 s, and exactly with its heartbeat.
    assert_eq!(keepalives("--clients 1000 --rate 1k"), 0.0);
    assert_eq!(keepalives("--clients 10000 --rate 1k"), 2000.0);
    assert_eq!(keepalives("--clients 3000 --rate 1k --heartbeat 4s"), 0.0);
    // One speaks, and 400 are silent.
    assert_eq!(
        keepalives("--scenario lobby --clients 401 --rate 1k"),
        100.0
    );
    assert_eq!(keepalives("--scenario greet --clients 10000 --rate 1"), 0.0);
}

#[test]
fn the_total_is_warm_up_and_recording() {
    let total = |line: &str| plan(line).total;
    assert_eq!(total("--rate 100 --warmup 2s --duration 3s"), 500.0);
    assert_eq!(total("--ramp 100..300 --warmup 2s --duration 3s"), 800.0);
}

#[test]
fn what_is_handled_is_sent_and_received_at_the_most() {
    let handled = |line: &str| plan(line).handled_per_s();
    assert_eq!(handled("--scenario ping --rate 1k"), 2000.0);
    assert_eq!(handled("--scenario heartbeat --rate 1k"), 1000.0);
    assert_eq!(handled("--scenario chat --rate 1k"), 11_000.0);
    assert_eq!(handled("--scenario chat --rate 1k --protocol v2"), 1000.0);
    assert_eq!(handled("--scenario ping --ramp 1k..3k"), 6000.0);
    assert_eq!(handled("--scenario ping --ramp 3k..1k"), 6000.0);
    let silent = plan("--scenario lobby --clients 401 --rate 1");
    assert_eq!(silent.handled_per_s(), 1.0 + 100.0 + 401.0);
}

#[test]
fn sizes_are_those_of_the_protocol() {
    let per_s = |line: &str| {
        let load = plan(line).last;
        (load.bytes_out, load.bytes_in)
    };
    let one = "--rate 1 --duration 1s --clients 1";
    let greet = format!("{one} --scenario greet --payload 32");
    assert_eq!(
        per_s(&greet),
        (32.0, "hello,('127.0.0.1', 65535)".len() as f64)
    );
    let chat = format!("{one} --scenario chat --payload 32");
    assert_eq!(per_s(&chat), (32.0, "127.0.0.1:65535 ".len() as f64 + 32.0));
    assert_eq!(per_s(&format!("{one} --scenario heartbeat")), (4.0, 0.0));
    assert_eq!(plan(one).rooms, 1);
    assert_eq!(
        plan("--duration 3s").config.duration,
        Duration::from_secs(3)
    );
}
