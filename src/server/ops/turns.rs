//! The turns of the workers' loops, by which other threads see that a worker goes on.

use std::sync::Arc;

use super::stats::{WorkerId, WorkerInfo};
use super::supervise::Wake;

/// A worker, as other threads see it.
#[derive(Clone)]
pub struct WorkerHandle {
    pub info: Arc<WorkerInfo>,
    /// Wakes the worker if it sleeps.
    pub wake: Wake,
}

/// Checks that workers turn their loops. A worker that is not stuck takes a turn within
/// milliseconds when it is asked, also when it sleeps.
pub struct Turns {
    workers: Vec<Checked>,
}

struct Checked {
    worker: WorkerHandle,
    /// The number of its turns when it was asked, or in the last check after a turn.
    turns: u64,
    silent_checks: u32,
}

impl WorkerHandle {
    /// The number of turns of the worker's loop.
    pub fn turns(&self) -> u64 {
        self.info.counters.turns.get()
    }
}

impl Turns {
    /// Returns the turns of these workers. None of them is asked.
    pub fn new(workers: Vec<WorkerHandle>) -> Self {
        let workers = workers.into_iter().map(|worker| Checked {
            turns: worker.turns(),
            worker,
            silent_checks: 0,
        });
        Self {
            workers: workers.collect(),
        }
    }

    /// Returns the turns of these workers, and asks every one of them.
    pub fn asked(workers: Vec<WorkerHandle>) -> Self {
        let mut turns = Self::new(workers);
        turns.workers().for_each(|worker| turns.ask(worker));
        turns
    }

    /// The numbers of all workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..=u8::MAX).take(self.workers.len()).map(WorkerId)
    }

    pub fn info(&self, worker: WorkerId) -> &WorkerInfo {
        &self.workers[worker.index()].worker.info
    }

    /// Checks a worker. Returns the number of checks in a row, with this one, in which it had taken
    /// no turn.
    pub fn check(&mut self, worker: WorkerId) -> u32 {
        if self.has_turned(worker) {
            self.restart(worker);
        } else {
            self.workers[worker.index()].silent_checks += 1;
        }
        self.silent_checks(worker)
    }

    /// The number that [`Self::check`] last returned.
    pub fn silent_checks(&self, worker: WorkerId) -> u32 {
        self.workers[worker.index()].silent_checks
    }

    /// Returns true if the worker has received from its sockets since it was asked, or since the
    /// last check in which it had turned.
    pub fn has_turned(&self, worker: WorkerId) -> bool {
        let checked = &self.workers[worker.index()];
        checked.worker.turns() != checked.turns
    }

    /// Forgets the turns of a worker up to now.
    pub fn restart(&mut self, worker: WorkerId) {
        let checked = &mut self.workers[worker.index()];
        checked.turns = checked.worker.turns();
        checked.silent_checks = 0;
    }

    /// Asks a worker for a turn, and wakes it.
    pub fn ask(&mut self, worker: WorkerId) {
        let checked = &mut self.workers[worker.index()];
        checked.turns = checked.worker.turns();
        (checked.worker.wake)();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Returns a worker that takes a turn when it is woken, unless it is stuck.
    pub(crate) fn worker(name: &str, is_stuck: &Arc<AtomicBool>) -> WorkerHandle {
        let info = WorkerInfo::new(name);
        let (turning, is_stuck) = (Arc::clone(&info), Arc::clone(is_stuck));
        let wake = move || {
            if !is_stuck.load(Ordering::Relaxed) {
                turning.counters.turns.add(1);
            }
        };
        WorkerHandle {
            info,
            wake: Arc::new(wake),
        }
    }

    #[test]
    fn a_worker_that_is_stuck_takes_no_turn_until_it_goes_on() {
        let is_stuck = Arc::<AtomicBool>::default();
        let stuck = worker("worker-0", &is_stuck);
        let mut turns = Turns::asked(vec![stuck.clone(), worker("worker-1", &Arc::default())]);
        let turned = |turns: &Turns| [0, 1].map(|worker| turns.has_turned(WorkerId(worker)));
        assert_eq!(turned(&turns), [true, true]);
        is_stuck.store(true, Ordering::Relaxed);
        turns.workers().for_each(|worker| turns.ask(worker));
        assert_eq!(turned(&turns), [false, true]);
        stuck.info.counters.turns.add(1);
        assert_eq!(turned(&turns), [true, true], "without another request");
    }
}
