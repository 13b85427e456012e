//! The operator's commands, from a terminal or a pipe.

mod command;
mod listing;
mod terminal;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

use self::command::Command;
use self::terminal::CLOSED;
use super::operated::Operated;

pub use self::listing::Listing;
pub use self::terminal::{Terminal, TerminalMode};

/// Reads commands until the end of the input. `quit` stops the server and ends the console.
/// A line that is no command lists the statistics.
pub fn run(server: &impl Operated, terminal: Option<Terminal>) {
    match terminal {
        Some(terminal) => terminal.run(server),
        None => read_lines(server),
    }
}

/// A line of the operator.
enum Line {
    Quit,
    /// A command, or the usage of one whose arguments are wrong.
    Command(Result<Command, String>),
    /// No command. It lists the statistics.
    Other,
}

impl Line {
    fn parse(line: &[u8]) -> Self {
        if is_quit(line) {
            return Self::Quit;
        }
        Command::parse(line).map_or(Self::Other, Self::Command)
    }

    /// Returns the answer.
    fn execute(self, server: &impl Operated) -> String {
        match self {
            Self::Command(Ok(command)) => command.execute(server),
            Self::Command(Err(usage)) => usage,
            Self::Quit | Self::Other => Listing(&server.stats()).to_string(),
        }
    }
}

/// Executes the lines of a pipe, or of a terminal that cannot edit lines. Nobody has to read the
/// output: what finds no space is dropped.
fn read_lines(server: &impl Operated) {
    // A descriptor of its own, because the standard library's input hides whether it
    // has read ahead.
    let Ok(input) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let Ok(output) = Output::start() else {
        return;
    };
    let mut input = BufReader::new(File::from(input));
    let mut line = Vec::new();
    let mut is_rest_of_line = false;
    let mut allowance = Allowance::new(Instant::now());
    // In a pipe, an empty line ends each answer.
    let prompt = match input.get_ref().is_terminal() {
        true => PROMPT,
        false => "\n",
    };
    if prompt == PROMPT {
        output.print(PROMPT.to_owned());
    }
    'lines: loop {
        if input.buffer().is_empty() {
            // A program that writes lines without end must not take a core.
            if allowance.is_used_up() {
                thread::sleep(FLOOD_INTERVAL);
            }
            wait_for_input(input.get_ref());
        }
        line.clear();
        match input
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) => {
                if prompt == PROMPT {
                    output.print(format!("{CLOSED}\n"));
                }
                return output.finish();
            }
            Ok(_) => {}
            Err(error) if is_transient(&error) => continue,
            Err(_) => return output.finish(),
        }
        let is_tail = is_rest_of_line;
        is_rest_of_line = line.last() != Some(&b'\n');
        let parsed = match is_tail {
            // The end of a long line is no command.
            true => Line::Other,
            false => Line::parse(&line),
        };
        if matches!(parsed, Line::Quit) {
            output.finish();
            return server.stop();
        }
        if is_rest_of_line {
            continue;
        }
        while !allowance.take(Instant::now()) {
            // Of listings, only the newest is of interest.
            if matches!(parsed, Line::Other) {
                continue 'lines;
            }
            // A list of bans that is sent to the console is carried out, however long it is.
            thread::sleep(FLOOD_INTERVAL);
        }
        output.print(format!("{}\n{prompt}", parsed.execute(server)));
    }
}

/// The number of answers that may still be printed in this second.
struct Allowance {
    second: Instant,
    left: u32,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            left: MAX_ANSWERS_PER_SECOND,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let is_allowed = !self.is_used_up();
        self.left = self.left.saturating_sub(1);
        is_allowed
    }

    fn is_used_up(&self) -> bool {
        self.left == 0
    }
}

/// The standard output, which a thread of its own writes to. So a reader that does not read, or a
/// terminal that is halted, does not keep the console from its input.
struct Output {
    texts: Sender<String>,
    /// Disconnected when everything has been written.
    written: Receiver<()>,
}

impl Output {
    fn start() -> io::Result<Self> {
        let (texts, printed) = bounded::<String>(MAX_QUEUED_TEXTS);
        let (writing, written) = bounded(0);
        let write = move || {
            let (_writing, mut output) = (writing, io::stdout());
            for text in printed {
                // Errors are ignored, because the reader may have gone.
                let _ = output.write_all(text.as_bytes());
                let _ = output.flush();
            }
        };
        let thread = thread::Builder::new().name("console-output".into());
        thread.spawn(write)?;
        Ok(Self { texts, written })
    }

    /// Prints `text`, unless the queue is full.
    fn print(&self, text: String) {
        let _ = self.texts.try_send(text);
    }

    /// Waits until everything has been written, for a bounded time.
    fn finish(self) {
        drop(self.texts);
        let _ = self.written.recv_timeout(FINISH_LIMIT);
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn is_quit(line: &[u8]) -> bool {
    line.trim_ascii().eq_ignore_ascii_case(b"quit")
}

/// Waits for input. The kernel stops all threads of a program that reads from its
/// terminal in the background, so this returns only while the program is in the
/// foreground.
fn wait_for_input(input: &File) {
    loop {
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        // The read that follows reports any error.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if !(input.is_terminal() && is_in_background(input)) {
            return;
        }
        thread::sleep(FOREGROUND_INTERVAL);
    }
}

/// Returns true if another program has the terminal now.
fn is_in_background(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group != getpgrp())
}

/// More than a person can read. It takes less than 1 % of a core.
const MAX_ANSWERS_PER_SECOND: u32 = 100;

/// Time between two reads when more lines come than are answered. A `quit` after thousands of lines
/// is still read within a second: one read takes up to 8 KiB.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum number of answers that wait to be written.
const MAX_QUEUED_TEXTS: usize = 16;

/// Maximum time for the last answers before the console ends. A terminal takes them at once.
const FINISH_LIMIT: Duration = Duration::from_millis(100);

/// Longer than any line that a person types.
const MAX_LINE_BYTES: u64 = 1024;

/// The tutorial's prompt.
const PROMPT: &str = ">>>>: ";

/// Short enough for a person who has just typed `fg`.
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

    #[test]
    fn a_flood_of_lines_is_answered_a_hundred_times_per_second() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for ms in [0, 999, 1_000, 1_500, 5_000] {
            let now = start + Duration::from_millis(ms);
            let allowed = (0..500).filter(|_| allowance.take(now)).count();
            let is_new_second = [0, 1_000, 5_000].contains(&ms);
            assert_eq!(allowed, if is_new_second { 100 } else { 0 }, "at {ms}");
            assert!(allowance.is_used_up());
        }
    }
}
