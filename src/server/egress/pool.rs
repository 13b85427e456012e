//! The plans of one worker, recycled when all workers have sent them.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use super::plan::Plan;
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::Wake;
use crate::server::registry::Members;

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

/// Number of plans per worker. It sends one, while other workers may be late with three.
pub const MAX_PLANS: usize = 4;
