//! One run, from its sockets to its outcome.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use bullhorn::net::PeerAddr;
use core_affinity::CoreId;
use crossbeam::channel::{Receiver, Sender, bounded};

use crate::config::RunConfig;
use crate::engine::collector::Collector;
use crate::engine::files::{self, FilesError};
use crate::engine::ports::{Ports, PortsError};
use crate::engine::recorder::{Channel, Report};
use crate::engine::rooms::Rooms;
use crate::engine::schedule::nanoseconds;
use crate::engine::selfwatch::{self, SelfWatch};
use crate::engine::shape::{self, Part};
use crate::engine::shard::{Shard, ShardResult};
use crate::outcome::{Generator, Outcome, Sample};

/// How whoever started a run ends it early.
#[derive(Debug, Default)]
pub struct Control {
    signal: AtomicI32,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The clients' sockets could not be had.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// Nor could so many files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Nobody, or not everybody, was answered.
    #[error(
        "{target} did not answer {client}: is the server running there? a chat must allow commands, unless all are in the lobby with --protocol v2"
    )]
    NoAnswer {
        /// The server.
        target: SocketAddr,
        /// Which client asked in vain.
        client: String,
    },
    /// The server did not let a client go to its room.
    #[error("the server refuses a client: {0}")]
    Refused(String),
    /// It answers, but as a greeting service does.
    #[error("the server greets, and does not chat: take --scenario greet")]
    Greets,
    /// The server stopped.
    #[error("the server said goodbye")]
    Goodbye,
    /// It was stopped while clients came; the signal.
    #[error("stopped before all clients had come")]
    Stopped(i32),
    /// The system refused something.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A thread of this program failed; that is a defect.
    #[error("a thread of this program failed: {0}")]
    Thread(String),
}

/// What all threads of a run share.
pub(crate) struct Run {
    pub(crate) config: RunConfig,
    pub(crate) target: PeerAddr,
    /// Another one for each run: what an earlier one left on the way is not counted.
    pub(crate) id: u32,
    pub(crate) rooms: Rooms,
    pub(crate) base: Instant,
    /// When the load begins, in nanoseconds since `base`; 0: not yet.
    pub(crate) start_ns: AtomicU64,
    /// Threads all of whose clients are there.
    ready: AtomicUsize,
    /// When the last of them was.
    ready_ns: AtomicU64,
    /// Threads that offer nothing any more.
    pub(crate) over: AtomicUsize,
    /// Something failed: all threads end.
    pub(crate) is_failed: AtomicBool,
    /// Why, as the first thread that failed says.
    failure: Mutex<Option<RunError>>,
    /// What each thread still waits for when the load is over: copies and answers.
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
    fn new(config: &RunConfig, control: &Arc<Control>, threads: usize) -> Self {
        let rooms = shape::rooms(config);
        Self {
            target: PeerAddr::new(config.target, 0),
            id: fastrand::u32(..),
            rooms: Rooms::new(rooms as usize, shape::texts_remembered(config)),
            base: Instant::now(),
            start_ns: AtomicU64::new(0),
            ready: AtomicUsize::new(0),
            ready_ns: AtomicU64::new(0),
            over: AtomicUsize::new(0),
            is_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            missing: (0..threads).map(|_| AtomicI64::new(0)).collect(),
            control: Arc::clone(control),
            config: config.clone(),
        }
    }

    /// A thread's clients are all there.
    pub(crate) fn note_ready(&self) {
        self.ready_ns.fetch_max(self.now_ns(), Relaxed);
        self.ready.fetch_add(1, Relaxed);
    }

    /// Nanoseconds since the run was made.
    pub(crate) fn now_ns(&self) -> u64 {
        nanoseconds(self.base.elapsed())
    }

    /// Ends all threads; only the first one to call it says why.
    pub(crate) fn fail(&self, error: RunError) {
        if !self.is_failed.swap(true, Relaxed) {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
        }
    }

    /// Why it failed, if it did.
    fn take_failure(&self) -> Option<RunError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

/// Offers load as `config` says, and returns what became of it. `observe` is called
/// about once a second while it is recorded.
///
/// # Errors
/// [`RunError`], when the clients cannot come, or the server goes.
pub fn run(
    config: &RunConfig,
    control: &Arc<Control>,
    observe: impl FnMut(&Sample<'_>),
) -> Result<Outcome, RunError> {
    let parts = shape::parts(config);
    files::allow(shape::files(config, parts.len()))?;
    let open = |part: &Part| Ports::open(config.sockets, config.target, part.first, part.clients);
    let ports = parts.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let sockets = ports.iter().map(Ports::len).sum::<usize>() as u32;
    let run = Arc::new(Run::new(config, control, parts.len()));
    // Those that have started end, too.
    let failed = |_: &RunError| run.is_failed.store(true, Relaxed);
    let crew = Crew::start(&run, parts, ports).inspect_err(failed)?;
    crew.await_clients(&run);
    let registered_in = Duration::from_nanos(run.ready_ns.load(Relaxed));

    let start_ns = run.now_ns() + nanoseconds(START_LEAD);
    run.start_ns.store(start_ns, Relaxed);
    let recording_ns = start_ns + nanoseconds(config.warmup);
    let mut collector = Collector::new(config.duration, crew.threads.len(), observe);
    let mut watch = SelfWatch::new();
    let files = selfwatch::open_files();
    crew.collect(&run, recording_ns, &mut collector, &mut watch);
    let began_at = SystemTime::now() - run.base.elapsed() + Duration::from_nanos(recording_ns);
    let results = crew.finish(&run, &mut collector)?;
    let threads = results.len() as u16;
    let client_bytes = shape::bytes_a_client(config, &run.rooms, &results);
    let largest_burst = results.iter().map(|result| result.largest_burst).max();
    let (recorded, counts, latencies, seconds) = collector.finish(results, config);
    let used = watch.used();
    Ok(Outcome {
        began_at: began_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
        recorded,
        registered_in,
        counts,
        latencies,
        seconds,
        generator: Generator {
            cpu: used.cpu,
            run_queue_delay: used.run_queue_delay,
            steal: used.steal,
            largest_burst: largest_burst.unwrap_or(0),
            threads,
            sockets,
            files,
            client_bytes,
            peak_memory_bytes: selfwatch::peak_memory_bytes(),
        },
        signal: control.signal(),
    })
}

/// The threads of a run.
struct Crew {
    /// Each returns nothing when the run has failed.
    threads: Vec<JoinHandle<Option<ShardResult>>>,
    filled: Receiver<Box<Report>>,
    /// Where each thread takes emptied reports from.
    emptied: Vec<Sender<Box<Report>>>,
}

impl Crew {
    fn start(run: &Arc<Run>, parts: Vec<Part>, ports: Vec<Ports>) -> Result<Self, RunError> {
        let (filled, reports) = bounded(REPORTS * parts.len());
        let mut crew = Self {
            threads: Vec::new(),
            filled: reports,
            emptied: Vec::new(),
        };
        for (thread, (part, ports)) in parts.into_iter().zip(ports).enumerate() {
            let (emptied, empty) = bounded(REPORTS);
            for _ in 1..REPORTS {
                let _ = emptied.try_send(Report::new(thread));
            }
            crew.emptied.push(emptied);
            let channel = Channel {
                filled: filled.clone(),
                emptied: empty,
            };
            let shard = Shard::new(Arc::clone(run), thread, part, ports, channel)?;
            let core = run
                .config
                .cores
                .get(thread % run.config.cores.len().max(1))
                .copied();
            let guard = PanicGuard(Arc::clone(run));
            let body = move || {
                let _guard = guard;
                if let Some(id) = core {
                    core_affinity::set_for_current(CoreId { id });
                }
                shard.run()
            };
            let name = format!("{THREAD_NAME}{thread}");
            crew.threads
                .push(thread::Builder::new().name(name).spawn(body)?);
        }
        Ok(crew)
    }

    /// Waits until all clients are there. When they cannot come, that is found out by
    /// [`Crew::finish`].
    fn await_clients(&self, run: &Run) {
        while run.ready.load(Relaxed) < self.threads.len() && !self.is_any_finished() {
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Hands what is reported to `collector` until the load is over, and watches the
    /// threads for as long as it is recorded.
    fn collect(
        &self,
        run: &Run,
        recording_ns: u64,
        collector: &mut Collector<impl FnMut(&Sample<'_>)>,
        watch: &mut SelfWatch,
    ) {
        while run.over.load(Relaxed) < self.threads.len() && !self.is_any_finished() {
            if run.now_ns() >= recording_ns {
                watch.begin_once();
            }
            if let Ok(report) = self.filled.recv_timeout(LOOK_INTERVAL) {
                let thread = report.thread;
                let report = collector.take(report);
                let _ = self.emptied[thread].try_send(report);
            }
        }
        watch.end();
    }

    fn is_any_finished(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// What each thread has to tell at the end, or why the first one failed that did.
    fn finish(
        self,
        run: &Run,
        collector: &mut Collector<impl FnMut(&Sample<'_>)>,
    ) -> Result<Vec<ShardResult>, RunError> {
        let mut results = Vec::new();
        let mut panicked = None;
        for thread in self.threads {
            match thread.join() {
                Ok(result) => results.extend(result),
                Err(panic) => panicked = Some(RunError::Thread(text_of(&*panic))),
            }
        }
        if let Some(error) = panicked.or_else(|| run.take_failure()) {
            return Err(error);
        }
        // What was handed over when nobody looked any more.
        while let Ok(report) = self.filled.try_recv() {
            collector.take(report);
        }
        Ok(results)
    }
}

/// Of a thread that panics: the others end, too.
struct PanicGuard(Arc<Run>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.is_failed.store(true, Relaxed);
        }
    }
}

/// What a thread said that panicked.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or_default().to_owned()
}

/// The names of the threads begin with it; [`SelfWatch`] finds them by it.
pub(crate) const THREAD_NAME: &str = "load-";

/// Of a thread: one that is filled, one under way, one that is emptied.
const REPORTS: usize = 3;

/// How soon it is noticed that a thread has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Time for all threads to learn when the load begins.
const START_LEAD: Duration = Duration::from_millis(50);
