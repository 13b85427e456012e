//! `/api/v1/workers`: the workers as of the last second.

use axum::{Json, extract};
use serde::Serialize;

use super::super::sample::{Sample, as_object};
use super::State;
use crate::server::ops::stats::{Counts, DropReason};

#[derive(Serialize)]
pub(super) struct Workers {
    workers: Vec<CountedWorker>,
}

/// A worker, and all of its counts.
#[derive(Serialize)]
struct CountedWorker {
    #[serde(flatten)]
    state: WorkerState,
    /// Counts since the start, by the names of the counters.
    #[serde(serialize_with = "as_object")]
    counts: Vec<(&'static str, u64)>,
    /// Datagrams dropped since the start, by reason.
    #[serde(serialize_with = "as_object")]
    drops: Vec<(&'static str, u64)>,
}

/// The state of a worker, which `/api/v1/stats` answers, too.
#[derive(Serialize)]
pub(super) struct WorkerState {
    name: String,
    /// The core that it is pinned to.
    core: Option<usize>,
    /// It has not turned its loop within the last two seconds.
    is_stuck: bool,
    /// The share of the last second in which it was not asleep, 0 to 1.
    busy: f64,
    /// The time to send the texts that wait.
    backlog_cost_us: u64,
    /// The time for which the oldest text of the last plan had waited.
    backlog_age_us: u64,
}

pub(super) async fn workers(extract::State(state): extract::State<State>) -> Json<Workers> {
    let sample = state.samples.borrow().clone();
    let workers = WorkerState::all(&sample).map(|(state, counts)| CountedWorker {
        state,
        counts: counts_by_name(counts).collect(),
        drops: drops_by_reason(counts).into(),
    });
    Json(Workers {
        workers: workers.collect(),
    })
}

/// Returns all counts but those of the drop reasons.
pub(super) fn counts_by_name(counts: &Counts) -> impl Iterator<Item = (&'static str, u64)> {
    let names = Counts::MEANINGS.iter().map(|(name, _)| *name);
    names.zip(counts.values())
}

/// Returns the number of datagrams dropped for each reason.
pub(super) fn drops_by_reason(counts: &Counts) -> [(&'static str, u64); DropReason::ALL.len()] {
    DropReason::ALL.map(|reason| (reason.name(), counts.dropped(reason)))
}

impl WorkerState {
    /// Returns the states of all workers of a sample, each with its counts.
    pub(super) fn all(sample: &Sample) -> impl Iterator<Item = (Self, &Counts)> {
        let workers = sample.stats.workers.iter().zip(&sample.point.busy);
        workers.map(|(worker, busy)| {
            let state = Self {
                name: worker.name.clone(),
                core: worker.core,
                is_stuck: sample.stuck.contains(&worker.name),
                busy: *busy,
                backlog_cost_us: worker.backlog_cost_ns / 1000,
                backlog_age_us: worker.backlog_age_us,
            };
            (state, &worker.counts)
        })
    }
}
