//! Holds a worker up where it reads the time, so that datagrams gather.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bullhorn::server::clock::Clock;

use super::{Client, wait_until};

/// A clock that stands still, and at which workers wait while it is closed.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// A closed gate, which opens when this is dropped.
pub(crate) struct Closed<'a>(&'a Gate);

#[derive(Default)]
struct State {
    is_closed: bool,
    waiting: usize,
}

impl Gate {
    pub(crate) fn clock(&self) -> Clock {
        let gate = self.clone();
        Clock::from_fn(move || {
            let here = thread::current();
            if here.name().is_some_and(|name| name.starts_with("worker")) {
                gate.pass();
            }
            0
        })
    }

    /// Closes it, and returns when the one worker of a server waits there;
    /// `caller` wakes it with a heartbeat.
    #[track_caller]
    pub(crate) fn close(&self, caller: &Client) -> Closed<'_> {
        self.state().is_closed = true;
        caller.send(b"@im@");
        wait_until("the worker at the gate", || self.state().waiting == 1);
        Closed(self)
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

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.state().is_closed = false;
        self.0.shared.1.notify_all();
    }
}
