//! Which protocol is spoken, and what goes out and comes in by it. No I/O and no
//! clock.
//!
//! When the choice is left to us, the server is greeted in v2. A server that only
//! knows v1 does not understand that, and says nothing; then v1 is spoken to it.
//! Each time that a v1 server comes back, it may be another one, and is greeted
//! again. Texts wait until it is clear in which protocol to say them. A server that
//! does not know us first gets to know our name and room.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::config::{Protocol, ProtocolChoice};
use super::heard::{Frame, Heard};
use super::identity::{Identity, TRIES_V1, TRIES_V2};
use super::liveness::{DownReason, Limits, Liveness};
use super::payload::{CannotSay, Held, Payload, Say};
use super::ping::{Pings, pong};
use super::v1;
use super::v2::V2;
use crate::wire::v2::{ClientFrame, NoticeCode};
use crate::wire::{self, FRAME_MARK, Reply};

/// A client's side of the protocol that is in use.
#[derive(Debug)]
pub(crate) struct Conversation {
    choice: ProtocolChoice,
    limits: Limits,
    v2: V2,
    /// Set while v1 is spoken.
    v1: Option<Liveness>,
    pub(crate) identity: Identity,
    pings: Pings,
    /// What waits for the server's answer to the greeting.
    held: VecDeque<Held>,
    /// What has waited for it in vain.
    pub(crate) unsent: u64,
}

impl Conversation {
    pub(crate) fn new(
        choice: ProtocolChoice,
        limits: Limits,
        mut identity: Identity,
        now: Instant,
    ) -> Self {
        let speaks_v1 = choice == ProtocolChoice::V1;
        if speaks_v1 {
            identity.renew(TRIES_V1);
        }
        Self {
            choice,
            limits,
            v2: V2::new(limits, now),
            v1: speaks_v1.then(|| Liveness::new(limits, now)),
            identity,
            // Without a random one, pings of others may be taken for ours.
            pings: Pings::new(getrandom::u64().unwrap_or_default()),
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
            self.renew_if_back(was_down, now);
        } else if self.is_auto() && self.v2.is_not_understood(now) {
            self.v2.presume_up();
            self.v1 = Some(Liveness::new(self.limits, now));
            self.identity.renew(TRIES_V1);
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
        self.identity.beat();
    }

    /// Writes to `out` what says `payload`, if it can be sent now.
    pub(crate) fn say(
        &mut self,
        payload: Payload<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Say, CannotSay> {
        if let Payload::Text(text) = payload {
            // In v2 it could be said, but a session says the same in both.
            v1::encode(text).map_err(CannotSay::NotAText)?;
        }
        let payload = match payload {
            Payload::Text(text) if self.v1.is_none() => Payload::Text(v1::without_line_end(text)),
            payload => payload,
        };
        if self.v1.is_none() && !payload.fits() {
            return Err(CannotSay::TooLong);
        }
        if self.v1.is_some() || self.v2.is_open() || self.v2.has_session() {
            return self.push(payload, now, out);
        }
        if self.down().is_some() {
            return Err(CannotSay::Down);
        }
        if self.held.len() >= HELD_MAX {
            return Err(CannotSay::Full);
        }
        self.held.push_back(Held::of(payload));
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

    /// Writes to `out` the next that has waited, if it can be sent now: our name and
    /// our room, and then what was said.
    pub(crate) fn push_held(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.protocol().is_none() || self.down().is_some() {
            return false;
        }
        if let Some(command) = self.identity.take_due() {
            self.push_plain(Payload::Text(&command), out);
            return true;
        }
        while let Some(held) = self.held.pop_front() {
            if self.push(held.payload(), now, out) == Ok(Say::Send) {
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
        let is_text = self.choice != ProtocolChoice::V2 && !datagram.starts_with(&[FRAME_MARK]);
        if is_text || self.choice == ProtocolChoice::V1 {
            if let Some(live) = &mut self.v1
                && is_proof
            {
                live.received();
            }
            if let Some(text) = v1::decode(datagram) {
                self.hear_line(text, now, hear);
            }
            self.renew_if_back(was_down, now);
            return;
        }
        if self.v1.is_some() && V2::understands(datagram) {
            // It did hear a HELLO, or is another one now; to whom it has given a
            // session, it does not listen in v1.
            self.v1 = None;
            self.v2.greet(now);
        }
        let (identity, pings) = (&mut self.identity, &mut self.pings);
        let sessions = self.v2.sessions;
        self.v2.received(datagram, now, &mut |frame| match frame {
            Frame::Message(message) => {
                let (from, payload) = (message.from, message.payload);
                identity.heard(payload);
                hear(Heard::Message { from, payload });
            }
            Frame::Private(from, payload) => hear(Heard::Private { from, payload }),
            Frame::Notice(code, text) => {
                if let Some(Reply::Named(name)) = Reply::parse(code, text) {
                    identity.is_named(name);
                }
                let text = String::from_utf8_lossy(text);
                if code == NoticeCode::Refused && identity.is_refused_again(&text) {
                    return;
                }
                hear(Heard::Notice(code, text));
            }
            Frame::Room(room) => {
                identity.is_in(room);
                hear(Heard::Room(room));
            }
            Frame::Pong(token) => {
                if let Some(round_trip) = pings.token_came(token, now) {
                    hear(Heard::Pong(round_trip));
                }
            }
        });
        if self.v2.sessions != sessions {
            self.identity.renew(TRIES_V2);
        }
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
            Some(live) => {
                live.beat_at_once(now);
                self.identity.renew(TRIES_V1);
            }
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

    /// Writes to `out` what says `payload` in the protocol that is spoken.
    fn push(
        &mut self,
        payload: Payload<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Say, CannotSay> {
        match (payload, &self.v1) {
            (Payload::Text(text), _) => self.identity.says(text),
            (Payload::Bytes(_), None) => {}
            (Payload::Bytes(_), Some(_)) => return Err(CannotSay::TextOnly),
            (Payload::Ping, None) => {
                let token = self.pings.token(now);
                self.v2.push_frame(&ClientFrame::Ping(&token), out);
                return Ok(Say::Send);
            }
            (Payload::Ping, Some(_)) => {
                out.clear();
                self.pings.push_line(now, out);
                return Ok(Say::Send);
            }
        }
        self.push_plain(payload, out);
        Ok(Say::Send)
    }

    fn push_plain(&self, payload: Payload<'_>, out: &mut Vec<u8>) {
        if self.v1.is_some() {
            out.clear();
            out.extend_from_slice(payload.bytes());
        } else {
            self.v2.push_frame(&payload.frame(), out);
        }
    }

    /// A line of v1 came.
    fn hear_line<'a>(
        &mut self,
        line: Cow<'a, str>,
        now: Instant,
        hear: &mut impl FnMut(Heard<'a>),
    ) {
        self.identity.line_came(&line);
        let round_trip = self.pings.line_came(&line, now);
        // The answer to a ping of ours says nothing else.
        if round_trip.is_none() || pong(&line).is_none() {
            hear(Heard::Text(line));
        }
        if let Some(round_trip) = round_trip {
            hear(Heard::Pong(round_trip));
        }
    }

    /// A v1 server that has come back may be another one, and may know v2.
    fn renew_if_back(&mut self, was_down: bool, now: Instant) {
        if !was_down || self.v1.is_none() || self.down().is_some() {
            return;
        }
        if self.is_auto() {
            self.v1 = None;
            self.v2.greet(now);
        } else {
            self.identity.renew(TRIES_V1);
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

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
