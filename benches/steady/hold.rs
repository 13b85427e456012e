//! Holds the worker up while its work piles up, without a system call of the worker's.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bullhorn::server::clock::Clock;

/// The harness's gate, but for a worker whose calls are counted: it does not sleep in here.
#[derive(Clone, Default)]
pub(crate) struct Hold {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_wanted: AtomicBool,
    holds: AtomicBool,
}

impl Hold {
    /// A clock that stands still, so that nothing depends on when it is read, and that holds
    /// whoever reads it. A worker does before it receives.
    pub(crate) fn clock(&self) -> Clock {
        let state = Arc::clone(&self.state);
        Clock::from_fn(move || {
            while state.is_wanted.load(Ordering::Acquire) {
                state.holds.store(true, Ordering::Release);
                spin_loop();
            }
            state.holds.store(false, Ordering::Release);
            0
        })
    }

    /// From now on holds whoever comes.
    pub(crate) fn close(&self) {
        self.state.is_wanted.store(true, Ordering::Release);
    }

    /// Whether someone is held.
    pub(crate) fn holds(&self) -> bool {
        self.state.holds.load(Ordering::Acquire)
    }

    /// Lets go.
    pub(crate) fn open(&self) {
        self.state.is_wanted.store(false, Ordering::Release);
    }
}
