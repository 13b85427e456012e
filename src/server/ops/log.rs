//! The log, which a thread of its own writes. A slow log delays no other thread.

mod output;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use crossbeam::utils::CachePadded;
use humantime::format_duration;
use tracing::{Level, enabled, info, warn};

use super::stats::{ClusterStats, Stats};
use crate::net::PeerAddr;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::wire::reply::Thousands;
use crate::wire::{MAX_TEXT_DATAGRAM, push_python_address, push_text};

pub use self::output::{
    LogConfig, LogFormat, LogTexts, WriteLines, install, reload_filter, set_filter, write_error,
    write_to,
};

/// The sending half of the log. Each thread has a clone. When the queue is full, a line
/// is dropped and counted.
///
/// Peers can cause any number of lines. So there are at most 100 texts per second, and 10 lines of
/// each other kind that peers cause. The rest is counted, and its number is logged once per second.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Sender<Line>>,
    counts: Arc<LogCounts>,
}

/// A [`Log`] that does not keep the log thread from its end. A handle of a server, which may outlive
/// it, has one.
#[derive(Clone)]
pub struct WeakLog {
    lines: Weak<Sender<Line>>,
    counts: Arc<LogCounts>,
}

/// The receiving half of the log, which the log thread runs.
pub struct LogWriter {
    lines: Receiver<Line>,
    counts: Arc<LogCounts>,
    /// The numbers of lines shed, and suppressed of each kind, that stand in the log.
    reported_shed: u64,
    reported_suppressed: [u64; Kind::ALL.len()],
    /// Reused, so that writing does not allocate.
    buffer: Vec<u8>,
}

/// The counts of lines that are not in the log.
#[derive(Debug, Default)]
pub struct LogCounts {
    shed: AtomicU64,
    allowances: [CachePadded<Allowance>; Kind::ALL.len()],
}

/// The lines of one kind.
#[derive(Debug, Default)]
struct Allowance {
    /// Number of lines that are left of this second. Less than 0 for a moment, when several threads
    /// take the last one.
    left: AtomicI64,
    /// Number of lines dropped because none was left.
    suppressed: AtomicU64,
}

/// The lines that are limited, by what causes them.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Registered,
    Left,
    Expired,
    Greeted,
    Warning,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a text is stored inline, so that logging it does not allocate"
)]
enum Line {
    Text(Text),
    Registered(PeerAddr),
    Left(PeerAddr),
    Expired(PeerAddr),
    Greeted(PeerAddr),
    Info(String),
    Warning(String),
}

struct Text {
    sender: PeerAddr,
    len: usize,
    bytes: [u8; MAX_TEXT_DATAGRAM],
}

impl Log {
    pub fn new() -> (Self, LogWriter) {
        let (sender, lines) = bounded(MAX_QUEUED_LINES);
        let counts = Arc::<LogCounts>::default();
        counts.begin_second();
        let log = Self {
            lines: Arc::new(sender),
            counts: Arc::clone(&counts),
        };
        let writer = LogWriter {
            lines,
            counts,
            reported_shed: 0,
            reported_suppressed: [0; Kind::ALL.len()],
            buffer: Vec::new(),
        };
        (log, writer)
    }

    pub fn text(&self, sender: PeerAddr, text: &[u8]) {
        if enabled!(target: TEXT, Level::INFO) && self.counts.allows(Kind::Text) {
            let len = text.len().min(MAX_TEXT_DATAGRAM);
            let mut bytes = [0; MAX_TEXT_DATAGRAM];
            bytes[..len].copy_from_slice(&text[..len]);
            self.push(Line::Text(Text { sender, len, bytes }));
        }
    }

    pub fn registered(&self, peer: PeerAddr) {
        if enabled!(target: PEER, Level::INFO) && self.counts.allows(Kind::Registered) {
            self.push(Line::Registered(peer));
        }
    }

    pub fn left(&self, peer: PeerAddr) {
        if enabled!(target: PEER, Level::INFO) && self.counts.allows(Kind::Left) {
            self.push(Line::Left(peer));
        }
    }

    pub fn expired(&self, peer: PeerAddr) {
        if enabled!(target: PEER, Level::INFO) && self.counts.allows(Kind::Expired) {
            self.push(Line::Expired(peer));
        }
    }

    pub fn greeted(&self, peer: PeerAddr) {
        if enabled!(target: GREET, Level::INFO) && self.counts.allows(Kind::Greeted) {
            self.push(Line::Greeted(peer));
        }
    }

    /// Logs what the server or its operator does. Such lines have no limit.
    pub fn info(&self, text: String) {
        self.push(Line::Info(text));
    }

    pub fn warn(&self, text: String) {
        if self.counts.allows(Kind::Warning) {
            self.push(Line::Warning(text));
        }
    }

    /// Logs a warning of the start. Such lines have no limit.
    pub fn warn_at_start(&self, text: String) {
        self.push(Line::Warning(text));
    }

    pub fn counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
    }

    pub fn downgrade(&self) -> WeakLog {
        WeakLog {
            lines: Arc::downgrade(&self.lines),
            counts: self.counts(),
        }
    }

    fn push(&self, line: Line) {
        self.counts.push(&self.lines, line);
    }
}

impl WeakLog {
    /// Logs what the operator does, unless the log has ended.
    pub fn info(&self, text: String) {
        self.push(Line::Info(text));
    }

    /// Logs what the operator has to know, unless the log has ended.
    pub fn warn(&self, text: String) {
        self.push(Line::Warning(text));
    }

    fn push(&self, line: Line) {
        if let Some(lines) = self.lines.upgrade() {
            self.counts.push(&lines, line);
        }
    }
}

impl LogCounts {
    /// Number of lines dropped because the log could not keep up.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Number of lines dropped because there were too many of their kind in a second.
    pub fn suppressed(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.suppressed_of(*kind)).sum()
    }

    /// Puts a line into the queue. If that is full, the line is dropped and counted.
    fn push(&self, lines: &Sender<Line>, line: Line) {
        if let Err(TrySendError::Full(_)) = lines.try_send(line) {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn suppressed_of(&self, kind: Kind) -> u64 {
        let allowance = &self.allowances[kind as usize];
        allowance.suppressed.load(Ordering::Relaxed)
    }

    /// Takes one line of the allowance of a kind. Returns false if none is left.
    fn allows(&self, kind: Kind) -> bool {
        let Allowance { left, suppressed } = &*self.allowances[kind as usize];
        let is_allowed =
            left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::Relaxed) > 0;
        if !is_allowed {
            suppressed.fetch_add(1, Ordering::Relaxed);
        }
        is_allowed
    }

    fn begin_second(&self) {
        for (kind, allowance) in Kind::ALL.iter().zip(&self.allowances) {
            let max = match kind {
                Kind::Text => MAX_TEXTS_PER_SECOND,
                _ => MAX_LINES_PER_SECOND,
            };
            allowance.left.store(max, Ordering::Relaxed);
        }
    }
}

impl LogWriter {
    /// Writes until every [`Log`] has been dropped.
    pub fn run(mut self) {
        // The end of the second that began with the first line. A log that is silent does not wake
        // this thread.
        let mut second_end: Option<Instant> = None;
        loop {
            let line = match second_end {
                Some(end) => self.lines.recv_deadline(end),
                None => self.lines.recv().map_err(RecvTimeoutError::from),
            };
            match line {
                Ok(line) => self.write(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.begin_second(),
            }
            let now = Instant::now();
            if now >= *second_end.get_or_insert(now + Duration::from_secs(1)) {
                self.begin_second();
                second_end = None;
            }
        }
    }

    /// Writes one line, and the number of those that were shed before it.
    fn write(&mut self, line: &Line) {
        write(line, &mut self.buffer);
        let shed = self.counts.shed();
        if self.lines.is_empty() && shed > self.reported_shed {
            let count = shed - self.reported_shed;
            warn!("{count} log lines were not written: too many at once");
            self.reported_shed = shed;
        }
    }

    /// Writes how many lines were suppressed in the last second, and allows new ones.
    fn begin_second(&mut self) {
        self.counts.begin_second();
        for (kind, reported) in Kind::ALL.into_iter().zip(&mut self.reported_suppressed) {
            let suppressed = self.counts.suppressed_of(kind);
            if suppressed > *reported {
                kind.report(suppressed - *reported);
                *reported = suppressed;
            }
        }
    }
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Text,
        Self::Registered,
        Self::Left,
        Self::Expired,
        Self::Greeted,
        Self::Warning,
    ];

    /// Writes the number of lines that were suppressed.
    fn report(self, count: u64) {
        let plural = if count == 1 { "" } else { "s" };
        let count = Thousands(count);
        match self {
            Self::Text => info!(target: TEXT, "{count} more text{plural}"),
            Self::Registered => info!(target: PEER, "{count} more peer{plural} registered"),
            Self::Left => info!(target: PEER, "{count} more peer{plural} left"),
            Self::Expired => info!(target: PEER, "{count} more peer{plural} expired"),
            Self::Greeted => info!(target: GREET, "{count} more peer{plural} greeted"),
            Self::Warning => warn!(target: SERVER, "{count} more warning{plural}"),
        }
    }
}

/// Writes one line. `buffer` is reused so that writing does not allocate.
fn write(line: &Line, buffer: &mut Vec<u8>) {
    match line {
        Line::Text(text) => {
            buffer.clear();
            push_text(text.sender.socket_addr(), &text.bytes[..text.len], buffer);
            info!(target: TEXT, "{}", String::from_utf8_lossy(buffer));
        }
        Line::Registered(peer) => info!(target: PEER, "{peer} is here"),
        Line::Info(text) => info!(target: SERVER, "{text}"),
        Line::Warning(text) => warn!(target: SERVER, "{text}"),
        Line::Left(peer) => info!(target: PEER, "{peer} is down"),
        Line::Expired(peer) => info!(target: PEER, "{peer} is down: not heard any more"),
        Line::Greeted(peer) => {
            buffer.clear();
            push_python_address(peer.socket_addr(), buffer);
            let address = String::from_utf8_lossy(buffer);
            info!(target: GREET, "Received from {address}");
        }
    }
}

/// Writes the sums of a server that has stopped, whose log thread has ended.
pub fn write_totals(stats: &Stats, uptime: Duration) {
    let total = stats.total();
    let uptime = format_duration(Duration::from_secs(uptime.as_secs()));
    info!(
        target: SERVER,
        "stopped after {uptime}: {} datagrams received, {} deliveries sent of {}, {} datagrams dropped",
        Thousands(total.datagrams_in),
        Thousands(total.deliveries),
        Thousands(total.deliveries_planned),
        Thousands(total.dropped_total()),
    );
    if let Some(ClusterStats { status, counts }) = &stats.cluster {
        info!(
            target: SERVER,
            "cluster {}: {} texts published, {} received, {} dropped, {} missing",
            status.cluster,
            Thousands(counts.texts_published),
            Thousands(counts.texts_received),
            Thousands(counts.dropped()),
            Thousands(counts.texts_missing),
        );
    }
}

const SERVER: &str = "bullhorn::server";
const TEXT: &str = "bullhorn::text";
const PEER: &str = "bullhorn::peer";
const GREET: &str = "bullhorn::greet";
/// All targets, and what they begin with.
const TARGETS: [&str; 5] = ["bullhorn", SERVER, TEXT, PEER, GREET];

/// Maximum number of lines in the queue. They take about 1 MiB. At 100,000 lines per second,
/// which is more than a terminal can write, they are logged in 10 ms.
const MAX_QUEUED_LINES: usize = 1024;

/// Maximum number of lines of each kind but texts. A person cannot read more.
const MAX_LINES_PER_SECOND: i64 = 10;

/// Maximum number of texts. A busy chat of people has fewer. Those of a flood take 100 kB.
const MAX_TEXTS_PER_SECOND: i64 = 100;

#[cfg(test)]
impl LogWriter {
    /// Returns the warnings in the queue, and drops all other lines.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        let warning = |line| match line {
            Line::Warning(text) => Some(text),
            _ => None,
        };
        self.lines.try_iter().filter_map(warning).collect()
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
mod tests;
