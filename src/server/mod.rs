//! Starts a server, watches over its threads, and stops it.

pub mod clock;
pub mod config;
pub mod egress;
mod greet;
mod host;
pub mod ingress;
pub mod ops;
pub mod registry;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam::channel::bounded;
use crossbeam::sync::Parker;
use crossbeam::utils::CachePadded;
use mio::{Poll, Waker};

use self::greet::Greet;
use self::host::{bind_all, echo_prefixes, own_addresses, plan_cores};
use crate::net::{BindError, Outbox, PeerAddr, SocketGroup, max_segments};
use crate::server::clock::Clock;
use crate::server::config::{ConfigError, ServerConfig, ServiceKind, Switch};
use crate::server::egress::exchange::Handover;
use crate::server::egress::notifier::{Crier, CrierCounters};
use crate::server::ingress::{Chat, ChatShared};
use crate::server::ops::log::{Journal, journal};
use crate::server::ops::stats::{Stats, WorkerInfo, WorkerStats};
use crate::server::ops::supervise::{StopSignal, Supervisor, ThreadDied, Wake};
use crate::server::registry::Names;
use crate::server::registry::Peers;
use crate::server::registry::expiry::Reaper;
use crate::server::registry::{News, Room, RoomError, RoomLimits, Rooms};
use crate::server::worker::{Service, Worker, WorkerShared, poll_and_waker};
use crate::wire::RoomName;

/// A running server. Dropped, it stops.
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
    local_addrs: Vec<SocketAddr>,
    handle: ServerHandle,
    supervisor: Supervisor,
}

/// Reads and stops a server from elsewhere; any number of clones.
#[derive(Clone)]
pub struct ServerHandle {
    stop: Arc<StopSignal>,
    workers: Vec<Arc<WorkerInfo>>,
    peers: Arc<Peers>,
    crier: Arc<CrierCounters>,
    log_lines_shed: Arc<AtomicU64>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is beyond its bounds, or contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system has no thread, or no file descriptor, left.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl Server {
    /// Starts a server; its sockets are open when this returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: ServerConfig) -> Result<Self, StartError> {
        Self::start_with_clock(config, Clock::monotonic())
    }

    /// Starts a server that reads the time from `clock`.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start_with_clock(config: ServerConfig, clock: Clock) -> Result<Self, StartError> {
        config.check()?;
        let (journal, writer) = journal();
        let groups = bind_all(&config, &journal)?;
        let local_addrs: Vec<SocketAddr> = groups.iter().map(|group| group.local_addr).collect();
        let cores = plan_cores(&config, &journal);
        let polls = Polls::new(cores.len())?;
        let (reaper, crier) = (Parker::new(), Parker::new());
        let mut wakers = polls.wakers();
        wakers.extend([wake(&reaper), wake(&crier)]);
        let supervisor = Supervisor::new(wakers);

        let limits = RoomLimits {
            max_rooms: config.max_rooms as usize,
            max_members: config.max_room_members,
        };
        let rooms = Rooms::new(cores.len(), limits, News::new(wake(&crier)));
        let names = Names::new(config.max_names as usize);
        let handle = ServerHandle {
            stop: Arc::clone(supervisor.stop_signal()),
            workers: (0..cores.len()).map(worker_info).collect(),
            peers: Arc::new(Peers::new(rooms, names, config.max_peers as usize)),
            crier: Arc::default(),
            log_lines_shed: journal.shed_counter(),
        };
        // From here on a failure drops the server, and so stops what runs.
        let mut server = Self {
            local_addrs,
            handle,
            supervisor,
        };
        server.supervisor.spawn_last("journal".into(), || {
            writer.run();
            Ok(())
        })?;

        let crier_outbox = server.spawn_workers(&config, &clock, groups, polls, cores, &journal)?;
        for address in &server.local_addrs {
            journal.info(format!("listening on {address}"));
        }
        if let Some(outbox) = crier_outbox {
            let reaper = Reaper {
                peers: Arc::clone(&server.handle.peers),
                clock,
                timeout: config.timeout,
                interval: config.reap_interval,
                journal,
                parker: reaper,
            };
            let crier = Crier {
                peers: Arc::clone(&server.handle.peers),
                outbox,
                counters: Arc::clone(&server.handle.crier),
                parker: crier,
            };
            let stop = Arc::clone(&server.handle.stop);
            let (supervisor, stops) = (&mut server.supervisor, Arc::clone(&stop));
            supervisor.spawn("reaper".into(), move || reaper.run(&stop))?;
            supervisor.spawn("crier".into(), move || crier.run(&stops))?;
        }
        Ok(server)
    }

    /// The first address that the server listens on, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    /// All addresses that the server listens on, in the order of `--bind`.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// For other threads, to read and to stop the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Starts a thread that serves beside the server, like a console: it may
    /// end, but if it panics, the server stops.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn spawn_companion(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.supervisor.spawn_companion(name, body)
    }

    /// Waits until the server stops: until [`ServerHandle::stop`], or until a
    /// thread dies.
    ///
    /// # Errors
    /// [`ThreadDied`], with which all other threads have been stopped, too.
    pub fn wait(mut self) -> Result<(), ThreadDied> {
        self.supervisor.wait()
    }

    /// Stops the server, and waits until it has.
    ///
    /// # Errors
    /// [`ThreadDied`], if one had before.
    pub fn stop(self) -> Result<(), ThreadDied> {
        self.handle.stop();
        self.wait()
    }

    /// Returns an outbox over the first worker's sockets, for the crier of a chat;
    /// `None`: this is no chat, and has none.
    fn spawn_workers(
        &mut self,
        config: &ServerConfig,
        clock: &Clock,
        mut groups: Vec<SocketGroup>,
        polls: Polls,
        cores: Vec<Option<CoreId>>,
        journal: &Journal,
    ) -> io::Result<Option<Outbox>> {
        let mut crier_outbox = None;
        let shared = WorkerShared {
            clock: clock.clone(),
            spin: Duration::from_micros(config.spin_us.into()),
            own_addresses: own_addresses(&self.local_addrs, journal).into(),
        };
        let stop = Arc::clone(&self.handle.stop);
        let max_segments = max_segments();
        if max_segments == 1 {
            journal.warn(NO_SEGMENTS.into());
        }
        let chat = ChatShared {
            peers: Arc::clone(&self.handle.peers),
            handover: Arc::new(Handover::new(polls.wakers())),
            journal: journal.clone(),
            echo_prefixes: shared
                .own_addresses
                .iter()
                .flat_map(|own| echo_prefixes(own.socket_addr()))
                .collect(),
            max_segments,
            commands: config.commands == Switch::On,
            timeout_ms: u32::try_from(config.timeout.as_millis()).unwrap_or(u32::MAX),
        };
        for ((index, poll), core) in polls.polls.into_iter().enumerate().zip(cores) {
            // One socket of every group; each group has as many as workers.
            let sockets = groups.iter_mut().filter_map(|group| group.sockets.pop());
            let outbox = Outbox::new(sockets.collect(), max_segments > 1);
            let info = Arc::clone(&self.handle.workers[index]);
            match config.service {
                ServiceKind::Chat => {
                    if crier_outbox.is_none() {
                        crier_outbox = Some(outbox.try_clone()?);
                    }
                    let number = u8::try_from(index).expect("at most 256 workers");
                    let service = Chat::new(number, chat.clone(), Arc::clone(&info));
                    let worker = Worker::new(poll, outbox, service, &shared, info)?;
                    self.spawn_worker(worker, core, journal.clone())?;
                }
                ServiceKind::Greet => {
                    let once = config.once.then(|| Arc::clone(&stop));
                    let service = Greet::new(once, journal.clone(), Arc::clone(&info));
                    let worker = Worker::new(poll, outbox, service, &shared, info)?;
                    self.spawn_worker(worker, core, journal.clone())?;
                }
            }
        }
        Ok(crier_outbox)
    }

    fn spawn_worker<S: Service + Send + 'static>(
        &mut self,
        worker: Worker<S>,
        core: Option<CoreId>,
        journal: Journal,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.handle.stop);
        let info = Arc::clone(worker.info());
        let (placed, is_placed) = bounded(1);
        self.supervisor.spawn(info.name.clone(), move || {
            if let Some(core) = core {
                if core_affinity::set_for_current(core) {
                    // Set here alone, and once.
                    let _ = info.core.set(core.id);
                } else {
                    journal.warn(format!(
                        "core {} cannot be had: {} runs anywhere",
                        core.id, info.name
                    ));
                }
            }
            // The other end waits for it.
            let _ = placed.send(());
            worker.run(&stop)
        })?;
        // An error means that the thread has died, which `wait` tells.
        let _ = is_placed.recv();
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop();
        // Who wants to know of a death calls `wait`.
        let _ = self.supervisor.wait();
    }
}

impl ServerHandle {
    /// Asks the server to stop, and returns at once.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Moves a peer to the room called `name`, which is made if there is none. The
    /// peer is not told. `None`: it is not registered.
    ///
    /// # Errors
    /// [`RoomError`]: the room, or the server, takes no more.
    pub fn join(&self, peer: &PeerAddr, name: RoomName) -> Option<Result<Arc<Room>, RoomError>> {
        self.peers.join(peer, name)
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let workers = self.workers.iter().map(|worker| WorkerStats {
            name: worker.name.clone(),
            core: worker.core.get().copied(),
            counts: worker.counters.read(),
        });
        Stats {
            workers: workers.collect(),
            peers: self.peers.len(),
            expired: self.peers.expired(),
            rooms: self.peers.rooms().len(),
            notices: self.crier.sent.load(Ordering::Relaxed),
            notices_failed: self.crier.failed.load(Ordering::Relaxed),
            log_lines_shed: self.log_lines_shed.load(Ordering::Relaxed),
        }
    }
}

/// What wakes a thread that sleeps on `parker`.
fn wake(parker: &Parker) -> Wake {
    let unparker = parker.unparker().clone();
    Box::new(move || unparker.unpark())
}

fn worker_info(index: usize) -> Arc<WorkerInfo> {
    Arc::new(WorkerInfo {
        name: format!("worker-{index}"),
        core: OnceLock::new(),
        counters: CachePadded::default(),
    })
}

/// What each worker sleeps on, and what wakes it.
struct Polls {
    polls: Vec<Poll>,
    wakers: Vec<Arc<Waker>>,
}

impl Polls {
    fn new(count: usize) -> io::Result<Self> {
        let (mut polls, mut wakers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (poll, waker) = poll_and_waker()?;
            polls.push(poll);
            wakers.push(Arc::new(waker));
        }
        Ok(Self { polls, wakers })
    }

    /// One for each worker.
    fn wakers(&self) -> Vec<Wake> {
        // A waker fails only when its poll is gone, and nobody is there to wake.
        let wake = |waker: &Arc<Waker>| -> Wake {
            let waker = Arc::clone(waker);
            Box::new(move || drop(waker.wake()))
        };
        self.wakers.iter().map(wake).collect()
    }
}

/// What to say on a kernel without `UDP_SEGMENT`.
const NO_SEGMENTS: &str = "this kernel sends every datagram by itself (UDP_SEGMENT came with \
    Linux 4.18): under load, several times fewer deliveries than it could";
