//! Heartbeats of 1000 registered peers: how many a second of CPU time handles.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::config::ServiceKind;
use bullhorn::net::bare::{Drain, set_segment_bytes};

use crate::Plan;
use crate::fanout::WORKER;
use crate::harness::Error;
use crate::harness::bare::{BARE, BareThread};
use crate::harness::cpu::{ThreadMeter, pin};
use crate::harness::pairs::interleave;
use crate::harness::receivers::{open_sockets, wait_until};
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, Cost, Totals};

/// One packet from every peer, and the next when all are handled and a pause
/// has passed. Both find a few datagrams at a time, and sleep between.
pub(crate) fn measure_bursts(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, BURST_SEGMENTS, |peers, counted, window| {
        let start = Instant::now();
        let (before, mut sent) = (counted(), 0);
        while start.elapsed() < window {
            sent += peers.send(0..PEERS)?;
            if !wait_until(|| counted() - before >= sent) {
                break;
            }
            thread::sleep(BURST_PAUSE);
        }
        Ok((sent, counted() - before))
    })
}

/// As fast as they are handled: a backlog that is never empty and never full,
/// so that every batch is a whole one.
pub(crate) fn measure_saturated(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, SATURATING_SEGMENTS, |peers, counted, window| {
        let start = Instant::now();
        let (before, mut sent, mut next) = (counted(), 0, 0);
        while start.elapsed() < window {
            if !wait_until(|| sent - (counted() - before) <= MAX_BACKLOG) {
                break;
            }
            sent += peers.send(next..next + PEERS_A_CHUNK)?;
            next = (next + PEERS_A_CHUNK) % PEERS;
        }
        wait_until(|| counted() - before >= sent);
        Ok((sent, counted() - before))
    })
}

/// `load` offers heartbeats for a window of time, is told how many have been
/// counted, and returns how many it sent and how many were counted of them.
fn measure(
    plan: &Plan,
    name: &'static str,
    segments: usize,
    load: impl Fn(&Peers, &dyn Fn() -> u64, Duration) -> Result<(u64, u64), Error>,
) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(plan.cores.load)?;
    let mut drain = Drain::new();
    let turn = move |socket: &UdpSocket| drain.wait(socket);
    let bare = BareThread::start(plan.cores.subject, subject::buffers(), turn)?;

    let peers = [
        Peers::open(bare.local_addr(), segments)?,
        Peers::open(server.local_addr(), segments)?,
    ];
    for socket in &peers[1].sockets {
        socket.send(HEARTBEAT)?;
    }
    if !wait_until(|| server.stats().peers == PEERS) {
        return Err(format!("{} of {PEERS} peers registered", server.stats().peers).into());
    }
    let counted: [&dyn Fn() -> u64; 2] =
        [&|| bare.handled(), &|| server.stats().total().heartbeats];
    let meters = [ThreadMeter::of(BARE)?, ThreadMeter::of(WORKER)?];
    let mut totals = Totals::default();
    let measure_one = |is_subject: bool| {
        let side = usize::from(is_subject);
        let cost = Cost::of(&meters[side], || {
            load(&peers[side], counted[side], plan.window)
        })?;
        totals.add(is_subject, &cost);
        Ok(cost.thousands_a_cpu_second())
    };
    let pairs = interleave(plan.pairs, measure_one)?;
    Ok(Row {
        name,
        unit: "thousand a CPU-second",
        goal: Goal::AtLeast(0.85),
        pairs,
        note: totals.note("heartbeats"),
    })
}

/// Sockets that send heartbeats to one address.
struct Peers {
    sockets: Vec<UdpSocket>,
    packet: Vec<u8>,
}

impl Peers {
    fn open(target: SocketAddr, segments: usize) -> Result<Self, Error> {
        let sockets = open_sockets(PEERS)?;
        for socket in &sockets {
            socket.connect(target)?;
            set_segment_bytes(socket, HEARTBEAT.len() as u16)?;
        }
        Ok(Self {
            sockets,
            packet: HEARTBEAT.repeat(segments),
        })
    }

    /// One packet from each of some peers; returns how many heartbeats that is.
    fn send(&self, which: std::ops::Range<usize>) -> Result<u64, Error> {
        let sockets = &self.sockets[which];
        for socket in sockets {
            socket.send(&self.packet)?;
        }
        Ok((sockets.len() * self.packet.len() / HEARTBEAT.len()) as u64)
    }
}

const HEARTBEAT: &[u8] = b"@im@";

const PEERS: usize = 1000;

/// Heartbeats in a packet that the kernel cuts up. With 4, to send them takes
/// about as long as to receive them; with 16 far less, so that a backlog stays.
const BURST_SEGMENTS: usize = 4;
const SATURATING_SEGMENTS: usize = 16;

const BURST_PAUSE: Duration = Duration::from_millis(5);

/// What is sent between two looks at how many are handled.
const PEERS_A_CHUNK: usize = 40;

/// Heartbeats under way before a chunk is added: far below the 10,000 that the
/// socket's buffer holds, and more than are handled between two looks.
const MAX_BACKLOG: u64 = 3000;
