//! The state that all threads of a run share, and its end before its time.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use bullhorn::net::PeerAddr;
use bullhorn::wire::Reply;
use bullhorn::wire::reply::Resource;

use crate::config::{Protocol, RunConfig, Scenario};
use crate::engine::files::FilesError;
use crate::engine::partition;
use crate::engine::ports::PortsError;
use crate::engine::pulse::Pulse;
use crate::engine::rooms::Rooms;
use crate::engine::schedule::nanoseconds;
use crate::outcome::{Limited, Silence};
use crate::units::firewall_hint;

/// The handle that ends a run early.
#[derive(Debug, Default)]
pub struct Control {
    signal: AtomicI32,
}

/// The reason why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Ports(#[from] PortsError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(
        "{target} did not answer {client}: is the server running there? a chat must allow commands, unless all are in the lobby with --protocol v2"
    )]
    NoAnswer { target: SocketAddr, client: String },
    #[error("nothing listens on {0}: no server runs there")]
    NobodyListens(SocketAddr),
    #[error(
        "this machine does not send to {target}: {source}{}",
        firewall_hint(source.raw_os_error())
    )]
    CannotSend {
        target: SocketAddr,
        source: std::io::Error,
    },
    #[error("{0}")]
    ServerFailed(String),
    #[error("{0}")]
    Limited(Limited),
    #[error("the server refuses a client: {0}")]
    Refused(String),
    #[error("the server greets, and does not chat: take --scenario greet")]
    Greets,
    #[error(
        "the server says commands on as texts: it runs with --commands off, and then only --scenario lobby and heartbeat with --protocol v2 make sense"
    )]
    NoCommands,
    #[error(
        "the server chats, and does not greet: it needs --service greet, or leave --scenario greet away"
    )]
    Chats,
    #[error(
        "{target} shows {shown} of {members} members of a room: do the targets form one chat? Otherwise, --local-rooms keeps each room at one of them"
    )]
    MembersMissing {
        target: SocketAddr,
        shown: usize,
        members: usize,
    },
    #[error("the server said goodbye")]
    Goodbye,
    #[error("stopped before all clients had come")]
    Stopped(i32),
    #[error("this machine refuses what a thread of the load needs: {0}")]
    System(#[from] std::io::Error),
    #[error("a thread of this program failed: {0}")]
    Thread(String),
}

/// The state that all threads of a run share.
pub(crate) struct Run {
    pub(crate) config: RunConfig,
    /// The targets, by their places.
    pub(crate) targets: Box<[PeerAddr]>,
    /// Another one for each run: what an earlier one left on the way is not counted.
    pub(crate) id: u32,
    pub(crate) rooms: Rooms,
    pub(crate) base: Instant,
    /// The start of the load, in nanoseconds since `base`. It is 0 before it is known.
    pub(crate) start_ns: AtomicU64,
    /// The end of the load, in nanoseconds since its start.
    pub(crate) end_ns: u64,
    /// Threads all of whose clients are there.
    pub(crate) registered: AtomicUsize,
    /// The time at which the last of them was.
    pub(crate) registered_ns: AtomicU64,
    /// Threads that can begin the load.
    pub(crate) ready: AtomicUsize,
    /// Threads that offer nothing any more.
    pub(crate) over: AtomicUsize,
    /// The server said goodbye, and something is recorded: the load ends in good order.
    pub(crate) is_dismissed: AtomicBool,
    /// The signs of life of each target during the load.
    pub(crate) pulses: Box<[Pulse]>,
    /// The address of this machine as the server told it, which it does in version 2.
    pub(crate) seen_as: OnceLock<IpAddr>,
    /// The clients that the server has told a limit, and the first limit.
    limited: Mutex<Option<(u64, Resource, u32)>>,
    /// Something failed: all threads end.
    pub(crate) is_failed: AtomicBool,
    /// The error of the first thread that failed.
    failure: Mutex<Option<RunError>>,
    /// Copies and answers that each thread still expects when the load is over.
    pub(crate) missing: Box<[AtomicI64]>,
    pub(crate) control: Arc<Control>,
}

impl Control {
    /// One that has not been used.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Ends the run in good order: what is under way is waited for, and reported.
    pub fn stop(&self, signal: i32) {
        self.signal.store(signal, Relaxed);
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Relaxed)).filter(|signal| *signal != 0)
    }
}

impl Run {
    pub(crate) fn new(config: &RunConfig, control: &Arc<Control>, threads: usize) -> Self {
        let rooms = partition::rooms(config);
        Self {
            targets: config
                .targets()
                .map(|target| PeerAddr::new(target, 0))
                .collect(),
            id: fastrand::u32(..),
            rooms: Rooms::new(rooms as usize, partition::texts_remembered(config)),
            base: Instant::now(),
            start_ns: AtomicU64::new(0),
            end_ns: nanoseconds(config.warmup + config.duration),
            registered: AtomicUsize::new(0),
            registered_ns: AtomicU64::new(0),
            ready: AtomicUsize::new(0),
            over: AtomicUsize::new(0),
            is_dismissed: AtomicBool::new(false),
            pulses: config.targets().map(|_| Pulse::default()).collect(),
            seen_as: OnceLock::new(),
            limited: Mutex::new(None),
            is_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            missing: (0..threads).map(|_| AtomicI64::new(0)).collect(),
            control: Arc::clone(control),
            config: config.clone(),
        }
    }

    /// The nonce of the HELLOs of a client. 32 bits of it are random, which tells the replies from
    /// those of other runs.
    pub(crate) fn nonce(&self, client: u32) -> u64 {
        u64::from(self.id) << u32::BITS | u64::from(client)
    }

    /// The version that clients speak; the greeting service knows the first alone.
    pub(crate) fn codec(&self) -> Protocol {
        match self.config.scenario {
            Scenario::Greet => Protocol::V1,
            _ => self.config.protocol,
        }
    }

    /// A thread's clients are all there.
    pub(crate) fn note_registered(&self) {
        self.registered_ns.fetch_max(self.now_ns(), Relaxed);
        self.registered.fetch_add(1, Relaxed);
    }

    /// Returns true if the clients of all threads are there.
    pub(crate) fn are_all_registered(&self) -> bool {
        self.registered.load(Relaxed) == self.missing.len()
    }

    /// Returns the address of the target at `place`.
    pub(crate) fn target(&self, place: usize) -> SocketAddr {
        self.targets[place].socket_addr()
    }

    /// Returns true if a target was gone, or had forgotten its clients, and answered again.
    pub(crate) fn has_restarted(&self) -> bool {
        self.pulses.iter().any(Pulse::has_restarted)
    }

    /// Returns the last silence of a target, with times since `begin_ns`: if possible, one that
    /// has not ended.
    pub(crate) fn silence(&self, begin_ns: u64) -> Option<Silence> {
        let targets = self.config.targets().zip(&self.pulses);
        targets
            .filter_map(|(target, pulse)| pulse.silence(target, begin_ns))
            .max_by_key(|silence| (silence.to.is_none(), Reverse(silence.from)))
    }

    /// Nanoseconds since the run was made.
    pub(crate) fn now_ns(&self) -> u64 {
        nanoseconds(self.base.elapsed())
    }

    /// A time of [`Run::now_ns`] as one since the load began; none: it had not. It is known
    /// to whoever receives what another thread sent, as what that one sent is.
    pub(crate) fn since_start(&self, now_ns: u64) -> Option<u64> {
        match self.start_ns.load(Relaxed) {
            0 => None,
            start_ns => now_ns.checked_sub(start_ns),
        }
    }

    /// Returns true if the load ends in good order before its time.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.control.signal().is_some() || self.is_dismissed.load(Relaxed)
    }

    /// The server has told a client a limit, for the first time.
    pub(crate) fn note_limited(&self, resource: Resource, per_second: u32) {
        let mut limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        limited.get_or_insert((0, resource, per_second)).0 += 1;
    }

    /// Returns the clients that were limited, if there are any.
    pub(crate) fn limited(&self) -> Option<Limited> {
        let limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        let (clients, resource, per_second) = (*limited)?;
        let mut limit = Vec::new();
        let reply = Reply::OverBudget {
            resource,
            per_second,
        };
        reply.push(&mut limit);
        Some(Limited {
            clients,
            limit: String::from_utf8_lossy(&limit).into_owned(),
            network: self.own_address().map(network_of),
        })
    }

    /// Returns the address from which this machine sends to the server.
    fn own_address(&self) -> Option<IpAddr> {
        let by_route = || {
            let any = match self.config.target {
                SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(self.config.target).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        self.seen_as.get().copied().or_else(by_route)
    }

    /// Ends all threads; only the first one to call it says why.
    pub(crate) fn fail(&self, error: RunError) {
        if !self.is_failed.swap(true, Relaxed) {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
        }
    }

    /// Returns the error, if there is one.
    pub(crate) fn take_failure(&self) -> Option<RunError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

/// Returns the network that the server must trust. Clients at loopback have several addresses.
fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) if address.is_loopback() => "127.0.0.0/8".to_owned(),
        IpAddr::V4(address) => format!("{address}/32"),
        IpAddr::V6(address) => format!("{address}/128"),
    }
}
