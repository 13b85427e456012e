//! The exchange of work between workers.

use std::time::Instant;

use super::plan::{Claim, Plan, SharedPlan};
use super::worker_set::WorkerSet;
use crate::server::ops::stats::WorkerId;
use crate::server::ops::turns::{Turns, WorkerHandle};
use crate::sync::arc_swap::ArcSwapAny;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

/// The plans from which workers that have nothing of their own to send may claim slices.
///
/// A worker that is going to sleep announces that, passes a fence, and looks for work once more. A
/// worker that offers or finishes a plan passes a fence after that, and wakes workers that have
/// announced their sleep. So a worker either sees the work or is woken (held by
/// `models::a_sleeper_is_woken_by_an_offer` and
/// `models::a_worker_that_waits_for_the_last_slice_is_woken`).
pub struct Exchange {
    seats: Vec<Seat>,
    sleepers: WorkerSet,
    /// The number of offers. While it is 0, a search costs one load.
    offered: AtomicUsize,
    /// The start of the times that plans are measured in.
    epoch: Instant,
}

struct Seat {
    worker: WorkerHandle,
    offers: [ArcSwapAny<Option<SharedPlan>>; MAX_OFFERS],
}

impl Exchange {
    pub fn new(workers: Vec<WorkerHandle>) -> Self {
        let seat = |worker| Seat {
            worker,
            offers: Default::default(),
        };
        Self {
            seats: workers.into_iter().map(seat).collect(),
            sleepers: WorkerSet::default(),
            offered: AtomicUsize::new(0),
            epoch: Instant::now(),
        }
    }

    /// Returns the time in µs since the start. It begins again after 71 minutes, so the times of two
    /// moments are compared by a wrapping subtraction.
    pub(super) fn time_us(&self, moment: Instant) -> u32 {
        moment.saturating_duration_since(self.epoch).as_micros() as u32
    }

    pub(super) fn workers(&self) -> usize {
        self.seats.len()
    }

    /// The worker as other threads see it.
    pub(super) fn worker(&self, worker: WorkerId) -> &WorkerHandle {
        &self.seats[worker.index()].worker
    }

    /// The turns of all workers.
    pub(super) fn turns(&self) -> Turns {
        Turns::new(self.seats.iter().map(|seat| seat.worker.clone()).collect())
    }

    /// Offers slices of a plan to all other workers, and wakes up to `helpers` of those that sleep.
    /// Does nothing if the plan's worker has [`MAX_OFFERS`] already. It then sends the plan alone.
    pub(super) fn offer(&self, plan: &SharedPlan, helpers: usize) {
        let offers = &self.seats[plan.origin().index()].offers;
        let Some(place) = offers.iter().find(|offer| offer.load().is_none()) else {
            return;
        };
        place.store(Some(SharedPlan::clone(plan)));
        self.offered.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let others = (0..=u8::MAX).map(WorkerId).take(self.seats.len());
        others
            .filter(|worker| *worker != plan.origin())
            .filter(|worker| self.wake_if_asleep(*worker))
            .take(helpers)
            .for_each(drop);
    }

    /// Ends the offer of a plan, if there is one.
    pub(super) fn withdraw(&self, plan: &SharedPlan) {
        for offer in &self.seats[plan.origin().index()].offers {
            if offer
                .load()
                .as_ref()
                .is_some_and(|offered| SharedPlan::ptr_eq(offered, plan))
            {
                offer.store(None);
                self.offered.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Claims a slice of another worker's plan for `worker`.
    pub(super) fn claim(&self, worker: WorkerId) -> Option<Claim> {
        if self.offered.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Workers begin at different seats.
        let (before, after) = self.seats.split_at(worker.index());
        let seats = after.iter().chain(before).skip(1);
        seats.flat_map(|seat| &seat.offers).find_map(|offer| {
            let offer = offer.load();
            Plan::claim(offer.as_ref()?, worker)
        })
    }

    /// Wakes the worker of a finished plan, which may sleep until then.
    pub(super) fn finished(&self, plan: &Plan) {
        fence(Ordering::SeqCst);
        self.wake_if_asleep(plan.origin());
    }

    /// Announces that a worker is going to sleep. It must look for work once more.
    pub(super) fn announce_sleep(&self, worker: WorkerId) {
        self.sleepers.insert(worker);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back.
    pub(super) fn wake_up(&self, worker: WorkerId) {
        self.sleepers.remove(worker);
    }

    fn wake_if_asleep(&self, worker: WorkerId) -> bool {
        let is_asleep = self.sleepers.remove(worker);
        if is_asleep {
            (self.worker(worker).wake)();
        }
        is_asleep
    }
}

/// Maximum number of plans that one worker offers at a time. That is enough work for all others,
/// and every search reads these places of each worker.
const MAX_OFFERS: usize = 4;
