//! Runs seeds, and says which of them find something.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use bullhorn::stats::Counts;
use clap::Parser;
use simulator::fuzz;
use simulator::world::{Options, run};

/// Runs the core of the server against the model, one world per seed
#[derive(Debug, Parser)]
struct Args {
    /// Number of seeds, from 0 on
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The only seed, or the first one if --seeds is given
    #[arg(long)]
    seed: Option<u64>,
    /// Number of peers [default: what the seed says]
    #[arg(long)]
    peers: Option<usize>,
    /// Simulated time in minutes [default: what the seed says, less than one]
    #[arg(long)]
    minutes: Option<u64>,
    /// Print every datagram
    #[arg(long)]
    trace: bool,
    /// Run scripts of random bytes in place of worlds, as the fuzz target does
    #[arg(long)]
    scripts: bool,
    /// Run each seed twice, and compare all datagrams
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_one = args.seed.is_some() && !std::env::args().any(|arg| arg.starts_with("--seeds"));
    let first = args.seed.unwrap_or(0);
    let (start, mut found, mut total) = (Instant::now(), 0_u64, Counts::default());
    let seeds = if is_one { 1 } else { args.seeds };
    for seed in first..first + seeds {
        let options = Options {
            seed,
            peers: args.peers,
            seconds: args.minutes.map(|minutes| 60 * minutes),
            is_traced: args.trace,
        };
        let twice = || {
            let report = run(&options);
            assert!(
                !args.twice || report == run(&options),
                "the second run differs"
            );
            report
        };
        let script = || {
            let mut rng = fastrand::Rng::with_seed(seed);
            fuzz::run(&(0..600).map(|_| rng.u8(..)).collect::<Vec<_>>());
            Counts::default()
        };
        let result = match args.scripts {
            true => catch_unwind(script),
            false => catch_unwind(|| twice().counts),
        };
        match result {
            Ok(counts) => total += counts,
            Err(_) => {
                found += 1;
                eprintln!("seed {seed} found something: scripts/simulate --seed {seed} --trace");
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{total:?}");
    let received = total.datagrams_in;
    println!("{seeds} seeds, {received} datagrams, {found} findings, {seconds:.1} s");
    ExitCode::from(u8::from(found > 0))
}
