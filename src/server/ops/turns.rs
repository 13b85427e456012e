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

/// Asks workers for a turn of their loop. A worker that is not stuck takes one within
/// milliseconds, also when it sleeps.
pub struct Turns {
    workers: Vec<Asked>,
}

struct Asked {
    worker: WorkerHandle,
    /// The number of its turns when it was asked.
    turns: u64,
}

impl WorkerHandle {
    /// The number of turns of the worker's loop.
    pub fn turns(&self) -> u64 {
        self.info.counters.turns.get()
    }
}

impl Turns {
    /// Returns the turns of these workers, and asks every one of them.
    pub fn new(workers: Vec<WorkerHandle>) -> Self {
        let workers = workers.into_iter().map(|worker| Asked { worker, turns: 0 });
        let mut turns = Self {
            workers: workers.collect(),
        };
        turns.workers().for_each(|worker| turns.ask(worker));
        turns
    }

    /// The numbers of all workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..=u8::MAX).take(self.workers.len()).map(WorkerId)
    }

    /// The name of the worker's thread.
    pub fn name(&self, worker: WorkerId) -> &str {
        &self.workers[worker.index()].worker.info.name
    }

    /// Returns true if the worker has received from its sockets since it was asked.
    pub fn has_turned(&self, worker: WorkerId) -> bool {
        let asked = &self.workers[worker.index()];
        asked.worker.turns() != asked.turns
    }

    /// Asks a worker for a turn, and wakes it.
    pub fn ask(&mut self, worker: WorkerId) {
        let asked = &mut self.workers[worker.index()];
        asked.turns = asked.worker.turns();
        (asked.worker.wake)();
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
        let mut turns = Turns::new(vec![stuck.clone(), worker("worker-1", &Arc::default())]);
        let turned = |turns: &Turns| [0, 1].map(|worker| turns.has_turned(WorkerId(worker)));
        assert_eq!(turned(&turns), [true, true]);
        is_stuck.store(true, Ordering::Relaxed);
        turns.workers().for_each(|worker| turns.ask(worker));
        assert_eq!(turned(&turns), [false, true]);
        stuck.info.counters.turns.add(1);
        assert_eq!(turned(&turns), [true, true], "without another request");
    }
}
