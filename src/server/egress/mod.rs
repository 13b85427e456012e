//! Everything that leaves the server: replies to single peers, and messages to rooms.

mod backlog;
mod batching;
mod bundles;
pub mod exchange;
mod fanout;
mod goodbye;
pub mod notifier;
mod packets;
mod plan;
mod pool;
pub mod replies;
mod texts;

use std::sync::Arc;

use self::exchange::Exchange;
use self::replies::Replies;
use crate::net::{PeerAddr, Transmit};
use crate::server::ops::stats::{WorkerId, WorkerInfo};
use crate::server::ops::supervise::Wake;
use crate::server::registry::Peer;

pub use backlog::BacklogFull;
pub use batching::{Batcher, Item, Limits};
pub use fanout::FanOut;
pub use goodbye::send_goodbyes;
pub use pool::MAX_PLANS;

/// The egress of one worker.
pub struct Egress {
    /// The replies to the datagrams received in this round.
    pub replies: Replies,
    fanout: FanOut,
    info: Arc<WorkerInfo>,
}

/// The result of one step of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing left to do.
    Idle,
    /// There is more to do.
    More,
}

impl Egress {
    /// Returns the egress of `worker`, which `wake` wakes, on a kernel that takes up to
    /// `max_segments` datagrams as one packet.
    pub fn new(
        worker: WorkerId,
        wake: Wake,
        exchange: Arc<Exchange>,
        max_segments: usize,
        info: Arc<WorkerInfo>,
    ) -> Self {
        Self {
            replies: Replies::default(),
            fanout: FanOut::new(worker, wake, exchange, max_segments),
            info,
        }
    }

    /// Queues a text for all members of the sender's room.
    ///
    /// # Errors
    /// [`BacklogFull`]; the text is dropped.
    pub fn push(
        &mut self,
        address: PeerAddr,
        sender: &Peer,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        self.fanout
            .push(&sender.room(), address, sender.name(), text)
    }

    /// Sends all replies, then one slice of what the rooms are to receive.
    pub fn poll(&mut self, transmit: &mut impl Transmit) -> Progress {
        let counters = &self.info.counters;
        let tally = self.replies.send(transmit);
        counters.answers.add(tally.sent);
        counters.answers_failed.add(tally.total() - tally.sent);
        counters.answers_shed.add(self.replies.take_shed());
        self.fanout.poll(transmit, counters)
    }
}

#[cfg(test)]
mod tests;
