//! What the load needs of a server's clients, whatever they speak.

use std::time::{Duration, Instant};

use crate::harness::Error;

/// Clients of one server, all driven by the one thread that measures.
pub(crate) trait Clients {
    fn len(&self) -> usize;

    /// Client 0 says one text for each stamp, which all clients are to hear.
    fn say(&mut self, stamps: &[u64]) -> Result<(), Error>;

    /// A client asks the server itself for an answer.
    fn ask(&mut self, client: usize, stamp: u64) -> Result<(), Error>;

    /// A client sends [`BURST`] messages that nobody is to hear or answer. Whether they
    /// were sent: not when the connection takes no more.
    fn beat(&mut self, client: usize) -> Result<bool, Error>;

    /// Takes a part of what has come to a client.
    fn hear(&mut self, client: usize, heard: &mut Heard) -> Result<(), Error>;

    /// Waits until the server has taken all heartbeats or lost them, and returns how
    /// many it has lost, since the clients were connected.
    fn lost_beats(&mut self) -> Result<u64, Error>;

    /// Whether nothing waits at the server's socket, as far as the kernel says.
    fn is_all_taken(&mut self) -> Result<bool, Error>;

    /// Whether every message arrives in the end, and the sender is to slow down when the
    /// receivers are behind.
    fn is_reliable(&self) -> bool;

    /// Sends what waits in this process to be sent. How many bytes still do.
    fn flush(&mut self) -> Result<usize, Error>;

    /// Forgets the questions that were asked and never answered.
    fn forget_questions(&mut self);
}

/// What a client has heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// Texts and answers.
    pub(crate) count: u64,
    /// When each was due, if somebody wants to know.
    pub(crate) stamps: Vec<u64>,
    pub(crate) wants_stamps: bool,
}

impl Heard {
    /// A text, or a text with something in front of it.
    pub(crate) fn text(&mut self, payload: &[u8]) {
        self.count += 1;
        if self.wants_stamps
            && let Some(text) = payload.last_chunk::<TEXT_BYTES>()
        {
            self.stamps.extend(stamp_in(text));
        }
    }

    /// An answer to the question with this stamp, if it is known.
    pub(crate) fn answer(&mut self, stamp: Option<u64>) {
        self.count += 1;
        if self.wants_stamps {
            self.stamps.extend(stamp);
        }
    }
}

/// A text with `stamp` at its beginning. No letter in it is a word's first one in any of
/// the protocols.
pub(crate) fn text_of(stamp: u64) -> [u8; TEXT_BYTES] {
    let mut text = [b'x'; TEXT_BYTES];
    text[..STAMP_BYTES].copy_from_slice(&token_of(stamp));
    text
}

/// `stamp` in hexadecimal digits.
pub(crate) fn token_of(stamp: u64) -> [u8; STAMP_BYTES] {
    std::array::from_fn(|index| {
        let digit = stamp >> (60 - 4 * index) & 15;
        b"0123456789abcdef"[digit as usize]
    })
}

/// The stamp at the beginning of a text or a token.
pub(crate) fn stamp_in(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes.get(..STAMP_BYTES)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// Calls `attempt` until it gives something, for `PATIENCE` at most.
pub(crate) fn wait_for<T>(
    what: &str,
    mut attempt: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        crate::stop::check()?;
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            return Err(format!("{what}: not within {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Of a text: what a short line of chat has, or a position and a few values.
pub(crate) const TEXT_BYTES: usize = 48;
pub(crate) const STAMP_BYTES: usize = 16;

/// Heartbeats that a client sends in one go: enough that the load costs less than what it
/// is for, and a small part of what any server's buffer holds.
pub(crate) const BURST: u64 = 16;

/// Whoever has not done by then what takes milliseconds hangs.
const PATIENCE: Duration = Duration::from_secs(5);
