//! The echoes of what was said. The server sends every text to its sender, too, so an echo
//! tells that a text was delivered. No I/O, and no clock.

use std::time::Instant;

use super::unanswered::Unanswered;
use crate::client::ticket::Responder;
use crate::wire::{MAX_TEXT_DATAGRAM, RoomName, push_printable};

/// A text or a payload whose echo has not come.
#[derive(Debug)]
pub(super) struct Said {
    /// The number of its room, if that is not the session's own.
    pub(super) room: Option<u32>,
    pub(super) payload: Vec<u8>,
    /// Version 1 can say it.
    pub(super) is_text: bool,
    /// True if the server sends an echo. Otherwise it is delivered when it expires.
    pub(super) is_echoed: bool,
    /// The text that the server makes of it in version 1, if it is another one.
    line: Option<Vec<u8>>,
    /// The room of the session when it was said. `None` for the lobby.
    pub(super) own_room: Option<RoomName>,
    /// True if the server may have dropped it because of a limit.
    pub(super) may_be_limited: bool,
    pub(super) responder: Responder,
}

impl Said {
    pub(super) fn new(room: Option<u32>, payload: Vec<u8>, responder: Responder) -> Self {
        Self {
            room,
            payload,
            is_text: true,
            is_echoed: true,
            line: None,
            own_room: None,
            may_be_limited: false,
            responder,
        }
    }

    /// Sets the text that was sent in version 1.
    pub(super) fn set_line(&mut self, sent: &[u8]) {
        let mut line = Vec::new();
        push_printable(sent, usize::MAX, &mut line);
        self.line = (line != self.payload).then_some(line);
    }
}

impl Unanswered<Said> {
    /// Takes a text that may be an echo, and maybe cut. `room` is its room, if that is not the
    /// session's own. Returns the text that was said.
    ///
    /// The server keeps the order of the texts of one sender. So if the text `is_own`, those
    /// that were said before it are lost, or overtaken on the way. They expire at `hurry_by`.
    pub(super) fn text_received(
        &mut self,
        room: Option<u32>,
        text: &[u8],
        may_be_cut: bool,
        is_own: bool,
        hurry_by: Instant,
    ) -> Option<Said> {
        let is_same = |said: &[u8]| said == text || (may_be_cut && said.starts_with(text));
        let (at, ()) = self.find(|said| {
            // A server that escapes less than this version sends what was said.
            let is_echo = is_same(&said.payload) || said.line.as_deref().is_some_and(is_same);
            (said.room == room && is_echo).then_some(())
        })?;
        if is_own {
            self.hurry(at, hurry_by);
        }
        self.remove(at)
    }
}

/// Minimum length of a datagram whose text the server may have cut. It delivers fewer bytes
/// than [`MAX_TEXT_DATAGRAM`] where a character, or an escape of up to nine bytes, would be
/// cut.
pub(super) const MIN_CUT_BYTES: usize = MAX_TEXT_DATAGRAM - 8;

#[cfg(test)]
mod tests;
