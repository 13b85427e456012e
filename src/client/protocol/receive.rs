//! Texts and sentences of the server, in both versions.

use std::time::{Duration, Instant};

use super::Protocol;
use super::echoes::Said;
use super::frames::reason_of;
use super::identity::{ATTEMPTS_V1, Confirmation, Origin};
use super::liveness::Mode;
use super::requests::{Answered, Asked, Request};
use crate::client::event::{Answer, Event, Message, Refusal, RequestError};
use crate::client::protocol::Output;
use crate::wire::DisplayName;
use crate::wire::reply::{NoticeCode, Reply};

impl Protocol {
    /// Takes a text to a room. `room` is its number, if it is not the session's own.
    pub(super) fn handle_text(&mut self, room: Option<u32>, message: Message, now: Instant) {
        let Message {
            room: _,
            from,
            payload,
            may_be_cut,
        } = &message;
        let is_v1 = self.liveness.mode() == Mode::V1;
        let origin = self.identity.origin(*from);
        let is_own = origin == Origin::Own;
        // A text that this one has overtaken may still come.
        let hurry_by = now + self.config.answer_timeout / OVERTAKEN_PART;
        let echo = match origin {
            Origin::Other => None,
            _ => self
                .texts
                .text_received(room, payload, *may_be_cut, is_own, hurry_by),
        };
        let may_be_command = echo.is_none() && (is_own || (is_v1 && origin == Origin::Unclear));
        let answered = match may_be_command {
            true => self.command_received(payload, now),
            false => None,
        };
        if is_v1 && echo.is_some() {
            self.check_identity(*from, now);
        }
        // A server of version 1 sends them all the same.
        if self.config.receive && (self.config.echo || !is_own) {
            self.push_event(Event::Message(message));
        }
        // The results follow the event that led to them.
        if let Some(said) = echo {
            let delivered = Output::Result(said.responder, Ok(Answer::Done));
            self.outputs.push_back(delivered);
        } else if let Some((responder, result)) = answered {
            self.answer(responder, result);
        }
    }

    /// Takes a text of this session that it did not say. It may be a command that a server
    /// without commands told to everyone.
    fn command_received(&mut self, text: &[u8], now: Instant) -> Option<Answered> {
        self.identity.text_received(text);
        let answered = self.requests.text_received(text, now);
        if let Some((None, _)) = answered {
            // It has taken the place of one that knew them.
            self.liveness.set_can_probe_v1(false);
        }
        answered
    }

    /// A text of this session came back from this sender.
    fn check_identity(&mut self, from: DisplayName, now: Instant) {
        match self.identity.name() {
            Some(name) if from != DisplayName::Name(name) => {
                self.identity.renew(ATTEMPTS_V1);
                self.push_event(Event::Forgotten);
            }
            Some(_) => self.identity_checked_at = now,
            // It does not tell in which room it is.
            None => {}
        }
    }

    /// Takes a sentence. It has a code in version 2 only.
    pub(super) fn handle_notice(
        &mut self,
        code: Option<NoticeCode>,
        sentence: &[u8],
        now: Instant,
    ) {
        let is_line = code.is_none();
        let reply = match code {
            Some(code) => Reply::parse(code, sentence),
            None => Reply::parse_uncoded(sentence),
        };
        if let Some(reason) = reply.as_ref().and_then(reason_of) {
            return self.liveness.turned_away(reason, now);
        }
        let answered = reply
            .as_ref()
            .and_then(|reply| self.requests.replied(reply, now));
        match &reply {
            Some(Reply::NameTaken(name)) if !is_line => self.identity.name_taken(*name),
            Some(Reply::Removed) => self.servers.removed(),
            Some(Reply::NotInRoom(number)) => self.not_in_room(*number, now),
            Some(Reply::RoomFull(room, _) | Reply::RoomLimit(room, _)) => {
                self.subscriptions.refused(room);
            }
            _ => {}
        }
        if let Some((
            Asked {
                request: Request::Subscribe(name),
                ..
            },
            Err(_),
        )) = &answered
        {
            self.subscriptions.refused(name);
        }
        let confirmation = match &reply {
            Some(reply) => self.identity.replied(reply, answered.is_some()),
            None => Confirmation::Unrequested,
        };
        let is_answer = answered.is_some();
        let is_entry = matches!(reply, Some(Reply::Entered { .. }));
        if is_line && (is_answer || is_entry || confirmation != Confirmation::Unrequested) {
            self.liveness.set_can_probe_v1(true);
            self.proof_taken();
        }
        if let Some(Reply::Entered { room, .. }) = reply
            && is_line
            && confirmation == Confirmation::Changed
        {
            self.push_event(Event::Room(room));
        }
        let code = code.unwrap_or(reply.as_ref().map_or(NoticeCode::Done, Reply::code));
        let text = String::from_utf8_lossy(sentence).into_owned();
        let is_hidden = match &reply {
            Some(Reply::Pong(_)) => is_answer,
            Some(Reply::OverBudget { .. }) => false,
            _ if is_answer => false,
            Some(Reply::NameLost(..)) => false,
            Some(reply) if self.identity.reclaim_refused(reply, now) => true,
            // The reply to a check of the session itself.
            // In version 2 a ROOM comes before it.
            _ if confirmation == Confirmation::Known => is_line || !is_entry,
            _ => code == NoticeCode::Refused && self.identity.is_repeated_refusal(&text),
        };
        if !is_hidden {
            self.push_event(Event::Notice { code, text });
        }
        match reply {
            Some(Reply::Presence { changes, members }) => {
                self.push_event(Event::Presence { changes, members });
            }
            Some(Reply::OverBudget {
                resource,
                per_second,
            }) => self.limit_reached(resource, per_second, now),
            Some(Reply::NameLost(name, _)) if self.identity.name_lost(name) => {
                self.push_event(Event::NameLost(name));
            }
            Some(Reply::Operator(text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                self.push_event(Event::Operator(text));
            }
            Some(Reply::Stopping(seconds)) => {
                self.push_event(Event::Stopping(Duration::from_secs(seconds)));
            }
            _ => {}
        }
        if let Some((asked, result)) = answered {
            self.answer(asked.responder, result);
        }
    }

    /// The server has refused a text to a room that the session is not in.
    fn not_in_room(&mut self, number: u32, now: Instant) {
        let Some(name) = self.subscriptions.name(number) else {
            return;
        };
        self.subscriptions.lost(number, now);
        let is_it = |said: &Said| (said.room == Some(number)).then_some(());
        if let Some((at, ())) = self.texts.find(is_it)
            && let Some(said) = self.texts.remove(at)
        {
            let error = RequestError::Refused(Refusal::NotInRoom(name));
            self.fail_texts(vec![said], true, &error);
        }
    }
}

/// The part of the time for an answer within which a text may come that a later one has
/// overtaken: far more than packets on two ways of one network differ by.
pub(super) const OVERTAKEN_PART: u32 = 3;
