//! The name of a session that has changed its server. The name may still belong to the session at
//! the server that is gone, so it is requested until that has ended. No I/O, and no clock.

use std::time::{Duration, Instant};

use super::identity::Identity;
use crate::wire::{Name, Reply};

/// Requests for a name that the session had at another server.
#[derive(Debug)]
pub(super) struct Reclaim {
    until: Instant,
    /// The time of the next request, if there is no reply before.
    next: Option<Instant>,
    /// True if a request without a reply is repeated.
    repeats: bool,
    /// The number of requests, at heartbeats, that follow the last one.
    attempts_left: u32,
}

impl Identity {
    /// The session has changed its server, and requests its name until it has it, or for some
    /// seconds. After that, up to `attempts` requests follow at heartbeats, as in any new session.
    /// A request without a reply is repeated if `repeats`.
    pub(super) fn reclaim(&mut self, attempts: u32, repeats: bool, now: Instant) {
        self.reclaim = self.name.standing.is_some().then_some(Reclaim {
            until: now + RECLAIM_TIME,
            next: None,
            repeats,
            attempts_left: attempts,
        });
    }

    pub(super) fn reclaim_timeout(&self) -> Option<Instant> {
        self.reclaim.as_ref()?.next
    }

    /// Makes the name due if its time has come.
    pub(super) fn reclaim_due(&mut self, now: Instant) {
        if let Some(reclaim) = &mut self.reclaim
            && reclaim.next.is_some_and(|next| next <= now)
        {
            reclaim.next = None;
            self.name.make_due(1);
        }
    }

    /// The name was requested.
    pub(super) fn reclaim_sent(&mut self, now: Instant) {
        match &mut self.reclaim {
            Some(reclaim) if now >= reclaim.until => self.end_reclaim(),
            Some(reclaim) if reclaim.repeats => reclaim.next = Some(now + REPLY_TIME),
            _ => {}
        }
    }

    /// Takes a refusal of a name that no application has requested. Returns true if the application
    /// is not to be told of it, as the name is requested again.
    pub(super) fn reclaim_refused(&mut self, reply: &Reply<'_>, now: Instant) -> bool {
        let is_own = |name: Name| self.name.standing == Some(name);
        let is_refusal = match reply {
            Reply::NameTaken(name) => is_own(*name),
            Reply::NameLimit(_) => true,
            _ => false,
        };
        let Some(reclaim) = self.reclaim.as_mut().filter(|_| is_refusal) else {
            return false;
        };
        let next = now + RECLAIM_INTERVAL;
        if next > reclaim.until {
            self.end_reclaim();
            return false;
        }
        reclaim.next = Some(next);
        true
    }

    /// The session has the name, or does not want it any more.
    pub(super) fn end_reclaim(&mut self) {
        if let Some(reclaim) = self.reclaim.take() {
            self.name.attempts = reclaim.attempts_left;
        }
    }
}

/// The claims of a server that is gone end after 3.5 s, and those of a client that could not take its
/// leave after 10 s.
const RECLAIM_TIME: Duration = Duration::from_secs(10);

/// Time between two requests, each of which is refused.
const RECLAIM_INTERVAL: Duration = Duration::from_millis(500);

/// Time after which a request without a reply is repeated. The nodes of a cluster take up to 500 ms.
const REPLY_TIME: Duration = Duration::from_secs(1);
