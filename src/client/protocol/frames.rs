//! Version 2: frames.

use std::time::{Duration, Instant};

use super::Protocol;
use super::identity::ATTEMPTS_V2;
use super::liveness::Mode;
use crate::client::event::{Event, Message};
use crate::client::loss::Arrival;
use crate::wire::DisplayName;
use crate::wire::reply::{NoticeCode, Reply};
use crate::wire::v2::{self, BundleSize, ServerFrame, Welcome, parse_server};

impl Protocol {
    pub(super) fn handle_frames(&mut self, datagram: &[u8], now: Instant) {
        let Ok(frames) = parse_server(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        let mut frames = frames.peekable();
        if self.liveness.mode() == Mode::V1 {
            match frames.peek() {
                // Whoever sends a HELLO back has not understood it.
                None => return,
                Some(ServerFrame::Welcome(_)) => self.greet(now),
                // The server has given a session, and does not listen to version 1.
                Some(_) => return self.greet(now),
            }
        }
        for frame in frames {
            // The application receives what comes after it was told that the server is up.
            if self.stats.sessions == 0 && !may_be_first(&frame) {
                continue;
            }
            if !matches!(
                frame,
                ServerFrame::Welcome(_)
                    | ServerFrame::Goodbye
                    | ServerFrame::Pong(_)
                    | ServerFrame::UnknownSession(_)
            ) {
                self.liveness.answered();
            }
            match frame {
                ServerFrame::Welcome(welcome) => self.handle_welcome(&welcome, now),
                ServerFrame::Goodbye => {
                    self.session = None;
                    self.liveness.stopped(now);
                }
                // The server was restarted, or has dropped this client.
                ServerFrame::UnknownSession(unknown) if self.session == Some(unknown) => {
                    self.greet(now);
                }
                ServerFrame::UnknownSession(_) => {}
                ServerFrame::Pong(token) => self.handle_pong(token, now),
                ServerFrame::Room(number, name) => {
                    self.losses.moved_to(number);
                    self.identity.entered(name);
                    self.push_event(Event::Room(name));
                }
                ServerFrame::Private(from, payload) => {
                    self.push_event(Event::Private(message(from, payload)));
                }
                ServerFrame::Notice(code, text) => self.handle_notice(Some(code), text, now),
                ServerFrame::Message(message) => self.handle_message(&message, now),
            }
        }
    }

    fn handle_welcome(&mut self, welcome: &Welcome, now: Instant) {
        let size = BundleSize::of(welcome.bundle_bytes.into());
        if self.liveness.mode() == Mode::V2 {
            // A WELCOME that nobody asked for is a repeated one, maybe of long ago.
            if self.session == Some(welcome.session) && self.path.granted(size, now) {
                self.push_event(Event::BundleSize(size.bytes()));
            }
            return;
        }
        self.path.begin(size, now);
        if self.session != Some(welcome.session) {
            self.session = Some(welcome.session);
            self.stats.sessions += 1;
            self.losses.restart(welcome.room);
            self.identity.renew(ATTEMPTS_V2);
        }
        // The ROOM frame before it may have been lost.
        self.losses.moved_to(welcome.room);
        let server_timeout = Duration::from_millis(welcome.timeout_ms.into());
        self.liveness.speak_v2(server_timeout, now);
        self.update();
    }

    /// A PONG proves something only if it answers a PING that is not answered yet.
    fn handle_pong(&mut self, token: &[u8], now: Instant) {
        if self.path.handle_pong(token, now) {
            return;
        }
        let reply = Reply::Pong(token);
        if let Some((responder, result)) = self.requests.replied(&reply, now) {
            self.liveness.answered();
            if responder.is_none() {
                self.losses.server_answered();
            }
            self.answer(responder, result);
        }
    }

    fn handle_message(&mut self, message: &v2::Message<'_>, now: Instant) {
        self.path.used();
        let arrival = self
            .losses
            .arrived(message.room, message.stream, message.sequence);
        if matches!(arrival, Arrival::New | Arrival::Reordered) {
            self.handle_text(self::message(message.from, message.payload), now);
        }
    }
}

/// Returns true for the refusal of a server that is full.
pub(super) fn is_peer_limit(code: NoticeCode, sentence: &[u8]) -> bool {
    matches!(Reply::parse(code, sentence), Some(Reply::PeerLimit(_)))
}

/// Returns true for an answer to a HELLO.
fn may_be_first(frame: &ServerFrame<'_>) -> bool {
    match frame {
        ServerFrame::Welcome(_) | ServerFrame::Goodbye => true,
        ServerFrame::Notice(code, text) => is_peer_limit(*code, text),
        _ => false,
    }
}

fn message(from: DisplayName, payload: &[u8]) -> Message {
    Message {
        from,
        payload: payload.to_vec(),
        may_be_cut: false,
    }
}
