//! Cores to run on, and the CPU time that a thread has used.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use core_affinity::CoreId;

use super::Error;

/// The core of what is measured, and the core of all else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The first core: the one that a server with one worker takes.
    pub(crate) subject: CoreId,
    pub(crate) load: CoreId,
}

/// Reads the usage of one thread of this process, or of all threads of another process.
pub(crate) enum Meter {
    Thread(PathBuf),
    Process(PathBuf),
}

/// What a thread, or a process, had used at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// How often it went to sleep.
    pub(crate) sleeps: u64,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn plan() -> Result<Self, Error> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let [subject, load, ..] = cores[..] else {
            return Err(
                "this needs 2 cores: on one, the load takes the time of the subject".into(),
            );
        };
        Ok(Self { subject, load })
    }
}

/// Keeps the calling thread, and those it starts, on `core`.
pub(crate) fn pin(core: CoreId) -> Result<(), Error> {
    if core_affinity::set_for_current(core) {
        Ok(())
    } else {
        Err(format!("core {} cannot be had", core.id).into())
    }
}

/// Where the kernel tells about the one thread that has this name.
pub(crate) fn task_named(name: &str) -> Result<PathBuf, Error> {
    let mut found = None;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // A thread may end between the listing and this.
        if fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
            && found.replace(task).is_some()
        {
            return Err(format!("two threads are named {name}").into());
        }
    }
    Ok(found.ok_or_else(|| format!("no thread is named {name}"))?)
}

impl Meter {
    /// Returns the meter of the one thread that has this name.
    pub(crate) fn of_thread(name: &str) -> Result<Self, Error> {
        task_named(name).map(Self::Thread)
    }

    /// Returns the meter of the process with this id. The time of a thread that ends is lost.
    pub(crate) fn of_process(id: u32) -> Self {
        Self::Process(format!("/proc/{id}/task").into())
    }

    /// Returns the usage so far. It is exact if all threads sleep, for which they get a moment;
    /// the kernel accounts for a running one at its ticks.
    pub(crate) fn read_at_rest(&self) -> Result<Usage, Error> {
        std::thread::sleep(TO_REST);
        let tasks = match self {
            Self::Thread(task) => return Usage::of(task),
            Self::Process(tasks) => tasks,
        };
        let mut sum = Usage::default();
        for task in fs::read_dir(tasks)? {
            // A thread may end between the listing and this.
            if let Ok(Usage { cpu, sleeps }) = Usage::of(&task?.path()) {
                sum.cpu += cpu;
                sum.sleeps += sleeps;
            }
        }
        Ok(sum)
    }
}

impl Usage {
    fn of(task: &Path) -> Result<Self, Error> {
        let schedstat = fs::read_to_string(task.join("schedstat"))?;
        let status = fs::read_to_string(task.join("status"))?;
        let mut lines = status.lines();
        let sleeps = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let cpu_ns = schedstat.split_whitespace().next().unwrap_or_default();
        Ok(Self {
            cpu: Duration::from_nanos(cpu_ns.parse()?),
            sleeps: sleeps.ok_or("no voluntary_ctxt_switches")?.trim().parse()?,
        })
    }

    /// What was used between `earlier` and this.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
        }
    }
}

/// Long enough for a thread to go to sleep after its last datagram.
const TO_REST: Duration = Duration::from_millis(3);
