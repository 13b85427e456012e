//! The capacity of the generator on this machine, as it was once measured.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Protocol, Rate, RunConfig, word};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::units;

/// The capacity of a generator on one machine, with so many threads and one protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    pub machine: Machine,
    pub threads: u16,
    /// The protocol, `v1` or `v2`.
    pub protocol: String,
    /// Datagrams sent and received per second, as [`Plan::handled_per_s`] counts them.
    pub handled_per_s: f64,
    /// The time of the measurement, in seconds since 1970.
    pub measured_at_s: u64,
}

/// Returns the file of the capacities: `bullhorn/loadgen.json` in the user's cache directory, which
/// is `$XDG_CACHE_HOME`, or `~/.cache`.
pub fn path() -> Result<PathBuf, CapacityError> {
    path_in(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
}

/// Keeps a capacity in the file `path`, in place of the one that was measured before in
/// the same circumstances. A file that cannot be read as capacities is replaced.
pub fn store(path: &Path, capacity: &Capacity) -> Result<(), CapacityError> {
    let mut file = read(path).unwrap_or_default();
    file.capacities.retain(|kept| !kept.is_of(capacity));
    file.capacities.insert(0, capacity.clone());
    file.capacities.truncate(KEPT_MAX);
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Complete or not at all, also for those who read at the same time.
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&beside, serde_json::to_vec_pretty(&file)?)?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| CapacityError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The capacity that was measured on `machine` in the same circumstances, if it was.
pub fn find(
    path: &Path,
    machine: &Machine,
    threads: u16,
    protocol: Protocol,
) -> Result<Option<Capacity>, CapacityError> {
    let is_right = |kept: &Capacity| {
        kept.machine == *machine && kept.threads == threads && kept.protocol == word(&protocol)
    };
    let file = read(path).map_err(|source| CapacityError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(file.capacities.into_iter().find(is_right))
}

/// Returns the calibrated capacity for the threads and the protocol of `config`, if there is one.
pub fn look_up(config: &RunConfig) -> Result<Option<Capacity>, CapacityError> {
    find(&path()?, &Machine::here(), config.threads, config.protocol)
}

/// Returns the capacity that was looked up for `config`, or a note that none is known.
pub fn known(
    found: Result<Option<Capacity>, CapacityError>,
    config: &RunConfig,
) -> Result<Capacity, String> {
    match found {
        Ok(Some(capacity)) => Ok(capacity),
        Ok(None) => Err(format!(
            "not calibrated (--threads {}, --protocol {}): see `loadgen calibrate`",
            config.threads,
            word(&config.protocol)
        )),
        Err(error) => Err(format!("what it is capable of is not known: {error}")),
    }
}

/// Refuses a plan above the capacity.
pub fn check(plan: &Plan, capacity: &Capacity) -> Result<(), CapacityError> {
    let needed_per_s = plan.handled_per_s();
    if needed_per_s <= capacity.handled_per_s {
        return Ok(());
    }
    Err(CapacityError::Exceeded {
        needed: units::rate(needed_per_s),
        capacity: units::rate(capacity.handled_per_s),
        threads: capacity.threads,
    })
}

/// The highest rate of such a load that the generator is capable of; 0 or less if what
/// silent clients send is too much by itself.
pub fn highest_rate(config: &RunConfig, capacity: &Capacity) -> f64 {
    let at = |rate| {
        Plan::of(&RunConfig {
            rate: Rate::constant(rate),
            ..config.clone()
        })
    };
    let plan = at(1.0);
    // What a datagram brings with it is the same at every rate.
    let of_each = plan.handled_per_s() - plan.first.keepalives;
    let highest = capacity.handled_per_s / of_each;
    if at(highest).handled_per_s() <= capacity.handled_per_s {
        // At such a rate, no client is silent for long.
        return highest;
    }
    let most_keepalives = f64::from(config.clients) / config.heartbeat.as_secs_f64();
    (capacity.handled_per_s - most_keepalives) / of_each
}

/// The reason why a capacity is not kept, not known, or not enough.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    #[error("neither XDG_CACHE_HOME nor HOME is set to a path from the root")]
    NoHome,
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "this asks the generator to handle {needed} datagrams, sent and received, and {capacity} \
         is what it was calibrated to with --threads {threads}: the figures would be its own. \
         Offer less, give it more --threads, or insist with --force"
    )]
    Exceeded {
        needed: String,
        capacity: String,
        threads: u16,
    },
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// The last measured first.
    capacities: Vec<Capacity>,
}

impl Capacity {
    /// Returns true if both were measured in the same circumstances.
    fn is_of(&self, other: &Self) -> bool {
        (&self.machine, self.threads, &self.protocol)
            == (&other.machine, other.threads, &other.protocol)
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(error),
    }
}

fn path_in(
    cache_home: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Result<PathBuf, CapacityError> {
    // The XDG specification has paths ignored that are relative.
    let absolute = |path: Option<std::ffi::OsString>| {
        path.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let cache = absolute(cache_home).or_else(|| Some(absolute(home)?.join(".cache")));
    let cache = cache.ok_or(CapacityError::NoHome)?;
    Ok(cache.join("bullhorn").join("loadgen.json"))
}

/// The note on a load that is offered with `--force`.
pub const FORCED: &str = "forced to offer more than it was calibrated to";

/// Threads, protocols and kernels of a few years, so that the file does not grow for ever.
const KEPT_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scenario;
    use crate::testing;
    use crate::testing::scratch::Scratch;

    fn file(scratch: &Scratch) -> PathBuf {
        scratch.path("deep/loadgen.json")
    }

    fn machine(cpu_model: &str) -> Machine {
        Machine {
            cpu_model: cpu_model.into(),
            kernel_release: "6.18".into(),
        }
    }

    fn capacity(threads: u16, handled_per_s: f64) -> Capacity {
        Capacity {
            machine: machine("a"),
            threads,
            protocol: "v1".into(),
            handled_per_s,
            measured_at_s: 1_700_000_000,
        }
    }

    fn pings_per_s(rate: f64) -> Plan {
        Plan::of(&testing::pings(rate))
    }

    #[test]
    fn what_is_stored_is_found_in_the_same_circumstances_alone() {
        let scratch = Scratch::new();
        let path = file(&scratch);
        let found = |machine: &Machine, threads, protocol| {
            let found = find(&path, machine, threads, protocol).unwrap();
            found.map(|capacity| capacity.handled_per_s)
        };
        let here = machine("a");
        assert_eq!(found(&here, 1, Protocol::V1), None, "there is no file");
        store(&path, &capacity(1, 100.0)).unwrap();
        store(&path, &capacity(2, 200.0)).unwrap();
        store(&path, &capacity(1, 300.0)).unwrap();
        assert_eq!(found(&here, 1, Protocol::V1), Some(300.0));
        assert_eq!(found(&here, 2, Protocol::V1), Some(200.0));
        assert_eq!(found(&here, 1, Protocol::V2), None);
        assert_eq!(found(&machine("b"), 1, Protocol::V1), None);
        assert_eq!(read(&path).unwrap().capacities.len(), 2);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let scratch = Scratch::new();
        let path = file(&scratch);
        for threads in 1..=120 {
            store(&path, &capacity(threads, 1.0)).unwrap();
        }
        let kept = read(&path).unwrap().capacities;
        assert_eq!((kept.len(), kept[0].threads), (KEPT_MAX, 120));
    }

    #[test]
    fn a_damaged_file_is_told_of_and_replaced() {
        let scratch = Scratch::new();
        let path = file(&scratch);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{\"capacities\": 7}").unwrap();
        let error = find(&path, &machine("a"), 1, Protocol::V1).unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        store(&path, &capacity(1, 100.0)).unwrap();
        assert!(
            find(&path, &machine("a"), 1, Protocol::V1)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn more_than_the_capacity_is_refused() {
        let capacity = capacity(1, 2000.0);
        assert!(check(&pings_per_s(1000.0), &capacity).is_ok());
        let refused = check(&pings_per_s(1001.0), &capacity)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("handle 2,002/s datagrams"), "{refused}");
        assert!(refused.contains("--force"), "{refused}");
    }

    #[test]
    fn the_highest_rate_is_what_the_capacity_allows_and_no_more() {
        let pings = testing::pings(1000.0);
        // A ping is sent, and its answer received.
        assert_eq!(highest_rate(&pings, &capacity(1, 2000.0)), 1000.0);
        for (clients, scenario) in [
            (10, Scenario::Ping),
            (10_000, Scenario::Ping),
            (10_000, Scenario::Chat),
            (10_000, Scenario::Lobby),
        ] {
            let mut config = RunConfig {
                clients,
                scenario,
                mix: scenario.mix(pings.mix),
                ..pings.clone()
            };
            for handled_per_s in [3_000.0, 1e4, 1e6] {
                let capacity = capacity(1, handled_per_s);
                let highest = highest_rate(&config, &capacity);
                config.rate = Rate::constant(highest);
                let is_within = check(&Plan::of(&config), &capacity).is_ok();
                assert!(is_within, "{scenario:?}, {clients}: {highest}");
                config.rate = Rate::constant(2.0 * highest);
                let is_beyond = check(&Plan::of(&config), &capacity).is_err();
                assert!(is_beyond, "{scenario:?}, {clients}: {highest}");
            }
        }
        let many = RunConfig {
            clients: 1_000_000,
            ..pings
        };
        assert!(highest_rate(&many, &capacity(1, 1000.0)) < 0.0);
    }

    #[test]
    fn the_place_is_the_users_cache() {
        let path = |cache: Option<&str>, home: Option<&str>| {
            path_in(cache.map(Into::into), home.map(Into::into)).ok()
        };
        let file = |path: &str| Some(PathBuf::from(path));
        assert_eq!(
            path(Some("/c"), Some("/h")),
            file("/c/bullhorn/loadgen.json")
        );
        for cache in [None, Some(""), Some("relative")] {
            let in_home = file("/h/.cache/bullhorn/loadgen.json");
            assert_eq!(path(cache, Some("/h")), in_home);
            assert_eq!(path(cache, None), None);
        }
    }
}
