//! The console of the program `server` at a pseudo-terminal.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::Command;
use std::thread;

use common::{ServerProgram, Terminal, V4, all_threads_sleep, server_command, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn the_console_prompts_lists_and_quits() {
    let arguments = ["--bind", V4, "--workers", "2"];
    for command in [server_command(&arguments), started_by(&SESSION, &arguments)] {
        let (mut server, mut terminal) = at_a_terminal(command);
        assert_eq!(terminal.expect_output(">>>>: "), "");
        let ann = server.client();
        server.expect_echo(&ann, "hi");

        terminal.type_in("who\n");
        let listing = terminal.expect_output(">>>>: ");
        for row in ["thread ", "worker-0 ", "worker-1 ", "peers: 1 now"] {
            assert!(listing.contains(row), "{listing}");
        }
        terminal.type_in("  QuIt \n");
        server.expect_success();
    }
}

#[test]
fn ctrl_d_ends_the_console_but_not_the_server() {
    let (server, mut terminal) = at_a_terminal(server_command(&["--bind", V4]));
    terminal.expect_output(">>>>: ");
    terminal.type_in("\x04");
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    terminal.type_in("quit\n");
    // The terminal echoes the line, but nothing reads it.
    terminal.expect_output("quit");
    server.expect_echo(&ann, "hi again");
}

#[test]
fn ctrl_c_stops_the_server_with_exit_code_0() {
    let (mut server, mut terminal) = at_a_terminal(started_by(&SESSION, &["--bind", V4]));
    terminal.expect_output(">>>>: ");
    terminal.type_in("\x03");
    server.expect_success();
}

#[test]
fn the_terminal_does_not_stop_a_server_in_the_background() {
    // With `-m`, a shell puts each job into its own process group, and keeps the
    // terminal.
    let job = "\"$@\" & echo job $! started; wait";
    let shell = [&SESSION[..], &["sh", "-m", "-c", job, "sh"]].concat();
    let command = started_by(&shell, &["--bind", V4]);
    let (mut shell, mut terminal) = at_a_terminal(command);
    terminal.expect_output("job ");
    let pid = terminal.expect_output(" started").parse().unwrap();
    let job = Job(Pid::from_raw(pid));

    // The console has run once all threads of the server sleep. The threads of a process
    // that the terminal has stopped do not sleep.
    let ann = shell.client();
    wait_until("the sleep of all threads", || {
        shell.expect_echo(&ann, "hi");
        all_threads_sleep(job.0)
    });
    shell.expect_echo(&ann, "hi again");
    kill(job.0, Signal::SIGTERM).unwrap();
    shell.expect_success();
}

/// Starts `command`, which must run the server, with its input and output at a
/// terminal.
#[track_caller]
fn at_a_terminal(mut command: Command) -> (ServerProgram, Terminal) {
    let terminal = Terminal::attach(&mut command);
    (ServerProgram::with_errors_piped(command), terminal)
}

/// Returns `starter` with the command of the server as its last arguments.
fn started_by(starter: &[&str], arguments: &[&str]) -> Command {
    let server = server_command(arguments);
    let mut command = Command::new(starter[0]);
    command.args(&starter[1..]);
    command.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A job of a shell, which is killed if the test fails.
struct Job(Pid);

impl Drop for Job {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// Starts the server in a new session with the terminal as its controlling terminal, as
/// a login does.
const SESSION: [&str; 2] = ["setsid", "--ctty"];
