//! The program `server` as a child process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::{Process, without_settings};
use super::{Client, Lines, TIMEOUT, has_sandbox};

/// Returns a command that runs the program with no settings other than `arguments`. Where the kernel
/// has a sandbox, it is strict unless they say otherwise, so that a refused system call ends the
/// server and fails the test.
pub(crate) fn server_command(arguments: &[&str]) -> Command {
    let mut command = without_settings(env!("CARGO_BIN_EXE_server"));
    if has_sandbox() {
        command.env("BULLHORN_SANDBOX", "strict");
    }
    command.args(arguments);
    command
}

/// A running server, which is killed on drop unless it has ended.
pub(crate) struct ServerProgram {
    process: Process,
    /// The lines on its standard error up to the one with its address.
    pub(crate) startup_lines: Vec<String>,
    pub(crate) address: SocketAddr,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Option<ChildStdout>,
    pub(crate) errors: Option<BufReader<ChildStderr>>,
}

impl ServerProgram {
    /// Starts the server on a free port of 127.0.0.1, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = server_command(&["--bind", "127.0.0.1:0"]);
        command.args(arguments);
        Self::start_command(command)
    }

    /// Starts `command`, which must run the server, with pipes.
    #[track_caller]
    pub(crate) fn start_command(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::with_errors_piped(command)
    }

    /// Starts `command`, which must run the server, with a pipe for its standard error. Its
    /// standard input and output are those of `command`.
    #[track_caller]
    pub(crate) fn with_errors_piped(mut command: Command) -> Self {
        let mut process = Process::spawn(command.stderr(Stdio::piped()));
        let child = &mut process.child;
        let mut program = Self {
            startup_lines: Vec::new(),
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
            // The rest of the pipe stays unread, as a test may close it.
            let _ = sender.send((lines, errors));
        });
        let received = receiver.recv_timeout(TIMEOUT);
        let (lines, errors) = received.expect("it logs its address");
        let listening = lines.last().map_or("", String::as_str);
        let address = listening.split(LISTENING).nth(1).map(str::trim);
        self.address = match address.and_then(|text| text.parse().ok()) {
            Some(address) => address,
            None => panic!("it does not listen: {lines:#?}"),
        };
        self.startup_lines = lines;
        self.errors = Some(errors);
    }

    /// Returns the lines that it logs from now on.
    #[track_caller]
    pub(crate) fn log(&mut self) -> Lines {
        Lines::new(self.errors.take().expect("its log is not read yet"))
    }

    /// Returns the lines that it prints.
    #[track_caller]
    pub(crate) fn printed(&mut self) -> Lines {
        Lines::new(self.output.take().expect("its output is not read yet"))
    }

    /// Writes a line to its console.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").expect("it reads its input");
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Registers a client, which receives all texts from then on: the worker that answers it
    /// has read its heartbeat.
    #[track_caller]
    pub(crate) fn registered_client(&self) -> Client {
        let client = self.client();
        client.send(b"@im@");
        client.send(b"/ping here");
        assert_eq!(client.receive_text(), "* pong here");
        client
    }

    /// Sends a text from `client`, which must receive it back.
    #[track_caller]
    pub(crate) fn expect_echo(&self, client: &Client, text: &str) {
        client.send(text.as_bytes());
        client.expect_text_from(client, text);
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        self.process.exit_status()
    }

    /// Waits for the end of the program. Its exit code must be 0.
    #[track_caller]
    pub(crate) fn expect_success(&mut self) {
        let status = self.exit_status();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_exit_status().is_none()
    }
}

impl Drop for ServerProgram {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.process.child.try_wait() {
            // Shown when the test fails. This may be the reason.
            println!("the server had ended: {status}");
        }
        self.process.kill();
        if let (true, Some(errors)) = (thread::panicking(), &mut self.errors) {
            let mut unread = Vec::new();
            let _ = errors.read_to_end(&mut unread);
            println!("its log:\n{}", String::from_utf8_lossy(&unread));
        }
    }
}

const LISTENING: &str = "listening on ";
