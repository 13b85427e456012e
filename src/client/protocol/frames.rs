//! Version 2: frames.

use std::time::{Duration, Instant};

use super::identity::{ATTEMPTS_V2, Origin};
use super::{Outgoing, Protocol};
use crate::client::event::{Event, Message};
use crate::client::loss::Arrival;
use crate::client::protocol::liveness::Mode;
use crate::client::protocol::requests::Request;
use crate::wire::DisplayName;
use crate::wire::reply::{NoticeCode, Reply};
use crate::wire::v2::{
    self, BUNDLE_BYTES, ClientFrame, ServerFrame, SessionId, Welcome, parse_server,
    push_client_frame, push_client_header,
};

impl Protocol {
    pub(super) fn handle_frames(&mut self, datagram: &[u8], now: Instant) {
        let Ok(frames) = parse_server(datagram) else {
            self.counts.malformed += 1;
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
            if self.counts.sessions == 0 && !may_be_first(&frame) {
                continue;
            }
            if !matches!(
                frame,
                ServerFrame::Welcome(_)
                    | ServerFrame::Goodbye
                    | ServerFrame::Pong(_)
                    | ServerFrame::UnknownSession(_)
            ) {
                self.answered();
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
                    self.events.push_back(Event::Room(name));
                }
                ServerFrame::Private(from, payload) => {
                    let message = message(from, payload);
                    self.events.push_back(Event::Private(message));
                }
                ServerFrame::Notice(code, text) => self.handle_notice(Some(code), text, now),
                ServerFrame::Message(message) => self.handle_message(&message, now),
            }
        }
    }

    fn answered(&mut self) {
        if self.liveness.mode() == Mode::V2 {
            self.liveness.answered();
            self.update();
        }
    }

    fn handle_welcome(&mut self, welcome: &Welcome, now: Instant) {
        // A WELCOME that nobody asked for is a repeated one, maybe of long ago.
        if self.liveness.mode() == Mode::V2 {
            return;
        }
        if self.session != Some(welcome.session) {
            self.session = Some(welcome.session);
            self.counts.sessions += 1;
            self.pings = 0;
            self.losses.restart(welcome.room);
            self.identity.renew(ATTEMPTS_V2);
        }
        // The ROOM frame before it may have been lost.
        self.losses.moved_to(welcome.room);
        let server_timeout = Duration::from_millis(welcome.timeout_ms.into());
        self.liveness.speak_v2(server_timeout, now);
        self.update();
    }

    fn handle_pong(&mut self, token: &[u8], now: Instant) {
        if self.is_recent_ping(token) {
            self.answered();
            self.losses.server_answered();
        } else if self.requests.token_received(token, now).is_some() {
            self.answered();
        }
    }

    fn handle_message(&mut self, message: &v2::Message<'_>, now: Instant) {
        let v2::Message {
            room,
            stream,
            sequence,
            from,
            payload,
        } = *message;
        match self.losses.arrived(room, stream, sequence) {
            Arrival::Repeated | Arrival::TooLate => return,
            Arrival::New | Arrival::Reordered => {}
        }
        let origin = self.identity.origin(from);
        if origin != Origin::Other {
            let is_own = origin == Origin::Own;
            if let Some(missing) = self.echoes.message_received(payload, is_own) {
                self.report_undelivered(missing, true);
            } else if is_own {
                self.identity.text_received(payload);
                self.requests.text_received(payload, now);
            }
        }
        let message = self::message(from, payload);
        self.events.push_back(Event::Message(message));
    }

    /// Writes a datagram with as many texts as fit, and at most one request.
    pub(super) fn push_frames(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        while let Some((command, _)) = self.queue.front() {
            if out.is_empty() {
                push_client_header(self.session, out);
            } else if out.len() + FRAME_OVERHEAD_BYTES + command.payload_bytes() > BUNDLE_BYTES {
                break;
            }
            let Some((command, responder)) = self.queue.pop_front() else {
                break;
            };
            match command {
                Outgoing::Text(text) => {
                    push_client_frame(&ClientFrame::Say(text.as_bytes()), out);
                    self.note_sent(text.into_bytes(), responder, now);
                }
                Outgoing::Bytes(bytes) => {
                    push_client_frame(&ClientFrame::Say(&bytes), out);
                    self.note_sent(bytes, responder, now);
                }
                Outgoing::Request(Request::Ping) => {
                    let token = self.requests.ping_token(responder, now);
                    push_client_frame(&ClientFrame::Ping(&token), out);
                    self.liveness.expect_answer(now);
                    break;
                }
                Outgoing::Request(request) => {
                    self.note_request(&request);
                    let mut line = Vec::new();
                    self.requests.push_line(request, responder, now, &mut line);
                    push_client_frame(&ClientFrame::Command(&line), out);
                    self.liveness.expect_answer(now);
                    break;
                }
            }
        }
        !out.is_empty()
    }

    /// Writes a datagram with a command in the version that is spoken.
    pub(super) fn push_command(&self, line: &str, out: &mut Vec<u8>) {
        if self.liveness.mode() == Mode::V1 {
            out.extend_from_slice(line.as_bytes());
        } else {
            push_client_header(self.session, out);
            push_client_frame(&ClientFrame::Command(line.as_bytes()), out);
        }
    }

    /// A PONG proves something only if it answers a PING that is not answered yet.
    fn is_recent_ping(&self, token: &[u8]) -> bool {
        let oldest = self.pings.saturating_sub(RECENT_PINGS);
        (oldest..self.pings).any(|ping| ping_token(self.session, ping + 1) == token)
    }
}

impl Outgoing {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Request(Request::Private { text, .. }) => MAX_COMMAND_BYTES + text.len(),
            Self::Request(_) => MAX_COMMAND_BYTES,
        }
    }
}

pub(super) fn push_heartbeat(session: Option<SessionId>, ping: u64, out: &mut Vec<u8>) {
    push_client_header(session, out);
    push_client_frame(&ClientFrame::Heartbeat, out);
    push_client_frame(&ClientFrame::Ping(&ping_token(session, ping)), out);
}

/// Appends nothing if there is no session.
pub(super) fn push_bye(session: Option<SessionId>, out: &mut Vec<u8>) {
    if session.is_some() {
        push_client_header(session, out);
        push_client_frame(&ClientFrame::Bye, out);
    }
}

/// Returns a token that nobody can guess who does not know the session.
fn ping_token(session: Option<SessionId>, ping: u64) -> [u8; 8] {
    let session = session.map_or(0, SessionId::get);
    session.wrapping_add(ping).to_be_bytes()
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

/// PINGs whose PONG may still come.
const RECENT_PINGS: u64 = 3;

/// Kind and length of a frame.
const FRAME_OVERHEAD_BYTES: usize = 3;

/// Longer than any command without a text.
const MAX_COMMAND_BYTES: usize = 80;
