//! The cores of the workers, apart from those of other servers of this machine.
//!
//! A worker that is pinned holds a *claim* for its core: a socket with a name that each name space
//! of networks has once. It goes with the process, works for all users, and leaves no file.
//! Claims are advice. Anyone may take one, and the server whose claim is taken goes elsewhere.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use core_affinity::CoreId;

use super::StartError;
use super::config::{CoreList, ServerConfig};
use super::ops::log::Log;
use super::ops::stats::WorkerInfo;

/// The core of a worker.
pub(super) struct Place {
    core: CoreId,
    /// `None` if all claims of the core are taken.
    _claim: Option<Claim>,
}

/// A claim for a core, held for as long as this lives.
struct Claim {
    _socket: UnixDatagram,
}

/// Checks that the process may use all cores of `--cores`.
///
/// # Errors
/// [`StartError::Core`].
pub(super) fn check(config: &ServerConfig) -> Result<(), StartError> {
    let allowed: Vec<usize> = allowed_cores().iter().map(|core| core.id).collect();
    let wanted = config.cores.as_ref().map_or(&[][..], CoreList::as_slice);
    let wrong = wanted.iter().find(|core| !allowed.contains(core));
    match (wrong, CoreList::new(allowed.clone())) {
        (Some(&core), Some(allowed)) => Err(StartError::Core { core, allowed }),
        _ => Ok(()),
    }
}

/// Returns the place of each worker, or `None` for a worker that is not pinned. With more workers
/// than cores, several share a core.
pub(super) fn places(config: &ServerConfig, log: &Log) -> Vec<Option<Place>> {
    let workers = usize::from(config.workers);
    let unpinned = || (0..workers).map(|_| None).collect();
    if config.no_pin {
        return unpinned();
    }
    let allowed = allowed_cores();
    if allowed.is_empty() {
        log.warn_at_start("the cores of this machine cannot be listed: no worker is pinned".into());
        return unpinned();
    }
    let places = match &config.cores {
        Some(list) => in_turn(list, workers),
        None => least_claimed(&allowed, workers, Claim::take),
    };
    let cores = config
        .cores
        .as_ref()
        .map_or(allowed.len(), |list| list.as_slice().len());
    if workers > cores {
        let cores = match cores {
            1 => "1 core".to_owned(),
            cores => format!("{cores} cores"),
        };
        log.warn_at_start(format!("{workers} workers share {cores}"));
    }
    places.into_iter().map(Some).collect()
}

/// Returns the cores that this process may use, by its cpuset and its affinity.
fn allowed_cores() -> Vec<CoreId> {
    core_affinity::get_core_ids().unwrap_or_default()
}

/// Takes the cores of a list in turn, and the first free claim of each.
fn in_turn(list: &CoreList, workers: usize) -> Vec<Place> {
    let cores = list.as_slice().iter().cycle().take(workers);
    let place = |&id: &usize| Place {
        core: CoreId { id },
        _claim: (1..=MAX_CLAIMS).find_map(|level| Claim::take(CoreId { id }, level)),
    };
    cores.map(place).collect()
}

/// Takes the cores with the fewest claims first. When none of their claims is left, the other
/// workers take the cores in turn.
fn least_claimed(
    cores: &[CoreId],
    workers: usize,
    mut take: impl FnMut(CoreId, usize) -> Option<Claim>,
) -> Vec<Place> {
    let mut places = Vec::new();
    for level in 1..=MAX_CLAIMS {
        for &core in cores {
            if places.len() == workers {
                return places;
            }
            if let Some(claim) = take(core, level) {
                let _claim = Some(claim);
                places.push(Place { core, _claim });
            }
        }
    }
    let rest = cores.iter().cycle().skip(places.len());
    let rest = rest.take(workers - places.len());
    places.extend(rest.map(|&core| Place { core, _claim: None }));
    places
}

impl Place {
    /// Pins the calling thread to the core.
    pub(super) fn pin(&self, info: &WorkerInfo, log: &Log) {
        if core_affinity::set_for_current(self.core) {
            let _ = info.core.set(self.core.id);
        } else {
            log.warn_at_start(format!(
                "core {} is not available: {} is not pinned",
                self.core.id, info.name
            ));
        }
    }
}

impl Claim {
    /// Takes a claim for a core, unless another worker has it.
    fn take(core: CoreId, level: usize) -> Option<Self> {
        let name = match level {
            1 => format!("bullhorn-core-{}", core.id),
            _ => format!("bullhorn-core-{}-{level}", core.id),
        };
        let address = SocketAddr::from_abstract_name(name).ok()?;
        let socket = UnixDatagram::bind_addr(&address).ok()?;
        Some(Self { _socket: socket })
    }
}

/// Maximum number of claims for a core. More servers than this on a core are a mistake, or a test.
const MAX_CLAIMS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const CORES: [CoreId; 3] = [CoreId { id: 1 }, CoreId { id: 4 }, CoreId { id: 5 }];

    /// Returns the cores that these workers take while `taken` are claimed.
    fn cores_of(workers: usize, taken: &mut HashSet<(usize, usize)>) -> Vec<usize> {
        let take = |core: CoreId, level| {
            let claim = || Claim {
                _socket: UnixDatagram::unbound().unwrap(),
            };
            taken.insert((core.id, level)).then(claim)
        };
        let places = least_claimed(&CORES, workers, take);
        places.iter().map(|place| place.core.id).collect()
    }

    #[test]
    fn servers_of_one_machine_take_the_cores_in_turn() {
        let mut taken = HashSet::new();
        assert_eq!(cores_of(1, &mut taken), [1]);
        assert_eq!(cores_of(1, &mut taken), [4]);
        assert_eq!(cores_of(2, &mut taken), [5, 1]);
        // A server has stopped.
        taken.remove(&(4, 1));
        assert_eq!(cores_of(3, &mut taken), [4, 4, 5]);
        assert_eq!(cores_of(1, &mut taken), [1]);
    }

    #[test]
    fn workers_without_a_claim_take_the_cores_in_turn() {
        let all: HashSet<_> = CORES
            .iter()
            .flat_map(|core| (1..=MAX_CLAIMS).map(|level| (core.id, level)))
            .collect();
        assert_eq!(cores_of(4, &mut all.clone()), [1, 4, 5, 1]);
        let mut but_one = all;
        but_one.remove(&(5, MAX_CLAIMS));
        assert_eq!(cores_of(3, &mut but_one), [5, 4, 5]);
    }

    #[test]
    fn a_claim_is_taken_once_and_given_back() {
        // No machine has this core.
        let core = CoreId { id: 4_000_000 };
        let claim = Claim::take(core, 1).expect("it is free");
        assert!(Claim::take(core, 1).is_none());
        let second = Claim::take(core, 2).expect("it is free");
        drop(claim);
        assert!(Claim::take(core, 1).is_some());
        drop(second);
    }
}
