//! A server that stands still for a moment shows in how long answers take, as it does
//! to clients who do not wait for each other.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bullhorn::config::ServiceKind;
use common::{V4, config, mix, server};
use hdrhistogram::Histogram;
use loadgen::config::{Rate, RunConfig, Scenario};
use loadgen::outcome::Outcome;
use loadgen::{Control, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
        rate: Rate::Constant(1000.0),
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

/// A server in a process of its own. Dropped, it is killed.
struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "a_server_process", "--nocapture"])
            .env(IS_SERVER, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let address = stdout.lines().find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once(MARK)?;
            address.parse().ok()
        });
        let address = address.expect("it says where it listens");
        Self { child, address }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().try_into().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Also one that stands still is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs until whoever started it closes its standard input, or ends.
#[test]
#[ignore = "it is the server that the test above starts"]
fn a_server_process() {
    if std::env::var_os(IS_SERVER).is_none() {
        return;
    }
    let server = server(1, ServiceKind::Chat, V4);
    println!("{MARK}{}", server.local_addr());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.stop().unwrap();
}

const STALL: Duration = Duration::from_millis(200);

/// So often a busy machine may spoil it.
const TRIES: u32 = 6;

/// Set in the environment of the process that is to be the server.
const IS_SERVER: &str = "LOADGEN_TEST_IS_SERVER";

const MARK: &str = "listening on ";
