//! One run, from its sockets to its outcome.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use core_affinity::CoreId;
use crossbeam::channel::{Receiver, Sender, bounded};

use crate::config::RunConfig;
use crate::engine::collector::Collector;
use crate::engine::common::Run;
pub use crate::engine::common::{Control, RunError};
use crate::engine::files;
use crate::engine::partition::{self, Part, Targets};
use crate::engine::ports::Ports;
use crate::engine::probe::Probe;
use crate::engine::pulse::Prober;
use crate::engine::recorder::{Channel, Report, ShardResult};
use crate::engine::resource_usage::{self, Processes, ResourceUsage, THREAD_NAME};
use crate::engine::rooms::Rooms;
use crate::engine::schedule::nanoseconds;
use crate::engine::shard::Shard;
use crate::outcome::{Generator, Outcome, Sample};

/// Offers load as `config` says, and returns what became of it. `observe` is called
/// about once a second while it is recorded.
pub fn run(
    config: &RunConfig,
    control: &Arc<Control>,
    observe: impl FnMut(&Sample<'_>),
) -> Result<Outcome, RunError> {
    let parts = partition::parts(config);
    files::allow(partition::files(config, parts.len()))?;
    let targets = Targets::of(config);
    let open = |part: &Part| {
        Ports::open(
            config.sockets,
            config.gro,
            &targets,
            part.first,
            part.clients,
        )
        .map_err(|error| error.explained(targets.addresses(), config.clients))
    };
    let ports = parts.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let sockets = ports.iter().map(Ports::len).sum::<usize>() as u32;
    let run = Arc::new(Run::new(config, control, parts.len()));
    // Those that have started end, too.
    let failed = |_: &RunError| run.is_failed.store(true, Relaxed);
    let threads = Threads::start(&run, parts, ports).inspect_err(failed)?;
    let probers = config
        .targets()
        .map(|target| Prober::new(Probe::new(target).ok()));
    let mut probers: Vec<_> = probers.collect();
    threads.await_clients(&run, &mut probers);
    let registered_in = Duration::from_nanos(run.registered_ns.load(Relaxed));

    let before = Processes::now();
    let start_ns = run.now_ns() + nanoseconds(START_LEAD);
    run.start_ns.store(start_ns, Relaxed);
    let recording_ns = start_ns + nanoseconds(config.warmup);
    let mut collector = Collector::new(config.duration, threads.threads.len(), observe);
    let mut watch = ResourceUsage::new(config.server_pid);
    let files = resource_usage::open_files();
    threads.collect(&run, recording_ns, &mut probers, &mut collector, &mut watch);
    let others = Processes::now().others_since(&before);
    let began_at = SystemTime::now() - run.base.elapsed() + Duration::from_nanos(recording_ns);
    let results = threads.finish(&run, &mut collector)?;
    let threads = results.len() as u16;
    let client_bytes = bytes_a_client(config, &run.rooms, &results);
    let largest_burst = results.iter().map(|result| result.largest_burst).max();
    let send_error = results.iter().find_map(|result| result.send_error);
    let (recorded, counts, latencies, seconds) = collector.finish(results, config);
    let used = watch.used();
    let limited = run.limited();
    let is_dismissed = run.is_dismissed.load(Relaxed);
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
            runs: used.runs,
            steal: watch.steal(),
            largest_burst: largest_burst.unwrap_or(0),
            threads,
            sockets,
            files,
            client_bytes,
            peak_memory_bytes: resource_usage::own_peak_memory_bytes(),
        },
        server: watch.server(),
        signal: control.signal(),
        server_said_goodbye: is_dismissed,
        // After a goodbye nothing else is to be expected.
        // One that limits everybody is there.
        silence: run
            .silence(recording_ns)
            .filter(|silence| !is_dismissed && (limited.is_none() || silence.is_refused)),
        limited,
        has_restarted: run.has_restarted(),
        send_error,
        others,
    })
}

/// Memory for what is known of each client.
fn bytes_a_client(config: &RunConfig, rooms: &Rooms, results: &[ShardResult]) -> u32 {
    let clients: usize = results.iter().map(|result| result.client_bytes).sum();
    (clients + rooms.bytes()).div_ceil(config.clients as usize) as u32
}

/// The threads of a run.
struct Threads {
    /// The threads. Each returns nothing when the run has failed.
    threads: Vec<JoinHandle<Option<ShardResult>>>,
    filled: Receiver<Box<Report>>,
    /// The channels of emptied reports.
    emptied: Vec<Sender<Box<Report>>>,
}

impl Threads {
    fn start(run: &Arc<Run>, parts: Vec<Part>, ports: Vec<Ports>) -> Result<Self, RunError> {
        let (filled, reports) = bounded(REPORTS * parts.len());
        let mut threads = Self {
            threads: Vec::new(),
            filled: reports,
            emptied: Vec::new(),
        };
        for (thread, (part, ports)) in parts.into_iter().zip(ports).enumerate() {
            let (emptied, empty) = bounded(REPORTS);
            for _ in 1..REPORTS {
                let _ = emptied.try_send(Report::new(thread));
            }
            threads.emptied.push(emptied);
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
            threads
                .threads
                .push(thread::Builder::new().name(name).spawn(body)?);
        }
        Ok(threads)
    }

    /// Waits until the load can begin. When they cannot come, that is found out by
    /// [`Threads::finish`].
    fn await_clients(&self, run: &Run, probers: &mut [Prober]) {
        while run.ready.load(Relaxed) < self.threads.len() && !self.is_any_finished() {
            for (place, prober) in probers.iter_mut().enumerate() {
                if prober.is_refused(run.now_ns()) {
                    run.fail(RunError::NobodyListens(run.target(place)));
                }
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Hands what is reported to `collector` until the load is over, and watches the
    /// threads for as long as it is recorded.
    fn collect(
        &self,
        run: &Run,
        recording_ns: u64,
        probers: &mut [Prober],
        collector: &mut Collector<impl FnMut(&Sample<'_>)>,
        watch: &mut ResourceUsage,
    ) {
        while run.over.load(Relaxed) < self.threads.len() && !self.is_any_finished() {
            let ahead_ns = recording_ns.saturating_sub(run.now_ns());
            if ahead_ns == 0 {
                watch.begin_once();
            }
            for (prober, pulse) in probers.iter_mut().zip(&run.pulses) {
                prober.turn(pulse, run.now_ns());
            }
            // The watch is to begin when the recording does, and not an interval later.
            let wait = match ahead_ns {
                0 => LOOK_INTERVAL,
                _ => LOOK_INTERVAL.min(Duration::from_nanos(ahead_ns)),
            };
            if let Ok(report) = self.filled.recv_timeout(wait) {
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

    /// Returns the result of each thread, or the first error.
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

/// A guard that ends the other threads when one panics.
struct PanicGuard(Arc<Run>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.is_failed.store(true, Relaxed);
        }
    }
}

/// Returns the message of a panic.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or_default().to_owned()
}

/// Reports per thread: one being filled, one under way, one emptied.
const REPORTS: usize = 3;

/// The time after which the end of a thread is noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Time for all threads to learn when the load begins.
const START_LEAD: Duration = Duration::from_millis(50);
