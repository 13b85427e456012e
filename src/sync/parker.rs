//! A stand-in for the `Parker` of the crate `crossbeam`.
//!
//! It assumes that an unpark before or during a park ends it, and that what was done before the unpark
//! is seen after the park: the crate compares the two to unlocking and locking. A wait with a timeout
//! ends at once, as if it had passed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::sync::{Condvar, Mutex};
use loom::thread;

pub struct Parker(Unparker);

#[derive(Clone)]
pub(crate) struct Unparker(Arc<Token>);

#[derive(Default)]
struct Token {
    is_there: Mutex<bool>,
    came: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self(Unparker(Arc::default()))
    }

    pub(crate) fn unparker(&self) -> &Unparker {
        &self.0
    }

    pub(crate) fn park(&self) {
        let Token { is_there, came } = &*self.0.0;
        let mut is_there = is_there.lock().unwrap();
        while !*is_there {
            is_there = came.wait(is_there).unwrap();
        }
        *is_there = false;
    }

    pub(crate) fn park_timeout(&self, _: Duration) {
        *self.0.0.is_there.lock().unwrap() = false;
        thread::yield_now();
    }

    pub(crate) fn park_deadline(&self, _: Instant) {
        self.park_timeout(Duration::ZERO);
    }
}

impl Unparker {
    pub(crate) fn unpark(&self) {
        *self.0.is_there.lock().unwrap() = true;
        self.0.came.notify_one();
    }
}
