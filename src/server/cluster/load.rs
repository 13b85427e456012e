//! The load of this node.

use crate::server::ops::turns::WorkerHandle;

/// The time that each worker was busy up to the last call.
#[derive(Debug, Default)]
pub(super) struct Load {
    busy_ns: Vec<u64>,
    at_us: u64,
}

impl Load {
    /// Returns the share of time since the last call in which the busiest worker was not asleep, in
    /// percent.
    pub(super) fn busy_percent(&mut self, workers: &[WorkerHandle], now_us: u64) -> u8 {
        let busy_ns: Vec<u64> = workers
            .iter()
            .map(|worker| worker.info.counters.busy_ns.get())
            .collect();
        let elapsed_us = now_us.saturating_sub(self.at_us).max(1);
        let before = self.busy_ns.iter().copied().chain(std::iter::repeat(0));
        let busiest_ns = busy_ns.iter().zip(before).map(|(now, before)| now - before);
        let percent = busiest_ns.max().unwrap_or(0) / elapsed_us / 10;
        self.busy_ns = busy_ns;
        self.at_us = now_us;
        percent.min(100) as u8
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::ops::stats::WorkerInfo;

    #[test]
    fn the_share_is_that_of_the_busiest_worker_since_the_last_call() {
        let workers = [1, 2].map(|_| WorkerHandle {
            info: WorkerInfo::new("worker"),
            wake: Arc::new(|| {}),
        });
        let mut load = Load::default();
        let busy = |worker: usize, ms: u64| {
            let counters = &workers[worker].info.counters;
            counters.busy_ns.add(ms * 1_000_000);
        };
        busy(0, 20);
        busy(1, 500);
        assert_eq!(load.busy_percent(&workers, 1_000_000), 50);
        busy(0, 100);
        assert_eq!(load.busy_percent(&workers, 2_000_000), 10);
        assert_eq!(load.busy_percent(&workers, 3_000_000), 0);
        busy(1, 1_200);
        assert_eq!(load.busy_percent(&workers, 4_000_000), 100);
    }
}
