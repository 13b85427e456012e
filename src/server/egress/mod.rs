//! Everything that leaves the server: replies to single peers, and messages to rooms.

mod arena;
mod backlog;
mod bundles;
mod exchange;
mod goodbye;
mod load;
pub mod notifier;
mod own;
mod packets;
mod pass;
mod plan;
pub mod replies;
mod round_robin;
mod stuck;
mod texts;
mod worker_set;

use std::sync::Arc;
use std::time::Duration;

use self::backlog::Backlog;
use self::packets::Packets;
use self::pass::PassLimits;
use self::plan::{Claim, MAX_PLANS, PlanPool};
use self::replies::Replies;
use self::stuck::StuckDetector;
use self::texts::TextPlanner;
use self::worker_set::WorkerSet;
use crate::net::{PeerAddr, Transmit};
use crate::server::ops::stats::{WorkerId, WorkerInfo};
use crate::server::registry::Room;
use crate::wire::Name;
use crate::wire::v2::SessionId;

pub use backlog::BacklogFull;
pub use exchange::Exchange;
pub use goodbye::send_goodbyes;
pub use packets::{Batcher, Item, Limits};
pub use stuck::CHECK_INTERVAL_MS;

/// The egress of one worker.
///
/// Texts gather while the texts before them are sent. Then those that have gathered for a room
/// are sent together, so batches grow with the load, and never wait for a timer. Rooms take
/// turns, slice by slice.
///
/// A room has at most one plan of this worker under way. The next one is built when all slices of
/// it are sent, whichever workers send them. One worker receives all texts of a sender, so every
/// member receives them in order.
pub struct Egress {
    /// The replies to the datagrams received in this round.
    pub replies: Replies,
    worker: WorkerId,
    exchange: Arc<Exchange>,
    backlog: Backlog,
    planner: TextPlanner,
    /// The bundles for one member without its own messages.
    without_own: Packets,
    pool: PlanPool,
    /// The rooms that have texts or a plan, and no turns. Other workers have to finish their plans
    /// first, or there is no free plan.
    suspended: Vec<usize>,
    stuck: StuckDetector,
    info: Arc<WorkerInfo>,
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
            backlog: Backlog::new(backlog),
            planner: TextPlanner::new(max_segments),
            without_own: Packets::with_capacity(0, 0),
            pool: PlanPool::new(worker),
            suspended: Vec::with_capacity(MAX_PLANS),
            stuck: StuckDetector::new(exchange.workers()),
            info: Arc::clone(&exchange.worker(worker).info),
            exchange,
        }
    }

    /// Queues a text of at most [`MAX_PAYLOAD_BYTES`](crate::wire::v2::MAX_PAYLOAD_BYTES)
    /// bytes for all members of `room`, but not for the session `not_to`.
    pub fn push(
        &mut self,
        room: &Arc<Room>,
        sender: PeerAddr,
        name: Option<Name>,
        not_to: Option<SessionId>,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        self.backlog.push(room, sender, name, not_to, text)
    }

    /// Sends all replies, and then one slice of the fan-out.
    pub fn poll(&mut self, transmit: &mut impl Transmit, now_ms: u64) -> Progress {
        let counters = &self.info.counters;
        let tally = self.replies.send(transmit);
        counters.replies.add(tally.sent);
        counters.replies_failed.add(tally.failed());
        counters.replies_shed.add(self.replies.take_shed());
        self.exchange.wake_up(self.worker);
        match self.claim(now_ms) {
            Some(claim) => self.send(&claim, transmit),
            None if self.suspended.is_empty() => return Progress::Idle,
            None => return Progress::Waiting,
        }
        Progress::More
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
        if self.suspended.is_empty() {
            self.stuck.end();
        } else {
            self.revoke_stuck_claims(now_ms);
            self.resume_rooms();
        }
        self.claim_own()
            .or_else(|| self.exchange.claim(self.worker))
    }

    /// Claims a slice for the room whose turn it is.
    fn claim_own(&mut self) -> Option<Claim> {
        while let Some(room) = self.backlog.current() {
            if self.backlog.plan(room).is_none() && !self.build(room) {
                self.suspend(room);
                continue;
            }
            let plan = self.backlog.plan(room)?;
            if let Some(claim) = plan.claim(self.worker) {
                self.backlog.charge(claim.cost_ns());
                return Some(claim);
            }
            self.exchange.withdraw(plan);
            if plan.is_finished() {
                self.release(room);
            } else {
                self.suspend(room);
            }
        }
        None
    }

    /// Builds the next plan of a room, for its members at this moment. Returns false if no plan
    /// is free.
    fn build(&mut self, room: usize) -> bool {
        if !self.pool.has_free(self.backlog.is_long(room)) {
            return false;
        }
        let members = self.backlog.room(room).members();
        let texts = self.backlog.pick(room, PassLimits::new(&members));
        let (planner, others) = (&mut self.planner, self.exchange.workers() - 1);
        let mut helpers = 0;
        planner.clear();
        let plan = self.pool.take(|plan| {
            let cost_ns = plan.build(texts, members, planner);
            helpers = others.min((cost_ns / SHARE_COST_NS) as usize);
            plan.cut(cost_ns, helpers + 1);
        });
        self.backlog.release(self.planner.runs());
        let counters = &self.info.counters;
        counters.deliveries_planned.add(plan.deliveries());
        if helpers > 0 {
            self.exchange.offer(&plan, helpers);
        }
        self.backlog.set_plan(room, Some(plan));
        true
    }

    /// Takes back the finished plan of a room, if it has one.
    fn release(&mut self, room: usize) {
        if let Some(plan) = self.backlog.set_plan(room, None) {
            self.pool.release(plan);
        }
    }

    fn suspend(&mut self, room: usize) {
        self.backlog.suspend();
        self.suspended.push(room);
    }

    /// Gives turns to the rooms whose wait has ended.
    fn resume_rooms(&mut self) {
        let mut suspended = std::mem::take(&mut self.suspended);
        suspended.retain(|&room| {
            let is_over = match self.backlog.plan(room) {
                Some(plan) => plan.is_finished(),
                None => self.pool.has_free(self.backlog.is_long(room)),
            };
            if is_over {
                self.release(room);
                self.backlog.resume(room);
            }
            !is_over
        });
        self.suspended = suspended;
    }

    /// Revokes the claims of workers that are stuck, if this worker has waited for them for long
    /// enough. The deliveries are counted as shed.
    fn revoke_stuck_claims(&mut self, now_ms: u64) {
        if !self.stuck.is_due(now_ms) {
            return;
        }
        let plans = || {
            self.suspended
                .iter()
                .filter_map(|room| self.backlog.plan(*room))
        };
        let holders = plans().fold(WorkerSet::EMPTY, |all, plan| all.union(&plan.holders()));
        for worker in self.stuck.check(holders, &self.exchange, now_ms).iter() {
            let shed = plans().map(|plan| plan.revoke(worker)).sum();
            self.info.counters.deliveries_shed.add(shed);
        }
    }

    fn send(&mut self, claim: &Claim, transmit: &mut impl Transmit) {
        let (tally, is_last) = claim.send(transmit, &mut self.without_own);
        self.info.counters.add_tally(tally);
        if is_last && claim.plan().origin() != self.worker {
            self.exchange.finished(claim.plan());
        }
    }
}

/// The cost of a plan per worker that it wakes. Below that, waking takes longer than it saves. This
/// was measured with two workers on two cores, as the time until the last stock peer has a text:
///
/// | peers | cost of the plan, ms | one worker, ms | two workers, ms | ratio |
/// | --- | --- | --- | --- | --- |
/// | 16 | 0.10 | 0.16 | 0.19 | 1.21 |
/// | 32 | 0.19 | 0.23 | 0.25 | 1.07 |
/// | 48 | 0.29 | 0.29 | 0.30 | 1.04 |
/// | 64 | 0.38 | 0.35 | 0.33 | 0.94 |
/// | 96 | 0.58 | 0.47 | 0.42 | 0.88 |
const SHARE_COST_NS: u64 = 350_000;

#[cfg(test)]
mod tests;
