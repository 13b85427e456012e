//! bullhorn under many times the load that it can carry: what is lost, and what
//! those notice who do not speak. See benches/README.md.

#[path = "../harness/mod.rs"]
mod harness;

mod probes;
mod scene;

use std::thread;
use std::time::Duration;

use bullhorn::config::ServiceKind;
use bullhorn::{Server, ServerConfig};
use clap::Parser;

use harness::Error;
use harness::cpu::{Cores, pin};
use harness::pairs::Spread;
use harness::report::machine;
use harness::subject;
use scene::{Loaded, PEERS, Quiet, Scene};

/// bullhorn under many times the load that it can carry
#[derive(Parser)]
struct Arguments {
    /// Length of the overload, in s
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..600))]
    seconds: u64,
    /// How many times the capacity is offered
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..100))]
    times: u32,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One promise, and whether it was kept.
struct Check {
    what: &'static str,
    figure: String,
    goal: &'static str,
    is_met: bool,
}

fn main() -> Result<(), Error> {
    let Arguments { seconds, times, .. } = Arguments::parse();
    let cores = Cores::plan()?;
    println!("{}\n{PEERS} stock peers in one room\n", machine());
    let server = Server::start(ServerConfig {
        // Whoever is not heard for so long is dropped here as everywhere.
        timeout: ServerConfig::default().timeout,
        reap_interval: ServerConfig::default().reap_interval,
        ..subject::config(ServiceKind::Chat)?
    })?;
    pin(cores.load)?;
    let mut scene = Scene::new(server, cores)?;
    let before = scene.quiet()?;
    let best = scene.best()?;
    let offered = f64::from(times) * best / PEERS as f64;
    println!("{offered:.0} texts/s offered for {seconds} s\n");
    let loaded = scene.load(offered, Duration::from_secs(seconds))?;
    thread::sleep(Duration::from_secs(1));
    let after = scene.quiet()?;

    println!("| what | figure | goal | verdict |\n| --- | --- | --- | --- |");
    let mut checks = checks_of_load(best, &loaded)?;
    checks.extend(checks_of_rest(&before, &after)?);
    for Check {
        what,
        figure,
        goal,
        is_met,
    } in checks
    {
        let verdict = if is_met { "met" } else { "short" };
        println!("| {what} | {figure} | {goal} | {verdict} |");
    }
    Ok(())
}

impl Scene {
    /// The most deliveries a second at any load.
    fn best(&mut self) -> Result<f64, Error> {
        let mut best: f64 = 0.0;
        for texts_a_second in LOADS {
            let loaded = self.load(texts_a_second, LOAD_WINDOW)?;
            let delivered = spread(&loaded.deliveries)?.median;
            println!(
                "{texts_a_second:5.0} texts/s offered: {:4.0} thousand deliveries/s, ping {:.2} ms",
                delivered / 1e3,
                spread(&loaded.round_trips_ms)?.median,
            );
            best = best.max(delivered);
        }
        Ok(best)
    }
}

fn checks_of_load(best: f64, loaded: &Loaded) -> Result<Vec<Check>, Error> {
    let (before, after) = (loaded.before.total(), loaded.after.total());
    let delivered = spread(&loaded.deliveries)?;
    let share = delivered.median / best;
    let heartbeats = after.heartbeats - before.heartbeats;
    let expired = loaded.after.expired - loaded.before.expired;
    let kernel_drops = after.kernel_drops - before.kernel_drops;
    let shed = after.messages_shed - before.messages_shed;
    let messages = after.messages - before.messages;
    // Buffers have grown to their sizes within the first quarter.
    let warm = loaded.memory_kib.len() / 4;
    let (first, last) = (loaded.memory_kib[warm], loaded.memory_kib.last());
    let growth = last.ok_or("the load was too short")? / first;
    let ping = spread(&loaded.round_trips_ms)?;
    Ok(vec![
        Check {
            what: "deliveries a second, beside the best at any load",
            figure: format!(
                "{share:.2}: {:.0} thousand (seconds: {:.0} to {:.0}); {messages} texts delivered, {shed} shed",
                delivered.median / 1e3,
                delivered.min / 1e3,
                delivered.max / 1e3
            ),
            goal: "≥ 0.9",
            is_met: share >= 0.9,
        },
        Check {
            what: "peers that expired",
            figure: format!("{expired} of {}", loaded.before.peers),
            goal: "0",
            is_met: expired == 0,
        },
        Check {
            what: "heartbeats counted, of those sent",
            figure: format!("{heartbeats} of {}", loaded.heartbeats_sent),
            goal: "all",
            is_met: heartbeats == loaded.heartbeats_sent,
        },
        Check {
            what: "datagrams that the kernel dropped before the server saw them",
            figure: kernel_drops.to_string(),
            goal: "0",
            is_met: kernel_drops == 0,
        },
        Check {
            what: "memory at the end, beside that after a quarter of the time",
            figure: format!("{growth:.3}"),
            goal: "≤ 1.01",
            is_met: growth <= 1.01,
        },
        Check {
            what: "ping meanwhile, ms: median (min..max)",
            figure: format!("{:.2} ({:.2}..{:.2})", ping.median, ping.min, ping.max),
            goal: "≤ 50",
            is_met: ping.median <= 50.0,
        },
    ])
}

fn checks_of_rest(before: &Quiet, after: &Quiet) -> Result<Vec<Check>, Error> {
    let check = |what, before: &[f64], after: &[f64]| -> Result<Check, Error> {
        let (before, after) = (spread(before)?, spread(after)?);
        Ok(Check {
            what,
            figure: format!("{:.3} ms, before {:.3}", after.median, before.median),
            goal: "≤ 1.25 × before",
            is_met: after.median <= 1.25 * before.median,
        })
    };
    Ok(vec![
        check(
            "ping, 1 s after it ended",
            &before.round_trips_ms,
            &after.round_trips_ms,
        )?,
        check(
            "until the last peer has a text, 1 s after it ended",
            &before.until_last_ms,
            &after.until_last_ms,
        )?,
    ])
}

fn spread(values: &[f64]) -> Result<Spread, Error> {
    Ok(Spread::of(values.to_vec()).ok_or("nothing was measured")?)
}

/// Texts a second: from a fraction of what 1000 stock peers can be sent to
/// several times as many.
const LOADS: [f64; 6] = [100.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0];

const LOAD_WINDOW: Duration = Duration::from_secs(5);
