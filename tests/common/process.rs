//! A child process: one that does not outlive its test, and whose end no test
//! awaits for ever.

use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait_for;

/// A child process. Dropped, it is killed, if it has not ended yet.
pub(crate) struct Process {
    /// Its pipes: who started it takes those that he uses.
    pub(crate) child: Child,
}

impl Process {
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        match command.spawn() {
            Ok(child) => Self { child },
            Err(error) => panic!("{:?} does not start: {error}", command.get_program()),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id"))
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child")
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.ended())
    }

    /// Kills it, if it has not ended yet.
    pub(crate) fn kill(&mut self) {
        // Its id is not used again before it has been waited for.
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

/// A program of ours, with no setting from the environment.
pub(crate) fn without_settings(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BULLHORN_") {
            command.env_remove(name);
        }
    }
    command
}
