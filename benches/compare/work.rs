//! One step of load: offered at a rate that is fixed beforehand, whatever comes back.

use std::time::{Duration, Instant};

use crate::clients::{BURST, Clients, Heard};
use crate::harness::Error;
use crate::harness::cpu::ProcessMeter;

/// What the clients do, and what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// One says texts, all hear them: deliveries.
    FanOut,
    /// Each asks, and is answered: round trips.
    Requests,
    /// Each sends what nobody answers: heartbeats.
    Heartbeats,
}

/// What a step of load brought.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Deliveries, round trips or heartbeats that were due.
    pub(crate) offered: u64,
    /// Of these, what the load gave away: less, where a connection took no more or the
    /// load's core was too slow.
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// For as long as this load was offered.
    pub(crate) window: Duration,
    /// From the first one due until the last one arrived, and no less than the window.
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// From when it was due until a client had read it, in µs; sorted. Of some clients.
    pub(crate) latencies_us: Vec<u32>,
    /// How late the load itself was, in µs; sorted.
    pub(crate) late_us: Vec<u32>,
}

/// Clients under load, and the server's meter.
pub(crate) struct Load {
    work: Work,
    clients: Box<dyn Clients>,
    meter: ProcessMeter,
    epoch: Instant,
    /// Those whose latencies are taken: they are visited most often.
    probes: Vec<usize>,
    /// The others, and whose turn it is.
    others: Vec<usize>,
    turn: usize,
    heard: Heard,
    /// Deliveries or answers to all that was ever sent.
    owed: u64,
}

/// What one step has done so far.
struct Progress {
    start: Instant,
    items: u64,
    items_a_second: f64,
    /// When each item that was given away was.
    sent_at: Vec<Instant>,
    arrived: u64,
    last_arrival: Instant,
    latencies_us: Vec<u32>,
    late_us: Vec<u32>,
}

impl Work {
    /// What one thing that a client does amounts to.
    fn units(self, clients: usize) -> u64 {
        match self {
            Self::FanOut => clients as u64,
            Self::Requests => 1,
            Self::Heartbeats => BURST,
        }
    }

    /// What is given away at most between two looks at the clients.
    fn items_at_once(self) -> u64 {
        match self {
            Self::FanOut | Self::Requests => 256,
            // A socket with the buffer that Linux gives to whoever asks for none holds 277
            // datagrams.
            Self::Heartbeats => 8,
        }
    }
}

impl Load {
    pub(crate) fn new(work: Work, clients: Box<dyn Clients>, meter: ProcessMeter) -> Self {
        let count = clients.len();
        // Spread evenly, as a server sends to one after the other.
        let every = match work {
            Work::FanOut => count.div_ceil(PROBES),
            Work::Requests | Work::Heartbeats => 1,
        };
        let (probes, others) = (0..count).partition(|index| index % every == every / 2);
        Self {
            work,
            clients,
            meter,
            epoch: Instant::now(),
            probes,
            others,
            turn: 0,
            heard: Heard::default(),
            owed: 0,
        }
    }

    /// Offers so many deliveries, round trips or heartbeats a second for as long as `window`,
    /// and waits until they have arrived or will not any more.
    pub(crate) fn step(&mut self, units_a_second: f64, window: Duration) -> Result<Step, Error> {
        let units = self.work.units(self.clients.len());
        let items_a_second = units_a_second / units as f64;
        let items = (items_a_second * window.as_secs_f64()).max(1.0) as u64;
        let lost_before = match self.work {
            Work::Heartbeats => self.clients.lost_beats()?,
            Work::FanOut | Work::Requests => 0,
        };
        let before = self.meter.read_at_rest()?;
        let start = Instant::now();
        let mut progress = Progress {
            start,
            items,
            items_a_second,
            sent_at: Vec::new(),
            arrived: 0,
            last_arrival: start,
            latencies_us: Vec::new(),
            late_us: Vec::new(),
        };
        let end = start + window;
        while Instant::now() < end + OFFER_GRACE && (progress.sent_at.len() as u64) < items {
            crate::stop::check()?;
            self.offer(&mut progress)?;
            self.listen(&mut progress)?;
        }
        let sent = progress.sent_at.len() as u64 * units;
        if self.work != Work::Heartbeats {
            self.owed += sent;
        }
        if self.work == Work::Heartbeats {
            progress.arrived = sent - (self.clients.lost_beats()? - lost_before).min(sent);
            progress.last_arrival = Instant::now();
        } else {
            self.drain(&mut progress, sent, end.max(Instant::now()))?;
        }
        let cpu = self.meter.read_at_rest()?.since(before).cpu;
        progress.latencies_us.sort_unstable();
        progress.late_us.sort_unstable();
        Ok(Step {
            offered: items * units,
            sent,
            arrived: progress.arrived,
            window,
            wall: window.max(progress.last_arrival - start),
            cpu,
            latencies_us: progress.latencies_us,
            late_us: progress.late_us,
        })
    }

    /// Whether a message that is sent arrives in the end.
    pub(crate) fn is_reliable(&self) -> bool {
        self.clients.is_reliable()
    }

    /// Waits until the server has nothing more to do. Whether that is soon.
    pub(crate) fn is_soon_quiet(&mut self) -> Result<bool, Error> {
        let deadline = Instant::now() + SOON;
        self.heard.wants_stamps = false;
        let (mut count, mut last_heard) = (self.heard.count, Instant::now());
        while Instant::now() < deadline {
            crate::stop::check()?;
            self.clients.flush()?;
            for client in 0..self.clients.len() {
                self.clients.hear(client, &mut self.heard)?;
            }
            if self.heard.count > count {
                (count, last_heard) = (self.heard.count, Instant::now());
            }
            let is_done = if self.clients.is_reliable() {
                count >= self.owed
            } else {
                last_heard.elapsed() > SILENCE && self.clients.is_all_taken()?
            };
            if is_done {
                self.clients.forget_questions();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives away what is due.
    fn offer(&mut self, progress: &mut Progress) -> Result<(), Error> {
        self.clients.flush()?;
        let now = Instant::now();
        if self.clients.is_reliable() && self.is_behind(progress, now) {
            return Ok(());
        }
        let first = progress.sent_at.len() as u64;
        let due = progress
            .items_due(now)
            .min(first + self.work.items_at_once());
        if self.work == Work::FanOut {
            let stamps: Vec<u64> = (first..due)
                .map(|item| self.stamp(progress, item))
                .collect();
            self.clients.say(&stamps)?;
            let sent = Instant::now();
            (first..due).for_each(|item| progress.note_sent(item, sent));
            return Ok(());
        }
        for item in first..due {
            let client = item as usize % self.clients.len();
            if self.work == Work::Requests {
                self.clients.ask(client, self.stamp(progress, item))?;
            } else if !self.clients.beat(client)? {
                break;
            }
            progress.note_sent(item, Instant::now());
        }
        Ok(())
    }

    /// Over a connection: whether the oldest thing that has not arrived is old, or very
    /// many have not.
    fn is_behind(&self, progress: &Progress, now: Instant) -> bool {
        let units = self.work.units(self.clients.len());
        let arrived = (progress.arrived / units) as usize;
        let under_way = progress.sent_at.get(arrived..).unwrap_or_default();
        let is_old = under_way
            .first()
            .is_some_and(|&sent| now - sent > MAX_BEHIND);
        self.work != Work::Heartbeats && (is_old || under_way.len() > MAX_UNDER_WAY)
    }

    /// When `item` is due, in ns since the load began: what a text says of itself.
    fn stamp(&self, progress: &Progress, item: u64) -> u64 {
        (progress.due_at(item) - self.epoch).as_nanos() as u64
    }

    /// Takes what has come: of all probes, and of some others, and of the probes again
    /// next time. Nobody sleeps on a socket, so that no server pays for waking.
    fn listen(&mut self, progress: &mut Progress) -> Result<(), Error> {
        let count = self.heard.count;
        self.heard.wants_stamps = true;
        for &probe in &self.probes {
            self.clients.hear(probe, &mut self.heard)?;
            if !self.heard.stamps.is_empty() {
                let now_ns = self.epoch.elapsed().as_nanos() as u64;
                let latency = |stamp: u64| (now_ns.saturating_sub(stamp) / 1000) as u32;
                let latencies = self.heard.stamps.drain(..).map(latency);
                progress.latencies_us.extend(latencies);
            }
        }
        self.heard.wants_stamps = false;
        for _ in 0..OTHERS_AT_ONCE.min(self.others.len()) {
            self.clients.hear(self.others[self.turn], &mut self.heard)?;
            self.turn = (self.turn + 1) % self.others.len();
        }
        let heard = self.heard.count - count;
        if heard > 0 {
            progress.arrived += heard;
            progress.last_arrival = Instant::now();
        }
        Ok(())
    }

    /// Listens until all has arrived, or will not any more, or it is too late.
    fn drain(&mut self, progress: &mut Progress, sent: u64, end: Instant) -> Result<(), Error> {
        let is_reliable = self.clients.is_reliable();
        let too_late = end + if is_reliable { HUNG } else { TOO_LATE };
        while progress.arrived < sent {
            crate::stop::check()?;
            self.clients.flush()?;
            self.listen(progress)?;
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
    fn items_due(&self, now: Instant) -> u64 {
        let due = (now - self.start).as_secs_f64() * self.items_a_second;
        (due as u64 + 1).min(self.items)
    }

    fn note_sent(&mut self, item: u64, sent: Instant) {
        let late = sent.saturating_duration_since(self.due_at(item));
        self.late_us.push(late.as_micros() as u32);
        self.sent_at.push(sent);
    }

    fn due_at(&self, item: u64) -> Instant {
        self.start + Duration::from_secs_f64(item as f64 / self.items_a_second)
    }
}

/// Receivers whose latencies are taken: few, so that they are looked at often. A thousand
/// sockets to which nothing has come take 0.2 ms to visit.
const PROBES: usize = 20;

/// Other receivers that are visited between two looks at the probes: what that takes is how
/// exact a latency is.
const OTHERS_AT_ONCE: usize = 50;

/// For the last ones that are due.
const OFFER_GRACE: Duration = Duration::from_millis(5);

/// Of a connection: as much as a sender that hears itself would tolerate before it waits.
const MAX_BEHIND: Duration = Duration::from_millis(500);

/// The same in texts or questions. NATS, which sends what it has read in one write for each
/// subscriber, gets nearly its best deliveries a CPU-second with 2000 texts under way.
const MAX_UNDER_WAY: usize = 2000;

/// As late may a datagram be; what comes later counts as lost.
const TOO_LATE: Duration = Duration::from_millis(750);

/// Over a connection all arrives in the end, unless the server hangs. NATS works on what it
/// has read, for some hundred ms under overload, before it sends any of it.
const HUNG: Duration = Duration::from_secs(2);

/// Longer than the slowest server takes between two deliveries.
const SILENCE: Duration = Duration::from_millis(50);

/// A server that has a longer backlog than this is replaced by a new one.
const SOON: Duration = Duration::from_millis(800);
