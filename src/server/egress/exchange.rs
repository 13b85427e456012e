//! Hands plans from worker to worker, and wakes those that sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::ArrayQueue;

use crate::server::egress::{PLANS, Plan};
use crate::server::ops::supervise::Wake;

/// One inbox a worker, and what wakes it.
pub struct Handover {
    desks: Vec<Desk>,
}

struct Desk {
    inbox: ArrayQueue<Arc<Plan>>,
    /// Whether the worker waits for one of its own plans to come free.
    waits: AtomicBool,
    wake: Wake,
}

impl Handover {
    /// Inboxes of as many workers as there are `wakers`.
    pub fn new(wakers: Vec<Wake>) -> Self {
        let desks = wakers.len();
        let desk = |wake| Desk {
            // Every plan there is fits: nothing is ever refused.
            inbox: ArrayQueue::new(PLANS * desks),
            waits: AtomicBool::new(false),
            wake,
        };
        Self {
            desks: wakers.into_iter().map(desk).collect(),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.desks.len()
    }

    /// Hands `plan` to all workers but its own.
    pub fn share(&self, plan: &Arc<Plan>) {
        for (worker, desk) in self.desks.iter().enumerate() {
            if worker != usize::from(plan.origin) {
                let refused = desk.inbox.push(Arc::clone(plan));
                debug_assert!(refused.is_ok(), "the inbox holds every plan");
                (desk.wake)();
            }
        }
    }

    /// The next plan handed to `worker`.
    pub fn take(&self, worker: u8) -> Option<Arc<Plan>> {
        self.desks[usize::from(worker)].inbox.pop()
    }

    /// Gives a plan back that was handed over, and wakes its worker if that
    /// waits for it.
    pub fn give_back(&self, plan: Arc<Plan>) {
        let desk = &self.desks[usize::from(plan.origin)];
        drop(plan);
        // With the fence in `wait`: either the one who waits sees the plan free,
        // or this sees it wait.
        fence(Ordering::SeqCst);
        if desk.waits.swap(false, Ordering::Relaxed) {
            (desk.wake)();
        }
    }

    /// Says that `worker` is going to sleep until a plan is given back; it must
    /// look once more whether one is free, before it does.
    pub fn wait(&self, worker: u8) {
        let desk = &self.desks[usize::from(worker)];
        desk.waits.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}
