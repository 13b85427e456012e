//! The exchange of plans between workers.

use crossbeam::queue::ArrayQueue;

use super::pool::{MAX_PLANS, SharedPlan};
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::Wake;

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
