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
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let (mut last_look_ms, mut has_waited) = (self.clock.now_ms(), false);
        while !stop.is_stopping() {
            let now_ms = self.clock.now_ms();
            // After a long pause of the whole process the workers come first:
            // signs of life may wait in their sockets.
            let was_paused = now_ms.saturating_sub(last_look_ms) > 2 * interval_ms;
            has_waited = was_paused && !has_waited;
            if !has_waited {
                let on_expired = |peer| self.journal.expired(peer);
                self.peers.expire(now_ms, timeout_ms, on_expired);
            }
            last_look_ms = now_ms;
            self.parker.park_timeout(self.interval);
        }
        Ok(())
    }
}
