//! The announcement that the thread of a session sleeps.

use crate::sync::atomic::{AtomicBool, Ordering};

/// True if the thread sleeps, or is about to, and must be woken for a message.
///
/// The thread announces its sleep, and then looks for messages once more. A sender sends its message,
/// and then takes the announcement. Both are swaps, so one of them comes first. If it is the thread's,
/// the sender finds the announcement. If it is the sender's, the thread acquires it with the message.
/// A store in between would break the chain from one swap to the next (held by
/// `models::a_message_wakes_the_thread_or_is_found`).
#[derive(Debug, Default)]
pub(super) struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// Announces that the thread is going to sleep. It must look for messages once more.
    pub(super) fn announce(&self) {
        self.0.swap(true, Ordering::Acquire);
    }

    /// Takes the announcement back, before the thread looks for messages.
    pub(super) fn wake_up(&self) {
        self.0.swap(false, Ordering::Relaxed);
    }

    /// Takes the announcement after a message was sent. Returns true if there was one, and the
    /// caller must wake the thread.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Release)
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models {
    use std::sync::Arc;

    use loom::model::Builder;
    use loom::sync::Notify;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// The queue is a counter. Nothing orders it but the announcement.
    #[test]
    fn a_message_wakes_the_thread_or_is_found() {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let flag = Arc::new(SleepFlag::default());
            let queue = Arc::new(AtomicUsize::new(0));
            let waker = Arc::new(Notify::new());
            for _ in 0..2 {
                let (flag, queue, waker) =
                    (Arc::clone(&flag), Arc::clone(&queue), Arc::clone(&waker));
                thread::spawn(move || {
                    queue.fetch_add(1, Ordering::Relaxed);
                    if flag.take() {
                        waker.notify();
                    }
                });
            }
            let has_all = || queue.load(Ordering::Relaxed) == 2;
            while !has_all() {
                flag.announce();
                if !has_all() {
                    // A model in which nobody wakes it is a deadlock.
                    waker.wait();
                }
                flag.wake_up();
            }
        });
    }
}
