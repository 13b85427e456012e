//! Everything that leaves the server: replies to single peers, and messages to rooms.

mod backlog;
mod bundles;
mod goodbye;
mod job;
pub mod notifier;
mod packets;
mod patience;
mod plan;
pub mod replies;
mod texts;
#[cfg_attr(not(test), expect(dead_code, reason = "the backlog is to use it"))]
mod turns;
mod worker_set;

use std::sync::Arc;

use self::backlog::Backlog;
use self::job::{Job, Slice};
use self::patience::Patience;
use self::plan::{PlanPool, ReceivedPlan};
use self::replies::Replies;
use self::texts::TextPlanner;
use self::worker_set::WorkerSet;
use crate::net::{PeerAddr, SendTally, Transmit};
use crate::server::ops::stats::{WorkerId, WorkerInfo};
use crate::server::ops::supervise::Wake;
use crate::server::registry::Room;
use crate::wire::Name;

pub use backlog::BacklogFull;
pub use goodbye::send_goodbyes;
pub use packets::{Batcher, Item, Limits};
pub use patience::LOOK_INTERVAL_MS;
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
    patience: Patience,
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
    /// Other workers have to send plans first. The next step is due when they have, and after
    /// [`LOOK_INTERVAL_MS`] at the latest.
    Waiting,
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
            gathering: Backlog::new(),
            sending: Backlog::new(),
            next_room: 0,
            planner: TextPlanner::new(max_segments),
            pool: PlanPool::new(worker, wake),
            patience: Patience::new(exchange.workers()),
            exchange,
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
    pub fn poll(&mut self, transmit: &mut impl Transmit, now_ms: u64) -> Progress {
        let counters = &self.info.counters;
        let tally = self.replies.send(transmit);
        counters.replies.add(tally.sent);
        counters.replies_failed.add(tally.failed());
        counters.replies_shed.add(self.replies.take_shed());
        self.send_slice(transmit, now_ms)
    }

    /// Sends the next slice of the plan under way, or of the next plan.
    fn send_slice(&mut self, transmit: &mut impl Transmit, now_ms: u64) -> Progress {
        loop {
            if let Some(job) = &mut self.job {
                let counters = &self.info.counters;
                let is_recalled = |recalls| self.exchange.is_recalled(self.worker, recalls);
                if job.recalls.is_some_and(is_recalled) {
                    counters.deliveries_shed.add(job.left());
                } else if let Some(slice) = job.next_slice() {
                    let tally = send(transmit, &slice);
                    counters.add_tally(tally);
                    job.add_tally(tally);
                    return Progress::More;
                }
                self.job = None;
            }
            let progress = self.begin(now_ms);
            if progress != Progress::More {
                return progress;
            }
        }
    }

    /// Begins the next plan of this worker or of another one, if there is one.
    fn begin(&mut self, now_ms: u64) -> Progress {
        self.is_own_turn = !self.is_own_turn;
        if !self.is_own_turn && self.begin_received() {
            return Progress::More;
        }
        let mut own = self.begin_own();
        if own != OwnPlan::Begun && self.is_own_turn && self.begin_received() {
            return Progress::More;
        }
        if own == OwnPlan::NoPlanFree {
            self.pass_stuck_workers(now_ms);
            // A plan may have become free since.
            self.pool.park();
            own = self.begin_own();
        }
        match own {
            OwnPlan::NoPlanFree => return Progress::Waiting,
            OwnPlan::Begun | OwnPlan::NoTexts => self.patience.end(),
        }
        match own {
            OwnPlan::Begun => Progress::More,
            _ => Progress::Idle,
        }
    }

    fn begin_received(&mut self) -> bool {
        let Some(ReceivedPlan { plan, recalls }) = self.exchange.receive(self.worker) else {
            return false;
        };
        self.start(Job::new(plan, WorkerSet::of(self.worker), Some(recalls)));
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
        let stuck = self.patience.stuck(&self.exchange);
        // If the room was shared and has become small, this worker must not overtake the
        // others.
        if !is_shared && !self.pool.holders().is_subset(&stuck) {
            return OwnPlan::NoPlanFree;
        }
        let planner = &mut self.planner;
        let build = self.pool.build(members, &stuck, |plan, members| {
            plan.build(texts, members, planner);
        });
        let Some(plan) = build else {
            return OwnPlan::NoPlanFree;
        };
        self.sending.take(self.next_room, count);
        if self.sending.room(self.next_room).is_none() {
            self.next_room += 1;
        }
        let owners = match is_shared {
            true => self.exchange.share(&plan, &stuck),
            false => WorkerSet::ALL,
        };
        self.start(Job::new(plan, owners, None));
        OwnPlan::Begun
    }

    /// Takes back the plans of a worker that is stuck, if this worker has waited for it for long
    /// enough. The deliveries are counted as shed. Until the stuck worker turns its loop again,
    /// this one sends its own plans to all members of that worker, too.
    fn pass_stuck_workers(&mut self, now_ms: u64) {
        let holders = self.pool.holders();
        while let Some(late) = self.patience.look(holders, &self.exchange, now_ms) {
            let counters = &self.info.counters;
            self.exchange.recall(late, |plan| {
                let deliveries = Job::new(plan, WorkerSet::of(late), None).left();
                counters.deliveries_planned.add(deliveries);
                counters.deliveries_shed.add(deliveries);
            });
            self.patience.give_up(late, &self.exchange);
        }
    }

    fn start(&mut self, job: Job) {
        self.info.counters.deliveries_planned.add(job.left());
        self.job = Some(job);
    }
}

/// Approximate maximum number of deliveries per plan. A worker sends as many to v1 peers in
/// a second. A plan is sent to everyone who was a member when it began, so this limits the
/// time for which a peer that left may still receive. In a room of 1000 members it is enough
/// for full packets.
const MAX_PLAN_DELIVERIES: usize = 1_000_000;

/// Sends a slice. On its own, the loop over the packets has all registers for itself. In
/// [`Egress::send_slice`] it takes a tenth more instructions.
#[inline(never)]
fn send(transmit: &mut impl Transmit, slice: &Slice<'_>) -> SendTally {
    transmit.send(slice.endpoint, slice.packets())
}

#[cfg(test)]
mod tests;
