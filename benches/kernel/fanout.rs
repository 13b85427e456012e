//! One room of 1000 stock peers, below saturation: CPU time for a delivery.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use bullhorn::net::bare::{Drain, FanOut};

use crate::Plan;
use crate::harness::Error;
use crate::harness::bare::{BARE, BareThread};
use crate::harness::cpu::{ThreadMeter, pin};
use crate::harness::pairs::interleave;
use crate::harness::receivers::{Receivers, wait_until};
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, Cost, Totals};

/// Both are sent the same texts at the same times by the same socket, and
/// deliver to the same sockets.
pub(crate) fn measure(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(plan.cores.load)?;
    let payload = what_peers_hear(server.local_addr())?;
    let receivers = Receivers::start(PEERS, plan.cores.load)?;
    register(&receivers, &server)?;

    let (mut drain, mut fan_out) = (Drain::new(), FanOut::new(&receivers.addresses()?, &payload));
    let bare = BareThread::start(plan.cores.subject, subject::buffers(), move |socket| {
        let texts = drain.wait(socket)?;
        for _ in 0..texts {
            fan_out.send(socket)?;
        }
        Ok(texts)
    })?;

    let speaker = &receivers.sockets()[0];
    let meters = [ThreadMeter::of(BARE)?, ThreadMeter::of(WORKER)?];
    let targets = [bare.local_addr(), server.local_addr()];
    let mut totals = Totals::default();
    let measure_one = |is_subject: bool| {
        let side = usize::from(is_subject);
        let cost = Cost::of(&meters[side], || {
            let before = receivers.received();
            let texts = speak(speaker, targets[side], plan.window)?;
            let expected = texts * PEERS as u64;
            Ok((expected, receivers.wait_for(before + expected) - before))
        })?;
        totals.add(is_subject, &cost);
        Ok(cost.us_each())
    };
    let pairs = interleave(plan.pairs, measure_one)?;
    Ok(Row {
        name,
        unit: "µs of CPU a delivery",
        goal: Goal::AtMost(1.15),
        pairs,
        note: format!(
            "{TEXTS_A_SECOND} texts a second of {} bytes as delivered; {}",
            payload.len(),
            totals.note("deliveries")
        ),
    })
}

/// Says the text once, as a peer, to hear in which form it goes out; all peers
/// on 127.0.0.1 have addresses of one length.
fn what_peers_hear(server: SocketAddr) -> Result<Vec<u8>, Error> {
    let witness = UdpSocket::bind("127.0.0.1:0")?;
    witness.set_read_timeout(Some(Duration::from_secs(1)))?;
    witness.send_to(TEXT, server)?;
    let mut payload = [0; 1024];
    let len = witness.recv(&mut payload)?;
    witness.send_to(b"quit", server)?;
    Ok(payload[..len].to_vec())
}

fn register(receivers: &Receivers, server: &Server) -> Result<(), Error> {
    for socket in receivers.sockets() {
        socket.send_to(b"@im@", server.local_addr())?;
    }
    if !wait_until(|| server.stats().peers == PEERS) {
        return Err(format!("{} of {PEERS} peers registered", server.stats().peers).into());
    }
    Ok(())
}

/// Sends texts evenly for as long as `window`, and returns how many.
fn speak(speaker: &UdpSocket, to: SocketAddr, window: Duration) -> Result<u64, Error> {
    let texts = (window.as_secs_f64() * TEXTS_A_SECOND).ceil() as u32;
    let start = Instant::now();
    for text in 0..texts {
        let due = start + Duration::from_secs_f64(f64::from(text) / TEXTS_A_SECOND);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        speaker.send_to(TEXT, to)?;
    }
    Ok(texts.into())
}

const PEERS: usize = 1000;

/// 40,000 deliveries a second: a quarter to a half of what the bare kernel can.
const TEXTS_A_SECOND: f64 = 40.0;

/// With `127.0.0.1:54321 ` before it, 48 bytes: a line of chat.
const TEXT: &[u8] = b"the quick brown fox jumps over l";

/// The thread of a server's first worker.
pub(crate) const WORKER: &str = "worker-0";
