//! Rooms of stock peers, below saturation: CPU time for a delivery.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use bullhorn::net::PeerAddr;
use bullhorn::net::bare::{Drain, FanOut};

use crate::Plan;
use crate::harness::Error;
use crate::harness::bare::{BARE, BareThread};
use crate::harness::cpu::{ThreadMeter, pin};
use crate::harness::pairs::interleave;
use crate::harness::receivers::{Receivers, wait_until};
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, Cost, Totals};

/// One room of `PEERS` peers.
pub(crate) fn measure_room<const PEERS: usize>(
    plan: &Plan,
    name: &'static str,
) -> Result<Row, Error> {
    measure(plan, name, PEERS, 1)
}

/// 1000 rooms of 10 peers.
pub(crate) fn measure_rooms(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, 10_000, 1000)
}

/// Both are sent the same texts at the same times by the same sockets, and
/// deliver to the same sockets.
fn measure(plan: &Plan, name: &'static str, peers: usize, rooms: usize) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(plan.cores.load)?;
    let payload = what_peers_hear(server.local_addr())?;
    let receivers = Receivers::start(peers, plan.cores.load)?;
    register(&receivers, &server)?;
    let members = peers / rooms;
    // The first member of each room speaks for it.
    let speakers: Vec<&UdpSocket> = receivers.sockets().iter().step_by(members).collect();
    if rooms > 1 {
        enter_rooms(&receivers, &server, members)?;
    }

    let addresses = receivers.addresses()?;
    let fan_outs = addresses
        .chunks(members)
        .map(|room| FanOut::new(room, &payload));
    let mut fan_outs: Vec<FanOut> = fan_outs.collect();
    let (mut drain, mut next) = (Drain::new(), 0);
    let bare = BareThread::start(plan.cores.subject, subject::buffers(), move |socket| {
        let texts = drain.wait(socket)?;
        for _ in 0..texts {
            fan_outs[next].send(socket)?;
            next = (next + 1) % rooms;
        }
        Ok(texts)
    })?;

    let meters = [ThreadMeter::of(BARE)?, ThreadMeter::of(WORKER)?];
    let targets = [bare.local_addr(), server.local_addr()];
    let mut totals = Totals::default();
    let measure_one = |is_subject: bool| {
        let side = usize::from(is_subject);
        let cost = Cost::of(&meters[side], || {
            let before = receivers.received();
            let texts = speak(&speakers, targets[side], members, plan.window)?;
            let expected = texts * members as u64;
            Ok((expected, receivers.wait_for(before + expected) - before))
        })?;
        totals.add(is_subject, &cost);
        Ok(cost.us_each())
    };
    let pairs = interleave(plan.pairs, measure_one)?;
    let goal = match (peers, rooms) {
        (1000, 1) => 1.15,
        (_, 1) => 1.3,
        _ => 1.25,
    };
    Ok(Row {
        name,
        unit: "µs of CPU a delivery",
        goal: Goal::AtMost(goal),
        pairs,
        note: format!(
            "{DELIVERIES_A_SECOND} deliveries a second of {} bytes; {}",
            payload.len(),
            totals.note("deliveries")
        ),
    })
}

/// Puts every `members` sockets into a room of their own.
fn enter_rooms(receivers: &Receivers, server: &Server, members: usize) -> Result<(), Error> {
    let handle = server.handle();
    for (room, peers) in (1..).zip(receivers.addresses()?.chunks(members)) {
        let room = handle.new_room(room);
        for peer in peers {
            if !handle.enter_room(&PeerAddr::new((*peer).into(), 0), &room) {
                return Err(format!("{peer} is not registered").into());
            }
        }
    }
    Ok(())
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
    // In portions that the server's socket holds.
    for (portion, sockets) in receivers.sockets().chunks(1000).enumerate() {
        for socket in sockets {
            socket.send_to(b"@im@", server.local_addr())?;
        }
        let registered = portion * 1000 + sockets.len();
        if !wait_until(|| server.stats().peers == registered) {
            return Err(
                format!("{} of {registered} peers registered", server.stats().peers).into(),
            );
        }
    }
    Ok(())
}

/// Sends texts evenly for as long as `window`, each by the next speaker, for
/// `members` to hear, and returns how many.
fn speak(
    speakers: &[&UdpSocket],
    to: SocketAddr,
    members: usize,
    window: Duration,
) -> Result<u64, Error> {
    let texts_a_second = DELIVERIES_A_SECOND / members as f64;
    // Whole rounds, so that the bare kernel knows whose turn it is.
    let rounds = window.as_secs_f64() * texts_a_second / speakers.len() as f64;
    let texts = rounds.ceil() as usize * speakers.len();
    let start = Instant::now();
    for (text, speaker) in (0..texts).zip(speakers.iter().cycle()) {
        let due = start + Duration::from_secs_f64(text as f64 / texts_a_second);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        speaker.send_to(TEXT, to)?;
    }
    Ok(texts as u64)
}

/// A quarter to a half of what the bare kernel can, and no more than what one
/// core of receivers can take.
const DELIVERIES_A_SECOND: f64 = 40_000.0;

/// With `127.0.0.1:54321 ` before it, 48 bytes: a line of chat.
const TEXT: &[u8] = b"the quick brown fox jumps over l";

/// The thread of a server's first worker.
pub(crate) const WORKER: &str = "worker-0";
