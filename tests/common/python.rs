//! Programs in Python: the stock clients and the naive servers of `tests/stock`, and
//! the examples.

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

/// Starts a program of `tests/stock`.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Script {
    python(&format!("tests/stock/{name}"), arguments)
}

/// Starts a program at `path` in this repository. What it prints is not held back.
pub(crate) fn python(path: &str, arguments: &[&str]) -> Script {
    let mut command = Command::new("python3");
    command
        .arg("-u")
        .arg(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments);
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

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        self.process.exit_status()
    }
}
