//! All that comes from a pipe or a terminal, read by a thread, so that a test can
//! stop waiting for it.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use super::LIMIT;

pub(crate) struct Transcript {
    chunks: Receiver<Vec<u8>>,
    /// What has come so far.
    bytes: Vec<u8>,
    /// How much of it has been looked through for what was to be shown.
    seen_bytes: usize,
}

impl Transcript {
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose last user has gone gives an error, not an end.
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

    /// Waits for `text`, and returns what is before it. Each call looks behind
    /// what the last one found.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        let seen_bytes = self.seen_bytes;
        let find = |bytes: &[u8]| {
            let mut windows = bytes[seen_bytes..].windows(text.len());
            windows.position(|window| window == text.as_bytes())
        };
        self.wait_until(text, |bytes| find(bytes).is_some());
        let before = find(&self.bytes).expect("it is there");
        self.seen_bytes += before + text.len();
        String::from_utf8_lossy(&self.bytes[seen_bytes..][..before]).into_owned()
    }

    /// Waits until that is so of all that has come; `what` says what was waited
    /// for in vain.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn(&[u8]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so(&self.bytes) {
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

    /// All that came, up to the end.
    #[track_caller]
    pub(crate) fn all(mut self) -> Vec<u8> {
        loop {
            match self.chunks.recv_timeout(LIMIT) {
                Ok(chunk) => self.bytes.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => return self.bytes,
                Err(error) => panic!("it never ended: {error}"),
            }
        }
    }
}
