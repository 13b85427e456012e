//! The stock clients and the naive servers of `tests/stock`.

use std::io::Write;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use super::Lines;
use super::process::Process;

/// A running Python program. Dropped, it is killed, if it has not ended yet.
pub(crate) struct Script {
    process: Process,
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
    let mut command = python(name, arguments);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let child = &mut process.child;
    Script {
        input: child.stdin.take(),
        output: Lines::of(child.stdout.take().expect("it is piped")),
        errors: Lines::of(child.stderr.take().expect("it is piped")),
        process,
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
        self.process.exit_status()
    }
}
