//! Python programs: the stock clients and naive servers of `tests/stock`, and the
//! examples.

use std::io::Write;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use super::Lines;
use super::process::Process;

/// A running Python program, which is killed on drop unless it has ended.
pub(crate) struct Script {
    process: Process,
    input: Option<ChildStdin>,
    pub(crate) output: Lines,
    pub(crate) errors: Lines,
}

/// Starts a program of `tests/stock`.
pub(crate) fn stock_script(name: &str, arguments: &[&str]) -> Script {
    python_script(&format!("tests/stock/{name}"), arguments)
}

/// Starts the program at `path` in this repository, with unbuffered output.
pub(crate) fn python_script(path: &str, arguments: &[&str]) -> Script {
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
        output: Lines::new(child.stdout.take().expect("it is piped")),
        errors: Lines::new(child.stderr.take().expect("it is piped")),
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

    /// Closes its standard input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        self.process.exit_status()
    }
}
