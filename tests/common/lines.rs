//! The lines of a pipe. A thread reads them, so waiting for one has a time limit.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use super::TIMEOUT;

pub(crate) struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    pub(crate) fn new(pipe: impl Read + Send + 'static) -> Self {
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

    /// Returns the next line.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(line) => line,
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// Returns the next line that contains `text`, and skips those before it.
    #[track_caller]
    pub(crate) fn find(&self, text: &str) -> String {
        let mut skipped = Vec::new();
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => skipped.push(line),
                Err(error) => panic!("no line with {text:?}: {error}; lines: {skipped:#?}"),
            }
        }
    }

    /// Returns all lines up to the end of the pipe.
    #[track_caller]
    pub(crate) fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(error) => panic!("the pipe did not end: {error}; lines: {lines:#?}"),
            }
        }
    }
}
