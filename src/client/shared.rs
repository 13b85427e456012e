//! The parts that a session and its thread share. No lock is held over a system call.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam::channel::Sender;
use mio::{Poll, Token, Waker};

use super::loss::SequenceCounts;
use super::protocol::{Outgoing, Status};
use super::ticket::Responder;

/// The state of a session, and the means to wake its thread.
#[derive(Debug)]
pub(super) struct Shared {
    waker: Waker,
    /// True if the thread sleeps, or is about to, and must be woken for a message.
    pub(super) is_asleep: AtomicBool,
    state: Mutex<State>,
}

/// The state of a session, and the address that it sends from.
pub(super) type State = (Status, Option<SocketAddr>);

/// A message to the thread of a session.
#[derive(Debug)]
pub(super) enum ToEngine {
    Command(Outgoing, Responder),
    Stats(Sender<SessionStats>),
    Leave,
}

/// Counts of a [`Session`](super::Session).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// In version 2: the messages of all streams and sessions.
    pub messages: SequenceCounts,
    /// The messages of each stream that goes on, ordered by room and number: those of the
    /// room that the session is in, and of the rooms that it left within two heartbeats.
    pub streams: Vec<StreamStats>,
    /// In version 2: datagrams from the server that were malformed, and dropped.
    pub malformed: u64,
    /// In version 2: sessions that the server gave. Each after the first means that it had
    /// forgotten this one, or was restarted.
    pub sessions: u64,
    /// Texts and requests that were never sent.
    pub unsent: u64,
    /// Events that were dropped because nobody took them from
    /// [`Session::events`](super::Session::events) in time.
    pub missed: u64,
}

/// Counts of the messages of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStats {
    /// The number of the room.
    pub room: u32,
    /// The number of the server's worker.
    pub stream: u8,
    /// Its counts.
    pub counts: SequenceCounts,
}

impl Shared {
    /// Returns the parts for a thread that sleeps in `poll`.
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new(poll.registry(), WAKE)?,
            is_asleep: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// Wakes the thread if it sleeps.
    pub(super) fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // Without the wake, the thread takes the message at the next heartbeat.
            let _ = self.waker.wake();
        }
    }

    pub(super) fn update(&self, state: State) {
        *self.state() = state;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of a message to the thread.
const WAKE: Token = Token(0);
