//! A server that stands still for a moment shows in how long answers take, as it does
//! to clients who do not wait for each other.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::thread;
use std::time::Duration;

use common::process::{ServerProcess, serve};
use common::{config, mix};
use hdrhistogram::Histogram;
use loadgen::config::{Rate, RunConfig, Scenario};
use loadgen::outcome::Outcome;
use loadgen::{Control, run};
use nix::sys::signal::Signal;

#[test]
fn a_stall_of_the_server_shows_in_full() {
    for _ in 0..TRIES {
        let (outcome, times) = run_with_a_stall();
        let latencies = &outcome.latencies;
        let p99_ms = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) / 1_000_000;
        for (name, histogram) in latencies.named() {
            let max_ms = histogram.max() / 1_000_000;
            println!(
                "{name}: {}, p99 {} ms, max {max_ms} ms",
                histogram.len(),
                p99_ms(histogram)
            );
        }
        if p99_ms(&latencies.send_lag) > 10 {
            println!("the machine had too much else to do");
            continue;
        }
        let counts = &outcome.counts;
        assert_eq!((counts.due, counts.sent), (3000, 3000));
        assert_eq!((counts.answered, counts.answered_again), (3000, 0));
        assert_eq!(times, 1, "the server stood still");
        // Of 3000 pings, 200 fall into the stall: more than 1 in 100 waited for longer
        // than half of it.
        assert!(p99_ms(&latencies.answer) >= 100);
        assert!(latencies.answer.max() >= 190_000_000);
        assert!(p99_ms(&latencies.answer_from_send) >= 100);
        // One who waits for each answer asks once in all that time.
        let closed_loop = &latencies.answer_closed_loop;
        assert!(closed_loop.max() >= 190_000_000);
        assert!((1000..=2801).contains(&closed_loop.len()));
        assert!(p99_ms(closed_loop) < p99_ms(&latencies.answer) / 5);
        return;
    }
    panic!("{TRIES} times the machine did not let the generator send in time");
}

/// One client asks a thousand times a second for three seconds; after the first one
/// the server stands still. Returns how often it did, too.
fn run_with_a_stall() -> (Outcome, u32) {
    let server = ServerProcess::start();
    let config = RunConfig {
        clients: 1,
        scenario: Scenario::Ping,
        mix: mix(1.0, 0.0, 0.0),
        rate: Rate::constant(1000.0),
        duration: Duration::from_secs(3),
        ..config(server.address)
    };
    let mut times = 0;
    let outcome = run(&config, &Control::new(), |_| {
        if times == 0 {
            server.signal(Signal::SIGSTOP);
            // That is what is measured.
            thread::sleep(STALL);
            server.signal(Signal::SIGCONT);
            times += 1;
        }
    });
    (outcome.unwrap(), times)
}

#[test]
#[ignore = "it is the server that the test above starts"]
fn a_server_process() {
    serve();
}

const STALL: Duration = Duration::from_millis(200);

/// So often a busy machine may spoil it.
const TRIES: u32 = 6;
