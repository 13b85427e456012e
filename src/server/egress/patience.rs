//! The patience of a worker with others that have to send its plans first.

use super::plan::Exchange;
use super::worker_set::WorkerSet;
use crate::server::ops::stats::WorkerId;

/// Finds workers that are stuck: they do not turn their loop, while this worker waits for them.
/// A worker that is merely busy turns its loop every few milliseconds.
pub(super) struct Patience {
    /// One per worker.
    waits: Vec<Wait>,
    /// The time of the last look in this wait, or `None` while this worker does not wait.
    looked_ms: Option<u64>,
    stuck: WorkerSet,
}

/// The wait for one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// The number of turns that the worker had taken.
    turns: u64,
    /// The time for which it has taken no further one.
    ms: u64,
}

impl Patience {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            waits: vec![Wait::default(); workers],
            looked_ms: None,
            stuck: WorkerSet::EMPTY,
        }
    }

    /// Ends the wait.
    pub(super) fn end(&mut self) {
        self.looked_ms = None;
    }

    /// Returns the workers that are stuck. One that has turned its loop is not any more.
    pub(super) fn stuck(&mut self, exchange: &Exchange) -> WorkerSet {
        if !self.stuck.is_empty() {
            for worker in self.stuck.iter() {
                if exchange.turns(worker) != self.waits[worker.index()].turns {
                    self.stuck = self.stuck.without(worker);
                }
            }
        }
        self.stuck
    }

    /// Looks at the workers `holders`, for which this worker waits. Returns one that has taken no
    /// turn for [`PATIENCE_MS`], if there is one.
    ///
    /// Each look counts [`LOOK_INTERVAL_MS`] at most. So a pause of the whole process, after
    /// which the other workers have had no turn yet, uses up no patience.
    pub(super) fn look(
        &mut self,
        holders: WorkerSet,
        exchange: &Exchange,
        now_ms: u64,
    ) -> Option<WorkerId> {
        let looked_ms = self.looked_ms.replace(now_ms);
        let mut late = None;
        for worker in holders
            .iter()
            .filter(|worker| !self.stuck.contains(*worker))
        {
            let wait = &mut self.waits[worker.index()];
            let turns = exchange.turns(worker);
            match looked_ms {
                Some(looked_ms) if wait.turns == turns => {
                    wait.ms += now_ms.saturating_sub(looked_ms).min(LOOK_INTERVAL_MS);
                }
                _ => *wait = Wait { turns, ms: 0 },
            }
            if wait.ms >= PATIENCE_MS {
                late = Some(worker);
            }
        }
        late
    }

    /// Adds a worker that [`Self::look`] returned to those that are stuck, unless it has taken a
    /// turn since.
    pub(super) fn give_up(&mut self, worker: WorkerId, exchange: &Exchange) {
        let wait = &mut self.waits[worker.index()];
        if exchange.turns(worker) == wait.turns {
            self.stuck = self.stuck.with(worker);
        } else {
            *wait = Wait::default();
        }
    }
}

/// The time after which a worker without a turn is stuck. Twenty times as long as a turn takes,
/// and short enough for a conversation.
const PATIENCE_MS: u64 = 100;

/// Time between two looks of a worker that waits and has nothing else to do.
pub const LOOK_INTERVAL_MS: u64 = 25;
