//! The reaper, a thread that removes silent peers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use super::Registry;
use crate::server::clock::Clock;
use crate::server::ops::log::Log;
use crate::server::ops::supervise::StopSignal;

pub struct Reaper {
    pub registry: Arc<Registry>,
    pub clock: Clock,
    /// The time after which a silent peer is removed.
    pub timeout: Duration,
    pub interval: Duration,
    pub log: Log,
    /// The stop unparks it.
    pub parker: Parker,
}

impl Reaper {
    /// Runs until the stop. It never fails, but every supervised thread returns a result.
    pub fn run(self, stop: &StopSignal) -> io::Result<()> {
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let (mut last_round_ms, mut skips_round) = (self.clock.now_ms(), false);
        while !stop.is_stopping() {
            let now_ms = self.clock.now_ms();
            // After a pause of the whole process, signs of life may wait in the sockets. So
            // the workers go first.
            let was_paused = now_ms.saturating_sub(last_round_ms) > 2 * interval_ms;
            skips_round = was_paused && !skips_round;
            if !skips_round {
                let on_expired = |peer| self.log.expired(peer);
                self.registry.expire(now_ms, timeout_ms, on_expired);
            }
            last_round_ms = now_ms;
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
    use crate::server::ops::stats::WorkerId;
    use crate::server::ops::supervise::Supervisor;
    use crate::wire::Protocol;

    const INTERVAL: Duration = Duration::from_millis(20);

    /// Runs the reaper over one peer, last seen at 0, with a time-out of 100 ms.
    /// `times_ms` are the readings of its clock, the first of them at the start. Returns
    /// the index of the reading in whose round the peer expired.
    fn expired_in(times_ms: &'static [u64], interval: Duration) -> Option<usize> {
        let peers = Arc::new(Registry::plain(1, 10));
        let peer = PeerAddr::new((Ipv4Addr::LOCALHOST, 5000).into(), 0);
        peers.touch(&peer, Protocol::Text, WorkerId(0), 0);
        let supervisor = Supervisor::new();
        let stop = Arc::clone(supervisor.stop_signal());
        let here = Arc::new(Mutex::new(Vec::new()));
        let (counted, seen, stops) = (Arc::clone(&peers), Arc::clone(&here), Arc::clone(&stop));
        // Each reading shows the result of the round before it.
        let clock = Clock::from_fn(move || {
            let mut seen = seen.lock().unwrap();
            seen.push(counted.len());
            let reading = seen.len() - 1;
            if reading == times_ms.len() {
                stops.stop();
            }
            times_ms[reading.min(times_ms.len() - 1)]
        });
        let (log, _writer) = Log::new();
        let reaper = Reaper {
            registry: peers,
            clock,
            timeout: Duration::from_millis(100),
            interval,
            log,
            parker: Parker::new(),
        };
        reaper.run(&stop).unwrap();
        let here = here.lock().unwrap();
        here.iter().position(|peers| *peers == 0).map(|at| at - 1)
    }

    #[test]
    fn after_a_pause_the_second_round_expires_peers() {
        for (times_ms, gone) in [
            // Two intervals are not a pause.
            (&[90, 90, 130, 150, 150][..], Some(2)),
            (&[90, 90, 131, 150, 150], Some(3)),
            (&[0, 0, 9_000, 9_000, 9_000], Some(3)),
            // A second pause does not save a silent peer.
            (&[0, 0, 9_000, 99_000, 99_000], Some(3)),
            (&[0, 0, 20, 40, 60], None),
            // A pause long ago does not count.
            (&[0, 0, 30, 60, 90, 101, 120], Some(5)),
        ] {
            assert_eq!(expired_in(times_ms, INTERVAL), gone, "{times_ms:?}");
        }
    }

    #[test]
    fn rounds_are_an_interval_apart() {
        let start = Instant::now();
        let interval = Duration::from_millis(500);
        assert_eq!(expired_in(&[0, 0, 0, 0], interval), None);
        // Four rounds, with time for a busy machine.
        assert!(start.elapsed() < 16 * interval);
    }
}
