//! The resources that the generator and the server use, as the kernel counts them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::outcome::{Others, ServerUse};

/// The CPU time of the machine's processes up to a moment.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    /// The time that all of them had, those that ended included.
    cpu: Duration,
    /// The name and the time of each one that is there.
    each: HashMap<u32, (String, Duration)>,
}

impl Processes {
    /// Reads them from `/proc`, which takes some milliseconds.
    pub(crate) fn now() -> Self {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self {
            cpu: BUSY_FIELDS.filter_map(machine_time).sum(),
            each: numbers
                .filter_map(|pid| Some((pid, process_time(pid)?)))
                .collect(),
        }
    }

    /// Returns what the others than this one used since `earlier`.
    pub(crate) fn others_since(&self, earlier: &Self) -> Others {
        let mut used = BTreeMap::<&str, Duration>::new();
        let mut own = Duration::ZERO;
        for (pid, (name, cpu)) in &self.each {
            let before = earlier
                .each
                .get(pid)
                .map_or(Duration::ZERO, |(_, cpu)| *cpu);
            match *pid == std::process::id() {
                true => own = cpu.saturating_sub(before),
                false => *used.entry(name).or_default() += cpu.saturating_sub(before),
            }
        }
        let mut used: Vec<_> = used.into_iter().collect();
        used.sort_by_key(|(_, cpu)| Reverse(*cpu));
        used.retain(|(_, cpu)| *cpu >= NAMED);
        Others {
            cpu: (self.cpu.saturating_sub(earlier.cpu)).saturating_sub(own),
            most: used
                .iter()
                .take(MOST)
                .map(|(name, cpu)| ((*name).to_owned(), *cpu))
                .collect(),
        }
    }
}

/// Returns the name and the CPU time of a process, if it is there (proc_pid_stat(5)).
fn process_time(pid: u32) -> Option<(String, Duration)> {
    let stat = fs::read_to_string(process(pid).join("stat")).ok()?;
    // A name may have blanks and brackets.
    let (head, fields) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some((name.to_owned(), of_ticks(ticks)?))
}

/// Watches the threads that send and receive, and the server.
#[derive(Debug)]
pub(crate) struct ResourceUsage {
    server_pid: Option<u32>,
    begin: Option<Reading>,
    end: Option<Reading>,
}

/// The use at one moment, or between two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// CPU time of the threads.
    pub(crate) cpu: Duration,
    /// Time that they were ready to run, and others ran.
    pub(crate) run_queue_delay: Duration,
    /// Times that they got a processor.
    pub(crate) runs: u64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    ours: Used,
    /// Time that the hypervisor gave the machine's processors to others.
    steal: Duration,
    /// The server, if it is watched and there.
    server: Option<Used>,
}

impl ResourceUsage {
    /// One that has not begun.
    pub(crate) fn new(server_pid: Option<u32>) -> Self {
        Self {
            server_pid,
            begin: None,
            end: None,
        }
    }

    /// Begins, the first time that it is called.
    pub(crate) fn begin_once(&mut self) {
        if self.begin.is_none() {
            self.begin = Some(Reading::now(self.server_pid));
        }
    }

    /// Ends: the threads must still be there.
    pub(crate) fn end(&mut self) {
        self.end = Some(Reading::now(self.server_pid));
    }

    /// Returns the use of our threads between the two.
    pub(crate) fn used(&self) -> Used {
        self.between(|begin, end| Some(end.ours.since(begin.ours)))
            .unwrap_or_default()
    }

    /// Returns the stolen time between the two.
    pub(crate) fn steal(&self) -> Duration {
        self.between(|begin, end| Some(end.steal.saturating_sub(begin.steal)))
            .unwrap_or_default()
    }

    /// Returns the use of the server between the two, if it was there at both.
    pub(crate) fn server(&self) -> Option<ServerUse> {
        let used = self.between(|begin, end| Some(end.server?.since(begin.server?)))?;
        Some(ServerUse {
            cpu: used.cpu,
            // One that has ended has none, though its numbers stay until its parent has
            // looked, less those of its threads.
            peak_memory_bytes: peak_memory_bytes(&process(self.server_pid?))?,
        })
    }

    fn between<T>(&self, figure: impl FnOnce(Reading, Reading) -> Option<T>) -> Option<T> {
        figure(self.begin?, self.end?)
    }
}

impl Reading {
    fn now(server_pid: Option<u32>) -> Self {
        Self {
            // First, as its time is to be that of the recording.
            server: server_pid.and_then(|pid| Used::by(&process(pid), "")),
            ours: Used::by(Path::new(OURSELVES), THREAD_NAME).unwrap_or_default(),
            steal: steal().unwrap_or_default(),
        }
    }
}

impl Used {
    /// By the threads of a process whose names begin with `name`; none: it is not there.
    fn by(process: &Path, name: &str) -> Option<Self> {
        let mut used = Self::default();
        for task in fs::read_dir(process.join("task")).ok()?.flatten() {
            // It may have ended since it was listed.
            if let Some(of_thread) = Self::by_thread(&task.path(), name) {
                used.cpu += of_thread.cpu;
                used.run_queue_delay += of_thread.run_queue_delay;
                used.runs += of_thread.runs;
            }
        }
        Some(used)
    }

    /// Reads `schedstat` (Linux, Documentation/scheduler/sched-stats.rst): nanoseconds that a
    /// thread ran and waited, and times that it got a processor.
    fn by_thread(task: &Path, name: &str) -> Option<Self> {
        if !fs::read_to_string(task.join("comm"))
            .ok()?
            .starts_with(name)
        {
            return None;
        }
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        let mut fields = text.split_whitespace().map(|field| field.parse().ok());
        let mut next = || -> Option<u64> { fields.next()? };
        Some(Self {
            cpu: Duration::from_nanos(next()?),
            run_queue_delay: Duration::from_nanos(next()?),
            runs: next()?,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            run_queue_delay: self.run_queue_delay.saturating_sub(earlier.run_queue_delay),
            // Of threads that ended, the past is forgotten.
            runs: self.runs.saturating_sub(earlier.runs),
        }
    }
}

/// Files that this process has open.
pub(crate) fn open_files() -> u32 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u32)
}

/// The most memory that this process has had.
pub(crate) fn own_peak_memory_bytes() -> u64 {
    peak_memory_bytes(Path::new(OURSELVES)).unwrap_or(0)
}

/// The most memory that a process has had (`VmHWM`); none: it has ended.
fn peak_memory_bytes(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let field = |line: &str| {
        let kib: u64 = line
            .strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()?;
        Some(kib * 1024)
    };
    status.lines().find_map(field)
}

fn process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn steal() -> Option<Duration> {
    machine_time(STEAL_FIELD)
}

/// Reads the sum of all processors from the first line of `/proc/stat` (proc_stat(5)).
fn machine_time(field: usize) -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let mut fields = text.lines().next()?.split_whitespace();
    of_ticks(fields.nth(field)?.parse().ok()?)
}

fn of_ticks(ticks: f64) -> Option<Duration> {
    let ticks_a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64(ticks / ticks_a_second as f64))
}

/// The names of the threads begin with it; and [`ResourceUsage`] finds them by it.
pub(crate) const THREAD_NAME: &str = "load-";

const OURSELVES: &str = "/proc/self";

/// `cpu user nice system idle iowait irq softirq steal`
const STEAL_FIELD: usize = 8;

/// User, nice and system. Interrupts are the load's own as well.
const BUSY_FIELDS: std::ops::RangeInclusive<usize> = 1..=3;

/// The processes that are named, and the least time of one: of less, nobody is slow.
const MOST: usize = 3;
const NAMED: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::thread;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;

    #[test]
    fn the_time_of_our_threads_is_counted_and_no_other() {
        let mut watch = ResourceUsage::new(None);
        let body = move || {
            watch.begin_once();
            let begin = watch.begin.expect("it has begun");
            let mut number = 1_u64;
            while watch.used().cpu < Duration::from_millis(20) {
                for _ in 0..100_000 {
                    number = std::hint::black_box(number.wrapping_mul(3));
                }
                watch.end();
            }
            watch.begin_once();
            assert_eq!(watch.begin, Some(begin), "once");
        };
        let named = format!("{THREAD_NAME}7");
        thread::Builder::new()
            .name(named)
            .spawn(body)
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn the_time_of_a_server_is_all_of_its_threads_and_none_where_it_is_not() {
        let mut watch = ResourceUsage::new(Some(std::process::id()));
        watch.begin_once();
        let mut number = 1_u64;
        // Threads of any name.
        while watch.server().unwrap_or_default().cpu < Duration::from_millis(20) {
            for _ in 0..100_000 {
                number = std::hint::black_box(number.wrapping_mul(3));
            }
            watch.end();
        }
        assert!(watch.server().unwrap().peak_memory_bytes > 1 << 20);
    }

    #[test]
    fn of_a_server_that_has_ended_nothing_is_told_whether_its_parent_has_looked_or_not() {
        let mut server = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut watch = ResourceUsage::new(Some(server.id()));
        watch.begin_once();
        watch.end();
        assert!(watch.server().is_some(), "it is there");
        server.stdin.take();
        let has_ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(Pid::from_raw(server.id() as i32)), has_ended).unwrap();
        watch.end();
        assert_eq!(watch.server(), None, "nobody has looked");
        server.wait().unwrap();
        watch.end();
        assert_eq!(watch.server(), None, "nothing is left");
    }

    #[test]
    fn another_process_that_took_time_is_named_and_this_one_is_not() {
        let before = Processes::now();
        let spin = "while :; do :; done";
        let mut other = Command::new("sh").args(["-c", spin]).spawn().unwrap();
        let others = loop {
            let others = Processes::now().others_since(&before);
            // The kernel counts both in ticks, but not the same ticks.
            if others.cpu >= NAMED && others.most.iter().any(|(name, _)| name == "sh") {
                break others;
            }
            thread::yield_now();
        };
        other.kill().unwrap();
        other.wait().unwrap();
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(
            others.most.iter().all(|(name, _)| *name != own.trim()),
            "{others:?}"
        );
        assert!(others.most.len() <= MOST, "{others:?}");
    }

    #[test]
    fn the_kernel_tells_all_that_is_asked() {
        assert!(steal().is_some());
        assert!(open_files() >= 3);
        assert!(own_peak_memory_bytes() > 1 << 20);
    }
}
