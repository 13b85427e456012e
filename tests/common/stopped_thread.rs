//! One thread of a child process that is stopped by ptrace, while the others go on.

use std::fs;
use std::marker::PhantomData;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::wait_until;

/// A stopped thread, which goes on when this is dropped.
pub(crate) struct StoppedThread {
    thread: Pid,
    /// Only the thread that traces another one may let it go on.
    tracer: PhantomData<*const ()>,
}

impl StoppedThread {
    /// Stops the thread `name` of a child of this process.
    #[track_caller]
    pub(crate) fn stop(process: Pid, name: &str) -> Self {
        let thread = thread_called(process, name);
        ptrace::seize(thread, Options::empty()).expect("it is a child");
        ptrace::interrupt(thread).expect("it is traced");
        let status = waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it is traced");
        assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{status:?}");
        Self {
            thread,
            tracer: PhantomData,
        }
    }

    pub(crate) fn id(&self) -> Pid {
        self.thread
    }

    /// Waits for the end of the process, which cannot be waited for before its traced thread.
    #[track_caller]
    pub(crate) fn expect_end(self) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        wait_until("the end of the thread", || {
            let status = waitpid(self.thread, Some(flags));
            !matches!(status, Ok(WaitStatus::StillAlive))
        });
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // Fails when the process has ended.
        let _ = ptrace::detach(self.thread, None);
    }
}

#[track_caller]
fn thread_called(process: Pid, name: &str) -> Pid {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let paths = threads.map(|thread| thread.expect("it runs").path());
    let is_called = |path: &std::path::PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let path = { paths }.find(is_called).expect("a thread of this name");
    let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
    Pid::from_raw(id.expect("the id of a thread"))
}
