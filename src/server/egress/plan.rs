//! The packets that the members of a room are to receive, which the workers share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::ArrayQueue;

use super::backlog::RoomTexts;
use super::bundles::{new_bundle_packets, plan_bundles};
use super::packets::Packets;
use super::texts::TextPlanner;
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::Wake;
use crate::server::registry::Members;
use crate::wire::Protocol;

/// The packets for the members of a room, built once for all of them. The worker that
/// built a plan sends it. In a large room it also hands the plan to the other workers,
/// and each sends it to the members that it serves.
pub struct Plan {
    origin: WorkerId,
    texts: Packets,
    lines: Packets,
    bundles: Packets,
}

impl Plan {
    pub fn new(origin: WorkerId) -> Self {
        Self {
            origin,
            texts: TextPlanner::new_packets(),
            lines: TextPlanner::new_packets(),
            bundles: new_bundle_packets(),
        }
    }

    /// Plans texts for `members`, in the protocols that they speak.
    pub fn build(&mut self, texts: RoomTexts<'_>, members: &Members, planner: &mut TextPlanner) {
        self.texts.clear();
        self.lines.clear();
        self.bundles.clear();
        for (protocol, packets) in [
            (Protocol::Text, &mut self.texts),
            (Protocol::Lines, &mut self.lines),
        ] {
            if members.any_speaks(protocol) {
                planner.plan(texts, protocol.line_end(), packets);
            }
        }
        if members.any_speaks(Protocol::Frames) {
            plan_bundles(texts, self.origin, &mut self.bundles);
        }
    }

    pub(super) fn packets(&self, protocol: Protocol) -> &Packets {
        match protocol {
            Protocol::Text => &self.texts,
            Protocol::Lines => &self.lines,
            Protocol::Frames => &self.bundles,
        }
    }
}

/// The plans of one worker. A plan is free when no [`SharedPlan`] points to it.
pub(super) struct PlanPool {
    plans: Vec<Arc<Plan>>,
    home: Arc<Home>,
}

/// A plan in use, and its recipients. Dropping the last of its clones frees the plan, and
/// wakes the pool's worker if it sleeps until a plan is free.
#[derive(Clone)]
pub struct SharedPlan {
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

    pub(super) fn is_unused(&mut self) -> bool {
        self.plans
            .iter_mut()
            .all(|plan| Arc::get_mut(plan).is_some())
    }

    /// Fills a free plan for `members` with `build`. Returns `None` if all plans are in use.
    pub(super) fn build(
        &mut self,
        members: Arc<Members>,
        build: impl FnOnce(&mut Plan, &Members),
    ) -> Option<SharedPlan> {
        let mut plans = self.plans.iter_mut();
        let slot = plans.find_map(|slot| Arc::get_mut(slot).is_some().then_some(slot))?;
        build(Arc::get_mut(slot)?, &members);
        Some(SharedPlan {
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
}

impl Deref for SharedPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        self.plan.as_ref().expect("present until the drop")
    }
}

impl Drop for SharedPlan {
    fn drop(&mut self) {
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
    wake: Wake,
}

impl Exchange {
    pub fn new(wakers: Vec<Wake>) -> Self {
        let workers = wakers.len();
        let mailbox = |wake| Mailbox {
            // Holds all plans of all workers, so a push never fails.
            plans: ArrayQueue::new(MAX_PLANS * workers),
            wake,
        };
        Self {
            mailboxes: wakers.into_iter().map(mailbox).collect(),
        }
    }

    pub fn workers(&self) -> usize {
        self.mailboxes.len()
    }

    /// Hands `plan` to all workers but its own, and wakes them.
    pub fn share(&self, plan: &SharedPlan) {
        for (worker, mailbox) in self.mailboxes.iter().enumerate() {
            if worker != plan.origin().index() {
                let result = mailbox.plans.push(plan.clone());
                debug_assert!(result.is_ok(), "a mailbox holds all plans");
                (mailbox.wake)();
            }
        }
    }

    pub fn receive(&self, worker: WorkerId) -> Option<SharedPlan> {
        self.mailboxes[worker.index()].plans.pop()
    }
}

/// Number of plans per worker. It sends one, while other workers may be late with three.
pub const MAX_PLANS: usize = 4;
