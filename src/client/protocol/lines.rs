//! Version 1: lines.

use std::time::{Duration, Instant};

use super::frames::is_peer_limit;
use super::identity::{ATTEMPTS_V1, Origin};
use super::{Mode, Outgoing, Protocol};
use crate::client::config::ProtocolChoice;
use crate::client::event::{Event, Message, RequestError};
use crate::client::protocol::echoes::MIN_CUT_BYTES;
use crate::client::protocol::requests::Request;
use crate::wire::reply::{NoticeCode, Reply};
use crate::wire::{self, DisplayName, FRAME_MARK, MAX_TEXT_DATAGRAM, ServerLine, parse_command};

impl Protocol {
    /// Returns true if the datagram is of version 1.
    pub(super) fn is_line(&self, datagram: &[u8]) -> bool {
        self.choice != ProtocolChoice::V2 && !datagram.starts_with(&[FRAME_MARK])
    }

    pub(super) fn handle_line(&mut self, datagram: &[u8], is_proof: bool, now: Instant) {
        if is_server_full(datagram) && !self.liveness.is_up() {
            // It repeats this with each heartbeat. Before the first, it is no sign of life.
            return self.liveness.full(now);
        }
        if is_proof {
            // To a client that has only sent HELLOs, a server of version 2 sends no line.
            if self.version().is_none() {
                self.fall_back(now);
            }
            // A session of version 2 receives frames only, so this is another server.
            if self.liveness.mode() == Mode::V1 {
                self.liveness.answered();
            }
        }
        // The application receives what comes after it was told that the server is up.
        self.update();
        let is_full_line = datagram.len() >= MIN_CUT_BYTES;
        let datagram = &datagram[..datagram.len().min(MAX_TEXT_DATAGRAM)];
        let line = without_line_end(datagram);
        match ServerLine::parse(line) {
            _ if line.is_empty() => {}
            Some(ServerLine::Notice(sentence)) => self.handle_sentence(sentence, now),
            Some(ServerLine::Private { from, text }) => {
                let message = message(from, text, is_full_line);
                self.events.push_back(Event::Private(message));
            }
            Some(ServerLine::Text { from, text }) => match DisplayName::parse(from) {
                Some(from) => {
                    self.handle_text(from, text, line.len(), now);
                    let message = message(from, text, is_full_line);
                    self.events.push_back(Event::Message(message));
                }
                None => self.report_foreign_line(line),
            },
            None => self.report_foreign_line(line),
        }
    }

    /// Reports a line that this server would not write.
    fn report_foreign_line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).into_owned();
        let code = NoticeCode::Done;
        self.events.push_back(Event::Notice { code, text });
    }

    fn handle_sentence(&mut self, sentence: &[u8], now: Instant) {
        if let Some(Reply::Pong(token)) = Reply::parse(NoticeCode::Done, sentence)
            && (self.requests.line_token_received(token, now).is_some()
                || self.requests.is_recent_probe(token))
        {
            return;
        }
        self.handle_notice(None, sentence, now);
    }

    fn handle_text(&mut self, from: DisplayName, text: &[u8], line_bytes: usize, now: Instant) {
        let origin = self.identity.origin(from);
        if origin == Origin::Other {
            return;
        }
        self.identity.text_received(text);
        self.requests.text_received(text, now);
        if let Some(Ok(wire::Command::Ping(token))) = parse_command(text)
            && self.requests.is_recent_probe(token)
        {
            // A server without commands has taken the place of the one that knew them.
            self.liveness.set_can_probe_v1(false);
        }
        let is_own = origin == Origin::Own;
        let Some(missing) = self.echoes.text_received(text, line_bytes, is_own) else {
            return;
        };
        self.report_undelivered(missing, true);
        match self.identity.name() {
            Some(name) if from != DisplayName::Name(name) => {
                self.identity.renew(ATTEMPTS_V1);
                self.events.push_back(Event::Forgotten);
            }
            Some(_) => self.identity_checked_at = now,
            // It does not tell in which room it is.
            None => {}
        }
    }

    /// Writes the next text or request.
    pub(super) fn push_line(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        // The server may have forgotten the session, and this text must not go to the lobby.
        let is_text = matches!(self.queue.front(), Some((Outgoing::Text(_), _)));
        if is_text && now > self.identity_checked_at + MAX_CONFIRMATION_AGE {
            self.identity_checked_at = now;
            self.identity.check();
            if let Some(command) = self.identity.take_due() {
                self.push_command(&command, out);
                return true;
            }
        }
        let Some((command, responder)) = self.queue.pop_front() else {
            return false;
        };
        match command {
            Outgoing::Text(text) => {
                // A blank before it makes it a text.
                if parse_command(text.as_bytes()).is_some() {
                    out.push(b' ');
                }
                out.extend_from_slice(text.as_bytes());
                self.note_sent(out.clone(), responder, now);
            }
            Outgoing::Bytes(_) => {
                self.refuse(command, responder, RequestError::TextOnly);
                return self.push_line(now, out);
            }
            Outgoing::Request(request) => {
                self.note_request(&request);
                self.requests.push_line(request, responder, now, out);
                self.liveness.expect_answer(now);
            }
        }
        true
    }

    /// Takes a request for a name or a room as a wish of the session.
    pub(super) fn note_request(&mut self, request: &Request) {
        match request {
            Request::Name(name) => self.identity.request_name(*name),
            Request::Room(room) => self.identity.request_room(*room),
            _ => {}
        }
    }
}

fn is_server_full(line: &[u8]) -> bool {
    let Some(ServerLine::Notice(sentence)) = ServerLine::parse(without_line_end(line)) else {
        return false;
    };
    is_peer_limit(NoticeCode::Refused, sentence)
}

pub(super) fn push_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(wire::HEARTBEAT);
}

pub(super) fn push_leave(out: &mut Vec<u8>) {
    out.extend_from_slice(wire::QUIT);
}

fn message(from: DisplayName, text: &[u8], may_be_cut: bool) -> Message {
    Message {
        from,
        payload: text.to_vec(),
        may_be_cut,
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Time after which a v1 server may have been restarted without notice: no server restarts,
/// and no network changes, faster.
const MAX_CONFIRMATION_AGE: Duration = Duration::from_millis(250);
