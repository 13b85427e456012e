//! The program `client` as a child process with pipes instead of a terminal.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use super::process::{Process, without_settings};
use super::{FakeServer, Transcript};

/// Returns a command that runs the program without any setting.
pub(crate) fn client_command() -> Command {
    without_settings(env!("CARGO_BIN_EXE_client"))
}

/// Returns a command that runs the program with protocol v1, unless an argument names
/// another one.
pub(crate) fn v1_client_command() -> Command {
    let mut command = client_command();
    command.env("BULLHORN_CLIENT_PROTOCOL", "v1");
    command
}

/// A running client.
pub(crate) struct ClientProgram {
    process: Process,
    /// `None` after [`end_input`](Self::end_input).
    input: Option<ChildStdin>,
    output: Transcript,
}

impl ClientProgram {
    /// Starts a client that uses protocol v1.
    #[track_caller]
    pub(crate) fn start(server: &FakeServer, options: &[&str]) -> Self {
        Self::start_at(&server.address().to_string(), options)
    }

    /// Starts a client that uses protocol v1 and has `server` as its argument.
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
            output: Transcript::new(process.child.stdout.take().unwrap()),
            process,
        }
    }

    #[track_caller]
    pub(crate) fn type_in(&mut self, text: &str) {
        let input = self.input.as_mut().expect("its input has not ended");
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

    /// Waits until the client prints `text`, and returns the output between the text
    /// that the previous call found and this one.
    #[track_caller]
    pub(crate) fn expect_output(&mut self, text: &str) -> String {
        self.output.expect(text)
    }

    /// Waits until the client exits by itself. Its input stays open if it still is.
    #[track_caller]
    pub(crate) fn wait_with_output(mut self) -> Output {
        let status = self.process.exit_status();
        drop(self.input);
        let mut stderr = Vec::new();
        let mut errors = self.process.child.stderr.take().unwrap();
        errors.read_to_end(&mut stderr).unwrap();
        Output {
            status,
            stdout: self.output.read_to_end(),
            stderr,
        }
    }
}

/// Runs the client with `lines` as its input, and returns its output.
#[track_caller]
pub(crate) fn run_client(server: SocketAddr, arguments: &[&str], lines: &[String]) -> Output {
    let mut command = client_command();
    run_with_input(command.arg(server.to_string()).args(arguments), lines)
}

/// Runs `command`, which must run the client, with `lines` as its input, and returns
/// its output.
#[track_caller]
pub(crate) fn run_with_input(command: &mut Command, lines: &[String]) -> Output {
    let mut client = ClientProgram::spawn(command);
    let mut input = client.input.take().unwrap();
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let typing = thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = client.wait_with_output();
    typing.join().unwrap();
    output
}

/// The output of a program as text. It must be UTF-8.
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
