//! A pseudo-terminal and its screen.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};

use super::Transcript;

/// The user's end of a pseudo-terminal.
pub(crate) struct Terminal {
    keyboard: File,
    output: Transcript,
}

impl Terminal {
    /// Makes a new terminal the standard input, output and error of `command`.
    pub(crate) fn attach(command: &mut Command) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let other_end = || Stdio::from(pty.slave.try_clone().unwrap());
        command.env("TERM", "xterm");
        command.stdin(other_end()).stdout(other_end());
        command.stderr(other_end());
        let keyboard = File::from(pty.master);
        let output = Transcript::new(keyboard.try_clone().unwrap());
        Self { keyboard, output }
    }

    pub(crate) fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the program writes `text`, and returns the output between the text
    /// that the previous call found and this one.
    #[track_caller]
    pub(crate) fn expect_output(&mut self, text: &str) -> String {
        self.output.expect(text)
    }

    /// Waits until these are the last lines on the screen.
    #[track_caller]
    pub(crate) fn expect_last_lines(&mut self, lines: &[&str]) {
        self.output.wait_until(&lines.join("\n"), |bytes| {
            let screen = screen(bytes);
            screen
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .ends_with(lines)
        });
    }
}

/// Returns the lines on the screen after these bytes. Follows the escape sequences that a
/// line editor uses within a row, and ignores modes and colours.
fn screen(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let mut column = 0;
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let line = lines.last_mut().unwrap();
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                assert_eq!(chars.next(), Some('['));
                let mut number = String::new();
                let command = loop {
                    match chars.next() {
                        Some(c @ ('0'..='9' | ';' | '?')) => number.push(c),
                        Some(c) => break c,
                        // The rest of the sequence has not arrived yet.
                        None => return Vec::new(),
                    }
                };
                match command {
                    'K' => line.truncate(column),
                    'C' => column += number.parse().unwrap_or(1),
                    'D' => column -= number.parse().unwrap_or(1),
                    _ => {}
                }
            }
            '\x07' => {}
            c => {
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    lines
        .into_iter()
        .map(|line| line.into_iter().collect())
        .collect()
}
