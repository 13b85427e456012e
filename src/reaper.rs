//! The reaper: a thread that drops the peers nobody hears any more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::clock::Clock;
use crate::journal::Journal;
use crate::peers::Peers;
use crate::supervise::StopSignal;

/// What the reaper's thread owns.
pub struct Reaper {
    /// The peers to look after.
    pub peers: Arc<Peers>,
    /// The clock that the peers' stamps are from.
    pub clock: Clock,
    /// A peer that is silent for longer than this is dropped.
    pub timeout: Duration,
    /// How often to look.
    pub interval: Duration,
    /// Where it reports whom it dropped.
    pub journal: Journal,
    /// What it sleeps on; the stop wakes it.
    pub parker: Parker,
}

impl Reaper {
    /// Runs until the stop.
    ///
    /// # Errors
    /// None; the type is that of every supervised thread.
    pub fn run(self, stop: &StopSignal) -> io::Result<()> {
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        while !stop.is_stopping() {
            let now_ms = self.clock.now_ms();
            self.peers
                .expire(now_ms, timeout_ms, |peer| self.journal.expired(peer));
            self.parker.park_timeout(self.interval);
        }
        Ok(())
    }
}
