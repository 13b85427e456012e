//! The crier: a thread that tells who came and went, at most once in
//! 100 ms, however many they were.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::sync::Parker;

use crate::net::{Outbox, Outlet, Packet, PeerAddr};
use crate::server::ops::supervise::StopSignal;
use crate::server::registry::Peers;
use crate::server::registry::{Notice, Protocol};
use crate::wire::v2::{self, push_server_header};
use crate::wire::{LINE_END, push_reply};

/// What the crier's thread owns.
pub struct Crier {
    /// The peers, in whose rooms something may have happened.
    pub peers: Arc<Peers>,
    /// Sends from the addresses that the workers have.
    pub outbox: Outbox,
    /// What it has done so far.
    pub counters: Arc<CrierCounters>,
    /// What it sleeps on; news and the stop wake it.
    pub parker: Parker,
}

/// What the crier has counted.
#[derive(Debug, Default)]
pub struct CrierCounters {
    /// Notices sent, each to one peer.
    pub sent: AtomicU64,
    /// Notices that the kernel did not take.
    pub failed: AtomicU64,
}

impl Crier {
    /// Runs until the stop.
    ///
    /// # Errors
    /// None; the type is that of every supervised thread.
    pub fn run(mut self, stop: &StopSignal) -> io::Result<()> {
        while !stop.is_stopping() {
            tell_news(&self.peers, &mut self.outbox, &self.counters);
            let next_round = Instant::now() + INTERVAL;
            while !stop.is_stopping() && Instant::now() < next_round {
                self.parker.park_deadline(next_round);
            }
            // The stop, and the first news after they were taken, wake it.
            if !stop.is_stopping() && !self.peers.rooms().news.is_waiting() {
                self.parker.park();
            }
        }
        Ok(())
    }
}

/// Takes the news of all rooms, and sends each to those who want to hear it.
pub fn tell_news(peers: &Peers, outlet: &mut impl Outlet, counters: &CrierCounters) {
    for room in peers.rooms().news.take() {
        if let Some(notice) = room.take_notice() {
            tell(notice, outlet, counters);
        }
    }
}

fn tell(mut notice: Notice, outlet: &mut impl Outlet, counters: &CrierCounters) {
    let (mut line, mut frame) = (Vec::new(), Vec::new());
    push_reply(&notice.reply, &mut line);
    let text_bytes = line.len();
    line.extend_from_slice(LINE_END.as_bytes());
    push_server_header(&mut frame);
    v2::push_reply(&notice.reply, &mut frame);
    let endpoint = |subscriber: &(PeerAddr, Protocol)| subscriber.0.endpoint();
    notice.to.sort_unstable_by_key(endpoint);
    for subscribers in notice.to.chunk_by(|a, b| endpoint(a) == endpoint(b)) {
        let packets = subscribers.iter().map(|(peer, protocol)| match protocol {
            Protocol::Text => Packet::single(peer, &line[..text_bytes]),
            Protocol::Lines => Packet::single(peer, &line),
            Protocol::Frames => Packet::single(peer, &frame),
        });
        let tally = outlet.send(endpoint(&subscribers[0]), packets);
        counters.sent.fetch_add(tally.sent, Ordering::Relaxed);
        let failed = tally.total() - tally.sent;
        counters.failed.fetch_add(failed, Ordering::Relaxed);
    }
}

/// Ten lines a second are what a person can follow at most.
const INTERVAL: Duration = Duration::from_millis(100);
