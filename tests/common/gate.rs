//! A clock that stops a worker where it reads the time, so that datagrams accumulate.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bullhorn::server::clock::Clock;

use super::{Client, wait_until};

/// A clock that stands still. Workers that read it while it is closed wait.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// Keeps a gate closed until it is dropped.
pub(crate) struct ClosedGate<'a>(&'a Gate);

#[derive(Default)]
struct State {
    is_closed: bool,
    waiting: usize,
}

impl Gate {
    pub(crate) fn clock(&self) -> Clock {
        let gate = self.clone();
        Clock::from_fn(move || {
            let thread = thread::current();
            if thread.name().is_some_and(|name| name.starts_with("worker")) {
                gate.pass();
            }
            0
        })
    }

    /// Closes the gate, and waits until the only worker of a server stops at it.
    /// `client` wakes the worker with a heartbeat.
    #[track_caller]
    pub(crate) fn close(&self, client: &Client) -> ClosedGate<'_> {
        self.state().is_closed = true;
        client.send(b"@im@");
        wait_until("the worker at the gate", || self.state().waiting == 1);
        ClosedGate(self)
    }

    fn pass(&self) {
        let mut state = self.state();
        state.waiting += 1;
        while state.is_closed {
            let woken = self.shared.1.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        self.0.state().is_closed = false;
        self.0.shared.1.notify_all();
    }
}
