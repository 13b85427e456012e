//! The resources of this machine: files, sockets and addresses.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{SockaddrIn, SockaddrIn6, SockaddrStorage};

use super::StartError;
use super::config::ServerConfig;
use super::ops::log::Log;
use super::watch::GroupWatch;
use crate::net::{
    BindError, BufferSizes, Gso, Guard, InheritedSockets, LocalCache, LocalTable, OwnAddresses,
    SocketGroup, Spares, WorkerSockets, bind_closed_group, spare_sockets,
};

/// Makes sure that the process may open the files of `config`, and raises its limit if need
/// be.
pub(super) fn reserve_files(config: &ServerConfig) -> Result<(), StartError> {
    let (endpoints, workers) = (config.bind.len(), usize::from(config.workers));
    // The sockets of the workers and of the notifier, their spares, the guard and its list.
    let per_endpoint = workers + 1 + spare_sockets(workers + 1) + 2;
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let needed = open
        + endpoints * per_endpoint
        + workers * FILES_PER_WORKER
        + admin_files(config)
        + OTHER_FILES;
    let needed = needed as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Ok(());
    };
    if needed <= soft {
        return Ok(());
    }
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    if needed > hard || raised.is_err() {
        return Err(StartError::Files {
            needed,
            limit: if raised.is_ok() { hard } else { soft },
        });
    }
    Ok(())
}

/// Returns the number of files of the admin server: its connections and socket, and those of its
/// runtime.
fn admin_files(config: &ServerConfig) -> usize {
    #[cfg(feature = "admin")]
    if config.admin.address.is_some() {
        return super::ops::admin::MAX_CONNECTIONS + ADMIN_FILES;
    }
    let _ = config;
    0
}

/// The sockets of a server. Every `--bind` address is an endpoint, with one socket per
/// worker.
pub(super) struct Endpoints {
    groups: Vec<SocketGroup>,
    /// For each endpoint, one per worker and one for the notifier, or none.
    spares: Vec<Vec<Spares>>,
    guards: Vec<Guard>,
    /// The local addresses that peers write to at those groups that are bound to all.
    locals: Arc<LocalTable>,
    workers: usize,
}

impl Endpoints {
    /// Opens all sockets, or takes those of the service manager, and warns about buffers that are
    /// smaller than configured.
    pub(super) fn bind(
        config: &ServerConfig,
        inherited: Option<InheritedSockets>,
        log: &Log,
    ) -> Result<Self, BindError> {
        let workers = usize::from(config.workers);
        let wanted = BufferSizes {
            receive_bytes: usize::try_from(config.receive_buffer.as_u64()).unwrap_or(usize::MAX),
            send_bytes: usize::try_from(config.send_buffer.as_u64()).unwrap_or(usize::MAX),
        };
        let (mut groups, mut spares, mut guards) = (Vec::new(), Vec::new(), Vec::new());
        let closed = match inherited {
            Some(sockets) => sockets.into_closed_groups(wanted)?,
            None => {
                let bind = |address: &SocketAddr| bind_closed_group(*address, workers, wanted);
                config.bind.iter().map(bind).collect::<Result<_, _>>()?
            }
        };
        for closed in closed {
            let local_addr = closed.group.local_addr;
            warn_of_small_buffers(wanted, closed.group.granted, log);
            match closed.guard {
                Ok(guard) => guards.push(guard),
                Err(error) => log.warn_at_start(format!(
                    "processes of the same user can join the sockets of {local_addr}: {error}"
                )),
            }
            groups.push(closed.group);
            spares.push(closed.spares.unwrap_or_else(|error| {
                log.warn_at_start(format!(
                    "peers of {local_addr} whose packets do not leave this machine are not set \
                     apart, and can slow down others: {error}"
                ));
                Vec::new()
            }));
        }
        Ok(Self {
            groups,
            spares,
            guards,
            locals: Arc::default(),
            workers,
        })
    }

    /// Returns the watch over the sockets, which keeps other processes from joining them for
    /// as long as it lives.
    pub(super) fn take_watch(&mut self, log: Log) -> GroupWatch {
        GroupWatch::new(std::mem::take(&mut self.guards), log)
    }

    /// The address of each endpoint, with its actual port.
    pub(super) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.groups.iter().map(|group| group.local_addr).collect()
    }

    /// Returns the addresses of this server. For a wildcard address these are the addresses
    /// that the interfaces have at this moment, and those that peers write to later.
    pub(super) fn own_addresses(&self, log: &Log) -> OwnAddresses {
        let bound = self.local_addrs();
        let has_wildcard = bound.iter().any(|address| address.ip().is_unspecified());
        let interfaces = if has_wildcard {
            interface_addresses(log)
        } else {
            Vec::new()
        };
        OwnAddresses::new(&bound, &interfaces, Arc::clone(&self.locals))
    }

    /// Returns the spares of one thread, for every endpoint.
    pub(super) fn take_spares(&mut self) -> Vec<Option<Spares>> {
        self.spares.iter_mut().map(Vec::pop).collect()
    }

    /// Gives each worker its sockets of every endpoint.
    pub(super) fn into_worker_sockets(mut self, gso: Gso) -> Vec<WorkerSockets> {
        let workers = self.workers;
        let take = |_| {
            let groups = self.groups.iter_mut();
            let sockets = groups.filter_map(|group| group.sockets.pop()).collect();
            let locals = LocalCache::new(Arc::clone(&self.locals));
            WorkerSockets::new(sockets, self.take_spares(), gso, locals)
        };
        (0..workers).map(take).collect()
    }
}

fn warn_of_small_buffers(wanted: BufferSizes, granted: BufferSizes, log: &Log) {
    for (what, sysctl, wanted, granted) in [
        (
            "receive",
            "net.core.rmem_max",
            wanted.receive_bytes,
            granted.receive_bytes,
        ),
        (
            "send",
            "net.core.wmem_max",
            wanted.send_bytes,
            granted.send_bytes,
        ),
    ] {
        // The kernel grants one byte less than the maximum.
        if granted + 1 < wanted {
            log.warn_at_start(format!(
                "the kernel grants a {what} buffer of {granted} bytes, not {wanted}: \
                 raise it with `sysctl -w {sysctl}={wanted}`, or ask for less with --{what}-buffer"
            ));
        }
    }
}

/// Returns the addresses of the interfaces, with their scopes.
fn interface_addresses(log: &Log) -> Vec<SocketAddr> {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            log.warn_at_start(format!(
                "cannot list the addresses of this machine: {error}"
            ));
            return Vec::new();
        }
    };
    interfaces
        .filter_map(|interface| socket_addr(interface.address?))
        .collect()
}

fn socket_addr(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = |address: &SockaddrIn| SocketAddrV4::from(*address).into();
    let v6 = |address: &SockaddrIn6| SocketAddrV6::from(*address).into();
    let as_v6 = || address.as_sockaddr_in6().map(v6);
    address.as_sockaddr_in().map(v4).or_else(as_v6)
}

/// The poll, its waker, the socket of the poll's own, and the claim of its core.
const FILES_PER_WORKER: usize = 4;

/// The socket of the admin server, the next connection, and the poll, the waker and the signals of its
/// runtime.
#[cfg(feature = "admin")]
const ADMIN_FILES: usize = 8;

/// The console, signals, and files that are open for a moment, such as lists in `/proc`.
const OTHER_FILES: usize = 16;
