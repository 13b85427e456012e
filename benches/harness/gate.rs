//! Holds up whoever is measured while its work piles up.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::server::clock::Clock;

/// Open at first. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_closed: AtomicBool,
    holds: AtomicBool,
}

impl Gate {
    /// Holds whoever comes from now on.
    pub(crate) fn close(&self) {
        self.state.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        self.state.is_closed.store(false, Ordering::Release);
    }

    pub(crate) fn holds(&self) -> bool {
        self.state.holds.load(Ordering::Acquire)
    }

    /// Sleeps while the gate is closed.
    pub(crate) fn pass(&self) {
        self.pass_by(|| thread::sleep(LOOK_INTERVAL));
    }

    fn pass_by(&self, wait: impl Fn()) {
        while self.state.is_closed.load(Ordering::Acquire) {
            self.state.holds.store(true, Ordering::Release);
            wait();
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

    /// Returns the same for a worker whose system calls are counted. It makes none itself, and
    /// stands still, so that nothing depends on the time.
    pub(crate) fn clock_without_calls(&self) -> Clock {
        let gate = self.clone();
        Clock::from_fn(move || {
            gate.pass_by(spin_loop);
            gate.state.holds.store(false, Ordering::Release);
            0
        })
    }
}

/// Short beside the sending of a backlog, and long beside the cost of waking up.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
