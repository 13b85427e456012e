//! Counts the system calls of one thread of another process, each of them, with ptrace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::harness::Error;

/// Counts until the thread ends.
pub(crate) struct Tracer {
    calls: Arc<AtomicU64>,
}

impl Tracer {
    /// Begins to count the calls of `tracee`, a thread of a child of this process.
    pub(crate) fn start(tracee: Pid) -> Result<Self, Error> {
        let calls = Arc::new(AtomicU64::new(0));
        let (counted, (begun, has_begun)) = (Arc::clone(&calls), channel());
        // To trace is a relation between two threads, not between two processes.
        thread::spawn(move || {
            let followed = follow(tracee, &counted, &begun);
            // Whoever waits for the beginning is told why there is none.
            let _ = begun.send(followed);
        });
        has_begun
            .recv()?
            .map_err(|error| format!("cannot trace a worker with ptrace: {error}"))?;
        Ok(Self { calls })
    }

    /// How many calls the thread has entered so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
    }
}

fn follow(tracee: Pid, calls: &AtomicU64, begun: &Sender<Result<(), Errno>>) -> Result<(), Errno> {
    ptrace::seize(tracee, Options::PTRACE_O_TRACESYSGOOD)?;
    ptrace::interrupt(tracee)?;
    // It stops twice for each call: when it enters it, and when it leaves it.
    let mut is_inside = false;
    loop {
        let signal = match waitpid(tracee, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(()),
            WaitStatus::PtraceSyscall(_) => {
                is_inside = !is_inside;
                calls.fetch_add(is_inside.into(), Ordering::Release);
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            // The stop that was asked for.
            _ => {
                let _ = begun.send(Ok(()));
                None
            }
        };
        ptrace::syscall(tracee, signal)?;
    }
}
