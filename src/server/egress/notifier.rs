//! The notifier, a thread that sends presence events to their subscribers, and the operator's notices
//! to single peers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::net::{Packet, Transmit, WorkerSockets};
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
}

/// A sentence of the operator to some peers.
pub struct OperatorNotice {
    notice: Notice,
    /// True if their sessions have ended. Those of version 2 are sent GOODBYE.
    is_goodbye: bool,
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
        let notices = send_notices(&self.registry, transmit, &self.counters);
        for OperatorNotice { notice, is_goodbye } in self.operator.try_iter() {
            send(notice, is_goodbye, transmit, &self.counters);
        }
        interval(notices)
    }

    /// Returns true if a round would send nothing.
    pub fn is_idle(&self) -> bool {
        self.registry.directory().events().is_empty() && self.operator.is_empty()
    }
}

impl OperatorNotices {
    /// Returns a queue that calls `wake` for each notice, and its other end.
    pub fn new(wake: Wake) -> (Self, Receiver<OperatorNotice>) {
        let (queue, notices) = bounded(MAX_QUEUED_NOTICES);
        (Self { queue, wake }, notices)
    }

    /// Sends peers `reply`. If `is_goodbye`, they are not registered any more. Waits while the queue
    /// is full, so workers must not call this.
    pub fn tell(&self, peers: Vec<Recipient>, reply: Reply<'static>, is_goodbye: bool) {
        let subscribers = peers;
        let notice = Notice { reply, subscribers };
        // Fails when the server has stopped.
        let _ = self.queue.send(OperatorNotice { notice, is_goodbye });
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
            send(notice, false, transmit, counters);
        }
    }
    notices
}

/// Returns the time between two rounds, of which the first one has sent this many notices. It
/// bounds what one peer that comes and goes can make the server send.
fn interval(notices: u32) -> Duration {
    MIN_INTERVAL.max(NOTICE_INTERVAL * notices)
}

fn send(
    mut notice: Notice,
    is_goodbye: bool,
    transmit: &mut impl Transmit,
    counters: &NotifierCounters,
) {
    let (mut line, mut frames) = (Vec::new(), Vec::new());
    push_reply(&notice.reply, &mut line);
    let text_bytes = line.len();
    line.extend_from_slice(LINE_END.as_bytes());
    let mut frame = Vec::new();
    v2::push_reply(&notice.reply, &mut frame);
    if is_goodbye {
        push_server_frame(&ServerFrame::Goodbye, &mut frame);
    }
    let endpoint = |subscriber: &Recipient| subscriber.address.endpoint();
    notice.subscribers.sort_unstable_by_key(endpoint);
    for subscribers in notice
        .subscribers
        .chunk_by(|a, b| endpoint(a) == endpoint(b))
    {
        frames.clear();
        let sessions = subscribers
            .iter()
            .filter_map(|subscriber| subscriber.session);
        for session in sessions {
            push_server_header(session.get(), &mut frames);
            frames.extend_from_slice(&frame);
        }
        let mut frames = frames.chunks(HEADER_BYTES + frame.len());
        let packets = subscribers.iter().map(|subscriber| {
            let bytes = match subscriber.protocol {
                Protocol::Text => &line[..text_bytes],
                Protocol::Lines => &line,
                Protocol::Frames(_) => frames.next().unwrap_or_default(),
            };
            Packet::single(&subscriber.address, bytes)
        });
        let tally = transmit.send(endpoint(&subscribers[0]), packets);
        counters.sent.fetch_add(tally.sent, Ordering::Relaxed);
        counters.failed.fetch_add(tally.failed(), Ordering::Relaxed);
    }
}

/// Time between two notices to a room. A person can follow at most ten lines per second.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Time for each notice, so that there are at most 50,000 per second. They take a twentieth of a
/// core. Up to 5,000 peers may receive one each 100 ms.
const NOTICE_INTERVAL: Duration = Duration::from_micros(20);

/// Maximum number of the operator's notices that wait. Each has about a thousand peers at most.
const MAX_QUEUED_NOTICES: usize = 16;

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
