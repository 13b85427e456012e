//! The numbers that the kernel has of this process.
//!
//! The number of its open files is not among them. To count them is to list a folder, which the
//! sandbox does not permit.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// Reads the numbers of this process, from a file that is opened before the sandbox is closed.
pub(in crate::server::ops::admin) struct Process {
    stat: File,
    ticks_per_s: f64,
    page_bytes: u64,
    /// Time in s since 1970.
    started_s: f64,
}

/// The numbers of this process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessStats {
    /// Time in s since 1970.
    pub(super) started_s: f64,
    /// The time in s of all its threads, of the kernel for them as well.
    pub(super) cpu_s: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
}

/// The fields of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    /// Ticks from the boot to the start of the process.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Process {
    /// Opens the file. Returns `None` where the kernel does not show it.
    pub(in crate::server::ops::admin) fn open() -> Option<Self> {
        let stat = File::open("/proc/self/stat").ok()?;
        let setting = |setting| u64::try_from(sysconf(setting).ok()??).ok();
        let mut process = Self {
            ticks_per_s: setting(SysconfVar::CLK_TCK)? as f64,
            page_bytes: setting(SysconfVar::PAGE_SIZE)?,
            stat,
            started_s: 0.0,
        };
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
        let since_boot_s = since_boot.tv_sec() as f64 + since_boot.tv_nsec() as f64 / 1e9;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let start_s = process.stat()?.start_ticks as f64 / process.ticks_per_s;
        process.started_s = since_1970.as_secs_f64() - (since_boot_s - start_s);
        Some(process)
    }

    /// Returns the numbers at this moment.
    pub(super) fn read(&self) -> Option<ProcessStats> {
        let stat = self.stat()?;
        Some(ProcessStats {
            started_s: self.started_s,
            cpu_s: stat.cpu_ticks as f64 / self.ticks_per_s,
            resident_bytes: stat.resident_pages * self.page_bytes,
            virtual_bytes: stat.virtual_bytes,
        })
    }

    fn stat(&self) -> Option<Stat> {
        let mut buffer = [0; MAX_STAT_BYTES];
        let read = |mut file: &File, buffer| -> io::Result<usize> {
            file.rewind()?;
            file.read(buffer)
        };
        let len = read(&self.stat, &mut buffer).ok()?;
        Stat::parse(&String::from_utf8_lossy(&buffer[..len]))
    }
}

impl Stat {
    /// Parses the line, whose fields proc_pid_stat(5) numbers from 1.
    fn parse(line: &str) -> Option<Self> {
        // The second field is the name of the program, in parentheses.
        let (_, fields) = line.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// The line has 52 numbers, and a name of 15 bytes.
const MAX_STAT_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let line = "77 (a) (b) c) S 1 77 77 0 -1 4194304 120 0 0 0 30 12 0 0 20 0 5 0 9000 4096000 \
                    250 18446744073709551615 1 1";
        let expected = Stat {
            cpu_ticks: 42,
            start_ticks: 9000,
            virtual_bytes: 4_096_000,
            resident_pages: 250,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("77 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_has_started_and_uses_memory_and_time() {
        let process = Process::open().expect("Linux has /proc");
        let first = process.read().expect("it is open");
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = since_1970.expect("after 1970").as_secs_f64();
        let age_s = now_s - first.started_s;
        assert!((-1.0..86_400.0).contains(&age_s), "{age_s}");
        assert!(first.resident_bytes > 1 << 20, "{first:?}");
        assert!(first.virtual_bytes >= first.resident_bytes, "{first:?}");
        // Each read begins at the start of the file.
        let used_cpu = || process.read().is_some_and(|now| now.cpu_s > first.cpu_s);
        while !used_cpu() {}
    }
}
