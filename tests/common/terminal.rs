//! A pseudo-terminal and its screen.

use std::fs::File;
use std::io::Write;
use std::num::NonZeroU16;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, Winsize, grantpt, openpty, posix_openpt, ptsname_r, unlockpt};

use super::{Process, Transcript};

/// The user's end of a pseudo-terminal.
pub(crate) struct Terminal {
    keyboard: File,
    output: Transcript,
    columns: NonZeroU16,
}

impl Terminal {
    /// Starts `command` at a new terminal.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> (Process, Self) {
        let terminal = Self::attach(command);
        (Process::spawn(command), terminal)
    }

    /// Makes a new terminal the standard input, output and error of `command`.
    pub(crate) fn attach(command: &mut Command) -> Self {
        let pty = openpty(Some(&size(COLUMNS)), None).unwrap();
        let other_end = || Stdio::from(pty.slave.try_clone().unwrap());
        command.env("TERM", "xterm");
        command.stdin(other_end()).stdout(other_end());
        command.stderr(other_end());
        let keyboard = File::from(pty.master);
        let output = Transcript::new(keyboard.try_clone().unwrap());
        Self {
            keyboard,
            output,
            columns: COLUMNS,
        }
    }

    pub(crate) fn type_in(&mut self, keys: &str) {
        self.type_bytes(keys.as_bytes());
    }

    pub(crate) fn type_bytes(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Makes the terminal as wide as this. Rows that the program wrote before are not redrawn.
    pub(crate) fn resize(&mut self, columns: NonZeroU16) {
        let mut command = Command::new("stty");
        command.args(["cols", &columns.to_string()]);
        command.stdin(self.keyboard.try_clone().unwrap());
        assert!(command.status().unwrap().success());
        self.columns = columns;
    }

    /// Waits until the program writes `text`, and returns the output between the text
    /// that the previous call found and this one.
    #[track_caller]
    pub(crate) fn expect_output(&mut self, text: &str) -> String {
        self.output.expect(text)
    }

    /// Waits until these are the last lines on the screen, of which the last one has the
    /// cursor.
    #[track_caller]
    pub(crate) fn expect_last_lines(&mut self, lines: &[&str]) {
        self.output.wait_until(&lines.join("\n"), |bytes| {
            let rows = screen(bytes, self.columns);
            let rows: Vec<_> = rows.iter().map(String::as_str).collect();
            rows.ends_with(lines)
        });
    }
}

/// Makes a new terminal the standard input and output of `command`, and returns its other end. The
/// drop of that closes the terminal, as no other process has it.
pub(crate) fn terminal_to_close(command: &mut Command) -> PtyMaster {
    let own = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let mut options = File::options();
    options.read(true).write(true);
    options.custom_flags(OFlag::O_NOCTTY.bits());
    let other = options.open(ptsname_r(&own).unwrap()).unwrap();
    command.env("TERM", "xterm");
    command.stdin(other.try_clone().unwrap()).stdout(other);
    own
}

/// Returns the rows on the screen after these bytes, down to the one with the cursor.
/// Modes and colours do not matter, nor in which steps a row was drawn.
fn screen(bytes: &[u8], columns: NonZeroU16) -> Vec<String> {
    let mut parser = vt100::Parser::new(ROWS, columns, 0);
    parser.process(bytes);
    let screen = parser.screen();
    let (row, _) = screen.cursor_position();
    let rows = screen.rows(0, columns.get());
    rows.take(usize::from(row) + 1).collect()
}

fn size(columns: NonZeroU16) -> Winsize {
    Winsize {
        ws_row: ROWS.get(),
        ws_col: columns.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).unwrap();
