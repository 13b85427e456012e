//! Heartbeats of 1000 registered peers: how many a second of CPU time handles.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bullhorn::config::ServiceKind;

use crate::Plan;
use crate::harness::Error;
use crate::harness::bare::{Drain, set_segment_bytes};
use crate::harness::bare_thread::BareThread;
use crate::harness::cpu::pin;
use crate::harness::gate::Gate;
use crate::harness::peers::open_sockets;
use crate::harness::receivers::wait_until;
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, Cost};

/// Bursts of which all but the first datagram or so wait in the socket's buffer
/// until the last one is there. So both drain the same backlog, in the same
/// whole batches.
pub(crate) fn measure_backlog(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let gate = Gate::default();
    measure(plan, name, &gate.clone(), 1, |peers, counted, window| {
        let start = Instant::now();
        let (before, mut sent) = (counted(), 0);
        while start.elapsed() < window {
            gate.close();
            let burst: Result<u64, Error> = (0..BACKLOG_ROUNDS).map(|_| peers.send(0..PEERS)).sum();
            gate.open();
            sent += burst?;
            if !wait_until(|| counted() - before >= sent) {
                break;
            }
        }
        Ok((sent, counted() - before))
    })
}

/// As fast as the load's core can send: both are nearly always busy, and take
/// what has come meanwhile.
pub(crate) fn measure_stream(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let gate = Gate::default();
    measure(
        plan,
        name,
        &gate,
        STREAM_SEGMENTS,
        |peers, counted, window| {
            let start = Instant::now();
            let (before, mut sent, mut next) = (counted(), 0, 0);
            while start.elapsed() < window {
                if !wait_until(|| sent - (counted() - before) <= MAX_UNDER_WAY) {
                    break;
                }
                sent += peers.send(next..next + PEERS_A_CHUNK)?;
                next = (next + PEERS_A_CHUNK) % PEERS;
            }
            wait_until(|| counted() - before >= sent);
            Ok((sent, counted() - before))
        },
    )
}

/// `load` offers heartbeats for a window of time, is told how many have been
/// counted, and returns how many it sent and how many were counted of them.
fn measure(
    plan: &Plan,
    name: &'static str,
    gate: &Gate,
    segments: usize,
    load: impl Fn(&Peers, &dyn Fn() -> u64, Duration) -> Result<(u64, u64), Error>,
) -> Result<Row, Error> {
    let server = subject::start_with_clock(ServiceKind::Chat, gate.clock())?;
    pin(plan.cores.load)?;
    let (mut drain, gate) = (Drain::new(), gate.clone());
    let turn = move |socket: &UdpSocket| {
        gate.pass();
        drain.wait(socket)
    };
    let bare = BareThread::start(plan.cores.subject, subject::buffers(), turn)?;

    let peers = [
        Peers::open(bare.local_addr(), segments)?,
        Peers::open(server.local_addr(), segments)?,
    ];
    for socket in &peers[1].sockets {
        socket.send(HEARTBEAT)?;
    }
    subject::expect_peers(&server, PEERS)?;
    let counted: [&dyn Fn() -> u64; 2] =
        [&|| bare.handled(), &|| server.stats().total().heartbeats];
    let offer = |is_subject| {
        let side = usize::from(is_subject);
        load(&peers[side], counted[side], plan.window)
    };
    let (pairs, note) = subject::compare(
        plan.pairs,
        "heartbeats",
        offer,
        Cost::thousands_a_cpu_second,
    )?;
    Ok(Row {
        name,
        unit: "thousand a CPU-second",
        goal: Goal::AtLeast(0.85),
        pairs,
        note,
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

/// Heartbeats of each peer in a backlog; all peers in turn, as in life. Half of
/// what the socket's buffer holds.
const BACKLOG_ROUNDS: usize = 5;

/// Heartbeats in a packet that the kernel cuts up: so many that to send them
/// takes no longer than to receive them.
const STREAM_SEGMENTS: usize = 16;

/// What is sent between two looks at how many are handled.
const PEERS_A_CHUNK: usize = 40;

/// Heartbeats under way before a chunk is added: far below the 10,000 that the
/// socket's buffer holds, and more than are handled between two looks.
const MAX_UNDER_WAY: u64 = 3000;
