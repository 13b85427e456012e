//! Peers in 64 rooms at once: deliveries per second of CPU time, beside the same peers in one room.

use crate::Plan;
use crate::harness::Error;
use crate::harness::cpu::{Meter, pin};
use crate::harness::flood::{Flood, Speech, open_session, subscribe};
use crate::harness::pairs::interleave;
use crate::harness::peers::Peers;
use crate::harness::receivers::Receivers;
use crate::harness::report::{Goal, Row};
use crate::harness::subject::{self, WORKER};
use crate::saturation::overload;
use bullhorn::config::ServiceKind;

/// One message at a time, so that each is a packet.
pub(crate) fn measure_single(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, 1)
}

/// As many messages at a time as a datagram holds, so that a packet has several bundles.
pub(crate) fn measure_batches(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, MANY)
}

/// The speaker is a member of the rooms as well. It speaks to all of them in turn, or to one. The
/// server is not saturated, since otherwise it would send a room in one batch what 64 rooms get in
/// 64.
fn measure(plan: &Plan, name: &'static str, says: usize) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(plan.cores.load)?;
    let address = server.local_addr();
    let speech = Speech::Frames(32, 32);
    let mut flood = Flood::start(speech, 1, address)?;
    flood.says = says;
    let [(speaker, Some(session))] = flood.speakers() else {
        return Err("a speaker without a session".into());
    };
    // The lobby is the first.
    let mut rooms = vec![0];
    rooms.extend(subscribe(speaker, address, *session, SUBSCRIPTIONS)?);
    let peers = Peers::open(PEERS)?;
    for socket in peers.sockets() {
        let session = open_session(socket, address)?;
        subscribe(socket, address, session, SUBSCRIPTIONS)?;
    }
    subject::expect_peers(&server, PEERS + 1)?;
    let _receivers = Receivers::start(peers, plan.cores.load)?;
    let meter = Meter::of_thread(WORKER)?;
    let pairs = interleave(plan.pairs, |is_subject| {
        let count = if is_subject { rooms.len() } else { 1 };
        flood.rooms = rooms[..count].to_vec();
        let deliveries_per_s = overload(&server, &mut flood, &meter, DATAGRAMS_PER_S, plan.window)?;
        Ok(Ok(deliveries_per_s / 1e6))
    })?;
    let counts = server.stats().total();
    let offered = counts.messages + counts.messages_shed;
    Ok(Row {
        name,
        unit: "million deliveries a CPU-second",
        goal: Goal::AtLeast(0.95),
        pairs,
        note: format!("{offered} messages offered, {} fanned out", counts.messages),
    })
}

/// With the lobby, a session is in 64 rooms, which is the maximum.
const SUBSCRIPTIONS: usize = 63;

const PEERS: usize = 1000;

/// Each is sent to all before the next one comes.
const DATAGRAMS_PER_S: f64 = 40.0;

/// With 32 bytes each, in a datagram of less than 2048 bytes, which the server reads.
const MANY: usize = 50;
