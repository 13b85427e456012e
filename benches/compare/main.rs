//! The same work by bullhorn and by what a user would take instead. See benches/README.md;
//! `scripts/compare` runs it and draws what it found.

#[path = "../harness/mod.rs"]
mod harness;

mod bare_server;
mod clients;
mod climb;
mod codec;
mod stop;
mod subjects;
mod tcp;
mod udp;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use bare_server::Bare;
use climb::{Climb, Task, climb};
use harness::Error;
use harness::cpu::{Cores, pin};
use harness::report::machine;
use subjects::Subject;
use work::{Step, Work};

/// bullhorn, NATS, Mosquitto, two baselines and the bare kernel at the same work
#[derive(Parser)]
struct Arguments {
    /// Measure only the subjects with this in their names
    #[arg(default_value = "")]
    filter: String,
    /// Measurements of each subject at each work, in turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..100))]
    rounds: u16,
    /// Length of each step of load, in ms
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..10_000))]
    window_ms: u64,
    /// Begin no further round that would end after so many seconds
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u64).range(1..86_400))]
    budget_s: u64,
    /// Where to write the results as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Be the bare kernel instead, for another one of this program
    #[arg(long, hide = true, requires = "address")]
    bare_server: Option<Bare>,
    #[arg(long, hide = true)]
    address: Option<SocketAddr>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured, as it goes into the file.
#[derive(Default)]
struct Findings {
    climbs: Vec<Value>,
    versions: BTreeMap<&'static str, String>,
    /// Why something is missing.
    skipped: Vec<String>,
    rounds: u16,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    if let (Some(bare), Some(address)) = (arguments.bare_server, arguments.address) {
        return bare_server::serve(bare, address);
    }
    stop::watch()?;
    let cores = Cores::plan()?;
    pin(cores.load)?;
    let started = Instant::now();
    let (mut findings, subjects) = Findings::begin(&arguments.filter);
    for round in 0..arguments.rounds {
        let used_s = started.elapsed().as_secs_f64();
        let round_s = used_s / f64::from(round.max(1));
        if round > 0 && used_s + round_s > arguments.budget_s as f64 {
            findings.skip(&format!("rounds from {} on: no time", round + 1));
            break;
        }
        for task in tasks(arguments.window_ms) {
            for subject in in_turn(&subjects, round) {
                if subject.does(task.work) && !stop::is_wanted() {
                    findings.measure(subject, &task, round, cores);
                }
            }
        }
        findings.rounds = round + 1;
    }
    stop::check()?;
    if let Some(path) = &arguments.out {
        let value = findings.into_value(&arguments, started.elapsed());
        fs::write(path, serde_json::to_string_pretty(&value)?)?;
    }
    Ok(())
}

/// What each subject does in a round.
fn tasks(window_ms: u64) -> [Task; 4] {
    let ms = |share| Duration::from_millis(window_ms * share / 100);
    let fan_out = |clients| Task {
        work: Work::FanOut,
        clients,
        first_rate: 25_000.0,
        window: ms(100),
        half_window: ms(200),
    };
    let others = |work, first_rate| Task {
        work,
        clients: CLIENTS,
        first_rate,
        window: ms(50),
        half_window: ms(100),
    };
    [
        fan_out(100),
        fan_out(1000),
        others(Work::Requests, 12_500.0),
        others(Work::Heartbeats, 50_000.0),
    ]
}

/// Another one first in each round, and every other round backwards: what drifts on the
/// machine then meets all.
fn in_turn(subjects: &[Subject], round: u16) -> Vec<Subject> {
    let mut turn = subjects.to_vec();
    if !turn.is_empty() {
        let first = usize::from(round) * 3 % turn.len();
        turn.rotate_left(first);
    }
    if round % 2 == 1 {
        turn.reverse();
    }
    turn
}

impl Findings {
    /// Which subjects are here, and which are not.
    fn begin(filter: &str) -> (Self, Vec<Subject>) {
        let mut findings = Self::default();
        let mut here = Vec::new();
        for subject in Subject::ALL {
            if !subject.key().contains(filter) {
                continue;
            }
            match subject.version() {
                Ok(version) => {
                    findings.versions.insert(subject.key(), version);
                    here.push(subject);
                }
                Err(error) => findings.skip(&format!("{}: {error}", subject.key())),
            }
        }
        (findings, here)
    }

    /// Whatever goes wrong is noted, and the next one has its turn.
    fn measure(&mut self, subject: Subject, task: &Task, round: u16, cores: Cores) {
        // The server is killed with what is dropped here, whatever it does.
        let measured = thread::spawn({
            let task = *task;
            move || climb(subject, &task, cores)
        });
        let name = format!("{} {} round {}", label(task), subject.key(), round + 1);
        match measured.join() {
            Ok(Ok(climb)) => {
                let per_cpu_s = climb.best().map_or(0.0, Step::arrived_per_cpu_s);
                eprintln!("{name}: {:.0} thousand a CPU-second", per_cpu_s / 1e3);
                self.climbs.push(climb.value(subject, task, round));
            }
            Ok(Err(error)) => self.skip(&format!("{name}: {error}")),
            Err(_) => self.skip(&format!("{name}: the load panicked")),
        }
    }

    fn skip(&mut self, what: &str) {
        eprintln!("skipped: {what}");
        self.skipped.push(what.to_owned());
    }

    fn into_value(self, arguments: &Arguments, took: Duration) -> Value {
        json!({
            "machine": machine(),
            "rounds": self.rounds,
            "window_ms": arguments.window_ms,
            "took_s": took.as_secs(),
            "versions": self.versions,
            "skipped": self.skipped,
            "climbs": self.climbs,
        })
    }
}

impl Climb {
    /// The step in which the most arrived in a second.
    fn best(&self) -> Option<&Step> {
        let rate = Step::arrived_per_s;
        self.steps.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)))
    }

    fn value(&self, subject: Subject, task: &Task, round: u16) -> Value {
        json!({
            "subject": subject.key(),
            "work": label(task),
            "clients": task.clients,
            "round": round,
            "steps": self.steps.iter().map(Step::value).collect::<Vec<_>>(),
            "best": self.best().map(Step::value),
            "half": self.half.value(),
            "joined_bytes": self.joined_bytes,
            "peak_bytes": self.peak_bytes,
        })
    }
}

impl Step {
    fn arrived_per_cpu_s(&self) -> f64 {
        self.arrived as f64 / self.cpu.as_secs_f64().max(1e-6)
    }

    fn value(&self) -> Value {
        let wall_s = self.wall.as_secs_f64();
        json!({
            "offered_per_s": self.offered as f64 / self.window.as_secs_f64(),
            "sent_ratio": self.sent as f64 / self.offered as f64,
            "arrived_per_s": self.arrived_per_s(),
            "arrived_ratio": self.arrived_ratio(),
            "arrived": self.arrived,
            "arrived_per_cpu_s": self.arrived_per_cpu_s(),
            "busy_ratio": self.cpu.as_secs_f64() / wall_s,
            "p50_us": percentile(&self.latencies_us, 50),
            "p99_us": percentile(&self.latencies_us, 99),
            "late_p99_us": percentile(&self.late_us, 99),
        })
    }
}

fn label(task: &Task) -> String {
    match task.work {
        Work::FanOut => format!("fan-out-{}", task.clients),
        Work::Requests => "requests".to_owned(),
        Work::Heartbeats => "heartbeats".to_owned(),
    }
}

/// Of sorted values: the smallest that so many percent of them do not exceed.
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let index = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(index).copied()
}

/// That ask, or that send heartbeats.
const CLIENTS: usize = 64;
