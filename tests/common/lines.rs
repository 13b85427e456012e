//! Lines of a pipe, read by a thread, so that a test can stop waiting for one.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::LIMIT;

/// The lines that a process writes.
pub(crate) struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { lines }
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// The next line that contains `text`; those before it are skipped.
    #[track_caller]
    pub(crate) fn find(&self, text: &str) -> String {
        let mut skipped = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => skipped.push(line),
                Err(error) => panic!("no line with {text:?}: {error}; there were {skipped:#?}"),
            }
        }
    }

    /// All lines up to the end of the pipe.
    #[track_caller]
    pub(crate) fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => lines.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(error) => panic!("the pipe never ended: {error}; there were {lines:#?}"),
            }
        }
    }
}
