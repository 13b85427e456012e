//! A clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use bullhorn::server::clock::Clock;

use super::wait_until;

/// The time of a server's clock.
#[derive(Clone, Default)]
pub(crate) struct Time {
    now_ms: Arc<AtomicU64>,
    /// Number of times that the reaper has read the clock.
    reaper_reads: Arc<AtomicU64>,
}

impl Time {
    pub(crate) fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || {
            let now_ms = time.now_ms.load(SeqCst);
            if thread::current().name() == Some("reaper") {
                time.reaper_reads.fetch_add(1, SeqCst);
            }
            now_ms
        })
    }

    pub(crate) fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, SeqCst);
    }

    /// Waits until the reaper has checked every peer at the current time.
    #[track_caller]
    pub(crate) fn wait_for_reaper(&self) {
        // The first read may have returned the time before the last `set`. The second
        // returns the current time. The third shows that the check after it is over.
        let enough = self.reaper_reads.load(SeqCst) + 3;
        wait_until("the reaper to read the clock three times", || {
            self.reaper_reads.load(SeqCst) >= enough
        });
    }
}
