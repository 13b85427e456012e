//! bullhorn beside the bare kernel: the cost of a delivery, a heartbeat and a greeting, and
//! deliveries under overload. See benches/README.md.

#[path = "../harness/mod.rs"]
mod harness;

mod fanout;
mod greeting;
mod heartbeats;
mod saturation;
mod subscriptions;

use std::thread;
use std::time::Duration;

use clap::Parser;

use harness::Error;
use harness::cpu::Cores;
use harness::report::{Row, machine, markdown};

/// bullhorn beside the bare kernel
#[derive(Parser)]
struct Arguments {
    /// Measure only the rows with this in their names
    #[arg(default_value = "")]
    filter: String,
    /// Pairs of measurements for each row
    #[arg(long, default_value_t = DEFAULT_PAIRS, value_parser = clap::value_parser!(u16).range(1..1000))]
    pairs: u16,
    /// Length of each measurement, in ms
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..60_000))]
    window_ms: u64,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// How each row is to be measured.
#[derive(Clone, Copy)]
struct Plan {
    cores: Cores,
    pairs: usize,
    window: Duration,
}

type Measure = fn(&Plan, &'static str) -> Result<Row, Error>;

const ROWS: [(&str, Measure); 14] = [
    ("fan-out to 1000 peers", fanout::measure_room::<1000>),
    ("fan-out to 100 peers", fanout::measure_room::<100>),
    ("fan-out to 10,000 peers", fanout::measure_room::<10_000>),
    (
        "fan-out to 100,000 peers",
        fanout::measure_large_room::<100_000>,
    ),
    ("fan-out in 1000 rooms of 10 peers", fanout::measure_rooms),
    ("heartbeats, from a backlog", heartbeats::measure_backlog),
    ("heartbeats, in a stream", heartbeats::measure_stream),
    ("greeting, 64 clients", greeting::measure_many),
    ("greeting, 1 client", greeting::measure_one),
    (
        "saturated, stock peers, equal lengths, beside GSO",
        saturation::measure_equal,
    ),
    (
        "saturated, stock peers, lengths of 16 to 256, beside sendmmsg",
        saturation::measure_mixed,
    ),
    (
        "saturated, v2 peers, beside GSO over 40 bundles",
        saturation::measure_bundles,
    ),
    (
        "v2 peers in 64 rooms, one message at a time, beside one room",
        subscriptions::measure_single,
    ),
    (
        "v2 peers in 64 rooms, 50 messages at a time, beside one room",
        subscriptions::measure_batches,
    ),
];

/// All rows then take less than three minutes.
const DEFAULT_PAIRS: u16 = 5;

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let plan = Plan {
        cores: Cores::plan()?,
        pairs: arguments.pairs.into(),
        window: Duration::from_millis(arguments.window_ms),
    };
    let how = format!(
        "median (min..max) of {} interleaved pairs of {} ms",
        plan.pairs, arguments.window_ms
    );
    println!(
        "{}\n{how}\nmeasure alone: a build beside it spoils every figure\n",
        machine()
    );
    let mut rows = Vec::new();
    for (name, measure) in ROWS {
        if name.contains(&arguments.filter) {
            // In a thread of its own, which pins itself once the server runs.
            let row = thread::spawn(move || measure(&plan, name)).join();
            let row = row.map_err(|_| format!("{name}: the measurement panicked"))?;
            let row = row.map_err(|error| format!("{name}: {error}"))?;
            println!("{}", row.text());
            rows.push(row);
        }
    }
    println!("As Markdown:\n");
    print!("{}", markdown(&rows, "cargo bench --bench kernel", &how));
    Ok(())
}
