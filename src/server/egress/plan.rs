//! The packets that the members of a room are to receive, which the workers share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crossbeam::queue::ArrayQueue;

use super::backlog::RoomTexts;
use super::bundles::{new_bundle_packets, plan_bundles};
use super::packets::Packets;
use super::texts::TextPlanner;
use super::worker_set::{SharedWorkerSet, WorkerSet};
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::Wake;
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::Members;
use crate::wire::Protocol;
use crate::wire::v2::BundleSize;

/// The packets for the members of a room, built once for all of them. The worker that
/// built a plan sends it. In a large room it also hands the plan to the other workers,
/// and each sends it to the members that it serves.
pub struct Plan {
    origin: WorkerId,
    texts: Packets,
    lines: Packets,
    /// By their [`BundleSize`].
    bundles: [Packets; BundleSize::ALL.len()],
    /// The workers that have the plan to send.
    holders: SharedWorkerSet,
}

impl Plan {
    pub fn new(origin: WorkerId) -> Self {
        Self {
            origin,
            texts: TextPlanner::new_packets(),
            lines: TextPlanner::new_packets(),
            bundles: BundleSize::ALL.map(new_bundle_packets),
            holders: SharedWorkerSet::default(),
        }
    }

    /// Plans texts for `members`, in the protocols that they speak.
    pub fn build(&mut self, texts: RoomTexts<'_>, members: &Members, planner: &mut TextPlanner) {
        self.texts.clear();
        self.lines.clear();
        self.bundles.iter_mut().for_each(Packets::clear);
        for (protocol, packets) in [
            (Protocol::Text, &mut self.texts),
            (Protocol::Lines, &mut self.lines),
        ] {
            if members.any_speaks(protocol) {
                planner.plan(texts, protocol.line_end(), packets);
            }
        }
        let mut first_sequence = None;
        for size in BundleSize::ALL {
            if members.any_speaks(Protocol::Frames(size)) {
                // The messages have the same numbers in bundles of all sizes.
                let first = *first_sequence.get_or_insert_with(|| {
                    let count = texts.len() as u32;
                    texts.room().take_sequence(self.origin, count)
                });
                let packets = &mut self.bundles[size as usize];
                plan_bundles(texts, self.origin, first, size, packets);
            }
        }
    }

    pub(super) fn packets(&self, protocol: Protocol) -> &Packets {
        match protocol {
            Protocol::Text => &self.texts,
            Protocol::Lines => &self.lines,
            Protocol::Frames(size) => &self.bundles[size as usize],
        }
    }
}

/// The plans of one worker. A plan is free when no [`SharedPlan`] points to it.
pub(super) struct PlanPool {
    plans: Vec<Arc<Plan>>,
    home: Arc<Home>,
}

/// A plan that a worker has to send, and its recipients. Dropping the last of them frees the
/// plan, and wakes the pool's worker if it sleeps until a plan is free.
pub struct SharedPlan {
    holder: WorkerId,
    /// `None` only while it is dropped.
    plan: Option<Arc<Plan>>,
    members: Arc<Members>,
    home: Arc<Home>,
}

/// The worker that a plan goes back to.
struct Home {
    worker: WorkerId,
    /// True while the worker sleeps until a plan is free.
    is_parked: AtomicBool,
    wake: Wake,
}

impl PlanPool {
    pub(super) fn new(worker: WorkerId, wake: Wake) -> Self {
        Self {
            plans: (0..MAX_PLANS)
                .map(|_| Arc::new(Plan::new(worker)))
                .collect(),
            home: Arc::new(Home {
                worker,
                is_parked: AtomicBool::new(false),
                wake,
            }),
        }
    }

    /// The workers that have a plan of this pool to send.
    pub(super) fn holders(&self) -> WorkerSet {
        let holders = self.plans.iter().map(|plan| plan.holders.get());
        holders.fold(WorkerSet::EMPTY, |all, holders| all.union(&holders))
    }

    /// Fills a free plan for `members` with `build`. Returns `None` if all plans are in use. A
    /// plan that only `stuck` workers hold is given up, and another one takes its place.
    pub(super) fn build(
        &mut self,
        members: Arc<Members>,
        stuck: &WorkerSet,
        build: impl FnOnce(&mut Plan, &Members),
    ) -> Option<SharedPlan> {
        let mut plans = self.plans.iter_mut();
        let slot = match plans.find_map(|slot| Arc::get_mut(slot).is_some().then_some(slot)) {
            Some(slot) => slot,
            None => {
                let is_lost = |slot: &&mut Arc<Plan>| slot.holders.get().is_subset(stuck);
                let lost = self.plans.iter_mut().filter(|_| !stuck.is_empty());
                let slot = { lost }.find(is_lost)?;
                *slot = Arc::new(Plan::new(self.home.worker));
                slot
            }
        };
        build(Arc::get_mut(slot)?, &members);
        slot.holders.insert(self.home.worker);
        Some(SharedPlan {
            holder: self.home.worker,
            plan: Some(Arc::clone(slot)),
            members,
            home: Arc::clone(&self.home),
        })
    }

    /// Announces that the worker is going to sleep until a plan is free. The worker must
    /// look for a free plan once more before it sleeps.
    ///
    /// The fence pairs with that in [`SharedPlan::drop`]. Each side writes, passes its fence,
    /// and reads what the other side writes. So either the worker sees that the plan is free,
    /// or the other thread sees that the worker is parked, and wakes it.
    pub(super) fn park(&self) {
        self.home.is_parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl SharedPlan {
    pub fn origin(&self) -> WorkerId {
        self.home.worker
    }

    /// The members that receive the plan.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Returns the plan for another worker that has to send it, too.
    fn lend(&self, holder: WorkerId) -> Self {
        self.holders.insert(holder);
        Self {
            holder,
            plan: self.plan.clone(),
            members: Arc::clone(&self.members),
            home: Arc::clone(&self.home),
        }
    }
}

impl Deref for SharedPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        self.plan.as_ref().expect("present until the drop")
    }
}

impl Drop for SharedPlan {
    fn drop(&mut self) {
        self.holders.remove(self.holder);
        self.plan = None;
        // See `PlanPool::park`.
        fence(Ordering::SeqCst);
        if self.home.is_parked.swap(false, Ordering::Relaxed) {
            (self.home.wake)();
        }
    }
}

/// The exchange of plans between workers.
pub struct Exchange {
    mailboxes: Vec<Mailbox>,
}

struct Mailbox {
    plans: ArrayQueue<SharedPlan>,
    worker: WorkerHandle,
    /// The number of times that the worker's plans were taken back.
    recalls: AtomicU64,
}

/// A plan from another worker.
pub struct ReceivedPlan {
    pub plan: SharedPlan,
    /// See [`Exchange::is_recalled`].
    pub recalls: u64,
}

impl Exchange {
    pub fn new(workers: Vec<WorkerHandle>) -> Self {
        let count = workers.len();
        let mailbox = |worker| Mailbox {
            // Holds all plans of all workers, so a push never fails. A plan that was given up
            // is in no mailbox.
            plans: ArrayQueue::new(MAX_PLANS * count),
            worker,
            recalls: AtomicU64::new(0),
        };
        Self {
            mailboxes: workers.into_iter().map(mailbox).collect(),
        }
    }

    pub fn workers(&self) -> usize {
        self.mailboxes.len()
    }

    /// Hands `plan` to all workers but its own and those that are `stuck`, and wakes them.
    /// Returns the workers whose members are left to its own.
    pub(super) fn share(&self, plan: &SharedPlan, stuck: &WorkerSet) -> WorkerSet {
        let left = stuck.with(plan.origin());
        for (worker, mailbox) in (0..=u8::MAX).map(WorkerId).zip(&self.mailboxes) {
            if !left.contains(worker) {
                let result = mailbox.plans.push(plan.lend(worker));
                debug_assert!(result.is_ok(), "a mailbox holds all plans");
                (mailbox.worker.wake)();
            }
        }
        left
    }

    pub fn receive(&self, worker: WorkerId) -> Option<ReceivedPlan> {
        let mailbox = &self.mailboxes[worker.index()];
        // Before the plan is taken, so that the next recall is noticed.
        let recalls = mailbox.recalls.load(Ordering::Acquire);
        let plan = mailbox.plans.pop()?;
        Some(ReceivedPlan { plan, recalls })
    }

    /// Takes back every plan that waits for `worker`, which is stuck. The worker gives up the
    /// plan that it has begun, once it has sent the slice that it is at.
    pub(super) fn recall(&self, worker: WorkerId, mut each: impl FnMut(SharedPlan)) {
        let mailbox = &self.mailboxes[worker.index()];
        while let Some(plan) = mailbox.plans.pop() {
            each(plan);
        }
        // After that, so that a plan that the worker took in between is given up, too.
        mailbox.recalls.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns true if the plans of `worker` were taken back since it received one.
    pub(super) fn is_recalled(&self, worker: WorkerId, recalls: u64) -> bool {
        self.mailboxes[worker.index()]
            .recalls
            .load(Ordering::Acquire)
            != recalls
    }

    /// The number of turns of a worker's loop.
    pub(super) fn turns(&self, worker: WorkerId) -> u64 {
        self.mailboxes[worker.index()].worker.turns()
    }
}

/// Number of plans per worker. It sends one, while other workers may be late with three.
pub const MAX_PLANS: usize = 4;
