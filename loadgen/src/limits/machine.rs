//! The machine that this runs on, as far as it decides what is possible.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine, as far as a capacity depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu_model: String,
    /// The kernel's, as `uname -r` prints it.
    pub kernel_release: String,
}

impl Machine {
    /// This one. What the system does not tell is `unknown`.
    pub fn here() -> Self {
        let known = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            cpu_model: known(cpuinfo.as_deref().and_then(cpu_model)),
            kernel_release: known(kernel.as_deref().map(str::trim)),
        }
    }
}

/// The first processor's name in what `/proc/cpuinfo` says. Others than x86 have none.
pub(crate) fn cpu_model(cpuinfo: &str) -> Option<&str> {
    values(cpuinfo, "model name").next()
}

/// The values of the lines `key: value`, of which files in `/proc` are made.
pub(crate) fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A  CPU @ 2 GHz\nmodel name\t: other\n";
        assert_eq!(cpu_model(cpuinfo), Some("A  CPU @ 2 GHz"));
        assert_eq!(cpu_model("Hardware: x"), None);
        assert_ne!(Machine::here().kernel_release, "unknown");
        assert_eq!(Machine::here(), Machine::here());
    }
}
