//! The program `server` as a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::{Process, without_settings};
use super::{Client, LIMIT, Lines};

/// The program, with no setting but the given arguments.
pub(crate) fn server_command(arguments: &[&str]) -> Command {
    let mut command = without_settings(env!("CARGO_BIN_EXE_server"));
    command.args(arguments);
    command
}

/// A running server with pipes to all it reads and writes. Dropped, it is
/// killed, if it has not ended yet.
pub(crate) struct Program {
    process: Process,
    /// What it said on its standard error before it listened.
    pub(crate) first_lines: Vec<String>,
    pub(crate) address: SocketAddr,
    /// Its pipes: a test takes what it wants to read or to close.
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Option<ChildStdout>,
    pub(crate) errors: Option<BufReader<ChildStderr>>,
}

impl Program {
    /// Starts the server on a free port of 127.0.0.1, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = server_command(&["--bind", "127.0.0.1:0"]);
        command.args(arguments);
        Self::start_command(command)
    }

    /// Starts `command`, which must run the server.
    #[track_caller]
    pub(crate) fn start_command(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::with_errors_piped(command)
    }

    /// The same, with the standard input and output that `command` has.
    #[track_caller]
    pub(crate) fn with_errors_piped(mut command: Command) -> Self {
        let mut process = Process::spawn(command.stderr(Stdio::piped()));
        let child = &mut process.child;
        let mut program = Self {
            first_lines: Vec::new(),
            address: ([0; 4], 0).into(),
            input: child.stdin.take(),
            output: child.stdout.take(),
            errors: child.stderr.take().map(BufReader::new),
            process,
        };
        program.wait_until_it_listens();
        program
    }

    #[track_caller]
    fn wait_until_it_listens(&mut self) {
        let mut errors = self.errors.take().expect("it is piped");
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut lines = Vec::new();
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|len| len > 0) {
                lines.push(std::mem::take(&mut line));
                if lines.iter().any(|line| line.contains(LISTENING)) {
                    break;
                }
            }
            // The pipe goes back unread from here on: a test may close it.
            let _ = sender.send((lines, errors));
        });
        let (lines, errors) = receiver.recv_timeout(LIMIT).expect("it says something");
        let listening = lines.last().map_or("", String::as_str);
        let address = listening.split(LISTENING).nth(1).map(str::trim);
        self.address = match address.and_then(|text| text.parse().ok()) {
            Some(address) => address,
            None => panic!("it does not listen: {lines:#?}"),
        };
        self.first_lines = lines;
        self.errors = Some(errors);
    }

    /// What it logs from now on.
    #[track_caller]
    pub(crate) fn log(&mut self) -> Lines {
        Lines::of(self.errors.take().expect("nobody has taken it"))
    }

    /// What it prints.
    #[track_caller]
    pub(crate) fn printed(&mut self) -> Lines {
        Lines::of(self.output.take().expect("nobody has taken it"))
    }

    /// Writes a line to its console.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("nobody has taken it");
        writeln!(input, "{line}").expect("it reads its input");
    }

    pub(crate) fn client(&self) -> Client {
        Client::of(self.address)
    }

    /// Checks that it serves: a text comes back to the one who says it.
    #[track_caller]
    pub(crate) fn serves(&self, client: &Client, text: &str) {
        client.send(text.as_bytes());
        client.hears(client, text);
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        self.process.exit_status()
    }

    /// Waits until it has ended with exit code 0.
    #[track_caller]
    pub(crate) fn ends_well(&mut self) {
        let status = self.exit_status();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.process.child.try_wait() {
            // Shown when the test fails: perhaps this is why.
            println!("the server had ended: {status}");
        }
        self.process.kill();
        if let (true, Some(errors)) = (thread::panicking(), &mut self.errors) {
            let mut unread = Vec::new();
            let _ = errors.read_to_end(&mut unread);
            println!("it had said:\n{}", String::from_utf8_lossy(&unread));
        }
    }
}

const LISTENING: &str = "listening on ";
