//! The echoes of what was said. The server sends every text to its sender, too, so an echo
//! tells that a text was delivered. No I/O, and no clock.

use std::collections::VecDeque;
use std::time::Instant;

use crate::client::event::{Answer, RequestError};
use crate::client::ticket::Responder;
use crate::wire::{MAX_TEXT_DATAGRAM, push_printable};

/// The texts whose echoes have not come, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    pending: VecDeque<Pending>,
    /// The results that the application has not received.
    pub(super) results: Vec<(Responder, Result<Answer, RequestError>)>,
}

#[derive(Debug)]
struct Pending {
    payload: Vec<u8>,
    /// The text that the server makes of the payload in version 1, if it is another one.
    printable: Option<Vec<u8>>,
    sent_at: Instant,
    responder: Responder,
}

impl Echoes {
    /// Returns true if one more text may be said.
    pub(super) fn has_space(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    pub(super) fn said(&mut self, payload: Vec<u8>, responder: Responder, now: Instant) {
        let mut printable = Vec::new();
        push_printable(&payload, usize::MAX, &mut printable);
        self.pending.push_back(Pending {
            printable: (printable != payload).then_some(printable),
            payload,
            sent_at: now,
            responder,
        });
    }

    /// Takes a message of version 2, which may also be another peer's if it `is_own` not.
    /// Returns the payloads that were said before it and whose echoes are missing, or `None`
    /// if it is no echo.
    pub(super) fn message_received(
        &mut self,
        payload: &[u8],
        is_own: bool,
    ) -> Option<Vec<Vec<u8>>> {
        self.received(|pending| pending.payload == payload, is_own)
    }

    /// Takes a text of version 1, which the server has made printable, and maybe cut.
    /// `line_bytes` is the length of its datagram.
    pub(super) fn text_received(
        &mut self,
        text: &[u8],
        line_bytes: usize,
        is_own: bool,
    ) -> Option<Vec<Vec<u8>>> {
        let is_cut = line_bytes >= MIN_CUT_BYTES;
        let is_echo = |pending: &Pending| {
            let printable = pending.printable.as_ref().unwrap_or(&pending.payload);
            printable == text || (is_cut && printable.starts_with(text))
        };
        self.received(is_echo, is_own)
    }

    /// Removes the payloads that were said before `oldest`.
    pub(super) fn expire(&mut self, oldest: Instant) -> Vec<Vec<u8>> {
        let is_expired = |pending: &Pending| pending.sent_at <= oldest;
        let expired = self.pending.partition_point(is_expired);
        self.fail(expired, &RequestError::NoAnswer)
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.sent_at)
    }

    /// Removes all payloads, and gives them this result.
    pub(super) fn fail_all(&mut self, error: &RequestError) -> Vec<Vec<u8>> {
        self.fail(self.pending.len(), error)
    }

    /// The server sends the texts of one sender in their order. So an echo stands for those
    /// before it, too.
    fn received(
        &mut self,
        is_echo: impl Fn(&Pending) -> bool,
        is_own: bool,
    ) -> Option<Vec<Vec<u8>>> {
        let mut pending = self.pending.iter();
        let at = pending.position(is_echo)?;
        let echoed = self.pending.remove(at)?;
        self.results.push((echoed.responder, Ok(Answer::Done)));
        let missing = if is_own { at } else { 0 };
        Some(self.fail(missing, &RequestError::NoAnswer))
    }

    fn fail(&mut self, count: usize, error: &RequestError) -> Vec<Vec<u8>> {
        let failed = self.pending.drain(..count).map(|pending| {
            let result = Err(error.clone());
            self.results.push((pending.responder, result));
            pending.payload
        });
        failed.collect()
    }
}

/// Maximum number of texts without an echo. More wait until echoes come, which is a bound of
/// the rate: one round trip across the world for this many texts.
const MAX_PENDING: usize = 4096;

/// Minimum length of a datagram whose text the server may have cut. It delivers fewer bytes
/// than [`MAX_TEXT_DATAGRAM`] where a character, or an escape of up to eight bytes, would be
/// cut.
pub(crate) const MIN_CUT_BYTES: usize = MAX_TEXT_DATAGRAM - 7;

#[cfg(test)]
mod tests;
