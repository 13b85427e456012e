//! A room of 1000 peers under ten times the load that it can be sent: deliveries per second of
//! CPU time. The receivers do not keep up with either side, and both pay for what they lose.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use bullhorn::net::{bind_group, max_segments};
use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{BUNDLE_BYTES, Message, ServerFrame, push_padding};
use bullhorn::wire::v2::{push_server_frame, push_server_header};

use crate::Plan;
use crate::harness::Error;
use crate::harness::bare::FanOut;
use crate::harness::cpu::{Meter, pin};
use crate::harness::flood::{Flood, Speech};
use crate::harness::pairs::interleave;
use crate::harness::peers::Peers;
use crate::harness::receivers::{Receivers, wait_until};
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, WORKER};

/// The payload that the bare kernel sends to each peer, again and again.
#[derive(Clone, Copy)]
enum Bare {
    /// One datagram of this length, in bytes.
    Single(usize),
    /// As many datagrams of this length as one GSO packet takes.
    Segments(u16),
    /// This number of bundles of 1200 bytes as one GSO packet.
    Bundles(usize),
}

/// Texts of one length, beside GSO.
pub(crate) fn measure_equal(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let speech = Speech::Text(32, 32);
    measure(plan, name, speech, 10, Bare::Segments(48), 0.85)
}

/// Texts of many lengths, beside one datagram after the other.
pub(crate) fn measure_mixed(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let speech = Speech::Text(16, 256);
    measure(plan, name, speech, 50, Bare::Single(152), 1.5)
}

/// Version 2, beside GSO over full bundles.
pub(crate) fn measure_bundles(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    let speech = Speech::Frames(32, 32);
    measure(plan, name, speech, 5, Bare::Bundles(40), 0.7)
}

fn measure(
    plan: &Plan,
    name: &'static str,
    speech: Speech,
    speakers: usize,
    bare: Bare,
    goal: f64,
) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(plan.cores.load)?;
    let peers = Peers::open(PEERS)?;
    for socket in peers.sockets() {
        speech.register(socket, server.local_addr())?;
    }
    subject::expect_peers(&server, PEERS)?;
    let receivers = Receivers::start(peers, plan.cores.load)?;
    let peers = receivers.peers();
    let mut flood = Flood::start(speech, speakers, server.local_addr())?;
    let meter = Meter::of_thread(WORKER)?;
    let pairs = interleave(plan.pairs, |is_subject| {
        let deliveries_per_s = if is_subject {
            overload(&server, &mut flood, &meter, DATAGRAMS_PER_S, plan.window)?
        } else {
            send_bare(bare, peers.addresses(), plan)?
        };
        Ok(Ok(deliveries_per_s / 1e6))
    })?;
    let counts = server.stats().total();
    let offered = counts.messages + counts.messages_shed;
    Ok(Row {
        name,
        unit: "million deliveries a CPU-second",
        goal: Goal::AtLeast(goal),
        pairs,
        note: format!("{offered} messages offered, {} fanned out", counts.messages),
    })
}

/// Returns the deliveries of the server per second of its CPU time while it is flooded.
pub(crate) fn overload(
    server: &Server,
    flood: &mut Flood,
    meter: &Meter,
    datagrams_per_s: f64,
    window: Duration,
) -> Result<f64, Error> {
    let before = (server.stats().total().deliveries, meter.read_at_rest()?);
    flood.run(datagrams_per_s, window)?;
    // Until all that was taken up is sent, so that the last part counts in full.
    let is_done = || {
        let counts = server.stats().total();
        let lost = counts.deliveries_congested + counts.deliveries_refused;
        counts.deliveries_planned == counts.deliveries + lost
    };
    while !wait_until(is_done) {}
    let cpu = meter.read_at_rest()?.since(before.1).cpu;
    let deliveries = server.stats().total().deliveries - before.0;
    Ok(deliveries as f64 / cpu.as_secs_f64())
}

/// Returns the same of the bare kernel, in a thread on the core of the subject.
fn send_bare(bare: Bare, addresses: &[SocketAddrV4], plan: &Plan) -> Result<f64, Error> {
    let (mut fan_out, messages) = match bare {
        Bare::Single(bytes) => (FanOut::new(addresses, &vec![b'x'; bytes]), 1),
        Bare::Segments(bytes) => {
            let count = max_segments();
            let payload = vec![b'x'; count * usize::from(bytes)];
            (FanOut::segmented(addresses, &payload, bytes), count)
        }
        Bare::Bundles(count) => {
            let (bundle, messages) = bundle();
            let payload = bundle.repeat(count);
            let fan_out = FanOut::segmented(addresses, &payload, BUNDLE_BYTES as u16);
            (fan_out, count * messages)
        }
    };
    let each = messages * addresses.len();
    let body = || -> Result<f64, Error> {
        pin(plan.cores.subject)?;
        let socket = bind_group("127.0.0.1:0".parse()?, 1, subject::buffers())?;
        let meter = Meter::of_thread("bare")?;
        let before = meter.read_at_rest()?;
        let (start, mut deliveries) = (Instant::now(), 0);
        while start.elapsed() < plan.window {
            fan_out.send(&socket.sockets[0])?;
            deliveries += each;
        }
        let cpu = meter.read_at_rest()?.since(before).cpu;
        Ok(deliveries as f64 / cpu.as_secs_f64())
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("bare".into());
        let thread = thread.spawn_scoped(scope, body)?;
        thread.join().map_err(|_| "the bare thread panicked")?
    })
}

/// Returns a full bundle of messages with 32 bytes each, and their number.
fn bundle() -> (Vec<u8>, usize) {
    let message = ServerFrame::Message(Message {
        room: 0,
        stream: 0,
        sequence: 0,
        from: DisplayName::Address(SocketAddrV4::new([127, 0, 0, 1].into(), 9).into()),
        payload: &[b'x'; 32],
    });
    let (mut bundle, mut messages) = (Vec::new(), 0);
    push_server_header(0, &mut bundle);
    loop {
        let len = bundle.len();
        push_server_frame(&message, &mut bundle);
        if bundle.len() > BUNDLE_BYTES {
            bundle.truncate(len);
            push_padding(0, BUNDLE_BYTES, &mut bundle);
            return (bundle, messages);
        }
        messages += 1;
    }
}

const PEERS: usize = 1000;

/// Ten times the texts that 1000 stock peers can be sent in a second.
const DATAGRAMS_PER_S: f64 = 10_000.0;
