//! Clients of one server, and the texts that they send each other.

use std::time::{Duration, Instant};

use crate::harness::Error;

/// Clients that one thread serves. All of them receive each text.
pub(crate) trait Clients {
    /// The number of clients.
    fn len(&self) -> usize;

    /// Makes all clients known to the server. It may be repeated.
    fn register(&mut self) -> Result<(), Error>;

    /// Sends a text from the first client for each stamp.
    fn send(&mut self, stamps: &[u64]) -> Result<(), Error>;

    /// Receives a part of what has come to a client.
    fn receive(&mut self, client: usize, received: &mut Received) -> Result<(), Error>;

    /// Returns true if nothing is lost on the way. The sender then slows down when the
    /// receivers are behind.
    fn is_reliable(&self) -> bool;

    /// Sends what waits in this process.
    fn flush(&mut self) -> Result<(), Error>;
}

/// Texts that clients have received.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) count: u64,
    /// Their stamps, if they are wanted.
    pub(crate) stamps: Vec<u64>,
    pub(crate) wants_stamps: bool,
}

impl Received {
    /// Adds a text, which may have its sender before it.
    pub(crate) fn text(&mut self, payload: &[u8]) {
        self.count += 1;
        if self.wants_stamps
            && let Some(text) = payload.last_chunk::<TEXT_BYTES>()
            && let Ok(digits) = std::str::from_utf8(&text[..STAMP_BYTES])
        {
            self.stamps.extend(u64::from_str_radix(digits, 16));
        }
    }
}

/// Returns a text that begins with `stamp` in hexadecimal digits. It is no command.
pub(crate) fn text_of(stamp: u64) -> [u8; TEXT_BYTES] {
    let mut text = [b'x'; TEXT_BYTES];
    text[..STAMP_BYTES].copy_from_slice(format!("{stamp:016x}").as_bytes());
    text
}

/// Registers clients until each has received a text.
pub(crate) fn register_all(clients: &mut dyn Clients) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Received::default();
    let mut is_known = vec![false; clients.len()];
    while Instant::now() < deadline {
        clients.register()?;
        clients.send(&[0])?;
        let pause = Instant::now() + ATTEMPT;
        while Instant::now() < pause {
            clients.flush()?;
            for (client, is_known) in is_known.iter_mut().enumerate() {
                let before = received.count;
                clients.receive(client, &mut received)?;
                *is_known |= received.count > before;
            }
            if is_known.iter().all(|&is_known| is_known) {
                return Ok(());
            }
        }
    }
    Err("not every client receives texts".into())
}

/// Length of a text: a short line of chat, or a position and a few values.
pub(crate) const TEXT_BYTES: usize = 48;
const STAMP_BYTES: usize = 16;

/// Several times what the slowest server takes for a text to 1000 clients.
const ATTEMPT: Duration = Duration::from_millis(100);

/// Enough for a server to start.
const PATIENCE: Duration = Duration::from_secs(5);
