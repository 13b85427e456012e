//! The last datagrams of a server that stops.

use std::time::{Duration, Instant};

use crate::net::{Packet, SEND_BATCH, Transmit};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Registry;
use crate::wire::v2::{ServerFrame, push_server_frame, push_server_header};

/// Sends GOODBYE to the v2 peers that `worker` serves, for at most half a second.
pub fn send_goodbyes(registry: &Registry, worker: WorkerId, transmit: &mut impl Transmit) {
    // Collected first, because no lock is held while datagrams are sent.
    let mut peers = Vec::new();
    registry.visit_sessions(worker, |peer, session| peers.push((peer, session)));
    // A stable sort, so that the order is that of the registry.
    peers.sort_by_key(|(peer, _)| peer.endpoint());
    let mut goodbyes = Vec::new();
    let deadline = Instant::now() + MAX_GOODBYE_TIME;
    for peers in peers.chunk_by(|a, b| a.0.endpoint() == b.0.endpoint()) {
        for peers in peers.chunks(SEND_BATCH) {
            if Instant::now() > deadline {
                return;
            }
            goodbyes.clear();
            for (_, session) in peers {
                push_server_header(session.get(), &mut goodbyes);
                push_server_frame(&ServerFrame::Goodbye, &mut goodbyes);
            }
            // All have the same length.
            let datagrams = goodbyes.chunks(goodbyes.len() / peers.len());
            let packets = peers.iter().zip(datagrams);
            let packets = packets.map(|((peer, _), goodbye)| Packet::single(peer, goodbye));
            transmit.send(peers[0].0.endpoint(), packets);
        }
    }
}

/// Maximum time for all GOODBYEs, enough for 100,000 of them. A server stops within a second.
/// A peer that receives no GOODBYE notices that it receives nothing any more.
const MAX_GOODBYE_TIME: Duration = Duration::from_millis(500);
