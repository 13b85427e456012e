//! The parts that a session and its thread share. No lock is held over a system call.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::{Poll, Token, Waker};

use super::loss::SequenceCounts;
use super::protocol::{Outgoing, Status};
use super::sleep::SleepFlag;
use super::ticket::Responder;

/// The state of a session, and the means to wake its thread.
#[derive(Debug)]
pub(super) struct Shared {
    waker: Waker,
    pub(super) sleep: SleepFlag,
    status: Mutex<Status>,
}

/// A message to the thread of a session.
#[derive(Debug)]
pub(super) enum ToEngine {
    Command(Outgoing, Responder),
    Leave,
}

/// Counts of a [`Session`](super::Session).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// In version 2: the messages of all streams and sessions.
    pub messages: SequenceCounts,
    /// In version 2: datagrams from the server that were malformed, and dropped.
    pub malformed: u64,
    /// In version 2: datagrams that carry neither the session nor the number of a request for
    /// one, and were dropped. Someone forged them, or they are late ones of an earlier session.
    pub forged: u64,
    /// In version 2: sessions that the server gave. Each after the first means that it had
    /// forgotten this one, was restarted, or sees the client at another address.
    pub sessions: u64,
    /// Texts and requests that were never sent.
    pub unsent: u64,
    /// Events that were dropped because nobody took them from
    /// [`Session::events`](super::Session::events) in time.
    pub missed: u64,
}

impl Shared {
    /// Returns the parts for a thread that sleeps in `poll`.
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new(poll.registry(), WAKE)?,
            sleep: SleepFlag::default(),
            status: Mutex::default(),
        })
    }

    /// Wakes the thread if it sleeps.
    pub(super) fn wake(&self) {
        if self.sleep.take() {
            // Without the wake, the thread takes the message at the next heartbeat.
            let _ = self.waker.wake();
        }
    }

    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        // A panic under the lock leaves nothing half done.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of a message to the thread.
const WAKE: Token = Token(0);
