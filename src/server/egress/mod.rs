//! Everything that leaves the server: replies to single peers, and messages to rooms.

mod backlog;
mod bundles;
mod goodbye;
mod job;
pub mod notifier;
mod packets;
mod plan;
pub mod replies;
mod texts;

use std::sync::Arc;

use self::backlog::Backlog;
use self::job::Job;
use self::plan::PlanPool;
use self::replies::Replies;
use self::texts::TextPlanner;
use crate::net::{PeerAddr, Transmit};
use crate::server::ops::stats::{WorkerId, WorkerInfo};
use crate::server::ops::supervise::Wake;
use crate::server::registry::Room;
use crate::wire::Name;

pub use backlog::BacklogFull;
pub use goodbye::send_goodbyes;
pub use packets::{Batcher, Item, Limits};
pub use plan::{Exchange, MAX_PLANS};

/// The egress of one worker.
///
/// Texts gather while the texts before them are sent. Then all that have gathered are
/// sent together, so batches grow with the load, and never wait for a timer.
pub struct Egress {
    /// The replies to the datagrams received in this round.
    pub replies: Replies,
    worker: WorkerId,
    exchange: Arc<Exchange>,
    gathering: Backlog,
    /// The texts that had gathered when all texts before them were sent. The rooms from
    /// `next_room` on have no plan yet.
    sending: Backlog,
    next_room: usize,
    planner: TextPlanner,
    pool: PlanPool,
    job: Option<Job>,
    /// True when the worker's own plans go before the plans of other workers. The two
    /// take turns.
    is_own_turn: bool,
    info: Arc<WorkerInfo>,
}

/// The result of one step of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Idle,
    More,
}

/// The outcome of looking for a room to plan for.
#[derive(PartialEq, Eq)]
enum OwnPlan {
    Begun,
    NoTexts,
    /// Other workers have to send plans first.
    NoPlanFree,
}

impl Egress {
    /// `wake` wakes the worker. The kernel takes up to `max_segments` datagrams as one packet.
    pub fn new(
        worker: WorkerId,
        wake: Wake,
        exchange: Arc<Exchange>,
        max_segments: usize,
        info: Arc<WorkerInfo>,
    ) -> Self {
        Self {
            replies: Replies::default(),
            worker,
            exchange,
            gathering: Backlog::new(),
            sending: Backlog::new(),
            next_room: 0,
            planner: TextPlanner::new(max_segments),
            pool: PlanPool::new(worker, wake),
            job: None,
            is_own_turn: true,
            info,
        }
    }

    /// Queues a text of at most [`MAX_PAYLOAD_BYTES`](crate::wire::v2::MAX_PAYLOAD_BYTES)
    /// bytes for all members of `room`.
    pub fn push(
        &mut self,
        room: &Arc<Room>,
        sender: PeerAddr,
        name: Option<Name>,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        self.gathering.push(room, sender, name, text)
    }

    /// Sends all replies, and then one slice of the fan-out.
    pub fn poll(&mut self, transmit: &mut impl Transmit) -> Progress {
        let counters = &self.info.counters;
        let tally = self.replies.send(transmit);
        counters.replies.add(tally.sent);
        counters.replies_failed.add(tally.failed());
        counters.replies_shed.add(self.replies.take_shed());
        self.send_slice(transmit)
    }

    /// Sends the next slice of the plan under way, or of the next plan.
    fn send_slice(&mut self, transmit: &mut impl Transmit) -> Progress {
        loop {
            if let Some(job) = &mut self.job {
                if let Some(slice) = job.next_slice() {
                    let tally = transmit.send(slice.endpoint, slice.packets());
                    self.info.counters.add_tally(tally);
                    return Progress::More;
                }
                self.job = None;
            }
            if !self.begin() {
                return Progress::Idle;
            }
        }
    }

    /// Begins the next plan of this worker or of another one. Returns false if there is none.
    fn begin(&mut self) -> bool {
        self.is_own_turn = !self.is_own_turn;
        if !self.is_own_turn && self.begin_received() {
            return true;
        }
        let own = self.begin_own();
        if own == OwnPlan::Begun || (self.is_own_turn && self.begin_received()) {
            return true;
        }
        own == OwnPlan::NoPlanFree && {
            // A plan may have become free since.
            self.pool.park();
            self.begin_own() == OwnPlan::Begun
        }
    }

    fn begin_received(&mut self) -> bool {
        let Some(plan) = self.exchange.receive(self.worker) else {
            return false;
        };
        self.start(Job::new(plan, Some(self.worker)));
        true
    }

    /// Builds the plan for the next room with texts, for its members at this moment.
    fn begin_own(&mut self) -> OwnPlan {
        if self.next_room == self.sending.rooms() {
            self.sending.clear();
            std::mem::swap(&mut self.sending, &mut self.gathering);
            self.next_room = 0;
        }
        let Some(texts) = self.sending.room(self.next_room) else {
            return OwnPlan::NoTexts;
        };
        let members = texts.room().members();
        let texts = texts.up_to(MAX_PLAN_DELIVERIES / members.len().max(1));
        let count = texts.len();
        let is_shared = members.is_shared() && self.exchange.workers() > 1;
        // If the room was shared and has become small, this worker must not overtake the
        // others.
        if !is_shared && !self.pool.is_unused() {
            return OwnPlan::NoPlanFree;
        }
        let planner = &mut self.planner;
        let build = self.pool.build(members, |plan, members| {
            plan.build(texts, members, planner);
        });
        let Some(plan) = build else {
            return OwnPlan::NoPlanFree;
        };
        self.sending.take(self.next_room, count);
        if self.sending.room(self.next_room).is_none() {
            self.next_room += 1;
        }
        if is_shared {
            self.exchange.share(&plan);
        }
        self.start(Job::new(plan, is_shared.then_some(self.worker)));
        OwnPlan::Begun
    }

    fn start(&mut self, job: Job) {
        self.info.counters.deliveries_planned.add(job.deliveries());
        self.job = Some(job);
    }
}

/// Approximate maximum number of deliveries per plan. A worker sends as many to v1 peers in
/// a second. A plan is sent to everyone who was a member when it began, so this limits the
/// time for which a peer that left may still receive. In a room of 1000 members it is enough
/// for full packets.
const MAX_PLAN_DELIVERIES: usize = 1_000_000;

#[cfg(test)]
mod tests;
