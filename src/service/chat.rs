//! The chat service: who sends is a peer, and every text goes to all peers.

use std::sync::Arc;

use crate::fanout::FanOut;
use crate::journal::Journal;
use crate::net::{Datagram, Outbox, PeerAddr};
use crate::peers::{Peers, Touch};
use crate::stats::{DropReason, WorkerInfo};
use crate::wire::{Incoming, classify};
use crate::worker::Service;

/// The chat service of one worker.
pub struct Chat {
    peers: Arc<Peers>,
    fanout: FanOut,
    journal: Journal,
    info: Arc<WorkerInfo>,
}

impl Chat {
    /// A service over the table that all workers share.
    pub fn new(peers: Arc<Peers>, journal: Journal, info: Arc<WorkerInfo>) -> Self {
        Self {
            peers,
            fanout: FanOut::new(),
            journal,
            info,
        }
    }

    /// Registers or refreshes a peer. False: it is not one, and cannot become one.
    fn touch(&self, peer: &PeerAddr, now_ms: u64) -> bool {
        match self.peers.touch(peer, now_ms) {
            Touch::Refreshed => {}
            Touch::Registered => {
                self.info.counters.registered.add(1);
                self.journal.registered(*peer);
            }
            Touch::Full => {
                self.info.counters.drop_datagram(DropReason::PeersFull);
                return false;
            }
        }
        true
    }

    fn say(&mut self, speaker: PeerAddr, text: &[u8]) {
        let counters = &self.info.counters;
        match self.fanout.push(speaker, text) {
            Ok(()) => {
                counters.texts.add(1);
                self.journal.text(speaker, text);
            }
            Err(_) => counters.drop_datagram(DropReason::BacklogFull),
        }
    }
}

impl Service for Chat {
    fn take(&mut self, datagram: Datagram<'_>, now_ms: u64) {
        let Datagram { from, payload } = datagram;
        let counters = &self.info.counters;
        match classify(payload) {
            Incoming::Leave => {
                counters.leaves.add(1);
                if self.peers.leave(&from) {
                    self.journal.left(from);
                }
            }
            Incoming::Heartbeat => {
                if self.touch(&from, now_ms) {
                    counters.heartbeats.add(1);
                }
            }
            Incoming::Text(text) => {
                if self.touch(&from, now_ms) {
                    self.say(from, text);
                }
            }
            Incoming::Frame(_) => counters.drop_datagram(DropReason::UnknownVersion),
        }
    }

    fn send_some(&mut self, outbox: &mut Outbox) -> bool {
        if let Some(slice) = self.fanout.next_slice(self.peers.lobby()) {
            let tally = outbox.send(slice.endpoint, slice.packets());
            self.info.counters.add_tally(tally);
        }
        !self.fanout.is_idle()
    }
}
