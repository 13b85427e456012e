//! Samples of the server, one per second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior, interval_at};

use super::sample::{HISTORY_STEP, History, Point, Sample};
use crate::server::moderation::Moderation;
use crate::server::ops::operated::Operated;
use crate::server::ops::stats::{PeerCounts, Stats};
use crate::server::ops::turns::Turns;

/// Takes a sample each second.
pub(super) struct Sampler {
    server: Arc<dyn Operated + Send + Sync>,
    samples: watch::Sender<Arc<Sample>>,
    turns: Turns,
    /// The state at the last point of the history.
    last_point: (Instant, Stats),
    history: Arc<History>,
}

impl Sampler {
    /// Takes the first sample. Returns the receiver of the newest one.
    pub(super) fn new(
        server: Arc<dyn Operated + Send + Sync>,
    ) -> (Self, watch::Receiver<Arc<Sample>>) {
        let now = (Instant::now(), server.stats());
        let first = take(
            &*server,
            (now.0, &now.1),
            now.clone(),
            Vec::new(),
            Arc::default(),
        );
        let (samples, newest) = watch::channel(Arc::new(first));
        let mut turns = server.turns();
        turns.workers().for_each(|worker| turns.ask(worker));
        let sampler = Self {
            turns,
            server,
            samples,
            last_point: now,
            history: Arc::default(),
        };
        (sampler, newest)
    }

    /// Runs without end.
    pub(super) async fn run(mut self) {
        let mut ticks = interval_at(time::Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample();
        }
    }

    fn sample(&mut self) {
        let (now, stats) = (Instant::now(), self.server.stats());
        if now - self.last_point.0 >= HISTORY_STEP {
            let (before, before_stats) = &self.last_point;
            let point = Point::between((*before, before_stats), (now, &stats));
            Arc::make_mut(&mut self.history).push(&point);
            self.last_point = (now, stats.clone());
        }
        let before = Arc::clone(&self.samples.borrow());
        let (stuck, history) = (self.check_turns(), Arc::clone(&self.history));
        let before = (before.at, &before.stats);
        let sample = take(&*self.server, before, (now, stats), stuck, history);
        self.samples.send_replace(Arc::new(sample));
    }

    /// Returns the names of the workers that have not turned their loop in the last two seconds.
    /// Each worker has been asked for a turn since its last one, so a worker that sleeps turns.
    fn check_turns(&mut self) -> Vec<String> {
        let turns = &mut self.turns;
        let mut stuck = Vec::new();
        for worker in turns.workers() {
            match turns.check(worker) {
                0 => turns.ask(worker),
                1 => {}
                _ => stuck.push(turns.info(worker).name.clone()),
            }
        }
        stuck
    }
}

/// Returns the sample of a state, with the rates since the state before.
fn take(
    server: &dyn Operated,
    before: (Instant, &Stats),
    (at, stats): (Instant, Stats),
    stuck: Vec<String>,
    history: Arc<History>,
) -> Sample {
    let point = Point::between(before, (at, &stats));
    let moderation = server.moderation();
    let peers = moderation.map_or_else(PeerCounts::default, Moderation::count_peers);
    let is_draining = server.is_draining();
    Sample {
        at,
        event: Sample::event(&point, &stats, peers, &stuck, is_draining),
        peers,
        stuck,
        is_draining,
        point,
        history,
        stats,
    }
}

const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::server::moderation::Moderation;
    use crate::server::ops::stats::LimitInForce;
    use crate::server::ops::turns::WorkerHandle;
    use crate::server::ops::turns::tests::worker;

    /// A server whose workers turn only when they are woken.
    struct Asleep(Vec<WorkerHandle>);

    impl Operated for Asleep {
        fn stats(&self) -> Stats {
            Stats::default()
        }

        fn local_addrs(&self) -> &[SocketAddr] {
            &[]
        }

        fn turns(&self) -> Turns {
            Turns::new(self.0.clone())
        }

        fn limits(&self) -> Arc<Vec<LimitInForce>> {
            Arc::default()
        }

        fn moderation(&self) -> Option<&Moderation> {
            None
        }

        fn is_draining(&self) -> bool {
            false
        }

        fn lacks_bus(&self) -> bool {
            false
        }

        fn stop(&self) {}
    }

    #[test]
    fn a_worker_is_stuck_if_it_takes_no_turn_for_two_seconds_after_it_was_asked() {
        let is_stuck = Arc::<AtomicBool>::default();
        let workers = vec![
            worker("worker-0", &Arc::default()),
            worker("worker-1", &is_stuck),
        ];
        let (mut sampler, newest) = Sampler::new(Arc::new(Asleep(workers.clone())));
        let mut stuck = || {
            sampler.sample();
            newest.borrow().stuck.clone()
        };
        let nobody = Vec::<String>::new();
        for _ in 0..5 {
            assert_eq!(stuck(), nobody);
        }
        is_stuck.store(true, Ordering::Relaxed);
        // It had turned when it was asked last.
        assert_eq!(stuck(), nobody);
        assert_eq!(stuck(), nobody, "it has had one second");
        for _ in 0..3 {
            assert_eq!(stuck(), ["worker-1"]);
        }
        is_stuck.store(false, Ordering::Relaxed);
        workers[1].info.counters.turns.add(1);
        for _ in 0..5 {
            assert_eq!(stuck(), nobody);
        }
    }
}
