//! Holds up whoever is measured while its work piles up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::server::clock::Clock;

/// Open at first. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    is_closed: Arc<AtomicBool>,
}

impl Gate {
    /// Holds whoever comes from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        self.is_closed.store(false, Ordering::Release);
    }

    /// Sleeps while the gate is closed.
    pub(crate) fn pass(&self) {
        while self.is_closed.load(Ordering::Acquire) {
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Returns a clock with the gate in it. A worker reads the time before it receives, so this
    /// holds it up there, and costs it one load otherwise.
    pub(crate) fn clock(&self) -> Clock {
        let (gate, start) = (self.clone(), Instant::now());
        Clock::from_fn(move || {
            gate.pass();
            start.elapsed().as_millis() as u64
        })
    }
}

/// Short beside the sending of a backlog, and long beside the cost of waking up.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
