//! The reaper: a thread that drops the peers nobody hears any more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::server::clock::Clock;
use crate::server::ops::log::Journal;
use crate::server::ops::supervise::StopSignal;
use crate::server::registry::Peers;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::time::Instant;

    use crate::net::PeerAddr;
    use crate::server::ops::log::journal;
    use crate::server::ops::supervise::Supervisor;

    const INTERVAL: Duration = Duration::from_millis(20);

    /// Runs a reaper over one peer, heard at 0, with a time-out of 100 ms, whose
    /// readings of the clock are these; the first is when it starts. Returns in
    /// the look of which reading the peer was dropped.
    fn gone_in(times_ms: &'static [u64], interval: Duration) -> Option<usize> {
        let peers = Arc::new(Peers::plain(1, 10));
        let peer = PeerAddr::new((Ipv4Addr::LOCALHOST, 5000).into(), 0);
        peers.touch(&peer, crate::server::registry::Protocol::Text, 0, 0);
        let supervisor = Supervisor::new(Vec::new());
        let stop = Arc::clone(supervisor.stop_signal());
        let here = Arc::new(Mutex::new(Vec::new()));
        let (counted, seen, stops) = (Arc::clone(&peers), Arc::clone(&here), Arc::clone(&stop));
        // Each reading shows what the look before it did.
        let clock = Clock::from_fn(move || {
            let mut seen = seen.lock().unwrap();
            seen.push(counted.len());
            let reading = seen.len() - 1;
            if reading == times_ms.len() {
                stops.stop();
            }
            times_ms[reading.min(times_ms.len() - 1)]
        });
        let (journal, _writer) = journal();
        let reaper = Reaper {
            peers,
            clock,
            timeout: Duration::from_millis(100),
            interval,
            journal,
            parker: Parker::new(),
        };
        reaper.run(&stop).unwrap();
        let here = here.lock().unwrap();
        here.iter().position(|peers| *peers == 0).map(|at| at - 1)
    }

    #[test]
    fn after_a_pause_the_first_look_drops_nobody_and_the_second_does() {
        for (times_ms, gone) in [
            // Two intervals are no pause.
            (&[90, 90, 130, 150, 150][..], Some(2)),
            (&[90, 90, 131, 150, 150], Some(3)),
            (&[0, 0, 9_000, 9_000, 9_000], Some(3)),
            // Not even a second pause saves whom nobody hears.
            (&[0, 0, 9_000, 99_000, 99_000], Some(3)),
            (&[0, 0, 20, 40, 60], None),
            // What is long ago is no pause.
            (&[0, 0, 30, 60, 90, 101, 120], Some(5)),
        ] {
            assert_eq!(gone_in(times_ms, INTERVAL), gone, "{times_ms:?}");
        }
    }

    #[test]
    fn the_looks_are_an_interval_apart() {
        let start = Instant::now();
        let interval = Duration::from_millis(500);
        assert_eq!(gone_in(&[0, 0, 0, 0], interval), None);
        // Four waits, and time for a machine that has other work.
        assert!(start.elapsed() < 16 * interval);
    }
}
