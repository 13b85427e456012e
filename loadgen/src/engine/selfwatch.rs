//! What the generator itself takes, and what is taken from it, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// Watches the threads that send and receive.
#[derive(Debug, Default)]
pub(crate) struct SelfWatch {
    begin: Option<Used>,
    end: Option<Used>,
}

/// What had been used at one moment, or between two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// CPU time of the threads.
    pub(crate) cpu: Duration,
    /// For how long they were ready to run, and others ran.
    pub(crate) run_queue_delay: Duration,
    /// How often they were given a processor.
    pub(crate) runs: u64,
    /// For how long the hypervisor gave the machine's processors to others.
    pub(crate) steal: Duration,
}

impl SelfWatch {
    /// One that has not begun.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins, the first time that it is called.
    pub(crate) fn begin_once(&mut self) {
        self.begin.get_or_insert_with(Used::now);
    }

    /// Ends: the threads must still be there.
    pub(crate) fn end(&mut self) {
        self.end = Some(Used::now());
    }

    /// What was used between the two.
    pub(crate) fn used(&self) -> Used {
        let (Some(begin), Some(end)) = (self.begin, self.end) else {
            return Used::default();
        };
        Used {
            cpu: end.cpu.saturating_sub(begin.cpu),
            run_queue_delay: end.run_queue_delay.saturating_sub(begin.run_queue_delay),
            runs: end.runs.saturating_sub(begin.runs),
            steal: end.steal.saturating_sub(begin.steal),
        }
    }
}

impl Used {
    fn now() -> Self {
        let mut used = Self {
            steal: steal().unwrap_or_default(),
            ..Self::default()
        };
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
        for task in tasks.flatten() {
            if let Some((cpu, delay, runs)) = times_of(&task.path()) {
                used.cpu += cpu;
                used.run_queue_delay += delay;
                used.runs += runs;
            }
        }
        used
    }
}

/// Files that this process has open.
pub(crate) fn open_files() -> u32 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u32)
}

/// The most memory that this process has had (`VmHWM`).
pub(crate) fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |line: &str| {
        let kib: u64 = line
            .strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()?;
        Some(kib * 1024)
    };
    status.lines().find_map(field).unwrap_or(0)
}

/// CPU time and delay of one of our threads, from `schedstat` (Linux,
/// Documentation/scheduler/sched-stats.rst): nanoseconds that it ran, and waited, and how often it was
/// given a processor.
fn times_of(task: &Path) -> Option<(Duration, Duration, u64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    if !name.starts_with(THREAD_NAME) {
        return None;
    }
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    let mut fields = text.split_whitespace().map(|field| field.parse().ok());
    let mut next = || -> Option<u64> { fields.next()? };
    let (cpu, delay) = (Duration::from_nanos(next()?), Duration::from_nanos(next()?));
    Some((cpu, delay, next()?))
}

/// Of all processors, from the first line of `/proc/stat` (proc_stat(5)).
fn steal() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let ticks: f64 = text
        .lines()
        .next()?
        .split_whitespace()
        .nth(STEAL_FIELD)?
        .parse()
        .ok()?;
    let ticks_a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64(ticks / ticks_a_second as f64))
}

/// The names of the threads begin with it; and [`SelfWatch`] finds them by it.
pub(crate) const THREAD_NAME: &str = "load-";

/// `cpu user nice system idle iowait irq softirq steal`
const STEAL_FIELD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_time_of_our_threads_is_counted_and_no_other() {
        let mut watch = SelfWatch::new();
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
    fn the_kernel_tells_all_that_is_asked() {
        assert!(steal().is_some());
        assert!(open_files() >= 3);
        assert!(peak_memory_bytes() > 1 << 20);
    }
}
