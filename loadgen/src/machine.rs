//! The machine that this runs on, as far as figures and capacities depend on it.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The machine, as far as figures depend on it. What cannot be read is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub loadgen_version: String,
    /// The release of the kernel.
    pub kernel: Option<String>,
    pub architecture: String,
    pub cpu_model: Option<String>,
    pub processors: Option<u32>,
    /// The frequency governor of the first processor. Virtual machines seldom know it.
    pub governor: Option<String>,
    pub memory_bytes: Option<u64>,
    /// `net.core.rmem_max`: the most that a socket may hold unread.
    pub rmem_max_bytes: Option<u64>,
}

/// The machine, as far as the capacity of the generator depends on it. What the system does not
/// tell is `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu_model: String,
    /// The kernel's, as `uname -r` prints it.
    pub kernel_release: String,
}

impl Machine {
    /// Returns this one.
    pub fn here() -> Self {
        let environment = Environment::read();
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        Self {
            cpu_model: known(environment.cpu_model),
            kernel_release: known(environment.kernel),
        }
    }
}

impl Environment {
    /// Reads the machine.
    pub fn read() -> Self {
        Self::read_below(Path::new("/"))
    }

    /// Reads the machine below a root other than `/`.
    fn read_below(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let line = |path: &str| Some(text(path)?.trim().to_owned());
        let cpus = text("proc/cpuinfo").unwrap_or_default();
        let memory = text("proc/meminfo").unwrap_or_default();
        Self {
            loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: line("proc/sys/kernel/osrelease"),
            architecture: ARCH.to_owned(),
            // Others than x86 have none.
            cpu_model: values(&cpus, "model name").next().map(str::to_owned),
            processors: match values(&cpus, "processor").count() {
                0 => None,
                count => u32::try_from(count).ok(),
            },
            governor: line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            memory_bytes: values(&memory, "MemTotal").next().and_then(kibibytes),
            rmem_max_bytes: line("proc/sys/net/core/rmem_max").and_then(|line| line.parse().ok()),
        }
    }
}

/// Returns the values of the lines `key: value`, of which files in `/proc` are made.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// Parses `1234 kB`, by which the kernel means units of 1024.
fn kibibytes(value: &str) -> Option<u64> {
    let number: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch::Scratch;

    #[test]
    fn a_machine_is_read_from_what_its_kernel_tells() {
        let scratch = Scratch::new();
        let file = |path: &str, text: &str| {
            let path = scratch.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("proc/sys/kernel/osrelease", "6.18.0-test\n");
        file("proc/sys/net/core/rmem_max", "212992\n");
        file("proc/meminfo", "MemTotal:   4022560 kB\nMemFree: 1 kB\n");
        let cpu = |number| format!("processor\t: {number}\nmodel name\t: A <CPU>: fast\n\n");
        file("proc/cpuinfo", &(cpu(0) + &cpu(1)));
        file(
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "performance\n",
        );
        let expected = Environment {
            loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: Some("6.18.0-test".to_owned()),
            architecture: ARCH.to_owned(),
            cpu_model: Some("A <CPU>: fast".to_owned()),
            processors: Some(2),
            governor: Some("performance".to_owned()),
            memory_bytes: Some(4_022_560 * 1024),
            rmem_max_bytes: Some(212_992),
        };
        assert_eq!(Environment::read_below(scratch.dir()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let scratch = Scratch::new();
        let environment = Environment::read_below(scratch.dir());
        let expected = Environment {
            loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: ARCH.to_owned(),
            ..Environment::default()
        };
        assert_eq!(environment, expected);
    }

    #[test]
    fn this_machine_has_a_kernel_memory_and_processors() {
        let environment = Environment::read();
        assert!(environment.kernel.is_some_and(|kernel| !kernel.is_empty()));
        assert!(environment.memory_bytes.is_some_and(|bytes| bytes > 0));
        assert!(environment.processors.is_some_and(|count| count > 0));
        assert_ne!(Machine::here().kernel_release, "unknown");
        assert_eq!(Machine::here(), Machine::here());
    }
}
