//! The operator's prompt on the standard input and output.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::server::ServerHandle;

/// Reads commands until the end of the input: `quit` stops the server,
/// anything else lists its threads.
pub fn run(server: &ServerHandle) {
    // The input of its own, as that of the standard library hides whether it
    // has read ahead.
    let Ok(input) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let mut input = BufReader::new(File::from(input));
    let mut line = Vec::new();
    let mut is_rest_of_line = false;
    print(PROMPT);
    loop {
        if input.buffer().is_empty() {
            wait_for_input(input.get_ref());
        }
        line.clear();
        match input
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) => return,
            Ok(_) if is_quit(&line) && !is_rest_of_line => {
                server.stop();
                return;
            }
            Ok(_) => {}
            Err(error) if is_passing(&error) => continue,
            Err(_) => return,
        }
        is_rest_of_line = line.last() != Some(&b'\n');
        if !is_rest_of_line {
            print(&format!("{}\n{PROMPT}", server.stats()));
        }
    }
}

/// Whether reading may go on: nothing was there on an input that does not wait.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn is_quit(line: &[u8]) -> bool {
    line.trim_ascii().eq_ignore_ascii_case(b"quit")
}

/// Prints `text` at once; when nobody reads, that is no error.
pub fn print(text: &str) {
    let mut output = io::stdout();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

/// Waits until there is something to read. The kernel stops a program that
/// reads from its terminal in the background, all of its threads: so this does
/// not return before the program is in front.
fn wait_for_input(input: &File) {
    loop {
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        // Whatever it says, to read will say it better.
        let _ = poll(&mut fds, PollTimeout::NONE);
        let is_behind = || tcgetpgrp(input).is_ok_and(|group| group != getpgrp());
        if !(input.is_terminal() && is_behind()) {
            return;
        }
        thread::sleep(FOREGROUND_INTERVAL);
    }
}

/// Far more than a person types.
const MAX_LINE_BYTES: u64 = 1024;

/// The tutorial's.
const PROMPT: &str = ">>>>: ";

/// Soon enough for a person who has just typed `fg`.
const FOREGROUND_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quit_may_have_space_around_it_and_any_case() {
        for line in [&b"quit\n"[..], b"  QUIT \r\n", b"Quit"] {
            assert!(is_quit(line), "{line:?}");
        }
        for line in [&b"\n"[..], b"quit now\n", b"q\n", b"\xff\n"] {
            assert!(!is_quit(line), "{line:?}");
        }
    }
}
