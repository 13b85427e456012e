//! Which protocol is spoken, and what goes out and comes in by it. No I/O and no
//! clock.
//!
//! When the choice is left to us, the server is greeted in v2. A server that only
//! knows v1 does not understand that, and says nothing; then v1 is spoken to it.
//! Each time that a v1 server comes back, it may be another one, and is greeted
//! again. Texts wait until it is clear in which protocol to say them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::config::{Protocol, ProtocolChoice};
use super::liveness::{DownReason, Limits, Liveness};
use super::v1::{self, NotAText};
use super::v2::{Frame, Payload, V2};
use crate::wire;

/// A client's side of the protocol that is in use.
#[derive(Debug)]
pub(crate) struct Conversation {
    choice: ProtocolChoice,
    limits: Limits,
    v2: V2,
    /// Set while v1 is spoken.
    v1: Option<Liveness>,
    /// What waits for the server's answer to the greeting.
    held: VecDeque<Held>,
    /// What has waited for it in vain.
    pub(crate) unsent: u64,
}

#[derive(Debug)]
enum Held {
    Text(String),
    Bytes(Vec<u8>),
}

/// What came from the server for the application.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// A line of v1.
    Text(Cow<'a, str>),
    Message {
        from: wire::Speaker,
        payload: &'a [u8],
    },
    Notice(Cow<'a, str>),
}

/// What is to be done with what was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// Send the datagram that was written.
    Send,
    /// Nothing: it is kept until it can be sent.
    Held,
}

/// Why something cannot be said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CannotSay {
    NotAText(NotAText),
    TooLong,
    /// In v1, only texts can be said.
    TextOnly,
    /// Too much waits already.
    Full,
    /// There is no session in which it could be said.
    Down,
}

impl Conversation {
    pub(crate) fn new(choice: ProtocolChoice, limits: Limits, now: Instant) -> Self {
        let speaks_v1 = choice == ProtocolChoice::V1;
        Self {
            choice,
            limits,
            v2: V2::new(limits, now),
            v1: speaks_v1.then(|| Liveness::new(limits, now)),
            held: VecDeque::new(),
            unsent: 0,
        }
    }

    /// Why the server counts as gone, if it does.
    pub(crate) fn down(&self) -> Option<&DownReason> {
        match &self.v1 {
            Some(live) => live.down(),
            None => self.v2.down(),
        }
    }

    /// What is spoken, if that is clear.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match &self.v1 {
            Some(_) => Some(Protocol::V1),
            None if self.v2.is_open() => Some(Protocol::V2),
            None => None,
        }
    }

    /// What was counted in v2.
    pub(crate) fn v2(&self) -> &V2 {
        &self.v2
    }

    /// When something is due next.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.v1 {
            Some(live) => live.deadline(),
            None => self.v2.deadline(),
        }
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        match &self.v1 {
            Some(live) => live.is_heartbeat_due(now),
            None => self.v2.is_due(now),
        }
    }

    /// Draws the conclusions from the time that has passed.
    pub(crate) fn advance(&mut self, now: Instant) {
        let was_down = self.down().is_some();
        if let Some(live) = &mut self.v1 {
            live.advance(now);
            self.greet_if_back(was_down, now);
        } else if self.is_auto() && self.v2.is_not_understood(now) {
            self.v2.presume_up();
            self.v1 = Some(Liveness::new(self.limits, now));
        } else {
            self.v2.advance(now);
        }
        self.drop_held_if_down();
    }

    /// Writes to `out` what is due, and takes it for sent.
    pub(crate) fn push_due(&mut self, now: Instant, out: &mut Vec<u8>) {
        match &mut self.v1 {
            Some(live) => {
                out.clear();
                out.extend_from_slice(wire::HEARTBEAT);
                live.heartbeat_sent(now);
            }
            None => self.v2.push_due(now, out),
        }
    }

    /// Writes to `out` what says `payload`, if it can be sent now.
    pub(crate) fn say(
        &mut self,
        payload: Payload<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Say, CannotSay> {
        if let Payload::Text(text) = payload {
            // In v2 it could be said, but a session says the same in both.
            v1::encode(text).map_err(CannotSay::NotAText)?;
        }
        if self.v1.is_some() {
            let Payload::Text(text) = payload else {
                return Err(CannotSay::TextOnly);
            };
            out.clear();
            out.extend_from_slice(text.as_bytes());
            return Ok(Say::Send);
        }
        let payload = match payload {
            Payload::Text(text) => Payload::Text(v1::without_line_end(text)),
            bytes => bytes,
        };
        if !payload.fits() {
            return Err(CannotSay::TooLong);
        }
        if self.v2.is_open() || self.v2.has_session() {
            self.v2.push_say(payload, out);
            return Ok(Say::Send);
        }
        if self.down().is_some() {
            return Err(CannotSay::Down);
        }
        if self.held.len() >= HELD_MAX {
            return Err(CannotSay::Full);
        }
        self.held.push_back(match payload {
            Payload::Text(text) => Held::Text(text.to_owned()),
            Payload::Bytes(bytes) => Held::Bytes(bytes.to_vec()),
        });
        Ok(Say::Held)
    }

    /// What [`Self::say`] wrote was sent. True if that made a new deadline.
    pub(crate) fn said(&mut self, now: Instant) -> bool {
        match &mut self.v1 {
            Some(live) => live.said(now),
            None => self.v2.said(now),
        }
    }

    /// Something waits until the server has answered.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes to `out` the next that has waited, if it can be sent now.
    pub(crate) fn push_held(&mut self, out: &mut Vec<u8>) -> bool {
        if self.protocol().is_none() {
            return false;
        }
        while let Some(held) = self.held.pop_front() {
            let said = match &held {
                Held::Text(text) => self.say(Payload::Text(text), out),
                Held::Bytes(bytes) => self.say(Payload::Bytes(bytes), out),
            };
            if said == Ok(Say::Send) {
                return true;
            }
            // It has come to v1, in which not everything can be said.
            self.unsent += 1;
        }
        false
    }

    /// Writes to `out` that we leave. False: there is nothing to leave.
    pub(crate) fn push_farewell(&self, out: &mut Vec<u8>) -> bool {
        if self.v1.is_none() {
            return self.v2.push_bye(out);
        }
        out.clear();
        out.extend_from_slice(wire::QUIT);
        true
    }

    /// A datagram came. `is_proof`: it proves that the server is there.
    pub(crate) fn received(
        &mut self,
        datagram: &[u8],
        is_proof: bool,
        now: Instant,
        hear: &mut impl FnMut(Heard<'_>),
    ) {
        let was_down = self.down().is_some();
        let is_text = self.choice != ProtocolChoice::V2 && !datagram.starts_with(&[FRAMES]);
        if is_text || self.choice == ProtocolChoice::V1 {
            if let Some(live) = &mut self.v1
                && is_proof
            {
                live.received();
            }
            if let Some(text) = v1::decode(datagram) {
                hear(Heard::Text(text));
            }
            self.greet_if_back(was_down, now);
            return;
        }
        if self.v1.is_some() && V2::understands(datagram) {
            // It did hear a HELLO, or is another one now; to whom it has given a
            // session, it does not listen in v1.
            self.v1 = None;
            self.v2.greet(now);
        }
        self.v2.received(datagram, now, &mut |frame| match frame {
            Frame::Message(message) => hear(Heard::Message {
                from: message.from,
                payload: message.payload,
            }),
            Frame::Notice(text) => hear(Heard::Notice(String::from_utf8_lossy(text))),
        });
        self.drop_held_if_down();
    }

    /// The network refused something that was sent.
    pub(crate) fn refused(&mut self, kind: io::ErrorKind, now: Instant) {
        match &mut self.v1 {
            Some(live) => live.refused(kind, now),
            None => self.v2.refused(kind, now),
        }
        self.drop_held_if_down();
    }

    /// What is sent goes another way now, so the server must hear from us.
    pub(crate) fn rerouted(&mut self, now: Instant) {
        match &mut self.v1 {
            Some(live) => live.beat_at_once(now),
            None => self.v2.greet(now),
        }
    }

    /// A try may go another way than the one before. It may not as long as that
    /// one seems to have met someone.
    pub(crate) fn may_reroute(&self) -> bool {
        self.v1.is_some() || !self.v2.is_hopeful()
    }

    fn is_auto(&self) -> bool {
        self.choice == ProtocolChoice::Auto
    }

    fn greet_if_back(&mut self, was_down: bool, now: Instant) {
        if was_down && self.is_auto() && self.v1.is_some() && self.down().is_none() {
            self.v1 = None;
            self.v2.greet(now);
        }
    }

    /// Who knows when the server is back, and whether they still make sense then.
    fn drop_held_if_down(&mut self) {
        if self.down().is_some() {
            self.unsent += self.held.len() as u64;
            self.held.clear();
        }
    }
}

/// What may wait while the server is greeted, which takes a second at most. More
/// is refused, and a speaker waits with it.
pub(crate) const HELD_MAX: usize = 64;

/// How every datagram of v2 begins, and no text.
const FRAMES: u8 = 0xFF;

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
