//! The log, which a thread of its own writes. A slow log delays no other thread.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tracing::{Level, enabled, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::net::PeerAddr;
use crate::wire::{MAX_TEXT_DATAGRAM, push_python_address, push_text};

/// The sending half of the log. Each thread has a clone. When the queue is full, a line
/// is dropped and counted.
#[derive(Clone)]
pub struct Log {
    lines: Sender<Line>,
    shed: Arc<AtomicU64>,
}

/// The receiving half of the log, which the log thread runs.
pub struct LogWriter {
    lines: Receiver<Line>,
    shed: Arc<AtomicU64>,
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
        let shed = Arc::new(AtomicU64::new(0));
        let log = Self {
            lines: sender,
            shed: Arc::clone(&shed),
        };
        (log, LogWriter { lines, shed })
    }

    pub fn text(&self, sender: PeerAddr, text: &[u8]) {
        if enabled!(target: TEXT, Level::INFO) {
            let len = text.len().min(MAX_TEXT_DATAGRAM);
            let mut bytes = [0; MAX_TEXT_DATAGRAM];
            bytes[..len].copy_from_slice(&text[..len]);
            self.push(Line::Text(Text { sender, len, bytes }));
        }
    }

    pub fn registered(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: PEER, Level::INFO), Line::Registered(peer));
    }

    pub fn left(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: PEER, Level::INFO), Line::Left(peer));
    }

    pub fn expired(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: PEER, Level::INFO), Line::Expired(peer));
    }

    pub fn greeted(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: GREET, Level::INFO), Line::Greeted(peer));
    }

    pub fn info(&self, text: String) {
        self.push(Line::Info(text));
    }

    pub fn warn(&self, text: String) {
        self.push(Line::Warning(text));
    }

    pub fn shed_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shed)
    }

    fn push_if(&self, wanted: bool, line: Line) {
        if wanted {
            self.push(line);
        }
    }

    fn push(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogWriter {
    /// Writes until every [`Log`] has been dropped.
    pub fn run(self) {
        let mut known_shed = 0;
        let mut buffer = Vec::new();
        for line in &self.lines {
            write(&line, &mut buffer);
            let shed = self.shed.load(Ordering::Relaxed);
            if self.lines.is_empty() && shed > known_shed {
                warn!(
                    "{} log lines were not written: too many at once",
                    shed - known_shed
                );
                known_shed = shed;
            }
        }
    }
}

/// Writes the lines that `filter` selects to standard error. A program calls this once, at
/// its start.
pub fn install(filter: Targets) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // The report of a failed write would fail too, and panic.
        .log_internal_errors(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}

/// Parses levels and `target=level`, separated by commas.
///
/// # Errors
/// A sentence that names the valid words. `Targets` itself would take an unknown word for a
/// target, and silence all others.
pub fn parse_filter(text: &str) -> Result<Targets, String> {
    let is_known = |part: &str| match part.split_once('=') {
        Some((target, _)) => TARGETS.contains(&target),
        None => !part.is_empty() && part.parse::<LevelFilter>().is_ok(),
    };
    match text.parse() {
        Ok(targets) if text.split(',').all(is_known) => Ok(targets),
        _ => Err(
            "must be off, error, warn, info, debug or trace, or parts such as \
             info,bullhorn::text=off, of bullhorn::server, text, peer and greet"
                .into(),
        ),
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

const SERVER: &str = "bullhorn::server";
const TEXT: &str = "bullhorn::text";
const PEER: &str = "bullhorn::peer";
const GREET: &str = "bullhorn::greet";
/// A filter with any other target has a typing mistake, and may log what it should not.
const TARGETS: [&str; 5] = ["bullhorn", SERVER, TEXT, PEER, GREET];

/// Maximum number of lines in the queue. They take about 1 MiB. At 100,000 lines per second,
/// which is more than a terminal can write, they are logged in 10 ms.
const MAX_QUEUED_LINES: usize = 1024;

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
mod tests {
    use super::*;

    #[test]
    fn a_full_log_drops_and_counts_lines_and_never_waits() {
        let (log, writer) = Log::new();
        let peer = PeerAddr::new("127.0.0.1:5000".parse().unwrap(), 0);
        for _ in 0..MAX_QUEUED_LINES + 3 {
            log.push_if(true, Line::Left(peer));
        }
        assert_eq!(log.shed.load(Ordering::Relaxed), 3);
        let second = log.clone();
        drop(log);
        drop(second);
        writer.run();
    }

    #[test]
    fn a_filter_with_an_unknown_word_is_refused() {
        for text in [
            "off",
            "info",
            "WARN",
            "info,bullhorn::text=off",
            "bullhorn::peer=info",
            "bullhorn=warn",
        ] {
            assert!(parse_filter(text).is_ok(), "{text}");
        }
        for text in [
            "nonsense",
            "inf",
            "",
            "info,bullhorn::text=loud",
            "info,other=off",
            "info,bullhorn::texts=off",
        ] {
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }
}
