//! Everything that leaves the server: replies to single peers, and messages to rooms.

mod arena;
mod backlog;
mod batching;
mod builder;
mod bundles;
mod exchange;
mod goodbye;
pub mod inbox;
mod load;
pub mod notifier;
pub mod outbox;
mod own;
mod packets;
mod peer_accounts;
mod plan;
mod publisher;
pub mod replies;
mod round_robin;
mod schedule;
mod stuck;
mod texts;
mod worker_set;

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::inbox::{Inbox, Incoming};
use self::outbox::Outbox;
use self::packets::Packets;
use self::plan::{Claim, Sent};
use self::publisher::Publisher;
use self::replies::Replies;
use self::schedule::Schedule;
use self::stuck::StuckDetector;
use crate::net::{PeerAddr, Transmit};
use crate::server::ops::stats::{WorkerId, WorkerInfo};
use crate::server::registry::{Network, Peer, Room};
use crate::wire::DisplayName;
use crate::wire::v2::SessionId;

pub use backlog::BacklogFull;
pub use batching::{Batcher, Limits};
pub use exchange::Exchange;
pub use goodbye::send_goodbyes;
pub use stuck::CHECK_INTERVAL_MS;

/// The egress of one worker.
///
/// Texts gather while the texts before them are sent. Then those that have gathered for a room
/// are sent together, so batches grow with the load, and never wait for a timer. Rooms take
/// turns, slice by slice.
pub struct Egress {
    /// The replies to the datagrams received in this round.
    pub replies: Replies,
    worker: WorkerId,
    exchange: Arc<Exchange>,
    schedule: Schedule,
    /// The bundles for one member without its own messages.
    without_own: Packets,
    stuck: StuckDetector,
    info: Arc<WorkerInfo>,
    /// `None` without a cluster.
    nodes: Option<FromNodes>,
}

/// The way of texts from other nodes to a worker.
struct FromNodes {
    inbox: Arc<Inbox>,
    /// Gives each of their senders a share of the backlog.
    hash: RandomState,
}

/// The sender of a text, as it is when the text arrives.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    pub from: DisplayName,
    pub source: Source,
    /// The session that the text is not sent to.
    pub session_without_echo: Option<SessionId>,
}

/// The one who pays for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A trusted peer, alone.
    Trusted(PeerAddr),
    /// Another peer, together with its network.
    Untrusted(PeerAddr, Network),
    /// A peer of another server, which has this hash. Its own node has made it pay before, with its
    /// network.
    Node(u64),
}

impl From<PeerAddr> for Sender {
    /// Returns a trusted sender without a name.
    fn from(address: PeerAddr) -> Self {
        Self {
            from: DisplayName::Address(address.socket_addr()),
            source: Source::Trusted(address),
            session_without_echo: None,
        }
    }
}

/// The result of one step of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Idle,
    /// Other workers have to send slices first. The next step is due when they have, and after
    /// [`CHECK_INTERVAL_MS`] at the latest.
    Waiting,
    More,
}

impl Sender {
    pub fn of(address: PeerAddr, peer: &Peer) -> Self {
        let ip = address.socket_addr().ip();
        let source = match peer.is_trusted() {
            true => Source::Trusted(address),
            false => Source::Untrusted(address, Network::of(ip)),
        };
        Self {
            from: DisplayName::of(address.socket_addr(), peer.name()),
            source,
            session_without_echo: peer.session_without_echo(),
        }
    }
}

impl Egress {
    /// The backlog keeps what can be sent within the time `backlog`. The kernel takes up to
    /// `max_segments` datagrams as one packet.
    pub fn new(
        worker: WorkerId,
        exchange: Arc<Exchange>,
        backlog: Duration,
        max_segments: usize,
    ) -> Self {
        Self {
            replies: Replies::default(),
            worker,
            schedule: Schedule::new(worker, Arc::clone(&exchange), backlog, max_segments),
            without_own: Packets::with_capacity(0, 0),
            stuck: StuckDetector::new(exchange.turns()),
            info: Arc::clone(&exchange.worker(worker).info),
            exchange,
            nodes: None,
        }
    }

    /// Publishes texts to the other nodes of a cluster from now on, and takes theirs.
    pub fn join_cluster(&mut self, outbox: Arc<Outbox>, inbox: Arc<Inbox>) {
        self.schedule.publisher = Some(Publisher::new(self.worker, outbox));
        let hash = RandomState::new();
        self.nodes = Some(FromNodes { inbox, hash });
    }

    /// Begins a turn of the worker's loop, at this time.
    pub fn begin_turn(&mut self, now: Instant) {
        self.schedule.begin_turn(self.exchange.time_us(now));
    }

    /// Queues a text of at most [`MAX_PAYLOAD_BYTES`](crate::wire::v2::MAX_PAYLOAD_BYTES)
    /// bytes for all members of `room`.
    pub fn push(
        &mut self,
        room: &Arc<Room>,
        sender: &Sender,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        self.schedule.push(room, sender, text)
    }

    /// Sends all replies, and then one slice of the fan-out.
    pub fn poll(&mut self, transmit: &mut impl Transmit, now_ms: u64) -> Progress {
        let more_of_nodes = self.take_from_nodes();
        let counters = &self.info.counters;
        let tally = self.replies.send(transmit);
        counters.replies.add(tally.sent);
        counters.replies_failed.add(tally.failed());
        counters.replies_shed.add(self.replies.take_shed());
        self.exchange.wake_up(self.worker);
        self.info.backlog.set_cost_ns(self.schedule.cost_ns());
        match self.claim(now_ms) {
            Some(claim) => self.send(&claim, transmit),
            None if more_of_nodes => {}
            None if self.schedule.is_waiting() => return Progress::Waiting,
            None => return Progress::Idle,
        }
        Progress::More
    }

    /// Takes what other nodes have sent, and queues their texts. Returns true if there is more.
    fn take_from_nodes(&mut self) -> bool {
        let Some(nodes) = &self.nodes else {
            return false;
        };
        let mut bytes = 0;
        while bytes < MAX_INCOMING_BYTES_PER_STEP {
            let Some(incoming) = nodes.inbox.pop() else {
                return false;
            };
            bytes += incoming.bytes();
            match incoming {
                Incoming::Texts(batch) => {
                    let counters = &self.info.counters;
                    for text in batch.texts() {
                        let sender = inbox::sender(&text, &nodes.hash);
                        match self.schedule.push(batch.room(), &sender, text.text) {
                            Ok(()) => counters.messages_of_nodes.add(1),
                            Err(BacklogFull) => counters.messages_shed.add(1),
                        }
                    }
                }
                Incoming::Private { to, from, text } => {
                    self.replies.push_private(&to, from, &text);
                }
                Incoming::Reply { to, reply } => self.replies.push_late(&to, &reply),
            }
        }
        !nodes.inbox.is_empty()
    }

    /// Claims the next slice of a plan of this worker, or of another one. If it returns `None`, it
    /// has announced that the worker is going to sleep.
    fn claim(&mut self, now_ms: u64) -> Option<Claim> {
        if let Some(claim) = self.look_for_work(now_ms) {
            return Some(claim);
        }
        self.exchange.announce_sleep(self.worker);
        let claim = self.look_for_work(now_ms)?;
        self.exchange.wake_up(self.worker);
        Some(claim)
    }

    fn look_for_work(&mut self, now_ms: u64) -> Option<Claim> {
        if self.schedule.is_waiting() {
            if self.stuck.check(now_ms) {
                let shed = self.schedule.revoke(|worker| self.stuck.is_stuck(worker));
                self.info.counters.deliveries_shed.add(shed);
            }
            self.schedule.resume_rooms();
        } else {
            self.stuck.end();
        }
        let own = self.schedule.claim();
        own.or_else(|| self.exchange.claim(self.worker))
    }

    fn send(&mut self, claim: &Claim, transmit: &mut impl Transmit) {
        let Sent {
            tally,
            gso,
            is_last,
        } = claim.send(transmit, &mut self.without_own);
        let (counters, plan) = (&self.info.counters, claim.plan());
        counters.add_tally(tally);
        counters.gso_packets.add(gso.packets);
        counters.gso_segments.add(gso.segments);
        if is_last {
            let now_us = self.exchange.time_us(Instant::now());
            let time_us = now_us.wrapping_sub(plan.received_us());
            self.info.plan_times.add(time_us.into());
            if plan.origin() != self.worker {
                self.exchange.finished(plan);
            }
        }
    }
}

/// Number of bytes of batches and others after which a worker takes no more of them before its next
/// slice. They are a few thousand texts, or the packets of 1,024 direct messages, which take about as long
/// as a slice.
const MAX_INCOMING_BYTES_PER_STEP: usize = 256 << 10;

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
mod tests;
