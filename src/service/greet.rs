//! The greeting service: every datagram is answered with a greeting.

use std::sync::Arc;

use crate::journal::Journal;
use crate::net::{Datagram, Outbox, Packet, PeerAddr};
use crate::stats::{DropReason, WorkerInfo};
use crate::supervise::StopSignal;
use crate::wire::{GREETING_START, push_greeting};
use crate::worker::Service;

/// The greeting service of one worker.
pub struct Greet {
    /// As many as one round of receiving brought; `send_some` empties it.
    answers: Vec<Answer>,
    bytes: Vec<u8>,
    /// With `--once`, what the first answer stops the server with.
    once: Option<Arc<StopSignal>>,
    journal: Journal,
    info: Arc<WorkerInfo>,
}

struct Answer {
    peer: PeerAddr,
    /// Where it lies in `bytes`.
    range: std::ops::Range<usize>,
}

impl Greet {
    /// A service that stops the server through `once`, if given, after the
    /// first answer.
    pub fn new(once: Option<Arc<StopSignal>>, journal: Journal, info: Arc<WorkerInfo>) -> Self {
        Self {
            answers: Vec::new(),
            bytes: Vec::new(),
            once,
            journal,
            info,
        }
    }
}

impl Service for Greet {
    fn take(&mut self, datagram: Datagram<'_>, _now_ms: u64) {
        let counters = &self.info.counters;
        if datagram.payload.starts_with(GREETING_START) {
            return counters.drop_datagram(DropReason::Greeting);
        }
        // The stop takes effect when the answers of this round are sent.
        if self.once.as_ref().is_some_and(|stop| !stop.stop()) {
            return counters.drop_datagram(DropReason::Stopping);
        }
        counters.greetings.add(1);
        self.journal.greeted(datagram.from);
        let start = self.bytes.len();
        push_greeting(datagram.from.socket_addr(), &mut self.bytes);
        self.answers.push(Answer {
            peer: datagram.from,
            range: start..self.bytes.len(),
        });
    }

    fn send_some(&mut self, outbox: &mut Outbox) -> bool {
        let same_endpoint = |a: &Answer, b: &Answer| a.peer.endpoint() == b.peer.endpoint();
        for answers in self.answers.chunk_by(same_endpoint) {
            let packets = answers
                .iter()
                .map(|answer| Packet::single(&answer.peer, &self.bytes[answer.range.clone()]));
            let tally = outbox.send(answers[0].peer.endpoint(), packets);
            self.info.counters.add_tally(tally);
        }
        self.answers.clear();
        self.bytes.clear();
        false
    }
}
