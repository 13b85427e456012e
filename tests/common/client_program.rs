//! The program `client` as a process of its own, with pipes in place of a terminal.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use super::process::{Process, without_settings};
use super::{FakeServer, Transcript};

/// The program, with no setting.
pub(crate) fn client_command() -> Command {
    without_settings(env!("CARGO_BIN_EXE_client"))
}

/// The program, which speaks v1 unless an argument says otherwise.
pub(crate) fn v1_client_command() -> Command {
    let mut command = client_command();
    command.env("BULLHORN_CLIENT_PROTOCOL", "v1");
    command
}

/// A running client.
pub(crate) struct ClientProgram {
    process: Process,
    /// None once it has ended.
    input: Option<ChildStdin>,
    output: Transcript,
}

impl ClientProgram {
    /// Starts a client of v1.
    #[track_caller]
    pub(crate) fn start(server: &FakeServer, options: &[&str]) -> Self {
        Self::start_at(&server.address().to_string(), options)
    }

    /// The same, for a server written as in its arguments.
    #[track_caller]
    pub(crate) fn start_at(server: &str, options: &[&str]) -> Self {
        Self::spawn(v1_client_command().args(options).arg(server))
    }

    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(command);
        Self {
            input: process.child.stdin.take(),
            output: Transcript::of(process.child.stdout.take().unwrap()),
            process,
        }
    }

    #[track_caller]
    pub(crate) fn type_in(&mut self, text: &str) {
        let input = self.input.as_mut().expect("it has not ended");
        input
            .write_all(text.as_bytes())
            .expect("it reads its input");
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until it has printed this, after what the last call waited for, and
    /// returns what is between.
    #[track_caller]
    pub(crate) fn prints(&mut self, text: &str) -> String {
        self.output.shows(text)
    }

    /// Waits until it ends by itself, its input as it is.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let status = self.process.exit_status();
        drop(self.input);
        let mut stderr = Vec::new();
        let mut errors = self.process.child.stderr.take().unwrap();
        errors.read_to_end(&mut stderr).unwrap();
        Output {
            status,
            stdout: self.output.all(),
            stderr,
        }
    }
}

/// What the program prints when these lines are piped into it at once.
#[track_caller]
pub(crate) fn chat(server: SocketAddr, arguments: &[&str], lines: &[String]) -> Output {
    let mut command = client_command();
    pipe(command.arg(server.to_string()).args(arguments), lines)
}

/// The same of any command that runs the client.
#[track_caller]
pub(crate) fn pipe(command: &mut Command, lines: &[String]) -> Output {
    let mut client = ClientProgram::spawn(command);
    let mut input = client.input.take().unwrap();
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let typing = thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = client.finish();
    typing.join().unwrap();
    output
}

/// What a program has written, which must be UTF-8.
pub(crate) trait OutputText {
    fn text(&self) -> String;
    fn errors(&self) -> String;
}

impl OutputText for Output {
    fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    fn errors(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }
}
