//! The presence notifier, a thread that sends presence events to their subscribers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::sync::Parker;

use crate::net::{Packet, PeerAddr, Transmit, WorkerSockets};
use crate::server::ops::supervise::StopSignal;
use crate::server::registry::{Notice, Registry};
use crate::wire::v2::{self, push_server_header};
use crate::wire::{LINE_END, Protocol, push_reply};

pub struct Notifier {
    pub registry: Arc<Registry>,
    /// Sockets with the addresses of the workers.
    pub sockets: WorkerSockets,
    pub counters: Arc<NotifierCounters>,
    /// The first event and the stop unpark it.
    pub parker: Parker,
}

#[derive(Debug, Default)]
pub struct NotifierCounters {
    /// Notices sent, each to one peer.
    pub sent: AtomicU64,
    /// Notices that the kernel did not take.
    pub failed: AtomicU64,
}

impl Notifier {
    /// Runs until the stop. It never fails, but every supervised thread returns a result.
    pub fn run(mut self, stop: &StopSignal) -> io::Result<()> {
        while !stop.is_stopping() {
            send_notices(&self.registry, &mut self.sockets, &self.counters);
            let next_round = Instant::now() + INTERVAL;
            while !stop.is_stopping() && Instant::now() < next_round {
                self.parker.park_deadline(next_round);
            }
            if !stop.is_stopping() && self.registry.directory().events().is_empty() {
                self.parker.park();
            }
        }
        Ok(())
    }
}

/// Takes the events of all rooms, and sends one notice per room to each subscriber.
pub fn send_notices(
    registry: &Registry,
    transmit: &mut impl Transmit,
    counters: &NotifierCounters,
) {
    for room in registry.directory().events().take() {
        if let Some(notice) = room.take_notice() {
            send(notice, transmit, counters);
        }
    }
}

fn send(mut notice: Notice, transmit: &mut impl Transmit, counters: &NotifierCounters) {
    let (mut line, mut frame) = (Vec::new(), Vec::new());
    push_reply(&notice.reply, &mut line);
    let text_bytes = line.len();
    line.extend_from_slice(LINE_END.as_bytes());
    push_server_header(&mut frame);
    v2::push_reply(&notice.reply, &mut frame);
    let endpoint = |subscriber: &(PeerAddr, Protocol)| subscriber.0.endpoint();
    notice.subscribers.sort_unstable_by_key(endpoint);
    for subscribers in notice
        .subscribers
        .chunk_by(|a, b| endpoint(a) == endpoint(b))
    {
        let packets = subscribers.iter().map(|(peer, protocol)| match protocol {
            Protocol::Text => Packet::single(peer, &line[..text_bytes]),
            Protocol::Lines => Packet::single(peer, &line),
            Protocol::Frames(_) => Packet::single(peer, &frame),
        });
        let tally = transmit.send(endpoint(&subscribers[0]), packets);
        counters.sent.fetch_add(tally.sent, Ordering::Relaxed);
        counters.failed.fetch_add(tally.failed(), Ordering::Relaxed);
    }
}

/// Time between two notices to a room. A person can follow at most ten lines per second.
const INTERVAL: Duration = Duration::from_millis(100);
