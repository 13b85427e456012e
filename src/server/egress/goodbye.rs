//! The last datagrams of a server that stops.

use std::time::{Duration, Instant};

use crate::net::{Packet, PeerAddr, SEND_BATCH, Transmit};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Registry;
use crate::wire::v2::{ServerFrame, push_server_frame, push_server_header};

/// Sends GOODBYE to the v2 peers that `worker` serves, for at most half a second.
pub fn send_goodbyes(registry: &Registry, worker: WorkerId, transmit: &mut impl Transmit) {
    let mut goodbye = Vec::new();
    push_server_header(&mut goodbye);
    push_server_frame(&ServerFrame::Goodbye, &mut goodbye);
    // Collected first, because no lock is held while datagrams are sent.
    let mut peers = Vec::new();
    registry.visit_sessions(worker, |peer| peers.push(peer));
    // A stable sort, so that the order is that of the registry.
    peers.sort_by_key(PeerAddr::endpoint);
    let deadline = Instant::now() + MAX_GOODBYE_TIME;
    for peers in peers.chunk_by(|a, b| a.endpoint() == b.endpoint()) {
        for peers in peers.chunks(SEND_BATCH) {
            if Instant::now() > deadline {
                return;
            }
            let packets = peers.iter().map(|peer| Packet::single(peer, &goodbye));
            transmit.send(peers[0].endpoint(), packets);
        }
    }
}

/// Maximum time for all GOODBYEs, enough for 100,000 of them. A server stops within a second.
/// A peer that receives no GOODBYE notices that it receives nothing any more.
const MAX_GOODBYE_TIME: Duration = Duration::from_millis(500);
