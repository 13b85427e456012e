//! Holds up what is measured while its work piles up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use bullhorn::server::clock::Clock;

/// Open at first; any number of clones.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_closed: AtomicBool,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    /// Lets nobody pass while `work` runs.
    pub(crate) fn closed_while<T>(&self, work: impl FnOnce() -> T) -> T {
        self.state.is_closed.store(true, Ordering::Release);
        let result = work();
        let guard = self.state.lock.lock();
        self.state.is_closed.store(false, Ordering::Release);
        drop(guard);
        self.state.opened.notify_all();
        result
    }

    /// Sleeps while the gate is closed.
    pub(crate) fn pass(&self) {
        if self.is_closed() {
            let guard = self.state.lock.lock();
            let guard = guard.unwrap_or_else(PoisonError::into_inner);
            let wait = self.state.opened.wait_while(guard, |()| self.is_closed());
            drop(wait);
        }
    }

    /// A clock that has the gate in it: a worker reads the time before it
    /// receives, so this holds it up there, and costs it one load otherwise.
    pub(crate) fn clock(&self) -> Clock {
        let (gate, start) = (self.clone(), Instant::now());
        Clock::from_fn(move || {
            gate.pass();
            start.elapsed().as_millis() as u64
        })
    }

    fn is_closed(&self) -> bool {
        self.state.is_closed.load(Ordering::Acquire)
    }
}
