//! Load that doubles until the server is saturated, and then half of what it carried.

use std::time::Duration;

use crate::harness::Error;
use crate::harness::cpu::{Cores, ProcessMeter};
use crate::harness::process::{Memory, Process};
use crate::subjects::Subject;
use crate::work::{Load, Step, Work};

/// What one subject is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) clients: usize,
    /// Deliveries, round trips or heartbeats a second.
    pub(crate) first_rate: f64,
    pub(crate) window: Duration,
    /// Of the measurement at half load, which is the one that latencies are quoted from.
    pub(crate) half_window: Duration,
}

/// What it did.
pub(crate) struct Climb {
    /// One for each load, each twice the one before.
    pub(crate) steps: Vec<Step>,
    /// At half of the most that arrived in a second.
    pub(crate) half: Step,
    /// Once the clients were there.
    pub(crate) joined_bytes: u64,
    /// The most at any load.
    pub(crate) peak_bytes: u64,
}

/// A server and its clients.
struct Stage {
    // Dropped first, so that no client meets a dead server.
    load: Load,
    process: Process,
}

/// Measures `subject` from the first rate up.
pub(crate) fn climb(subject: Subject, task: &Task, cores: Cores) -> Result<Climb, Error> {
    let mut stage = Stage::set(subject, task, cores)?;
    let Memory {
        now_bytes: joined_bytes,
        mut peak_bytes,
    } = stage.process.memory()?;
    stage.load.step(task.first_rate, WARM_UP)?;
    let mut steps: Vec<Step> = Vec::new();
    let (mut best, mut in_vain) = (0.0, 0);
    while steps.len() < MAX_STEPS && in_vain < stage.patience() {
        if steps.last().is_none_or(Step::has_left_something) {
            stage = stage.quiet(subject, task, cores)?;
        }
        let rate = task.first_rate * 2_f64.powi(steps.len() as i32);
        // A last attempt takes longer: under overload each portion takes a while.
        let window = if in_vain == 0 {
            task.window
        } else {
            task.half_window
        };
        let step = stage.load.step(rate, window)?;
        peak_bytes = peak_bytes.max(stage.process.memory()?.peak_bytes);
        let arrived = step.arrived_per_s();
        let is_saturated = step.arrived_ratio() < CARRIED && arrived < best * GAIN;
        in_vain = if is_saturated { in_vain + 1 } else { 0 };
        best = f64::max(best, arrived);
        steps.push(step);
    }
    stage = stage.quiet(subject, task, cores)?;
    // What a new server, or one that was overloaded, does at first is not what it does.
    stage.load.step(best / 2.0, WARM_UP)?;
    stage = stage.quiet(subject, task, cores)?;
    let half = stage.load.step(best / 2.0, task.half_window)?;
    Ok(Climb {
        steps,
        half,
        joined_bytes,
        peak_bytes,
    })
}

impl Stage {
    fn set(subject: Subject, task: &Task, cores: Cores) -> Result<Self, Error> {
        let running = subject.start(task.work, cores.subject)?;
        let clients = subject.connect(task.work, running.address, task.clients)?;
        let meter = ProcessMeter::of(running.process.id());
        Ok(Self {
            load: Load::new(task.work, clients, meter),
            process: running.process,
        })
    }

    /// After how many loads that brought no more than a smaller one to give up. Over a
    /// connection a server may do more again under still more load, which comes in larger
    /// portions.
    fn patience(&self) -> usize {
        if self.load.is_reliable() { 2 } else { 1 }
    }

    /// This one once it has nothing more to do, or, if that takes long, a new one.
    fn quiet(mut self, subject: Subject, task: &Task, cores: Cores) -> Result<Self, Error> {
        if self.load.is_soon_quiet()? {
            return Ok(self);
        }
        drop(self);
        Self::set(subject, task, cores)
    }
}

impl Step {
    pub(crate) fn arrived_per_s(&self) -> f64 {
        self.arrived as f64 / self.wall.as_secs_f64()
    }

    /// Whether something may still be under way.
    fn has_left_something(&self) -> bool {
        self.arrived < self.sent
    }

    /// How much of what was due arrived.
    pub(crate) fn arrived_ratio(&self) -> f64 {
        self.arrived as f64 / self.offered as f64
    }
}

/// 25,000 a second fourteen times doubled are 400 million: more than any can.
const MAX_STEPS: usize = 15;

/// As much must arrive, or the load is more than can be carried.
const CARRIED: f64 = 0.9;

/// Unless more load still brings as much more.
const GAIN: f64 = 1.1;

/// For caches, windows of TCP and heaps to grow.
const WARM_UP: Duration = Duration::from_millis(100);
