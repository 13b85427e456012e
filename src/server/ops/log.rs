//! What the server reports, written by a thread of its own: a log that cannot be
//! written to, or is slow, holds up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tracing::{Level, enabled, info, warn};

use crate::net::PeerAddr;
use crate::wire::{MAX_TEXT_DATAGRAM, push_python_address, push_text};

/// Hands lines to the thread that writes them; each thread has its own clone.
/// Full, it sheds the line and counts it.
#[derive(Clone)]
pub struct Journal {
    lines: Sender<Line>,
    shed: Arc<AtomicU64>,
}

/// The other end: the thread that writes runs it.
pub struct JournalWriter {
    lines: Receiver<Line>,
    shed: Arc<AtomicU64>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a text is kept inline: reporting it allocates nothing"
)]
enum Line {
    Text(Text),
    Registered(PeerAddr),
    Left(PeerAddr),
    Expired(PeerAddr),
    Greeted(PeerAddr),
    /// What the server itself has to say.
    Info(String),
    Warning(String),
}

struct Text {
    speaker: PeerAddr,
    len: usize,
    bytes: [u8; MAX_TEXT_DATAGRAM],
}

/// A journal and the end that writes it.
pub fn journal() -> (Journal, JournalWriter) {
    let (sender, lines) = bounded(QUEUE_LINES);
    let shed = Arc::new(AtomicU64::new(0));
    let journal = Journal {
        lines: sender,
        shed: Arc::clone(&shed),
    };
    (journal, JournalWriter { lines, shed })
}

impl Journal {
    /// A text of `speaker`.
    pub fn text(&self, speaker: PeerAddr, text: &[u8]) {
        if enabled!(target: TEXT, Level::INFO) {
            let len = text.len().min(MAX_TEXT_DATAGRAM);
            let mut bytes = [0; MAX_TEXT_DATAGRAM];
            bytes[..len].copy_from_slice(&text[..len]);
            self.push(Line::Text(Text {
                speaker,
                len,
                bytes,
            }));
        }
    }

    /// A new peer.
    pub fn registered(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: PEER, Level::INFO), Line::Registered(peer));
    }

    /// A peer that said it leaves.
    pub fn left(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: PEER, Level::INFO), Line::Left(peer));
    }

    /// A peer that was not heard any more.
    pub fn expired(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: PEER, Level::INFO), Line::Expired(peer));
    }

    /// A peer that was greeted.
    pub fn greeted(&self, peer: PeerAddr) {
        self.push_if(enabled!(target: GREET, Level::INFO), Line::Greeted(peer));
    }

    /// What an operator should know.
    pub fn info(&self, text: String) {
        self.push(Line::Info(text));
    }

    /// What an operator should mend.
    pub fn warn(&self, text: String) {
        self.push(Line::Warning(text));
    }

    /// Counts the lines that were shed.
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

impl JournalWriter {
    /// Writes until every [`Journal`] is gone.
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

/// `buffer` is for what is put together first: kept, it costs no allocation.
fn write(line: &Line, buffer: &mut Vec<u8>) {
    match line {
        Line::Text(text) => {
            buffer.clear();
            push_text(text.speaker, &text.bytes[..text.len], buffer);
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

/// Log target of the server itself.
const SERVER: &str = "bullhorn::server";
/// Log target of the texts that peers say.
const TEXT: &str = "bullhorn::text";
/// Log target of the coming and going of peers.
const PEER: &str = "bullhorn::peer";
/// Log target of the greeting service.
const GREET: &str = "bullhorn::greet";

/// Lines that may wait: about 1 MiB, and at 100,000 lines a second, which a
/// terminal does not write, 10 ms of them.
const QUEUE_LINES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_sheds_and_counts_and_never_waits() {
        let (journal, writer) = journal();
        let peer = PeerAddr::new("127.0.0.1:5000".parse().unwrap(), 0);
        for _ in 0..QUEUE_LINES + 3 {
            journal.push_if(true, Line::Left(peer));
        }
        assert_eq!(journal.shed.load(Ordering::Relaxed), 3);
        let second = journal.clone();
        drop(journal);
        drop(second);
        writer.run();
    }
}
