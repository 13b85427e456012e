//! Rooms that change all the time: what those notice who only speak. See
//! benches/README.md.

#[path = "../harness/mod.rs"]
mod harness;

mod churn;
mod talk;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use clap::Parser;

use churn::Churn;
use harness::Error;
use harness::cpu::{Cores, pin};
use harness::pairs::Spread;
use harness::peers::Peers;
use harness::receivers::{Receivers, wait_until};
use harness::report::machine;
use harness::subject;
use talk::Talk;

/// What joining, leaving and renaming in a large room cost others
#[derive(Parser)]
struct Arguments {
    /// Pairs of measurements, with and without changes
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..1000))]
    pairs: u16,
    /// Length of each measurement, in ms
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(500..60_000))]
    window_ms: u64,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let Arguments {
        pairs, window_ms, ..
    } = Arguments::parse();
    let window = Duration::from_millis(window_ms);
    println!(
        "{}\nmedian (min..max) of {pairs} interleaved pairs of {window_ms} ms; {CHANGES_A_SECOND} \
         joins, leaves and renames a second in a room of {PEERS}\n",
        machine()
    );
    let cores = Cores::plan()?;
    let server = subject::start(ServiceKind::Chat)?;
    pin(cores.load)?;
    let inside = Talk::start(&server, "large", BETWEEN_TEXTS)?;
    let elsewhere = Talk::start(&server, "elsewhere", BETWEEN_MESSAGES)?;
    let receivers = Receivers::start(Peers::open_sharing(PEERS, PEERS_A_SOCKET)?, cores.load)?;
    let churn = Churn {
        peers: receivers.peers(),
        server: server.local_addr(),
    };
    let joined_s = storm(&churn, &server)?;
    let verdict = if joined_s <= 2.0 { "met" } else { "short" };
    println!("| what | figure | without changes | difference | goal | verdict |");
    println!("| --- | --- | --- | --- | --- | --- |");
    println!(
        "| {PEERS} joins within a second: done after, s | {joined_s:.2} | | | ≤ 2 | {verdict} |"
    );
    for (name, talk) in [
        ("a message in another room", &elsewhere),
        ("a text in that room, to its first member", &inside),
    ] {
        let [changed, quiet, difference] = compare(talk, &churn, pairs, window)?;
        let verdict = if difference.median <= 1.0 {
            "met"
        } else {
            "short"
        };
        println!(
            "| {name}: 99 of 100 arrived after, ms | {} | {} | {} | ≤ 1 | {verdict} |",
            text(changed),
            text(quiet),
            text(difference)
        );
    }
    let dropped = server.stats().total().kernel_drops;
    println!("\n{dropped} datagrams were dropped by the kernel");
    Ok(())
}

/// Everyone joins the room within a second, while someone speaks in it. Returns
/// after how many seconds all were there.
fn storm(churn: &Churn<'_>, server: &Server) -> Result<f64, Error> {
    churn.register()?;
    wait_until(|| server.stats().peers >= PEERS);
    let speaker = UdpSocket::bind("127.0.0.1:0")?;
    speaker.connect(server.local_addr())?;
    let over = AtomicBool::new(false);
    let joins = || server.stats().total().commands;
    let before = joins();
    thread::scope(|scope| {
        let speaking = scope.spawn(|| -> Result<(), Error> {
            speaker.send(b"/join large")?;
            while !over.load(Ordering::Relaxed) {
                speaker.send(b"welcome")?;
                thread::sleep(BETWEEN_WELCOMES);
            }
            Ok(())
        });
        let start = Instant::now();
        let offered = churn.join_all();
        wait_until(|| joins() - before > PEERS as u64);
        let taken = start.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        speaking.join().map_err(|_| "the speaker panicked")??;
        offered?;
        match joins() - before {
            all if all > PEERS as u64 => Ok(taken),
            some => Err(format!("{some} of {PEERS} joins came").into()),
        }
    })
}

/// The p99 in ms with changes and without, and their difference.
fn compare(
    talk: &Talk,
    churn: &Churn<'_>,
    pairs: u16,
    window: Duration,
) -> Result<[Spread; 3], Error> {
    let mut results = [const { Vec::new() }; 3];
    for pair in 0..pairs {
        let mut p99_ms = [0.0; 2];
        for turn in 0..2 {
            let is_quiet = usize::from((pair + turn) % 2 == 1);
            p99_ms[is_quiet] = if is_quiet == 1 {
                talk.p99_ms(window)?
            } else {
                while_changing(churn, || talk.p99_ms(window))?
            };
        }
        let [changed, quiet] = p99_ms;
        for (values, value) in results.iter_mut().zip([changed, quiet, changed - quiet]) {
            values.push(value);
        }
    }
    let [changed, quiet, difference] = results.map(Spread::of);
    let spreads = changed.zip(quiet).zip(difference).ok_or("no pair")?;
    let ((changed, quiet), difference) = spreads;
    Ok([changed, quiet, difference])
}

fn while_changing<T>(
    churn: &Churn<'_>,
    measure: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let changing = scope.spawn(|| churn.run(CHANGES_A_SECOND, &over));
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        changing.join().map_err(|_| "the changes panicked")??;
        measured
    })
}

fn text(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.2} ({min:.2}..{max:.2})")
}

/// Of each kind.
const CHANGES_A_SECOND: u32 = 500;

const PEERS: usize = 10_000;

/// As in the fan-out to 100,000 peers.
const PEERS_A_SOCKET: usize = 500;

/// A thousand in the window, so that 10 lie beyond the 99th.
const BETWEEN_MESSAGES: Duration = Duration::from_millis(2);

/// A text to all of them takes about 40 ms.
const BETWEEN_TEXTS: Duration = Duration::from_millis(60);

const BETWEEN_WELCOMES: Duration = Duration::from_millis(100);
