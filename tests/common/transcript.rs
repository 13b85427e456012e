//! The output of a pipe or a terminal. A thread reads it, so waiting for a text has a
//! time limit.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use super::TIMEOUT;

pub(crate) struct Transcript {
    chunks: Receiver<Vec<u8>>,
    /// All output so far.
    bytes: Vec<u8>,
    /// Length of the output up to the end of the last text that was found.
    seen_bytes: usize,
}

impl Transcript {
    pub(crate) fn new(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that its last process has closed returns an error, not an end.
            while let Ok(len @ 1..) = source.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            chunks,
            bytes: Vec::new(),
            seen_bytes: 0,
        }
    }

    /// Waits for `text`, and returns the output before it. Each call starts after the
    /// text that the previous one found.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let seen_bytes = self.seen_bytes;
        let find = |bytes: &[u8]| {
            let mut windows = bytes[seen_bytes..].windows(text.len());
            windows.position(|window| window == text.as_bytes())
        };
        self.wait_until(text, |bytes| find(bytes).is_some());
        let before = find(&self.bytes).expect("that was the condition");
        self.seen_bytes += before + text.len();
        String::from_utf8_lossy(&self.bytes[seen_bytes..][..before]).into_owned()
    }

    /// Waits until `condition` holds for all output so far. `what` names it in the
    /// message of a failure.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, condition: impl Fn(&[u8]) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition(&self.bytes) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.bytes.extend(chunk),
                Err(error) => {
                    let so_far = String::from_utf8_lossy(&self.bytes);
                    panic!("no {what:?} in {so_far:?}: {error}")
                }
            }
        }
    }

    /// Returns all output, up to the end.
    #[track_caller]
    pub(crate) fn read_to_end(mut self) -> Vec<u8> {
        loop {
            match self.chunks.recv_timeout(TIMEOUT) {
                Ok(chunk) => self.bytes.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => return self.bytes,
                Err(error) => panic!("the output did not end: {error}"),
            }
        }
    }
}
