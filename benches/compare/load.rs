//! One load: texts at a rate that is fixed beforehand, whatever comes back.

use std::time::{Duration, Instant};

use crate::clients::{Clients, Received};
use crate::harness::Error;
use crate::harness::cpu::Meter;

/// The result of one load.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Deliveries that were due.
    pub(crate) offered: u64,
    pub(crate) arrived: u64,
    /// From the first text until the last arrival, and no less than the load's length.
    pub(crate) wall: Duration,
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    /// From when a text was due until a client had read it, of some clients. Sorted.
    pub(crate) latencies_us: Vec<u32>,
}

/// Clients of one server, and the meter of the server.
pub(crate) struct Load {
    clients: Box<dyn Clients>,
    meter: Meter,
    epoch: Instant,
    /// Clients whose latencies are taken. They are visited most often.
    probes: Vec<usize>,
    /// The others, and whose turn it is.
    others: Vec<usize>,
    turn: usize,
    received: Received,
}

/// The progress of one load.
struct Progress {
    start: Instant,
    texts: usize,
    texts_per_s: f64,
    /// The times at which texts were sent.
    sent: Vec<Instant>,
    arrived: u64,
    last_arrival: Instant,
    latencies_us: Vec<u32>,
}

impl Load {
    pub(crate) fn new(clients: Box<dyn Clients>, meter: Meter) -> Self {
        // Evenly spread, as a server sends to one after the other.
        let every = clients.len().div_ceil(PROBES);
        let (probes, others) = (0..clients.len()).partition(|index| index % every == every / 2);
        Self {
            clients,
            meter,
            epoch: Instant::now(),
            probes,
            others,
            turn: 0,
            received: Received::default(),
        }
    }

    /// Offers a rate for as long as `window`, and waits until all has arrived or will not.
    pub(crate) fn step(&mut self, deliveries_per_s: f64, window: Duration) -> Result<Step, Error> {
        let clients = self.clients.len();
        let texts_per_s = deliveries_per_s / clients as f64;
        let before = self.meter.read_at_rest()?;
        let start = Instant::now();
        let mut progress = Progress {
            start,
            texts: (texts_per_s * window.as_secs_f64()).max(1.0) as usize,
            texts_per_s,
            sent: Vec::new(),
            arrived: 0,
            last_arrival: start,
            latencies_us: Vec::new(),
        };
        let end = start + window;
        while Instant::now() < end && progress.sent.len() < progress.texts {
            self.offer(&mut progress)?;
            self.receive(&mut progress)?;
        }
        self.drain(&mut progress, end.max(Instant::now()))?;
        let cpu = self.meter.read_at_rest()?.since(before).cpu;
        progress.latencies_us.sort_unstable();
        Ok(Step {
            offered: (progress.texts * clients) as u64,
            arrived: progress.arrived,
            wall: window.max(progress.last_arrival - start),
            cpu,
            latencies_us: progress.latencies_us,
        })
    }

    /// Receives until nothing more comes. Returns false if that takes too long.
    pub(crate) fn settle(&mut self) -> Result<bool, Error> {
        let deadline = Instant::now() + HUNG;
        let mut last_arrival = Instant::now();
        self.received.wants_stamps = false;
        while Instant::now() < deadline {
            let count = self.received.count;
            self.clients.flush()?;
            for client in 0..self.clients.len() {
                self.clients.receive(client, &mut self.received)?;
            }
            if self.received.count > count {
                last_arrival = Instant::now();
            } else if last_arrival.elapsed() > SILENCE {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends the texts that are due.
    fn offer(&mut self, progress: &mut Progress) -> Result<(), Error> {
        self.clients.flush()?;
        let now = Instant::now();
        if self.clients.is_reliable() && self.is_behind(progress, now) {
            return Ok(());
        }
        let first = progress.sent.len();
        let due = progress.texts_due(now).min(first + TEXTS_AT_ONCE);
        let stamp = |text| (progress.due_at(text) - self.epoch).as_nanos() as u64;
        let stamps: Vec<u64> = (first..due).map(stamp).collect();
        self.clients.send(&stamps)?;
        progress.sent.resize(due.max(first), Instant::now());
        Ok(())
    }

    /// Returns true if the oldest text that has not arrived is old, or very many have not.
    fn is_behind(&self, progress: &Progress, now: Instant) -> bool {
        let arrived = (progress.arrived / self.clients.len() as u64) as usize;
        let under_way = progress.sent.get(arrived..).unwrap_or_default();
        let oldest = under_way.first();
        oldest.is_some_and(|&sent| now - sent > MAX_BEHIND) || under_way.len() > MAX_UNDER_WAY
    }

    /// Receives from all probes, and from some others. Nobody sleeps on a socket, so that no
    /// server pays for waking.
    fn receive(&mut self, progress: &mut Progress) -> Result<(), Error> {
        let Self {
            clients, received, ..
        } = self;
        let count = received.count;
        received.wants_stamps = true;
        for &probe in &self.probes {
            clients.receive(probe, received)?;
            if !received.stamps.is_empty() {
                let now_ns = self.epoch.elapsed().as_nanos() as u64;
                let latency_us = |stamp| (now_ns.saturating_sub(stamp) / 1000) as u32;
                let latencies_us = received.stamps.drain(..).map(latency_us);
                progress.latencies_us.extend(latencies_us);
            }
        }
        received.wants_stamps = false;
        for _ in 0..OTHERS_AT_ONCE.min(self.others.len()) {
            clients.receive(self.others[self.turn], received)?;
            self.turn = (self.turn + 1) % self.others.len();
        }
        if received.count > count {
            progress.arrived += received.count - count;
            progress.last_arrival = Instant::now();
        }
        Ok(())
    }

    /// Receives until all has arrived, or will not, or it is too late.
    fn drain(&mut self, progress: &mut Progress, end: Instant) -> Result<(), Error> {
        let is_reliable = self.clients.is_reliable();
        let too_late = end + if is_reliable { HUNG } else { TOO_LATE };
        let expected = (progress.sent.len() * self.clients.len()) as u64;
        while progress.arrived < expected {
            self.clients.flush()?;
            self.receive(progress)?;
            let now = Instant::now();
            let silent = now.saturating_duration_since(progress.last_arrival.max(end));
            if (silent > SILENCE && !is_reliable) || now > too_late {
                break;
            }
        }
        Ok(())
    }
}

impl Progress {
    fn texts_due(&self, now: Instant) -> usize {
        let due = (now - self.start).as_secs_f64() * self.texts_per_s;
        (due as usize + 1).min(self.texts)
    }

    fn due_at(&self, text: usize) -> Instant {
        self.start + Duration::from_secs_f64(text as f64 / self.texts_per_s)
    }
}

/// Clients whose latencies are taken: few, so that they are visited often. A thousand
/// sockets without a datagram take 0.2 ms to visit.
const PROBES: usize = 20;

/// Other clients that are visited between two visits to the probes. The time that this takes
/// is the resolution of a latency.
const OTHERS_AT_ONCE: usize = 50;

/// Texts that are sent without a look at the clients.
const TEXTS_AT_ONCE: usize = 256;

/// Over a connection, a sender that receives its own texts would not tolerate more.
const MAX_BEHIND: Duration = Duration::from_millis(500);

/// The same in texts. NATS, which sends what it has read in one write per subscriber, gets
/// nearly its best deliveries per CPU-second with 2000 texts under way.
const MAX_UNDER_WAY: usize = 2000;

/// A datagram that comes later counts as lost.
const TOO_LATE: Duration = Duration::from_millis(750);

/// Over a connection all arrives in the end, unless the server hangs. Under overload NATS works
/// for some hundred milliseconds on what it has read before it sends any of it.
const HUNG: Duration = Duration::from_secs(2);

/// Longer than the slowest server takes between two deliveries.
const SILENCE: Duration = Duration::from_millis(50);
