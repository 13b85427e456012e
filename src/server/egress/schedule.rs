//! The turns of rooms, and their plans.

use std::sync::Arc;
use std::time::Duration;

use super::Sender;
use super::backlog::{Backlog, BacklogFull};
use super::exchange::Exchange;
use super::packets::PACKET_COST_NS;
use super::plan::{Claim, Plan, SLICE_COST_NS, SharedPlan};
use super::publisher::Publisher;
use super::round_robin::RoundRobin;
use super::texts::TextPlanner;
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{Members, Room};

/// The rooms of one worker that have texts, in turn.
///
/// A room has at most one plan of this worker under way. The next one is built when all slices of
/// it are sent, whichever workers send them. One worker receives all texts of a sender, so every
/// member receives them in order.
pub(super) struct Schedule {
    exchange: Arc<Exchange>,
    worker: WorkerId,
    backlog: Backlog,
    turns: RoundRobin,
    planner: TextPlanner,
    /// `None` without a cluster.
    pub(super) publisher: Option<Publisher>,
    pool: PlanPool,
    /// The rooms that have texts or a plan, and no turns. Other workers have to finish their plans
    /// first, or there is no free plan.
    suspended: Vec<usize>,
}

/// The plans of one worker.
struct PlanPool {
    worker: WorkerId,
    /// Plans that are not under way. Another worker may still point to one, if it is stuck.
    plans: Vec<SharedPlan>,
    under_way: usize,
    nobody: Arc<Members>,
}

impl Schedule {
    /// The backlog keeps what can be sent within the time `backlog`. The kernel takes up to
    /// `max_segments` datagrams as one packet.
    pub(super) fn new(
        worker: WorkerId,
        exchange: Arc<Exchange>,
        backlog: Duration,
        max_segments: usize,
    ) -> Self {
        Self {
            exchange,
            worker,
            backlog: Backlog::new(backlog),
            turns: RoundRobin::default(),
            planner: TextPlanner::new(max_segments),
            publisher: None,
            pool: PlanPool::new(worker),
            suspended: Vec::with_capacity(MAX_PLANS),
        }
    }

    /// Begins a turn of the worker. The texts that are added in it arrive at this time, see
    /// [`Exchange::time_us`].
    pub(super) fn begin_turn(&mut self, now_us: u32) {
        self.backlog.now_us = now_us;
    }

    /// The approximate time to send the texts that wait.
    pub(super) fn cost_ns(&self) -> u64 {
        self.backlog.cost_ns()
    }

    /// Adds a text for a room.
    pub(super) fn push(
        &mut self,
        room: &Arc<Room>,
        sender: &Sender,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        let room = self.backlog.push(room, sender, text)?;
        self.turns
            .activate(&mut self.backlog.rooms, room, TURN_COST_NS);
        Ok(())
    }

    /// Claims the next slice of the room whose turn it is. Forgets rooms that have had their turns
    /// and have neither texts nor a plan.
    pub(super) fn claim(&mut self) -> Option<Claim> {
        loop {
            let rooms = &mut self.backlog.rooms;
            let room = self.turns.current(rooms, TURN_COST_NS)?;
            let queue = &mut rooms[room];
            if let Some(plan) = &queue.plan {
                if let Some(claim) = Plan::claim(plan, self.worker) {
                    let cost_ns = claim.cost_ns() as i64;
                    self.turns.charge(rooms, cost_ns, TURN_COST_NS);
                    return Some(claim);
                }
                self.exchange.withdraw(plan);
                if plan.is_finished() {
                    self.pool.release(queue.plan.take());
                } else {
                    self.suspend(room);
                }
            } else if queue.account.texts == 0 {
                if self.turns.end(rooms) {
                    self.backlog.remove_room(room);
                }
            } else if self.pool.has_free(self.is_long(room)) {
                self.build(room);
            } else {
                self.suspend(room);
            }
        }
    }

    /// Returns true if rooms have no turns because other workers have to send slices first.
    pub(super) fn is_waiting(&self) -> bool {
        !self.suspended.is_empty()
    }

    /// Gives turns to the rooms whose wait has ended.
    pub(super) fn resume_rooms(&mut self) {
        let mut suspended = std::mem::take(&mut self.suspended);
        suspended.retain(|&room| {
            let rooms = &mut self.backlog.rooms;
            let is_over = match &rooms[room].plan {
                Some(plan) => plan.is_finished(),
                None => self.pool.has_free(self.is_long(room)),
            };
            if is_over {
                let rooms = &mut self.backlog.rooms;
                self.pool.release(rooms[room].plan.take());
                self.turns.resume(rooms, room);
            }
            !is_over
        });
        self.suspended = suspended;
    }

    /// Revokes the claims of workers that are stuck, if rooms wait for them. Returns the number of
    /// deliveries that are never made.
    pub(super) fn revoke(&self, is_stuck: impl Fn(WorkerId) -> bool) -> u64 {
        let plans = self.suspended.iter();
        let plans = plans.filter_map(|room| self.backlog.rooms[*room].plan.as_ref());
        plans.map(|plan| plan.revoke(&is_stuck)).sum()
    }

    fn suspend(&mut self, room: usize) {
        self.turns.suspend(&mut self.backlog.rooms);
        self.suspended.push(room);
    }

    /// Builds the next plan of a room, for its members at this moment.
    fn build(&mut self, room: usize) {
        let target = Arc::clone(&self.backlog.rooms[room].room);
        let others = self.exchange.workers() - 1;
        let (mut helpers, mut age_us) = (0, 0);
        let publisher = self.publisher.as_mut();
        let publisher = publisher.filter(|_| target.remote_members() > 0);
        let plan = self.pool.take(|plan| {
            let mut builder = plan.build(&target, &mut self.planner);
            match publisher {
                None => self.backlog.pick(room, |text| {
                    builder.try_push(text)?;
                    age_us = age_us.max(text.age_us);
                    Ok(())
                }),
                Some(publisher) => {
                    self.backlog.pick(room, |text| {
                        builder.try_push(text)?;
                        age_us = age_us.max(text.age_us);
                        publisher.push(&target, text);
                        Ok(())
                    });
                    publisher.finish(&target);
                }
            }
            builder.finish();
            plan.set_received_us(self.backlog.now_us.wrapping_sub(age_us));
            let cost_ns = plan.cost_ns();
            helpers = others.min((cost_ns / SHARE_COST_NS) as usize);
            plan.cut(cost_ns, helpers + 1);
        });
        self.backlog.set_runs(self.planner.runs());
        let info = &self.exchange.worker(self.worker).info;
        info.counters.deliveries_planned.add(plan.deliveries());
        info.backlog.set_age_us(age_us.into());
        if helpers > 0 {
            self.exchange.offer(&plan, helpers);
        }
        self.backlog.rooms[room].plan = Some(plan);
    }

    /// Returns true if a plan for all waiting texts of a room would take more than a slice.
    fn is_long(&self, room: usize) -> bool {
        let queue = &self.backlog.rooms[room];
        let (v1, v2) = queue.room.members_by_version();
        let packets_ns = (u64::from(v1) + u64::from(v2)) * PACKET_COST_NS;
        queue.account.cost_ns() + packets_ns > SLICE_COST_NS
    }
}

impl PlanPool {
    fn new(worker: WorkerId) -> Self {
        let plans = (0..TYPICAL_PLANS).map(|_| SharedPlan::new(Plan::new(worker)));
        Self {
            worker,
            plans: plans.collect(),
            under_way: 0,
            nobody: Arc::default(),
        }
    }

    /// Returns true if one more plan may be under way. The last ones are for short plans, so
    /// that small rooms do not wait for large ones.
    fn has_free(&self, is_long: bool) -> bool {
        let reserved = if is_long { MAX_PLANS / 4 } else { 0 };
        self.under_way < MAX_PLANS - reserved
    }

    /// Returns a plan that nobody else points to, after `fill`.
    fn take(&mut self, fill: impl FnOnce(&mut Plan)) -> SharedPlan {
        self.under_way += 1;
        let is_free = |plan: &mut SharedPlan| SharedPlan::get_mut(plan).is_some();
        let index = self.plans.iter_mut().rposition(is_free);
        let mut plan = match index {
            Some(index) => self.plans.swap_remove(index),
            None => SharedPlan::new(Plan::new(self.worker)),
        };
        fill(SharedPlan::get_mut(&mut plan).expect("a free plan has no other owner"));
        plan
    }

    /// Takes back a plan that is finished, if there is one.
    fn release(&mut self, plan: Option<SharedPlan>) {
        let Some(plan) = plan else {
            return;
        };
        debug_assert!(plan.is_finished());
        self.under_way -= 1;
        self.plans.push(plan);
        // One that another worker still points to keeps its snapshot until the next time.
        for plan in self.plans.iter_mut().filter(|plan| plan.has_members()) {
            if let Some(plan) = SharedPlan::get_mut(plan) {
                plan.set_members(Arc::clone(&self.nobody));
            }
        }
    }
}

/// The quantum of a room. A whole slice, which is seldom much shorter than [`SLICE_COST_NS`], uses
/// it up.
const TURN_COST_NS: i64 = SLICE_COST_NS as i64 / 2;

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

/// Maximum number of plans of one worker that are under way, each for another room. A plan
/// takes up to 400 KiB of memory.
const MAX_PLANS: usize = 32;

/// Number of plans for which memory is allocated at the start.
const TYPICAL_PLANS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PeerAddr;
    use crate::server::ops::stats::WorkerInfo;
    use crate::server::ops::turns::WorkerHandle;
    use crate::server::registry::Registry;
    use crate::wire::Protocol;

    #[test]
    fn a_room_with_so_many_members_that_their_packets_take_a_slice_has_a_long_plan() {
        let peer = |port| PeerAddr::new(([127, 0, 0, 1], port).into(), 0);
        let worker = WorkerHandle {
            info: WorkerInfo::new(""),
            wake: Arc::new(|| {}),
        };
        let exchange = Arc::new(Exchange::new(vec![worker]));
        for (members, is_long) in [(100, false), (800, false), (820, true), (1_000, true)] {
            let registry = Registry::plain(1, 1_000);
            for port in 1..=members {
                registry.touch(&peer(port), Protocol::Text, WorkerId(0), 0);
            }
            let backlog = Duration::from_millis(100);
            let mut schedule = Schedule::new(WorkerId(0), Arc::clone(&exchange), backlog, 64);
            // 1.2 ms for a datagram to each of 1,000, and 5 ms for their packets.
            let pushed = schedule.push(registry.lobby(), &peer(1).into(), b"x");
            pushed.unwrap();
            assert_eq!(schedule.is_long(0), is_long, "{members}");
        }
    }
}
