//! The console at a terminal, which here is a pseudo-terminal.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use common::{LIMIT, Program, V4, server_command, threads_sleep, wait_until};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the person at the terminal has.
struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What came to the screen, and was not looked for yet.
    unread: String,
}

impl Terminal {
    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is on the screen, and returns what is before it.
    #[track_caller]
    fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some((before, after)) = self.unread.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.unread = after;
                return before;
            }
            match self.screen.recv_timeout(LIMIT) {
                Ok(bytes) => self.unread += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("no {text:?} after {:?}: {error}", self.unread),
            }
        }
    }
}

/// Starts `command` with its input and output at a terminal.
fn at_a_terminal(mut command: Command) -> (Program, Terminal) {
    let pty = openpty(None, None).unwrap();
    command.stdin(Stdio::from(pty.slave.try_clone().unwrap()));
    command.stdout(Stdio::from(pty.slave));
    let keyboard = File::from(pty.master);
    let mut screen = keyboard.try_clone().unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // An error when the program, the last one at the terminal, has ended.
        while let Ok(len @ 1..) = screen.read(&mut bytes) {
            if sender.send(bytes[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    let terminal = Terminal {
        keyboard,
        screen: receiver,
        unread: String::new(),
    };
    (Program::with_errors_piped(command), terminal)
}

/// The server with `arguments`, started by `starter`, whose last arguments
/// the server's command becomes.
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

/// Gives the server a session, and the terminal as the session's own: as when
/// a person logs in.
const SESSION: [&str; 2] = ["setsid", "--ctty"];

#[test]
fn a_prompt_a_listing_and_quit() {
    let arguments = ["--bind", V4, "--workers", "2"];
    for command in [server_command(&arguments), started_by(&SESSION, &arguments)] {
        let (mut server, mut terminal) = at_a_terminal(command);
        assert_eq!(terminal.shows(">>>>: "), "");
        let ann = server.client();
        server.serves(&ann, "hi");

        terminal.type_in("who\n");
        let listing = terminal.shows(">>>>: ");
        for row in ["thread ", "worker-0 ", "worker-1 ", "peers: 1 now"] {
            assert!(listing.contains(row), "{listing}");
        }
        terminal.type_in("  QuIt \n");
        server.ends_well();
    }
}

#[test]
fn ctrl_d_ends_the_console_and_not_the_server() {
    let (server, mut terminal) = at_a_terminal(server_command(&["--bind", V4]));
    terminal.shows(">>>>: ");
    terminal.type_in("\x04");
    let ann = server.client();
    server.serves(&ann, "hi");
    terminal.type_in("quit\n");
    // The terminal echoes it, and nobody reads it.
    terminal.shows("quit");
    server.serves(&ann, "hi again");
}

#[test]
fn ctrl_c_stops_the_server_with_exit_code_0() {
    let (mut server, mut terminal) = at_a_terminal(started_by(&SESSION, &["--bind", V4]));
    terminal.shows(">>>>: ");
    terminal.type_in("\x03");
    server.ends_well();
}

#[test]
fn a_server_in_the_background_serves_and_is_not_stopped_by_the_terminal() {
    // With `-m`, a shell gives each job a process group of its own, and keeps
    // the terminal for itself.
    let job = "\"$@\" & echo job $! started; wait";
    let shell = [&SESSION[..], &["sh", "-m", "-c", job, "sh"]].concat();
    let command = started_by(&shell, &["--bind", V4]);
    let (mut shell, mut terminal) = at_a_terminal(command);
    terminal.shows("job ");
    let pid = terminal.shows(" started").parse().unwrap();
    let job = Job(Pid::from_raw(pid));

    // Its console has had its turn when each of its threads sleeps; a process
    // that the terminal stopped has none that sleeps.
    let ann = shell.client();
    wait_until("the sleep of all threads", || {
        shell.serves(&ann, "hi");
        threads_sleep(job.0)
    });
    shell.serves(&ann, "hi again");
    kill(job.0, Signal::SIGTERM).unwrap();
    shell.ends_well();
}

/// A process that a shell of ours started, and has not waited for.
struct Job(Pid);

impl Drop for Job {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}
