//! The operator's prompt on the standard input and output.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::thread;
use std::time::Duration;

use nix::unistd::{getpgrp, tcgetpgrp};

use crate::server::ServerHandle;

/// Reads commands until the end of the input: `quit` stops the server,
/// anything else lists its threads.
pub fn run(server: &ServerHandle) {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        wait_for_foreground();
        print(PROMPT);
        line.clear();
        // What is longer is as good as several lines: none of them is `quit`.
        let mut bounded = input.by_ref().take(MAX_LINE_BYTES);
        match bounded.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) if is_quit(&line) => {
                server.stop();
                return;
            }
            Ok(_) => print(&format!("{}\n", server.stats())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
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

/// A program in the background that reads from its terminal is stopped by the
/// kernel, all of its threads: so the console waits until it is in front.
fn wait_for_foreground() {
    let input = io::stdin();
    while input.is_terminal() && tcgetpgrp(&input).is_ok_and(|group| group != getpgrp()) {
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
