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

/// One message at a time, at a rate that leaves a worker idle for most of the time.
pub(crate) fn measure_idle(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, 1, IDLE_DATAGRAMS_PER_S)
}

/// Ten times what the rooms can be sent.
pub(crate) fn measure_saturated(plan: &Plan, name: &'static str) -> Result<Row, Error> {
    measure(plan, name, SAYS, DATAGRAMS_PER_S)
}

/// The speaker is a member of the rooms as well. It speaks to all of them in turn, or to one.
fn measure(
    plan: &Plan,
    name: &'static str,
    says: usize,
    datagrams_per_s: f64,
) -> Result<Row, Error> {
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
        let deliveries_per_s = overload(&server, &mut flood, &meter, datagrams_per_s, plan.window)?;
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

/// 40,000 deliveries a second, a third or less of what one worker can send one by one.
const IDLE_DATAGRAMS_PER_S: f64 = 40.0;

/// With [`SAYS`] messages each.
const DATAGRAMS_PER_S: f64 = 10_000.0;
const SAYS: usize = 20;
