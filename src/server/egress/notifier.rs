//! The notifier, a thread that sends presence events to their subscribers, and the operator's notices
//! to peers. It stops a server that was drained.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::net::{Packet, Transmit, WorkerSockets};
use crate::server::clock::Clock;
use crate::server::ops::log::Log;
use crate::server::ops::supervise::{StopSignal, Wake};
use crate::server::registry::{Notice, Recipient, Registry};
use crate::sync::Parker;
use crate::wire::v2::{self, HEADER_BYTES, ServerFrame, push_server_frame, push_server_header};
use crate::wire::{LINE_END, Protocol, Reply, push_reply};

pub struct Notifier {
    pub registry: Arc<Registry>,
    pub counters: Arc<NotifierCounters>,
    /// The sentences of the operator to peers.
    pub operator: Receiver<OperatorNotice>,
    pub clock: Clock,
    pub log: Log,
}

/// A sentence of the operator to some peers.
pub struct OperatorNotice {
    sentence: Arc<Sentence>,
    peers: Vec<Recipient>,
}

/// A sentence as peers of each version receive it.
struct Sentence {
    /// With a line end.
    line: Vec<u8>,
    text_bytes: usize,
    /// Without a header.
    frame: Vec<u8>,
}

/// The queue of the operator's notices.
pub struct OperatorNotices {
    queue: Sender<OperatorNotice>,
    wake: Wake,
}

#[derive(Debug, Default)]
pub struct NotifierCounters {
    /// Notices sent, each to one peer.
    pub sent: AtomicU64,
    /// Notices that the kernel did not take.
    pub failed: AtomicU64,
}

impl Notifier {
    /// Runs until the stop. It never fails, but every supervised thread returns a result. `sockets`
    /// have the addresses of the workers. The first event, the operator and the stop unpark it.
    pub fn run(
        self,
        mut sockets: WorkerSockets,
        parker: &Parker,
        stop: &StopSignal,
    ) -> io::Result<()> {
        while !stop.is_stopping() {
            let next_round = Instant::now() + self.round(&mut sockets);
            if self.is_drained() {
                self.log.info("the server is drained, and stops".into());
                stop.stop();
            }
            while !stop.is_stopping() && Instant::now() < next_round {
                parker.park_deadline(next_round);
            }
            if !stop.is_stopping() && self.is_idle() {
                parker.park();
            }
        }
        Ok(())
    }

    /// Sends what has gathered. Returns the time until the next round.
    pub fn round(&self, transmit: &mut impl Transmit) -> Duration {
        let mut notices = send_notices(&self.registry, transmit, &self.counters);
        // The others wait for the next round, so that presence does not wait for them.
        for notice in self.operator.try_iter().take(MAX_QUEUED_NOTICES) {
            notices += notice.peers.len() as u32;
            notice.sentence.send(notice.peers, transmit, &self.counters);
        }
        interval(notices)
    }

    /// Returns true if a round would send nothing, and the server is not about to stop.
    pub fn is_idle(&self) -> bool {
        self.registry.directory().events().is_empty()
            && self.operator.is_empty()
            && !self.registry.drain().is_on()
    }

    /// Returns true if the server was drained, and nobody is left or its time is over. What its
    /// peers have to be told was sent.
    pub fn is_drained(&self) -> bool {
        let drain = self.registry.drain();
        let is_over = || drain.is_over(self.clock.now_ms()) || self.registry.is_empty();
        drain.is_on() && self.operator.is_empty() && is_over()
    }
}

impl OperatorNotices {
    /// Returns a queue that calls `wake` for each notice, and its other end.
    pub fn new(wake: Wake) -> (Self, Receiver<OperatorNotice>) {
        let (queue, notices) = bounded(MAX_QUEUED_NOTICES);
        (Self { queue, wake }, notices)
    }

    /// Sends peers `reply`. If `is_goodbye`, they are not registered any more, and those of version 2
    /// are sent GOODBYE. Waits while the queue is full, so workers must not call this.
    pub fn tell(&self, peers: Vec<Recipient>, reply: &Reply<'_>, is_goodbye: bool) {
        let sentence = Sentence::new(reply, is_goodbye);
        self.push(Arc::new(sentence), peers);
    }

    /// Sends any number of peers `reply`, and waits as [`OperatorNotices::tell`] does. The notices of
    /// others come in between.
    pub fn tell_all(&self, peers: &[Recipient], reply: &Reply<'_>) {
        let sentence = Arc::new(Sentence::new(reply, false));
        for peers in peers.chunks(MAX_TOLD_AT_ONCE) {
            self.push(Arc::clone(&sentence), peers.to_owned());
        }
    }

    /// Wakes the notifier, which has to know that the server was drained.
    pub fn wake(&self) {
        (self.wake)();
    }

    fn push(&self, sentence: Arc<Sentence>, peers: Vec<Recipient>) {
        // Fails when the server has stopped.
        let _ = self.queue.send(OperatorNotice { sentence, peers });
        (self.wake)();
    }
}

/// Takes the events of all rooms, and sends one notice per room to each subscriber. Returns the
/// number of notices.
pub fn send_notices(
    registry: &Registry,
    transmit: &mut impl Transmit,
    counters: &NotifierCounters,
) -> u32 {
    let mut notices = 0;
    for room in registry.directory().events().take() {
        if let Some(notice) = room.take_notice() {
            notices += notice.subscribers.len() as u32;
            let Notice { reply, subscribers } = notice;
            Sentence::new(&reply, false).send(subscribers, transmit, counters);
        }
    }
    notices
}

/// Returns the time between two rounds, of which the first one has sent this many notices. It
/// bounds what one peer that comes and goes can make the server send.
fn interval(notices: u32) -> Duration {
    MIN_INTERVAL.max(NOTICE_INTERVAL * notices)
}

impl Sentence {
    fn new(reply: &Reply<'_>, is_goodbye: bool) -> Self {
        let (mut line, mut frame) = (Vec::new(), Vec::new());
        push_reply(reply, &mut line);
        let text_bytes = line.len();
        line.extend_from_slice(LINE_END.as_bytes());
        v2::push_reply(reply, &mut frame);
        if is_goodbye {
            push_server_frame(&ServerFrame::Goodbye, &mut frame);
        }
        Self {
            line,
            text_bytes,
            frame,
        }
    }

    fn send(
        &self,
        mut peers: Vec<Recipient>,
        transmit: &mut impl Transmit,
        counters: &NotifierCounters,
    ) {
        let endpoint = |peer: &Recipient| peer.address.endpoint();
        peers.sort_unstable_by_key(endpoint);
        let mut frames = Vec::new();
        for peers in peers.chunk_by(|a, b| endpoint(a) == endpoint(b)) {
            frames.clear();
            for session in peers.iter().filter_map(|peer| peer.session) {
                push_server_header(session.get(), &mut frames);
                frames.extend_from_slice(&self.frame);
            }
            let mut frames = frames.chunks(HEADER_BYTES + self.frame.len());
            let packets = peers.iter().map(|peer| {
                let bytes = match peer.protocol {
                    Protocol::Text => &self.line[..self.text_bytes],
                    Protocol::Lines => &self.line,
                    Protocol::Frames(_) => frames.next().unwrap_or_default(),
                };
                Packet::single(&peer.address, bytes)
            });
            let tally = transmit.send(endpoint(&peers[0]), packets);
            counters.sent.fetch_add(tally.sent, Ordering::Relaxed);
            counters.failed.fetch_add(tally.failed(), Ordering::Relaxed);
        }
    }
}

/// Time between two notices to a room. A person can follow at most ten lines per second.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Time for each notice, so that there are at most 50,000 per second. They take a twentieth of a
/// core. Up to 5,000 peers may receive one each 100 ms.
const NOTICE_INTERVAL: Duration = Duration::from_micros(20);

/// Maximum number of the operator's notices that wait.
const MAX_QUEUED_NOTICES: usize = 16;

/// Number of peers in a notice. The queue then has less than a megabyte.
pub const MAX_TOLD_AT_ONCE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_50000_notices_are_sent_per_second() {
        for (notices, interval_ms) in [(0, 100), (5_000, 100), (5_001, 100), (20_000, 400)] {
            assert_eq!(interval(notices).as_millis(), interval_ms, "{notices}");
        }
    }
}
