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

/// Reads what one thread of this process has used.
pub(crate) struct ThreadMeter {
    task: PathBuf,
}

/// Reads what all threads of another process have used.
pub(crate) struct ProcessMeter {
    tasks: PathBuf,
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
        match core_affinity::get_core_ids().as_deref() {
            Some([subject, load, ..]) => Ok(Self {
                subject: *subject,
                load: *load,
            }),
            _ => Err(
                "this needs 2 cores: on one, the load would take the time of what is \
                      measured, and no figure would mean anything"
                    .into(),
            ),
        }
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

impl ThreadMeter {
    /// The meter of the one thread that has this name.
    pub(crate) fn of(name: &str) -> Result<Self, Error> {
        let task = task_named(name)?;
        Ok(Self { task })
    }

    /// What the thread has used so far. Exact when it sleeps, to which it is
    /// given a moment; the kernel accounts for a running one at its ticks.
    pub(crate) fn read_at_rest(&self) -> Result<Usage, Error> {
        std::thread::sleep(TO_REST);
        Usage::of(&self.task)
    }
}

impl ProcessMeter {
    /// The meter of the process with this id. Its threads may become more; the
    /// time of one that ends is lost to it.
    pub(crate) fn of(id: u32) -> Self {
        Self {
            tasks: format!("/proc/{id}/task").into(),
        }
    }

    /// The same as [`ThreadMeter::read_at_rest`], of all threads together.
    pub(crate) fn read_at_rest(&self) -> Result<Usage, Error> {
        std::thread::sleep(TO_REST);
        let mut sum = Usage::default();
        for task in fs::read_dir(&self.tasks)? {
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
        let cpu_ns = schedstat.split_whitespace().next().unwrap_or_default();
        Ok(Self {
            cpu: Duration::from_nanos(cpu_ns.parse()?),
            sleeps: field(&task.join("status"), "voluntary_ctxt_switches:")?,
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

fn field(file: &Path, name: &str) -> Result<u64, Error> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(value
        .ok_or_else(|| format!("no {name} in {}", file.display()))?
        .trim()
        .parse()?)
}

/// Long enough for a thread to go to sleep after its last datagram.
const TO_REST: Duration = Duration::from_millis(3);
