//! Supervision of threads. All run until the stop. A thread that ends before that, for
//! any reason, stops the others.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::net::in_call;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use crate::sync::{Mutex, MutexGuard, Parker, thread};

/// Asks all threads to stop, and wakes those that sleep.
pub struct StopSignal {
    /// It publishes nothing but itself. A thread that is woken by the stop sees it, because the wake
    /// comes after it, and so does a thread that registers its waker too late to be woken, because
    /// it takes the lock after the stop (held by `models::no_thread_sleeps_through_the_stop`).
    is_stopping: AtomicBool,
    events: Sender<ThreadEvent>,
    wakers: Mutex<Vec<Wake>>,
}

/// Wakes a thread that may sleep.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Returns a function that wakes the thread that sleeps on `parker`.
pub fn wake(parker: &Parker) -> Wake {
    let unparker = parker.unparker().clone();
    Arc::new(move || unparker.unpark())
}

/// Starts threads, and waits for their end.
pub struct Supervisor {
    stop: Arc<StopSignal>,
    events: Receiver<ThreadEvent>,
    running: usize,
    check: Option<Check>,
}

/// A function that finds threads that hang.
struct Check {
    interval: Duration,
    run: Box<dyn FnMut() -> Option<ThreadDied> + Send + Sync>,
}

/// A thread ended, or hung, before the stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("thread {name} died: {reason}")]
pub struct ThreadDied {
    /// The name of the thread.
    pub name: String,
    /// The message of its panic, its error, or the time for which it hung.
    pub reason: String,
}

enum ThreadEvent {
    Stopping,
    Ended(Option<ThreadDied>),
    CompanionDied(ThreadDied),
}

impl StopSignal {
    /// Asks all threads to stop. Returns true for the first call only.
    pub fn stop(&self) -> bool {
        let is_first = !self.is_stopping.swap(true, Ordering::Relaxed);
        if is_first {
            for wake in &*self.wakers() {
                wake();
            }
            // Fails when the supervisor has been dropped.
            let _ = self.events.send(ThreadEvent::Stopping);
        }
        is_first
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Wake>> {
        lock(&self.wakers)
    }
}

impl Supervisor {
    pub fn new() -> Self {
        // Bounded, because each thread sends one event, and so does the stop.
        let (sender, events) = unbounded();
        let stop = StopSignal {
            is_stopping: AtomicBool::new(false),
            events: sender,
            wakers: Mutex::default(),
        };
        Self {
            stop: Arc::new(stop),
            events,
            running: 0,
            check: None,
        }
    }

    /// Makes [`Supervisor::wait`] call `check` at intervals until the stop. If `check` returns a
    /// thread that hangs, all threads are stopped.
    pub fn watch(
        &mut self,
        interval: Duration,
        check: impl FnMut() -> Option<ThreadDied> + Send + Sync + 'static,
    ) {
        self.check = Some(Check {
            interval,
            run: Box::new(check),
        });
    }

    /// Makes the thread that asks for the stop call `act`, which must not block.
    pub fn at_stop(&mut self, act: impl Fn() + Send + Sync + 'static) {
        self.stop.wakers().push(Arc::new(act));
    }

    pub fn stop_signal(&self) -> &Arc<StopSignal> {
        &self.stop
    }

    /// Starts a thread that must run until the stop. `wake` wakes it when it sleeps. The
    /// thread must read the signal before it sleeps.
    pub fn spawn(
        &mut self,
        name: String,
        wake: Wake,
        body: impl FnOnce(&StopSignal) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.stop.wakers().push(wake);
        let stop = Arc::clone(&self.stop);
        self.start(name, false, move || body(&stop))
    }

    /// Starts a thread that serves the others. It may run until they have ended, and the
    /// supervisor waits for it.
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
        let thread = thread::Builder::new().name(name.clone());
        let started = thread.spawn(move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) if may_end || stop.is_stopping() => None,
                Ok(Ok(())) => Some("it ended by itself".to_owned()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(panic) => Some(panic_message(&*panic)),
            };
            let died = reason.map(|reason| ThreadDied { name, reason });
            // Fails when the supervisor has been dropped.
            let _ = stop.events.send(ThreadEvent::Ended(died));
        });
        started.map_err(in_call(CLONE))?;
        self.running += 1;
        Ok(())
    }

    /// Starts a thread that may end at any time, for example one that reads input. The stop
    /// does not wait for it. If it panics, all threads are stopped.
    pub fn spawn_companion(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (stop, own_name) = (Arc::clone(&self.stop), name.to_owned());
        let thread = thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let _ = stop.events.send(ThreadEvent::CompanionDied(ThreadDied {
                    name: own_name,
                    reason: panic_message(&*panic),
                }));
            }
        });
        started.map_err(in_call(CLONE))?;
        Ok(())
    }

    /// Waits until all threads have ended, but for at most half a second after the stop, or after
    /// one was found to hang. A thread that has not ended then is abandoned, for example in a
    /// write to a full pipe.
    ///
    /// # Errors
    /// The first [`ThreadDied`]. The other threads have been stopped.
    pub fn wait(&mut self) -> Result<(), ThreadDied> {
        let mut first_death = None;
        let mut deadline = None;
        while self.running > 0 {
            let event = match (deadline, &self.check) {
                (Some(deadline), _) => self.events.recv_deadline(deadline),
                (None, Some(check)) => self.events.recv_timeout(check.interval),
                (None, None) => Ok(self.events.recv().expect("this has a sender")),
            };
            let death = match event {
                Err(RecvTimeoutError::Timeout) if deadline.is_none() => {
                    self.check.as_mut().and_then(|check| (check.run)())
                }
                Err(_) => {
                    // The next call does not wait for abandoned threads either.
                    self.running = 0;
                    break;
                }
                Ok(ThreadEvent::Stopping) => {
                    deadline = Some(Instant::now() + STOP_LIMIT);
                    // It may hold a sender of the log, whose thread ends when there is none.
                    self.check = None;
                    None
                }
                Ok(ThreadEvent::Ended(death)) => {
                    self.running -= 1;
                    death
                }
                Ok(ThreadEvent::CompanionDied(death)) => Some(death),
            };
            if let Some(death) = death {
                first_death.get_or_insert(death);
                self.stop.stop();
            }
        }
        // The threads may have ended before the word that they stop.
        self.check = None;
        first_death.map_or(Ok(()), Err)
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.stop();
        // Callers that need the result call `wait` themselves.
        let _ = self.wait();
    }
}

/// Locks `mutex`. A panic under a lock ends the process, so until then other threads may go
/// on with what the lock protects.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes panics print nothing. [`Supervisor::wait`] returns their messages and places. If
/// printing waited for a reader, the death of the thread would not be noticed. A program
/// calls this once, at its start.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|panic| {
        LAST_PANIC.set(Some(panic.to_string()));
    }));
}

thread_local! {
    /// The message and the place of this thread's last panic.
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

/// Maximum time to wait after the stop. A server stops within a second, and this leaves half
/// of it for everything else.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// The system call that starts a thread.
pub const CLONE: &str = "clone";

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel::TryRecvError;
    use crossbeam::sync::Parker;

    /// A supervisor with one thread that sleeps until the stop.
    fn with_a_sleeper() -> Supervisor {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let wake = Arc::new(move || unparker.unpark());
        let sleep = move |stop: &StopSignal| {
            while !stop.is_stopping() {
                parker.park();
            }
            Ok(())
        };
        let mut supervisor = Supervisor::new();
        supervisor.spawn("sleeper".into(), wake, sleep).unwrap();
        supervisor
    }

    /// Wakes a thread that never sleeps.
    fn no_wake() -> Wake {
        Arc::new(|| {})
    }

    fn death(name: &str, reason: &str) -> Result<(), ThreadDied> {
        Err(ThreadDied {
            name: name.into(),
            reason: reason.into(),
        })
    }

    #[test]
    fn a_stop_wakes_the_threads_and_is_no_death() {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let (sleeps, is_asleep) = unbounded();
        let (woken, is_woken) = unbounded();
        let mut supervisor = Supervisor::new();
        let wake = Arc::new(move || unparker.unpark());
        let sleep = move |stop: &StopSignal| {
            while !stop.is_stopping() {
                sleeps.send(()).unwrap();
                parker.park();
            }
            woken.send(()).unwrap();
            Ok(())
        };
        supervisor.spawn("sleeper".into(), wake, sleep).unwrap();
        is_asleep.recv().unwrap();
        supervisor.stop_signal().stop();
        assert_eq!(supervisor.wait(), Ok(()));
        is_woken.try_recv().expect("not abandoned");
    }

    #[test]
    fn a_panic_an_error_and_an_early_end_stop_all() {
        let mut supervisor = with_a_sleeper();
        supervisor
            .spawn("a".into(), no_wake(), |_| panic!("out of luck"))
            .unwrap();
        assert_eq!(supervisor.wait(), death("a", "out of luck"));

        let mut supervisor = with_a_sleeper();
        supervisor
            .spawn("b".into(), no_wake(), |_| Err(io::Error::other("no luck")))
            .unwrap();
        assert_eq!(supervisor.wait(), death("b", "no luck"));

        let mut supervisor = with_a_sleeper();
        supervisor.spawn("c".into(), no_wake(), |_| Ok(())).unwrap();
        assert_eq!(supervisor.wait(), death("c", "it ended by itself"));
    }

    #[test]
    fn the_last_thread_may_end_but_is_waited_for() {
        let mut supervisor = with_a_sleeper();
        supervisor.spawn_last("writer".into(), || Ok(())).unwrap();
        supervisor
            .spawn("a".into(), no_wake(), |_| panic!("out of luck"))
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
        let hang = move |_: &StopSignal| {
            let _ = forever.recv();
            Ok(())
        };
        supervisor.spawn("hung".into(), no_wake(), hang).unwrap();
        supervisor.stop_signal().stop();
        let (ended, end) = unbounded();
        thread::spawn(move || ended.send((supervisor.wait(), supervisor.wait())));
        // Without a bound this test would hang.
        let waits = end.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(waits, (Ok(()), Ok(())), "it is waited for only once");
    }

    #[test]
    fn a_check_is_called_until_it_finds_a_thread_that_hangs() {
        let mut supervisor = with_a_sleeper();
        let mut calls = 0;
        let (held, is_held) = unbounded::<()>();
        supervisor.watch(Duration::from_millis(1), move || {
            let _ = &held;
            calls += 1;
            (calls == 5).then(|| ThreadDied {
                name: "a".into(),
                reason: format!("{calls} calls"),
            })
        });
        assert_eq!(supervisor.wait(), death("a", "5 calls"));
        assert_eq!(
            is_held.try_recv(),
            Err(TryRecvError::Disconnected),
            "it is dropped"
        );
    }

    #[test]
    fn the_first_of_several_deaths_is_returned() {
        let mut supervisor = with_a_sleeper();
        let dies_later = |stop: &StopSignal| {
            while !stop.is_stopping() {
                thread::yield_now();
            }
            Err(io::Error::other("stopped too"))
        };
        supervisor
            .spawn("second".into(), no_wake(), dies_later)
            .unwrap();
        supervisor
            .spawn("first".into(), no_wake(), |_| panic!("out of luck"))
            .unwrap();
        assert_eq!(supervisor.wait(), death("first", "out of luck"));
    }
}
