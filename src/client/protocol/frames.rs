//! Version 2: frames.

use std::time::{Duration, Instant};

use super::Protocol;
use super::identity::{ATTEMPTS_V2, Confirmation};
use super::limits::Limits;
use super::liveness::Mode;
use super::membership::Credential;
use super::requests::Request;
use crate::client::event::{DownReason, Event, Message};
use crate::client::loss::Arrival;
use crate::wire::reply::{NoticeCode, Reply};
use crate::wire::v2::{self, BundleSize, ServerFrame, Welcome, parse_server};
use crate::wire::{DisplayName, LOBBY, RoomName};

impl Protocol {
    /// Returns true if the server has sent the datagram.
    pub(super) fn handle_frames(&mut self, datagram: &[u8], now: Instant) -> bool {
        let Ok(frames) = parse_server(datagram) else {
            self.stats.malformed += 1;
            return false;
        };
        let credential = self.membership.credential(frames.receiver());
        if credential.is_none() {
            self.stats.forged += 1;
            return false;
        }
        if self.liveness.mode() == Mode::V1 {
            // The server has given a session, and does not listen to version 1.
            self.greet(now);
        }
        self.losses.begin_datagram();
        for frame in frames {
            // The application receives what comes after it was told that the server is up.
            if !self.membership.was_registered() && !may_be_first(&frame) {
                continue;
            }
            if !matches!(
                frame,
                ServerFrame::Welcome(_)
                    | ServerFrame::Goodbye
                    | ServerFrame::Pong(_)
                    | ServerFrame::UnknownSession
            ) {
                self.liveness.answered();
            }
            match frame {
                ServerFrame::Welcome(welcome) => self.handle_welcome(&welcome, credential, now),
                ServerFrame::Goodbye => {
                    self.membership.stopped();
                    self.liveness.stopped(now);
                }
                // The server was restarted, has dropped this client, or sees another address.
                ServerFrame::UnknownSession => {
                    if credential == Some(Credential::Session) {
                        self.greet(now);
                    }
                }
                ServerFrame::Pong(token) => self.handle_pong(token, now),
                ServerFrame::Room(room) => self.handle_room(room, now),
                ServerFrame::Subscribed(room) => self.handle_subscribed(room),
                ServerFrame::Unsubscribed(room) => self.handle_unsubscribed(room),
                ServerFrame::Own(own) => {
                    for number in 0..own.count.into() {
                        let sequence = own.sequence.wrapping_add(number);
                        self.losses.arrived(own.room, own.stream, sequence);
                    }
                }
                ServerFrame::Private(from, payload) => {
                    self.push_event(Event::Private(message(None, from, payload)));
                }
                ServerFrame::Notice(code, text) => self.handle_notice(Some(code), text, now),
                ServerFrame::Message(message) => self.handle_message(&message, now),
            }
        }
        true
    }

    fn handle_welcome(
        &mut self,
        welcome: &Welcome<'_>,
        credential: Option<Credential>,
        now: Instant,
    ) {
        let size = BundleSize::of(welcome.bundle_bytes.into());
        let is_greeting = matches!(self.liveness.mode(), Mode::Greeting { .. });
        if is_greeting || credential == Some(Credential::Session) {
            self.take_servers(welcome.servers, now);
        }
        if !is_greeting {
            // A WELCOME that nobody asked for is a repeated one, maybe of long ago.
            if credential == Some(Credential::Session) && self.path.granted(size, now) {
                self.push_event(Event::BundleSize(size.bytes()));
            }
            return;
        }
        self.path.begin(size, now);
        if self.membership.welcomed(welcome) {
            self.stats.sessions += 1;
            self.limits = Limits::default();
            self.losses.restart();
            self.subscriptions.renew(now);
            match self.membership.former() {
                Some(_) => self.identity.recheck(ATTEMPTS_V2),
                None => self.identity.renew(ATTEMPTS_V2),
            }
        }
        let server_timeout = Duration::from_millis(welcome.timeout_ms.into());
        self.liveness.join(server_timeout, now);
    }

    /// Takes the room of the session, which is registered if it was not.
    fn handle_room(&mut self, room: v2::Room, now: Instant) {
        let is_joining = matches!(self.liveness.mode(), Mode::Joining { .. });
        if !is_joining && self.liveness.mode() != Mode::V2 {
            return;
        }
        if is_joining {
            self.liveness.joined(now);
            // The server did not know the former session.
            if self.membership.former().is_some() && !self.identity.is_in(&room.name) {
                self.identity.renew(ATTEMPTS_V2);
            }
        }
        if self.membership.entered(room) {
            self.losses.room_began_again(room.number);
        }
        self.losses.moved_to(room.number);
        let confirmation = self.identity.entered(room.name);
        self.update(now);
        let has_returned = is_joining && !room.name.as_str().eq_ignore_ascii_case(LOBBY);
        if confirmation == Confirmation::Changed || has_returned {
            self.push_event(Event::Room(room.name));
        }
    }

    fn handle_subscribed(&mut self, room: v2::Room) {
        let Some(has_begun_again) = self.subscriptions.subscribed(room) else {
            return;
        };
        if has_begun_again {
            self.losses.room_began_again(room.number);
        }
        self.losses.subscribed(room.number);
        let is_it = |request: &Request| match request {
            Request::Subscribe(name) => name.folded() == room.name.folded(),
            _ => false,
        };
        self.request_done(is_it);
    }

    fn handle_unsubscribed(&mut self, number: u32) {
        self.losses.unsubscribed(number);
        let Some(name) = self.subscriptions.unsubscribed(number) else {
            return;
        };
        self.request_done(|request| match request {
            Request::Unsubscribe(other) => other.folded() == name.folded(),
            _ => false,
        });
    }

    fn request_done(&mut self, is_it: impl Fn(&Request) -> bool) {
        if let Some((responder, result)) = self.requests.done(is_it) {
            self.answer(responder, result);
        }
    }

    /// A PONG proves something only if it answers a PING that is not answered yet.
    fn handle_pong(&mut self, token: &[u8], now: Instant) {
        if self.path.handle_pong(token, now) {
            return;
        }
        let reply = Reply::Pong(token);
        if let Some((asked, result)) = self.requests.replied(&reply, now) {
            self.liveness.answered();
            if asked.responder.is_none() {
                self.losses.server_answered();
            }
            self.answer(asked.responder, result);
        }
    }

    fn handle_message(&mut self, message: &v2::Message<'_>, now: Instant) {
        self.path.used();
        let own = self.membership.room();
        let own = own.filter(|own| own.number == message.room).copied();
        let name = own.map(|own| own.name);
        let name = name.or_else(|| self.subscriptions.name(message.room));
        if name.is_none() && self.liveness.mode() == Mode::V2 {
            self.membership.foreign_message(now);
        }
        let arrival = self
            .losses
            .arrived(message.room, message.stream, message.sequence);
        if matches!(arrival, Arrival::New | Arrival::Reordered) {
            let number = (own.is_none() && name.is_some()).then_some(message.room);
            let message = self::message(name, message.from, message.payload);
            self.handle_text(number, message, now);
        }
    }
}

/// Returns the reason for which a server turns a newcomer away, if the sentence does so.
pub(super) fn turned_away(code: NoticeCode, sentence: &[u8]) -> Option<DownReason> {
    reason_of(&Reply::parse(code, sentence)?)
}

/// Returns the reason for which a server turns a newcomer away, if the reply does so.
pub(super) fn reason_of(reply: &Reply<'_>) -> Option<DownReason> {
    match reply {
        Reply::PeerLimit(_) => Some(DownReason::Full),
        Reply::NoNewcomers => Some(DownReason::Stopping),
        _ => None,
    }
}

/// Returns true for a frame that comes to a client that is not registered yet.
fn may_be_first(frame: &ServerFrame<'_>) -> bool {
    match frame {
        ServerFrame::Welcome(_)
        | ServerFrame::Room(_)
        | ServerFrame::UnknownSession
        | ServerFrame::Goodbye => true,
        ServerFrame::Notice(code, text) => turned_away(*code, text).is_some(),
        _ => false,
    }
}

fn message(room: Option<RoomName>, from: DisplayName, payload: &[u8]) -> Message {
    Message {
        room,
        from,
        payload: payload.to_vec(),
        may_be_cut: false,
    }
}
