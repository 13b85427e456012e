//! The stock clients and the naive servers of `tests/stock`.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::{Lines, wait_until};

/// A running Python program. Dropped, it is killed, if it has not ended yet.
pub(crate) struct Script {
    child: Child,
    input: Option<ChildStdin>,
    pub(crate) output: Lines,
    pub(crate) errors: Lines,
}

/// A command for a program of `tests/stock`.
fn python(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(format!("{}/tests/stock/{name}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments);
    command
}

/// Starts a program of `tests/stock`.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Script {
    let mut child = python(name, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    Script {
        input: child.stdin.take(),
        output: Lines::of(child.stdout.take().expect("it is piped")),
        errors: Lines::of(child.stderr.take().expect("it is piped")),
        child,
    }
}

impl Script {
    /// Writes a line to its standard input.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("it reads its input");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of the script", || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
