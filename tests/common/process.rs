//! A child process that does not outlive its test. Waiting for its end has a time limit.

use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::wait_for;

/// A child process, which is killed on drop unless it has ended.
pub(crate) struct Process {
    pub(crate) child: Child,
}

impl Process {
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        match command.spawn() {
            Ok(child) => Self { child },
            Err(error) => panic!("cannot start {:?}: {error}", command.get_program()),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id"))
    }

    /// Sends a signal. Returns after SIGSTOP when all threads have stopped.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
        if signal == Signal::SIGSTOP {
            let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED));
            assert_eq!(status, Ok(WaitStatus::Stopped(self.pid(), signal)));
        }
    }

    /// Returns the exit status if the process has ended.
    pub(crate) fn try_exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child")
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.try_exit_status())
    }

    /// Kills the process unless it has ended.
    pub(crate) fn kill(&mut self) {
        // The kernel does not reuse its id before it has been waited for.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a command that runs `program` without settings from the environment.
pub(crate) fn without_settings(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BULLHORN_") {
            command.env_remove(name);
        }
    }
    command
}
