//! The server: its start and its stop.

mod assembly;
mod chat;
pub mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod config;
pub mod core;
pub mod egress;
pub mod files;
mod greet;
mod host;
pub mod ingress;
pub mod keys;
pub mod moderation;
pub mod ops;
mod placement;
pub mod rate;
pub mod registry;
mod reload;
mod report;
pub mod settings;
mod watch;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use self::assembly::Assembly;
use self::chat::ChatServer;
use self::clock::Clock;
#[cfg(feature = "cluster")]
use self::cluster::Node;
use self::config::{ConfigError, CoreList, ServerConfig, ServiceKind};
use self::host::Endpoints;
use self::moderation::{BanFile, Moderation, StateError};
use self::ops::log::{Log, LogCounts, WeakLog};
use self::ops::operated::Operated;
use self::ops::stats::{LimitInForce, Stats};
use self::ops::supervise::{StopSignal, Supervisor, ThreadDied, wake};
use self::ops::turns::{Turns, WorkerHandle};
use self::registry::{Room, RoomError};
pub use self::reload::ReloadError;
#[doc(hidden)]
pub use self::report::Managed;
use self::settings::Settings;
use crate::VERSION;
use crate::net::{BindError, PeerAddr, check_calls, count_refused_calls};
use crate::sync::Parker;
use crate::wire::RoomName;

/// A running server. It stops when it is dropped.
///
/// ```
/// use bullhorn::{Server, ServerConfig};
///
/// let config = ServerConfig {
///     bind: vec!["127.0.0.1:0".parse()?],
///     ..ServerConfig::default()
/// };
/// let server = Server::start(config)?;
/// let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hi all", server.local_addr())?;
///
/// let mut datagram = [0; 1024];
/// let len = client.recv(&mut datagram)?;
/// assert!(datagram[..len].ends_with(b" hi all"));
/// server.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    handle: ServerHandle,
    supervisor: Supervisor,
    #[cfg(feature = "admin")]
    admin_addr: Option<SocketAddr>,
}

/// Reads and stops a server from other threads.
#[derive(Clone)]
pub struct ServerHandle {
    local_addrs: Arc<[SocketAddr]>,
    stop: Arc<StopSignal>,
    workers: Vec<WorkerHandle>,
    /// `None` for a greeting server.
    chat: Option<ChatServer>,
    log_counts: Arc<LogCounts>,
    group_alarms: Arc<AtomicU64>,
    limits: Arc<ArcSwap<Vec<LimitInForce>>>,
    settings: Settings,
    log: WeakLog,
    #[cfg(feature = "admin")]
    admin_token: Option<Arc<ops::admin::TokenFile>>,
}

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is out of bounds, or contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address is not available.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The bans in [`ServerConfig::state_dir`] cannot be read, or the folder cannot be written.
    #[error("--state-dir: {0}")]
    State(#[from] StateError),
    /// The admin server cannot listen, or its token cannot be read.
    #[cfg(feature = "admin")]
    #[error(transparent)]
    Admin(#[from] ops::admin::AdminError),
    /// The process may not open as many files as it needs, most of them sockets.
    #[error(
        "{needed} open files are needed, and {limit} are allowed: raise the limit with \
         `ulimit -n {needed}`, or take fewer --workers or --bind addresses"
    )]
    Files {
        /// The number needed.
        needed: u64,
        /// The limit of the process.
        limit: u64,
    },
    /// A core of [`ServerConfig::cores`] is not among those that the process may use.
    #[error("--cores: this process may not use core {core}, only {allowed}")]
    Core {
        /// The core.
        core: usize,
        /// The cores that the process may use.
        allowed: CoreList,
    },
    /// The system has no more threads or file descriptors, or does not permit a call.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl Server {
    /// Starts a server. Its sockets are open when this returns.
    ///
    /// # Errors
    /// [`StartError`]; no thread is left running.
    pub fn start(config: ServerConfig) -> Result<Self, StartError> {
        Self::start_with_clock(config, Clock::monotonic())
    }

    /// Starts a server that reads the time from `clock`.
    ///
    /// # Errors
    /// [`StartError`]; no thread is left running.
    #[doc(hidden)]
    pub fn start_with_clock(config: ServerConfig, clock: Clock) -> Result<Self, StartError> {
        Self::start_confined(config, clock, |_| Ok(()))
    }

    /// Starts a server as [`Server::start_managed`] does, without a service manager.
    ///
    /// # Errors
    /// [`StartError`], which may be the error of `confine`; no thread is left running.
    #[doc(hidden)]
    pub fn start_confined(
        config: ServerConfig,
        clock: Clock,
        confine: impl FnOnce(&Log) -> io::Result<()>,
    ) -> Result<Self, StartError> {
        Self::start_managed(config, clock, Managed::default(), confine)
    }

    /// Starts a server. Calls `confine`, which may give up rights of the process, when all sockets
    /// are open, and before a thread is started and a datagram or a file of the state is read. The
    /// addresses and the number of workers of `config` must be those of the sockets in `managed`.
    ///
    /// # Errors
    /// [`StartError`], which may be the error of `confine`; no thread is left running.
    #[doc(hidden)]
    pub fn start_managed(
        config: ServerConfig,
        clock: Clock,
        managed: Managed,
        confine: impl FnOnce(&Log) -> io::Result<()>,
    ) -> Result<Self, StartError> {
        config.check()?;
        placement::check(&config)?;
        host::reserve_files(&config)?;
        check_calls()?;
        let (log, log_writer) = Log::new();
        log.info(format!("bullhorn {VERSION}: {}", config.summary()));
        let log_counts = log.counts();
        let mut endpoints = Endpoints::bind(&config, managed.sockets, &log)?;
        let local_addrs = endpoints.local_addrs();
        #[cfg(feature = "admin")]
        let admin = config.admin.bind(&log)?;
        #[cfg(feature = "admin")]
        let admin_addr = admin.as_ref().map(ops::admin::Admin::local_addr);
        #[cfg(feature = "admin")]
        let admin_token = admin.as_ref().and_then(ops::admin::Admin::token_file);
        let (watch, parker) = (endpoints.take_watch(log.clone()), Parker::new());
        let group_alarms = watch.alarms();
        // On an error its drop stops the threads that run.
        let mut supervisor = Supervisor::new();
        let assembly = Assembly::new(&config, endpoints, clock, log.clone(), &mut supervisor)?;
        #[cfg(feature = "cluster")]
        let node = Node::prepare(&config.cluster, local_addrs[0], config.workers.into())?;
        confine(&log)?;
        let kept_bans = match (&config.state_dir, config.service) {
            (Some(folder), ServiceKind::Chat) => {
                let (file, bans) = BanFile::open(folder)?;
                (Some(file), bans)
            }
            _ => (None, Vec::new()),
        };
        assembly.supervisor.spawn_last("log".into(), || {
            log_writer.run();
            Ok(())
        })?;
        assembly
            .supervisor
            .spawn("watch".into(), wake(&parker), move |stop| {
                watch.run(stop, &parker)
            })?;
        let workers = assembly.worker_handles();
        let (chat, settings) = match config.service {
            ServiceKind::Chat => {
                let (chat, settings) = ChatServer::start(
                    &config,
                    kept_bans,
                    assembly,
                    #[cfg(feature = "cluster")]
                    node,
                )?;
                (Some(chat), settings)
            }
            ServiceKind::Greet => (None, greet::start(&config, assembly)?),
        };
        for address in &local_addrs {
            log.info(format!("listening on {address}"));
        }
        let handle = ServerHandle {
            local_addrs: local_addrs.into(),
            stop: Arc::clone(supervisor.stop_signal()),
            workers,
            chat,
            log_counts,
            group_alarms,
            limits: Arc::new(ArcSwap::from_pointee(config.limits_in_force())),
            settings,
            log: log.downgrade(),
            #[cfg(feature = "admin")]
            admin_token,
        };
        #[cfg(feature = "admin")]
        if let Some(admin) = admin {
            admin.start(Arc::new(handle.clone()), &mut supervisor)?;
        }
        report::watch(&config, &handle, managed.manager, log, &mut supervisor);
        Ok(Self {
            handle,
            supervisor,
            #[cfg(feature = "admin")]
            admin_addr,
        })
    }

    /// The first address that the server listens on, with its actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.handle.local_addrs[0]
    }

    /// All addresses that the server listens on, in the order of `--bind`.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.handle.local_addrs
    }

    /// The address of the admin server, with its actual port. `None` if it is off.
    #[cfg(feature = "admin")]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Returns the statistics at this moment.
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Returns a handle for other threads.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Starts a thread that may end at any time, such as a console. If it panics, the
    /// server stops.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn spawn_companion(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.supervisor.spawn_companion(name, body)
    }

    /// Waits until the server stops, by [`ServerHandle::stop`] or because a thread died or, by
    /// [`ServerConfig::watchdog`], hung. The watchdog is awake during this call only.
    ///
    /// # Errors
    /// [`ThreadDied`]; all other threads have been stopped.
    pub fn wait(mut self) -> Result<(), ThreadDied> {
        self.supervisor.wait()
    }

    /// Stops the server, and waits for its threads.
    ///
    /// # Errors
    /// [`ThreadDied`], if a thread had died before.
    pub fn stop(self) -> Result<(), ThreadDied> {
        self.handle.stop();
        self.wait()
    }
}

impl ServerHandle {
    /// Asks the server to stop, and returns at once.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// The operator's hold on the peers, or `None` for a greeting server, which has none.
    pub fn moderation(&self) -> Option<&Moderation> {
        Some(&self.chat.as_ref()?.moderation)
    }

    /// The limits that are in force, in the order of the flags.
    pub fn limits(&self) -> Arc<Vec<LimitInForce>> {
        self.limits.load_full()
    }

    /// The log, for what the operator does.
    #[doc(hidden)]
    pub fn log(&self) -> &WeakLog {
        &self.log
    }

    /// Moves a peer to the room called `name`, which is created if it does not exist. The
    /// peer is not notified. Returns `None` if the peer is not registered.
    ///
    /// # Errors
    /// [`RoomError`]; the peer stays in its room.
    #[doc(hidden)]
    pub fn join(&self, peer: &PeerAddr, name: RoomName) -> Option<Result<Arc<Room>, RoomError>> {
        self.chat.as_ref()?.registry.join(peer, name)
    }

    /// Returns the statistics at this moment.
    pub fn stats(&self) -> Stats {
        let workers = self.workers.iter().map(|worker| worker.info.stats());
        let mut stats = Stats {
            workers: workers.collect(),
            log_lines_shed: self.log_counts.shed(),
            log_lines_suppressed: self.log_counts.suppressed(),
            group_alarms: self.group_alarms.load(Ordering::Relaxed),
            calls_refused: count_refused_calls(),
            ..Stats::default()
        };
        if let Some(chat) = &self.chat {
            let (registry, notifier) = (&chat.registry, &chat.notifier);
            stats.peers = registry.len();
            stats.expired = registry.expired();
            stats.rooms = registry.directory().len();
            stats.notices = notifier.sent.load(Ordering::Relaxed);
            stats.notices_failed = notifier.failed.load(Ordering::Relaxed);
            stats.cluster = chat.cluster_stats();
        }
        stats
    }
}

impl Operated for ServerHandle {
    fn stats(&self) -> Stats {
        self.stats()
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    fn turns(&self) -> Turns {
        Turns::new(self.workers.clone())
    }

    fn limits(&self) -> Arc<Vec<LimitInForce>> {
        self.limits()
    }

    fn moderation(&self) -> Option<&Moderation> {
        self.moderation()
    }

    fn is_draining(&self) -> bool {
        let chat = self.chat.as_ref();
        chat.is_some_and(|chat| chat.registry.drain().is_on())
    }

    fn lacks_bus(&self) -> bool {
        self.chat.as_ref().is_some_and(ChatServer::lacks_bus)
    }

    fn stop(&self) {
        self.stop();
    }
}
