//! The same load for bullhorn and for its alternatives. See benches/README.md. `scripts/compare`
//! runs it and draws the results.

#[path = "../harness/mod.rs"]
mod harness;

mod clients;
mod codec;
mod load;
mod subjects;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use clients::register_all;
use harness::Error;
use harness::cpu::{Cores, Meter, pin};
use harness::report::machine;
use load::{Load, Step};
use subjects::Subject;

/// bullhorn, NATS, Mosquitto and two baselines under the same loads
#[derive(Parser)]
struct Arguments {
    /// Measure only the servers with this in their names
    #[arg(default_value = "")]
    filter: String,
    /// Measurements of each server, in turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..100))]
    rounds: u16,
    /// Length of each load, in ms
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..10_000))]
    window_ms: u64,
    /// Begin no further round that would end after this time, in s
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u64).range(1..86_400))]
    budget_s: u64,
    /// Program of the current release of NATS
    #[arg(long, value_name = "FILE", default_value = "nats-server")]
    nats: PathBuf,
    /// Where to write the results as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The results as they go into the file.
#[derive(Default)]
struct Findings {
    runs: Vec<Value>,
    versions: BTreeMap<&'static str, String>,
    /// The rows that are missing, with the reason.
    skipped: Vec<String>,
    rounds: u16,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let cores = Cores::plan()?;
    pin(cores.load)?;
    let window = Duration::from_millis(arguments.window_ms);
    let started = Instant::now();
    let mut findings = Findings::default();
    let mut subjects = Subject::all(arguments.nats).to_vec();
    subjects.retain(|one| one.key.contains(&arguments.filter) && findings.is_here(one));
    for round in 0..arguments.rounds {
        let used_s = started.elapsed().as_secs_f64();
        let round_s = used_s / f64::from(round.max(1));
        if round > 0 && used_s + round_s > arguments.budget_s as f64 {
            findings.skip(format!("rounds from {} on: no time", round + 1));
            break;
        }
        for clients in CLIENTS {
            for subject in &subjects {
                findings.measure(subject, clients, round, cores, window);
            }
            // Backwards in every other round, and each time with another one first: what
            // drifts on the machine meets all.
            subjects.reverse();
        }
        let count = subjects.len().max(1);
        subjects.rotate_left(3 % count);
        findings.rounds = round + 1;
    }
    if let Some(path) = &arguments.out {
        let value = json!({
            "machine": machine(),
            "rounds": findings.rounds,
            "window_ms": arguments.window_ms,
            "took_s": started.elapsed().as_secs(),
            "versions": findings.versions,
            "skipped": findings.skipped,
            "runs": findings.runs,
        });
        fs::write(path, serde_json::to_string_pretty(&value)?)?;
    }
    Ok(())
}

impl Findings {
    fn is_here(&mut self, subject: &Subject) -> bool {
        match subject.version() {
            Ok(version) => {
                self.versions.insert(subject.key, version);
                true
            }
            Err(error) => {
                self.skip(format!("{}: {error}", subject.key));
                false
            }
        }
    }

    /// Measures one server. An error is noted, and the next server has its turn.
    fn measure(
        &mut self,
        subject: &Subject,
        clients: usize,
        round: u16,
        cores: Cores,
        window: Duration,
    ) {
        let name = format!("{} to {clients}, round {}", subject.key, round + 1);
        // The server is killed at the end of the thread, whatever it does.
        let measured = thread::scope(|scope| {
            scope
                .spawn(|| offer_all(subject, clients, cores, window))
                .join()
        });
        match measured {
            Ok(Ok(mut run)) => {
                run["subject"] = subject.key.into();
                run["clients"] = clients.into();
                run["round"] = round.into();
                eprintln!(
                    "{name}: {} loads",
                    run["steps"].as_array().map_or(0, Vec::len)
                );
                self.runs.push(run);
            }
            Ok(Err(error)) => self.skip(format!("{name}: {error}")),
            Err(_) => self.skip(format!("{name}: the load panicked")),
        }
    }

    fn skip(&mut self, what: String) {
        eprintln!("skipped: {what}");
        self.skipped.push(what);
    }
}

/// Starts a server, and offers it the loads from the smallest on, until three of them were more
/// than it carries and brought no more than a smaller one.
fn offer_all(
    subject: &Subject,
    clients: usize,
    cores: Cores,
    window: Duration,
) -> Result<Value, Error> {
    // The clients are dropped before the process, so that none meets a dead server.
    let (process, mut clients) = subject.start(cores.subject, clients)?;
    register_all(clients.as_mut())?;
    let (joined_bytes, mut peak_bytes) = process.memory()?;
    let mut load = Load::new(clients, Meter::of_process(process.id()));
    load.settle()?;
    let mut steps = Vec::new();
    let (mut best_per_s, mut in_vain) = (0.0, 0);
    // Caches, windows of TCP and heaps grow first.
    load.step(DELIVERIES_PER_S[0], WARM_UP)?;
    for rate in DELIVERIES_PER_S {
        let step = load.step(rate, window)?;
        let is_more = step.arrived_per_s() > f64::min(best_per_s, CARRIED_RATIO * rate);
        in_vain = if is_more { 0 } else { in_vain + 1 };
        best_per_s = f64::max(best_per_s, step.arrived_per_s());
        steps.push(step.value(rate));
        peak_bytes = peak_bytes.max(process.memory()?.1);
        if in_vain == 3 || !load.settle()? {
            break;
        }
    }
    Ok(json!({
        "steps": steps,
        "joined_bytes": joined_bytes,
        "peak_bytes": peak_bytes,
    }))
}

impl Step {
    fn arrived_per_s(&self) -> f64 {
        self.arrived as f64 / self.wall.as_secs_f64()
    }

    fn value(&self, rate: f64) -> Value {
        let (wall_s, cpu_s) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64());
        json!({
            "offered_per_s": rate,
            "arrived_per_s": self.arrived_per_s(),
            "arrived_ratio": self.arrived as f64 / self.offered as f64,
            "arrived_per_cpu_s": self.arrived as f64 / cpu_s.max(1e-6),
            "busy_ratio": cpu_s / wall_s,
            "p50_us": percentile(&self.latencies_us, 50),
            "p99_us": percentile(&self.latencies_us, 99),
        })
    }
}

/// Returns the smallest of sorted values that `percent` of them do not exceed.
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let index = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(index).copied()
}

/// Receivers of each text.
const CLIENTS: [usize; 2] = [1000, 100];

/// The loads, the same for all servers: doubled, and then in steps of a half and a third.
const DELIVERIES_PER_S: [f64; 14] = [
    50e3, 100e3, 200e3, 400e3, 600e3, 800e3, 1.2e6, 1.6e6, 2.4e6, 3.2e6, 4.8e6, 6.4e6, 9.6e6,
    12.8e6,
];

/// A server that delivers less of a load does not carry it.
const CARRIED_RATIO: f64 = 0.9;

const WARM_UP: Duration = Duration::from_millis(100);
