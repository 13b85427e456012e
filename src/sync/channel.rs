//! A stand-in for unbounded channels of the crate `crossbeam`, whose senders never go.
//!
//! It assumes what the crate documents: messages arrive in the order of sending, and what was done
//! before a message was sent is seen after it was received. A wait with a timeout has no end, so a
//! model hangs if it needs that end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use crossbeam::channel::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use loom::sync::{Condvar, Mutex};

#[derive(Clone)]
pub(crate) struct Sender<T>(Arc<Queue<T>>);

pub(crate) struct Receiver<T>(Arc<Queue<T>>);

struct Queue<T> {
    messages: Mutex<VecDeque<T>>,
    came: Condvar,
}

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue {
        messages: Mutex::default(),
        came: Condvar::new(),
    });
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.messages.lock().unwrap().push_back(message);
        self.0.came.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut messages = self.0.messages.lock().unwrap();
        loop {
            if let Some(message) = messages.pop_front() {
                return Ok(message);
            }
            messages = self.0.came.wait(messages).unwrap();
        }
    }

    pub(crate) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
        self.recv().map_err(Into::into)
    }

    pub(crate) fn recv_deadline(&self, _: Instant) -> Result<T, RecvTimeoutError> {
        self.recv().map_err(Into::into)
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let message = self.0.messages.lock().unwrap().pop_front();
        message.ok_or(TryRecvError::Empty)
    }
}
