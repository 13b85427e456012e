//! Rooms of stock peers, below saturation: CPU time for a delivery.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use bullhorn::net::PeerAddr;

use crate::Plan;
use crate::harness::Error;
use crate::harness::bare::{Drain, FanOut};
use crate::harness::bare_thread::BareThread;
use crate::harness::cpu::pin;
use crate::harness::peers::Peers;
use crate::harness::receivers::Receivers;
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, Cost};

/// One room of `PEERS` peers, with a socket each.
pub(crate) fn measure_room<const PEERS: usize>(
    plan: &Plan,
    name: &'static str,
) -> Result<Row, Error> {
    let case = Case {
        open: || Peers::open(PEERS),
        rooms: 1,
        deliveries_a_second: DELIVERIES_A_SECOND,
        goal: if PEERS == 1000 { 1.15 } else { 1.3 },
    };
    measure(plan, name, &case)
}

/// One room of `PEERS` peers, who share sockets: more peers than a process may
/// open files.
pub(crate) fn measure_large_room<const PEERS: usize>(
    plan: &Plan,
    name: &'static str,
) -> Result<Row, Error> {
    let case = Case {
        open: || Peers::open_sharing(PEERS, PEERS_A_SOCKET),
        rooms: 1,
        deliveries_a_second: LARGE_DELIVERIES_A_SECOND,
        goal: 1.3,
    };
    measure(plan, name, &case)
}

/// 1000 rooms of 10 peers.
pub(crate) fn measure_rooms(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let case = Case {
        open: || Peers::open(10_000),
        rooms: 1000,
        deliveries_a_second: DELIVERIES_A_SECOND,
        goal: 1.25,
    };
    measure(plan, name, &case)
}

/// One row: who hears the texts, and how many.
struct Case {
    open: fn() -> Result<Peers, Error>,
    rooms: usize,
    deliveries_a_second: f64,
    /// For the ratio of the costs.
    goal: f64,
}

/// Both are sent the same texts at the same times by the same peers, and deliver
/// to the same peers.
fn measure(plan: &Plan, name: &'static str, case: &Case) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(plan.cores.load)?;
    let payload = what_peers_hear(server.local_addr())?;
    let receivers = Receivers::start((case.open)()?, plan.cores.load)?;
    let (peers, rooms) = (receivers.peers(), case.rooms);
    register(peers, &server)?;
    let members = peers.len() / rooms;
    if rooms > 1 {
        enter_rooms(peers, &server, members)?;
    }

    let fan_outs = peers
        .addresses()
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

    let targets = [bare.local_addr(), server.local_addr()];
    let load = |is_subject| {
        let before = receivers.received();
        let texts = speak(peers, targets[usize::from(is_subject)], case, plan.window)?;
        let expected = texts * members as u64;
        Ok((expected, receivers.wait_for(before + expected) - before))
    };
    let (pairs, note) = subject::compare(plan.pairs, "deliveries", load, Cost::us_each)?;
    Ok(Row {
        name,
        unit: "µs of CPU a delivery",
        goal: Goal::AtMost(case.goal),
        pairs,
        note: format!(
            "{} deliveries a second of {} bytes; {note}",
            case.deliveries_a_second,
            payload.len(),
        ),
    })
}

/// Puts every `members` peers into a room of their own.
fn enter_rooms(peers: &Peers, server: &Server, members: usize) -> Result<(), Error> {
    let handle = server.handle();
    for (room, peers) in peers.addresses().chunks(members).enumerate() {
        let room = format!("room-{room}").parse()?;
        for peer in peers {
            let joined = handle.join(&PeerAddr::new((*peer).into(), 0), room);
            joined.ok_or_else(|| format!("{peer} is not registered"))??;
        }
    }
    Ok(())
}

/// Says the text once, as a peer, to hear in which form it goes out; the address
/// of every peer that speaks is as long as this one's.
fn what_peers_hear(server: SocketAddr) -> Result<Vec<u8>, Error> {
    let witness = UdpSocket::bind("127.0.0.1:0")?;
    witness.set_read_timeout(Some(Duration::from_secs(1)))?;
    witness.send_to(TEXT, server)?;
    let mut payload = [0; 1024];
    let len = witness.recv(&mut payload)?;
    witness.send_to(b"quit", server)?;
    Ok(payload[..len].to_vec())
}

fn register(peers: &Peers, server: &Server) -> Result<(), Error> {
    for peer in 0..peers.len() {
        peers.send(peer, b"@im@", server.local_addr())?;
        let registered = peer + 1;
        // In portions that the server's socket holds.
        if registered % 1000 == 0 || registered == peers.len() {
            subject::expect_peers(server, registered)?;
        }
    }
    Ok(())
}

/// Sends texts evenly for about as long as `window`, and returns how many. The
/// first member of each room speaks for it, one room after the other.
fn speak(peers: &Peers, to: SocketAddr, case: &Case, window: Duration) -> Result<u64, Error> {
    let members = peers.len() / case.rooms;
    let texts_a_second = case.deliveries_a_second / members as f64;
    // Whole rounds, so that the bare kernel knows whose turn it is.
    let rounds = window.as_secs_f64() * texts_a_second / case.rooms as f64;
    let rounds = (rounds.ceil() as usize).max(MIN_ROUNDS);
    let texts = rounds * case.rooms;
    let start = Instant::now();
    for (text, room) in (0..texts).zip((0..case.rooms).cycle()) {
        let due = start + Duration::from_secs_f64(text as f64 / texts_a_second);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        peers.send(room * members, TEXT, to)?;
    }
    Ok(texts as u64)
}

/// A quarter to a half of what the bare kernel can, and no more than what one
/// core of receivers can take.
const DELIVERIES_A_SECOND: f64 = 40_000.0;

/// A text a second to 100,000 peers, which takes a third of a second: none waits
/// for the one before it. At the rate above, every window would take three times
/// as long.
const LARGE_DELIVERIES_A_SECOND: f64 = 100_000.0;

/// Texts to each room in a window, at least: what disturbs one of them is then not
/// the whole figure.
const MIN_ROUNDS: usize = 2;

/// 200 sockets for 100,000 peers: few enough to be visited in turn in less than a
/// millisecond, and so many that a buffer of half a MiB holds what each gets.
const PEERS_A_SOCKET: usize = 500;

/// With `127.0.0.1:54321 ` before it, 48 bytes: a line of chat.
const TEXT: &[u8] = b"the quick brown fox jumps over l";
