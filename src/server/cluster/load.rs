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
