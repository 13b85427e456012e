//! What the generator can do at most, beside the shortest loop that does the same: pings
//! to the null responder, and their answers.
//!
//! The subject is, in the first row, what it sends and has answered when more is due than
//! it can send; in the second one the rate that `loadgen calibrate` finds, which it keeps
//! up with: both from 10,000 addresses. The bare side sends 64 pings with one `sendmmsg`
//! and takes their answers with `recvmmsg`, as fast as it goes, from one address, and
//! looks at nothing.

#[path = "../../benches/harness/bare/mod.rs"]
#[allow(dead_code, reason = "it has what other benchmarks need, too")]
mod bare;
#[path = "../../benches/harness/pairs.rs"]
mod pairs;
#[path = "../../benches/harness/report.rs"]
#[allow(dead_code, reason = "it has what other benchmarks need, too")]
mod report;

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use loadgen::config::{Protocol, RunConfig};
use loadgen::limits::calibrate::Calibration;
use loadgen::limits::null::NullResponder;
use loadgen::{Control, run};

use self::bare::ping_loop::PingLoop;
use self::pairs::interleave;
use self::report::{Goal, Row, markdown};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--pairs");
    let pairs = match arguments.nth(1) {
        Some(pairs) => pairs.parse()?,
        None => PAIRS,
    };
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [responder, generator, ..] = cores[..] else {
        return Err("this needs 2 cores: on one, the two sides would take turns".into());
    };
    let calibration = Calibration {
        threads: 1,
        cores: vec![generator.id],
        protocol: Protocol::V1,
        responder_core: Some(responder.id),
        duration: TRY,
    };
    let command = "cargo bench -p loadgen --bench capacity";
    let how = format!("median (min..max) of {pairs} interleaved pairs");
    let mut rows = Vec::new();
    for (name, is_flat_out) in [
        ("pings to the null responder, more than it can send", true),
        (
            "pings to the null responder, a rate that it keeps up with",
            false,
        ),
    ] {
        let measured = interleave(pairs, |is_subject| {
            let rate = match (is_subject, is_flat_out) {
                (false, _) => looped(responder, generator)?,
                (true, true) => flat_out(&calibration)?,
                (true, false) => calibration.find(&Control::new(), |_, _| {})?,
            };
            Ok(Ok(rate / 1000.0))
        })?;
        let row = Row {
            name,
            unit: "thousand round trips a second",
            goal: Goal::AtLeast(0.8),
            pairs: measured,
            note: String::new(),
        };
        println!("{}", row.text());
        rows.push(row);
    }
    println!("{}", markdown(&rows, command, &how));
    Ok(())
}

/// Round trips a second when more is due than the generator can send.
fn flat_out(calibration: &Calibration) -> Result<f64, Error> {
    let responder = NullResponder::start(calibration.responder_core)?;
    let config = RunConfig {
        // It never gets beyond what is due first.
        warmup: Duration::ZERO,
        ..calibration.config(responder.local_addr(), TOO_MUCH)
    };
    let outcome = run(&config, &Control::new(), |_| {})?;
    if outcome.counts.sent == outcome.counts.due {
        return Err("this machine is so fast that all was sent: raise TOO_MUCH".into());
    }
    Ok(outcome.counts.answered as f64 / outcome.recorded.as_secs_f64())
}

/// Runs the bare loop in a thread of its own: the main thread stays on no core.
fn looped(responder: CoreId, generator: CoreId) -> Result<f64, Error> {
    let responder = NullResponder::start(Some(responder.id))?;
    let SocketAddr::V4(address) = responder.local_addr() else {
        return Err("the responder listens on IPv4".into());
    };
    let body = move || -> std::io::Result<f64> {
        core_affinity::set_for_current(generator);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        let mut pings = PingLoop::new(address, &PING, BATCH);
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < WINDOW {
            count += pings.round(&socket)?;
        }
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    };
    let rate = thread::spawn(body).join();
    Ok(rate.map_err(|_| "the bare loop failed")??)
}

/// A calibration takes a quarter of a minute.
const PAIRS: usize = 5;

/// Far more than one thread sends.
const TOO_MUCH: f64 = 2_000_000.0;

/// How long a rate is tried.
const TRY: Duration = Duration::from_secs(1);

/// How long the bare loop runs.
const WINDOW: Duration = Duration::from_secs(2);

/// As in the generator's own batches.
const BATCH: usize = 64;

/// As long as the generator's: the verb, a blank, and a stamp.
const PING: [u8; 38] = *b"/ping 00000000000000000000000000000000";

/// On loopback nothing takes so long.
const LOST_AFTER: Duration = Duration::from_secs(1);
