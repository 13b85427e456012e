//! The reaper, a thread that removes silent peers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Registry;
use super::silence::Overflows;
use crate::net::release_free_memory;
use crate::server::clock::Clock;
use crate::server::ops::log::Log;
use crate::server::ops::supervise::StopSignal;
use crate::server::ops::turns::Turns;
use crate::sync::Parker;

pub struct Reaper {
    registry: Arc<Registry>,
    turns: Turns,
    timeout: Arc<Timeout>,
    /// One per worker.
    silences: Vec<Silence>,
    /// Peers that were last seen before that are removed, for each worker.
    oldest_ms: Vec<u64>,
    flood: Flood,
    log: Log,
}

/// The time for which a peer may be silent, which may change while the server runs.
#[derive(Debug)]
pub struct Timeout {
    ms: AtomicU32,
}

/// The search for silent peers of one worker.
struct Silence {
    /// The time at which the worker was last asked for a turn.
    asked_ms: u64,
    overflows: Overflows,
}

impl Timeout {
    pub fn new(time: Duration) -> Arc<Self> {
        let timeout = Self {
            ms: AtomicU32::default(),
        };
        timeout.set(time);
        Arc::new(timeout)
    }

    pub fn set(&self, time: Duration) {
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.ms.store(ms, Ordering::Relaxed);
    }

    pub fn as_ms(&self) -> u32 {
        self.ms.load(Ordering::Relaxed)
    }
}

impl Reaper {
    /// Returns a reaper that removes a peer which is silent for longer than `timeout`. The workers
    /// have been asked for a turn at `now_ms`.
    pub fn new(
        registry: Arc<Registry>,
        turns: Turns,
        timeout: Arc<Timeout>,
        now_ms: u64,
        log: Log,
    ) -> Self {
        let silence = |_| Silence {
            asked_ms: now_ms,
            overflows: Overflows::default(),
        };
        Self {
            registry,
            timeout,
            silences: turns.workers().map(silence).collect(),
            oldest_ms: turns.workers().map(|_| 0).collect(),
            turns,
            flood: Flood::default(),
            log,
        }
    }

    /// Runs until the stop, which unparks it. It never fails, but every supervised thread returns a
    /// result.
    pub fn run(
        mut self,
        interval: Duration,
        clock: &Clock,
        parker: &Parker,
        stop: &StopSignal,
    ) -> io::Result<()> {
        while !stop.is_stopping() {
            self.round(clock.now_ms());
            parker.park_timeout(interval);
        }
        Ok(())
    }

    /// Removes the peers that are silent for too long, and gives memory back.
    ///
    /// A sign of life may wait in a socket, after a pause of the whole process or while a worker
    /// is stuck. So each round asks the workers for a turn of their loop. A peer is removed if it
    /// had been silent for too long when its worker was asked, and the worker has turned since. The
    /// kernel may also have dropped signs of life, see [`Overflows`].
    pub fn round(&mut self, now_ms: u64) {
        let timeout_ms = u64::from(self.timeout.as_ms());
        for worker in self.turns.workers() {
            if self.turns.has_turned(worker) {
                let drops = self.turns.info(worker).counters.kernel_drops.get();
                let Silence {
                    asked_ms,
                    overflows,
                } = &mut self.silences[worker.index()];
                overflows.update(drops, *asked_ms, now_ms);
                self.oldest_ms[worker.index()] = overflows.silent_since(timeout_ms, *asked_ms);
                *asked_ms = now_ms;
                self.turns.ask(worker);
            }
        }
        let on_expired = |peer| self.log.expired(peer);
        self.registry.expire(&self.oldest_ms, on_expired);
        if self.flood.has_receded(self.registry.len()) {
            self.registry.release_memory();
            release_free_memory();
        }
    }
}

/// Finds the times at which many peers have gone, and their memory should go back. A page goes
/// back only when the last peer in it has gone. So a few peers that go last count, too.
#[derive(Default)]
struct Flood {
    /// The most peers since memory last went back.
    most: usize,
    last: usize,
}

impl Flood {
    /// Takes the number of peers in this round. Returns true if more than half have gone, or if a
    /// fifth have gone and no more are going.
    fn has_receded(&mut self, peers: usize) -> bool {
        self.most = self.most.max(peers);
        let gone = self.most - peers;
        let is_steady = peers >= self.last;
        self.last = peers;
        let has_receded = gone >= MIN_GONE && (gone > peers || (is_steady && gone >= peers / 4));
        if has_receded {
            self.most = peers;
        }
        has_receded
    }
}

/// Minimum number of peers that must have gone. They keep at most as many pages, which is 1 MiB.
const MIN_GONE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::ops::Range;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use crate::net::PeerAddr;
    use crate::server::ops::stats::WorkerId;
    use crate::server::ops::supervise::Supervisor;
    use crate::server::ops::turns;
    use crate::wire::Protocol;

    const INTERVAL: Duration = Duration::from_millis(20);

    /// Runs the reaper over one peer, last seen at 0, with a time-out of 100 ms. `times_ms` are
    /// the readings of its clock, the first of them at the start. Its worker is stuck during the
    /// readings `stuck`. Returns the index of the reading in whose round the peer expired.
    fn expired_in(times_ms: &'static [u64], stuck: Range<usize>) -> Option<usize> {
        let peers = registry(1);
        let here = reap(&peers, times_ms, stuck);
        here.iter().position(|peers| *peers == 0).map(|at| at - 1)
    }

    /// Returns a registry of peers that were last seen at 0.
    fn registry(count: u16) -> Arc<Registry> {
        let peers = Arc::new(Registry::plain(1, count.into()));
        for port in 1..=count {
            let peer = PeerAddr::new((Ipv4Addr::LOCALHOST, port).into(), 0);
            peers.touch(&peer, Protocol::Text, WorkerId(0), 0);
        }
        peers
    }

    /// Runs the reaper as `expired_in` does. Returns the number of peers at each reading.
    fn reap(peers: &Arc<Registry>, times_ms: &'static [u64], stuck: Range<usize>) -> Vec<usize> {
        let supervisor = Supervisor::new();
        let stop = Arc::clone(supervisor.stop_signal());
        let here = Arc::new(Mutex::new(Vec::new()));
        let is_stuck = Arc::<AtomicBool>::default();
        let (counted, seen, stops) = (Arc::clone(peers), Arc::clone(&here), Arc::clone(&stop));
        let worker = turns::tests::worker("worker-0", &is_stuck);
        // Each reading shows the result of the round before it.
        let clock = Clock::from_fn(move || {
            let mut seen = seen.lock().unwrap();
            seen.push(counted.len());
            let reading = seen.len() - 1;
            is_stuck.store(stuck.contains(&reading), Ordering::Relaxed);
            if reading == times_ms.len() {
                stops.stop();
            }
            times_ms[reading.min(times_ms.len() - 1)]
        });
        let (log, _writer) = Log::new();
        let (turns, timeout) = (
            Turns::asked(vec![worker]),
            Timeout::new(Duration::from_millis(100)),
        );
        let reaper = Reaper::new(Arc::clone(peers), turns, timeout, clock.now_ms(), log);
        reaper.run(INTERVAL, &clock, &Parker::new(), &stop).unwrap();
        std::mem::take(&mut here.lock().unwrap())
    }

    #[test]
    fn a_peer_expires_in_the_round_after_its_worker_was_asked() {
        for (times_ms, gone) in [
            (&[0, 20, 101, 120, 140][..], Some(3)),
            // 100 ms are not more than 100 ms.
            (&[0, 20, 100, 120, 140], Some(4)),
            // After a pause of the process the worker goes first.
            (&[0, 0, 9_000, 9_000, 9_000], Some(3)),
            (&[0, 0, 9_000, 99_000, 99_000], Some(3)),
            (&[0, 0, 20, 40, 60], None),
        ] {
            assert_eq!(expired_in(times_ms, 0..0), gone, "{times_ms:?}");
        }
    }

    #[test]
    fn the_peers_of_a_stuck_worker_are_spared() {
        let times_ms = &[0, 20, 101, 120, 9_000, 9_020, 9_040, 9_060];
        // It was asked in the rounds 0, 1 and so on. It takes its turn at once or not at all.
        assert_eq!(expired_in(times_ms, 2..9), None);
        assert_eq!(expired_in(times_ms, 3..9), Some(3), "stuck after its turn");
    }

    #[test]
    fn the_table_of_peers_shrinks_after_a_flood() {
        let peers = registry(10_000);
        let capacity = || {
            let shards = peers.peers.shards().iter();
            shards.map(|shard| shard.read().buckets()).sum::<usize>()
        };
        assert!(capacity() >= 10_000);
        assert_eq!(reap(&peers, &[0, 20, 101, 120, 140], 0..0).last(), Some(&0));
        assert!(capacity() < 1_000, "{}", capacity());
    }

    #[test]
    fn memory_goes_back_while_a_flood_recedes_and_after_it() {
        let rounds = |counts: &[usize]| {
            let mut flood = Flood::default();
            let receded = counts.iter().filter(|peers| flood.has_receded(**peers));
            receded.copied().collect::<Vec<_>>()
        };
        assert_eq!(rounds(&[1_000, 700, 450, 300, 200, 0]), [450, 0]);
        assert_eq!(rounds(&[1_000, 700, 700, 700]), [700], "no more are going");
        assert_eq!(rounds(&[1_000, 1_000_000, 999_000, 999_000]), [0; 0]);
        assert_eq!(rounds(&[1_255, 1_000, 1_000]), [0; 0], "too few");
        assert_eq!(rounds(&[300, 150, 40, 40]), [40]);
    }
}
