//! Threads and their end: all run until the stop, and one that ends before,
//! however it ends, stops the others.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};

/// Tells every thread to stop, and wakes those that sleep.
pub struct StopSignal {
    stopping: AtomicBool,
    notices: Sender<Notice>,
    wakers: Vec<Wake>,
}

/// Wakes a thread that may sleep.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Starts threads, and waits for their end.
pub struct Supervisor {
    stop: Arc<StopSignal>,
    notices: Receiver<Notice>,
    /// Threads whose end has not been heard of.
    running: usize,
}

/// A thread ended that should have gone on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("thread {name} died: {reason}")]
pub struct ThreadDied {
    /// The thread's name.
    pub name: String,
    /// What it panicked with, its error, or that it just ended.
    pub reason: String,
}

enum Notice {
    Stopping,
    Ended(Option<ThreadDied>),
    /// A thread died whose end nobody waits for.
    CompanionDied(ThreadDied),
}

impl StopSignal {
    /// Asks all threads to stop. Any thread may, any number of times; true:
    /// this was the first.
    pub fn stop(&self) -> bool {
        let first = !self.stopping.swap(true, Ordering::AcqRel);
        if first {
            for wake in &self.wakers {
                wake();
            }
            // Nobody listens once the supervisor has gone.
            let _ = self.notices.send(Notice::Stopping);
        }
        first
    }

    /// Whether [`StopSignal::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl Supervisor {
    /// No threads yet; `wakers` are what wakes those to come when they sleep.
    pub fn new(wakers: Vec<Wake>) -> Self {
        // Each thread sends one notice, and the stop one.
        let (sender, notices) = unbounded();
        let stop = StopSignal {
            stopping: AtomicBool::new(false),
            notices: sender,
            wakers,
        };
        Self {
            stop: Arc::new(stop),
            notices,
            running: 0,
        }
    }

    /// The signal that stops the threads.
    pub fn stop_signal(&self) -> &Arc<StopSignal> {
        &self.stop
    }

    /// Starts a thread that must run until the stop.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.start(name, false, body)
    }

    /// Starts a thread that runs until all others that it serves have ended,
    /// however they did, and is waited for like them.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn spawn_last(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.start(name, true, body)
    }

    fn start(
        &mut self,
        name: String,
        may_end: bool,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        thread::Builder::new().name(name.clone()).spawn(move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) if may_end || stop.is_stopping() => None,
                Ok(Ok(())) => Some("it ended by itself".to_owned()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(panic) => Some(panic_message(&*panic)),
            };
            let died = reason.map(|reason| ThreadDied { name, reason });
            // Nobody listens once the supervisor has gone.
            let _ = stop.notices.send(Notice::Ended(died));
        })?;
        self.running += 1;
        Ok(())
    }

    /// Starts a thread that may end when it has no more to do, like one that
    /// reads input, and whose end nobody waits for at the stop. If it panics,
    /// that is as bad as for any other.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn spawn_companion(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (stop, own_name) = (Arc::clone(&self.stop), name.to_owned());
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                    let _ = stop.notices.send(Notice::CompanionDied(ThreadDied {
                        name: own_name,
                        reason: panic_message(&*panic),
                    }));
                }
            })?;
        Ok(())
    }

    /// Waits until all threads have ended, after a stop at most half a second:
    /// what hangs then, in a write to a log that nobody reads, is left behind.
    ///
    /// # Errors
    /// The first [`ThreadDied`]; the other threads have been stopped then.
    pub fn wait(&mut self) -> Result<(), ThreadDied> {
        let mut first_death = None;
        let mut deadline = None;
        while self.running > 0 {
            let notice = match deadline {
                None => self.notices.recv().ok(),
                Some(deadline) => self.notices.recv_deadline(deadline).ok(),
            };
            let death = match notice {
                None => {
                    // Left behind for good: nobody waits for them again.
                    self.running = 0;
                    break;
                }
                Some(Notice::Stopping) => {
                    deadline = Some(Instant::now() + STOP_LIMIT);
                    None
                }
                Some(Notice::Ended(death)) => {
                    self.running -= 1;
                    death
                }
                Some(Notice::CompanionDied(death)) => Some(death),
            };
            if let Some(death) = death {
                first_death.get_or_insert(death);
                self.stop.stop();
            }
        }
        first_death.map_or(Ok(()), Err)
    }
}

/// Makes a panic print nothing where it happens: [`Supervisor::wait`] tells of
/// it, with its place. Printing waits for whoever reads, and a thread that hangs
/// in it would never be known to have died. For a program to call, once.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|panic| {
        LAST_PANIC.set(Some(panic.to_string()));
    }));
}

thread_local! {
    /// What this thread panicked with, and where.
    static LAST_PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = LAST_PANIC.take() {
        text
    } else if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// A stop is promised within a second; this leaves half of it for the rest.
const STOP_LIMIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::sync::Parker;

    /// A supervisor with one thread that sleeps until the stop.
    fn with_a_sleeper() -> Supervisor {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut supervisor = Supervisor::new(vec![Box::new(move || unparker.unpark())]);
        let stop = Arc::clone(supervisor.stop_signal());
        let sleep = move || {
            while !stop.is_stopping() {
                parker.park();
            }
            Ok(())
        };
        supervisor.spawn("sleeper".into(), sleep).unwrap();
        supervisor
    }

    fn death(name: &str, reason: &str) -> Result<(), ThreadDied> {
        Err(ThreadDied {
            name: name.into(),
            reason: reason.into(),
        })
    }

    #[test]
    fn a_stop_wakes_the_threads_and_is_no_death() {
        let mut supervisor = with_a_sleeper();
        supervisor.stop_signal().stop();
        assert_eq!(supervisor.wait(), Ok(()));
    }

    #[test]
    fn a_panic_an_error_and_an_early_end_stop_all() {
        let mut supervisor = with_a_sleeper();
        supervisor
            .spawn("a".into(), || panic!("out of luck"))
            .unwrap();
        assert_eq!(supervisor.wait(), death("a", "out of luck"));

        let mut supervisor = with_a_sleeper();
        supervisor
            .spawn("b".into(), || Err(io::Error::other("no luck")))
            .unwrap();
        assert_eq!(supervisor.wait(), death("b", "no luck"));

        let mut supervisor = with_a_sleeper();
        supervisor.spawn("c".into(), || Ok(())).unwrap();
        assert_eq!(supervisor.wait(), death("c", "it ended by itself"));
    }

    #[test]
    fn the_last_thread_may_end_but_is_waited_for() {
        let mut supervisor = with_a_sleeper();
        supervisor.spawn_last("writer".into(), || Ok(())).unwrap();
        supervisor
            .spawn("a".into(), || panic!("out of luck"))
            .unwrap();
        assert_eq!(supervisor.wait(), death("a", "out of luck"));
    }

    #[test]
    fn a_companion_may_end_but_not_panic() {
        let mut supervisor = with_a_sleeper();
        let (ended, end) = unbounded();
        supervisor
            .spawn_companion("reader", move || ended.send(()).unwrap())
            .unwrap();
        end.recv().unwrap();
        supervisor.stop_signal().stop();
        assert_eq!(supervisor.wait(), Ok(()));

        let mut supervisor = with_a_sleeper();
        supervisor
            .spawn_companion("reader", || panic!("bad line"))
            .unwrap();
        assert_eq!(supervisor.wait(), death("reader", "bad line"));
    }

    #[test]
    fn a_thread_that_hangs_holds_up_the_stop_for_a_bounded_time() {
        let mut supervisor = with_a_sleeper();
        let (_never, forever) = unbounded::<()>();
        let hang = move || {
            let _ = forever.recv();
            Ok(())
        };
        supervisor.spawn("hung".into(), hang).unwrap();
        supervisor.stop_signal().stop();
        let (ended, end) = unbounded();
        thread::spawn(move || ended.send((supervisor.wait(), supervisor.wait())));
        // Were it not bounded, this test would hang.
        let waits = end.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(waits, (Ok(()), Ok(())), "it is waited for only once");
    }

    #[test]
    fn of_several_deaths_the_first_is_told() {
        let mut supervisor = with_a_sleeper();
        let stop = Arc::clone(supervisor.stop_signal());
        let dies_later = move || {
            while !stop.is_stopping() {
                thread::yield_now();
            }
            Err(io::Error::other("drawn along"))
        };
        supervisor.spawn("second".into(), dies_later).unwrap();
        supervisor
            .spawn("first".into(), || panic!("out of luck"))
            .unwrap();
        assert_eq!(supervisor.wait(), death("first", "out of luck"));
    }
}
