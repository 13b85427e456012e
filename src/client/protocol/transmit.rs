//! The datagrams to the server, in both versions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::echoes::Said;
use super::liveness::Mode;
use super::path::Step;
use super::requests::{Asked, Request, token};
use super::subscriptions::Number;
use super::{Outgoing, Protocol};
use crate::client::config::ProtocolChoice;
use crate::client::event::{Answer, Refusal, RequestError};
use crate::client::ticket::Responder;
use crate::wire::v2::{
    BUNDLE_BYTES, BundleSize, ClientFrame, Hello, SessionOptions, push_client_frame,
    push_client_header, push_hello, push_padding,
};
use crate::wire::{GREETING_START, HEARTBEAT, QUIT, RoomName, ServerLine, parse_command};

impl Protocol {
    /// Writes the next datagram to `out`. Returns false if there is none.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        out.clear();
        let has_next = self.push_next(now, out) || self.push_server_probe(now, out);
        if has_next {
            self.servers.sent(now);
        }
        has_next
    }

    fn push_next(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.limits.forget_timeout();
        if self.liveness.is_beat_due(now) {
            self.push_beat(now, out);
            return true;
        }
        if self.liveness.mode() == Mode::V2
            && let Some(step) = self.path.poll(now)
        {
            self.push_path_step(&step);
        }
        if let Some(datagram) = self.due.pop_front() {
            *out = datagram;
            return true;
        }
        if self.version().is_none() {
            return false;
        }
        if self.liveness.mode() == Mode::V2 && self.membership.take_ask(now) {
            self.push_heartbeat(out);
            return true;
        }
        if !self.is_down()
            && let Some(request) = self.identity.take_due(now)
        {
            self.identity_checked_at = now;
            self.push_command(&request, out);
            return true;
        }
        match self.liveness.mode() {
            // What the session says next must not go to the lobby of another server.
            Mode::V1 if self.is_down() && self.servers.is_new() => false,
            Mode::V1 => self.push_line(now, out),
            _ => self.push_subscriptions(now, out) || self.push_bundle(now, out),
        }
    }

    /// Writes the datagram that leaves the server to `out`. Returns false if the server does
    /// not know the session anyway.
    pub fn push_leave(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.liveness.mode() == Mode::V1 {
            out.extend_from_slice(QUIT);
        } else if self.membership.session().is_some() {
            self.push_frame(&ClientFrame::Bye, out);
        }
        !out.is_empty()
    }

    /// Returns a ping of the session itself, with a number that nobody else knows. The counter keeps
    /// two of them apart also where a test draws the same number each time.
    fn ping(&mut self) -> Request {
        self.pings += 1;
        Request::Ping(self.liveness.random().wrapping_add(self.pings))
    }

    fn push_beat(&mut self, now: Instant, out: &mut Vec<u8>) {
        match self.liveness.mode() {
            Mode::Greeting { .. } => push_hello(&self.hello(self.path.size(), false), out),
            Mode::Joining { .. } => self.push_first(out),
            Mode::V1 => {
                out.extend_from_slice(HEARTBEAT);
                let mut due = Vec::new();
                let may_be_v2 = self.is_down() || self.hellos_left > 0;
                if may_be_v2 && self.config.protocol == ProtocolChoice::Auto {
                    self.hellos_left = self.hellos_left.saturating_sub(1);
                    // It may be another server. The HELLO goes first, as a server gives no session
                    // to a peer that it has registered with version 1.
                    push_hello(&self.hello(BundleSize::Full, false), &mut due);
                    std::mem::swap(out, &mut due);
                } else if self.liveness.can_probe() || self.liveness.is_asking_elsewhere() {
                    let ping = self.ping();
                    self.push_request(ping, None, now, &mut due);
                }
                self.due.extend((!due.is_empty()).then_some(due));
            }
            Mode::V2 => {
                self.push_heartbeat(out);
                let ping = self.ping();
                self.push_request(ping, None, now, out);
            }
        }
        self.liveness.beat(now);
        self.identity.beat();
    }

    /// Appends the datagram that registers the client in its new session. The server answers the
    /// heartbeat with the room.
    fn push_first(&mut self, out: &mut Vec<u8>) {
        if let Some(former) = self.membership.former() {
            self.push_frame(&ClientFrame::Move(former), out);
        }
        let hello = self.hello(self.path.size(), true);
        if hello.options != SessionOptions::default() {
            self.push_frame(&ClientFrame::Hello(hello), out);
        }
        self.push_frame(&ClientFrame::Heartbeat(None), out);
    }

    pub(super) fn push_heartbeat(&mut self, out: &mut Vec<u8>) {
        let room = self.membership.room().map(|room| room.number);
        self.push_frame(&ClientFrame::Heartbeat(room), out);
    }

    pub(super) fn hello(&mut self, bundle_size: BundleSize, has_session: bool) -> Hello {
        Hello {
            nonce: self.membership.take_nonce(has_session),
            options: SessionOptions {
                bundle_size,
                echo: self.config.echo,
                receive: self.config.receive,
            },
        }
    }

    fn push_path_step(&mut self, step: &Step) {
        match step {
            Step::Ask(size) => {
                let mut datagram = Vec::new();
                let hello = self.hello(*size, true);
                self.push_frame(&ClientFrame::Hello(hello), &mut datagram);
                self.due.push_back(datagram);
            }
            Step::Pair { long, short } => {
                for (token, bytes) in [(long, BUNDLE_BYTES), (short, 0)] {
                    let mut ping = Vec::new();
                    self.push_frame(&ClientFrame::Ping(token), &mut ping);
                    push_padding(0, bytes.max(ping.len()), &mut ping);
                    self.due.push_back(ping);
                }
            }
        }
    }

    /// Writes the next text or request in version 1.
    fn push_line(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        match self.queue.front() {
            Some((command, _)) if self.limits.allow(command, now) => {}
            _ => return false,
        }
        // The server may have forgotten the session, and this text must not go to the lobby.
        let is_text = matches!(
            self.queue.front(),
            Some((Outgoing::Say { is_text: true, .. }, _))
        );
        if is_text && now > self.identity_checked_at + MAX_CONFIRMATION_AGE {
            self.identity_checked_at = now;
            self.identity.check();
            if let Some(request) = self.identity.take_due(now) {
                self.push_command(&request, out);
                return true;
            }
        }
        let next = self.queue.pop_front();
        if let Some((command, _)) = &next {
            self.limits.spend(command, now);
        }
        match next {
            None => return false,
            Some((command @ Outgoing::Say { is_text: false, .. }, responder)) => {
                self.refuse(command, responder, RequestError::TextOnly);
                return self.push_line(now, out);
            }
            Some((command, responder)) if !self.is_possible_in_v1(&command) => {
                self.refuse(command, responder, RequestError::OneRoom);
                return self.push_line(now, out);
            }
            Some((Outgoing::Say { payload, .. }, responder)) => {
                // A blank before it makes it a text.
                if means_something_else(&payload) {
                    out.push(b' ');
                }
                out.extend_from_slice(&payload);
                let mut said = Said::new(None, payload, responder);
                said.set_line(out);
                self.note_said(said, now);
            }
            Some((Outgoing::Request(request), responder)) => {
                self.push_request(request, Some(responder), now, out);
            }
        }
        self.limits.spend_bytes(out.len(), now);
        true
    }

    /// Writes a datagram of version 2 with as many texts as fit, and at most one request.
    fn push_bundle(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        let max_bytes = self.path.size().bytes();
        while let Some((command, responder)) = self.queue.pop_front() {
            let bytes = out.len() + FRAME_OVERHEAD_BYTES + command.max_bytes();
            let number = command.room().map(|room| self.number(room));
            let is_early = number == Some(Number::Awaited);
            let is_full = !out.is_empty() && bytes > max_bytes;
            if is_early || is_full || !self.limits.allow(&command, now) {
                self.queue.push_front((command, responder));
                break;
            }
            self.limits.spend(&command, now);
            match command {
                Outgoing::Say {
                    room: Some(room), ..
                } if number == Some(Number::Unknown) => {
                    let error = RequestError::Refused(Refusal::NotInRoom(room));
                    self.refuse(command, responder, error);
                }
                Outgoing::Say {
                    payload, is_text, ..
                } => {
                    let room = match number {
                        Some(Number::Known(number)) => self.other_room(number),
                        _ => None,
                    };
                    match room {
                        Some(room) => self.push_frame(&ClientFrame::SayTo(room, &payload), out),
                        None => self.push_frame(&ClientFrame::Say(&payload), out),
                    }
                    let mut said = Said::new(room, payload, responder);
                    said.is_text = is_text;
                    self.note_said(said, now);
                }
                Outgoing::Request(request @ (Request::Subscribe(_) | Request::Unsubscribe(_))) => {
                    self.subscribe(request, responder, now);
                    return self.push_subscriptions(now, out) || !out.is_empty();
                }
                Outgoing::Request(request) => {
                    self.push_request(request, Some(responder), now, out);
                    break;
                }
            }
        }
        if out.is_empty() {
            return false;
        }
        self.limits.spend_bytes(out.len(), now);
        true
    }

    /// Takes a request for a room besides the own one, which is then due.
    fn subscribe(&mut self, request: Request, responder: Responder, now: Instant) {
        match &request {
            Request::Subscribe(name) => self.subscriptions.add(*name, now),
            Request::Unsubscribe(name) if self.subscriptions.end(name, now) => {}
            _ => return self.answer(Some(responder), Ok(Answer::Done)),
        }
        self.liveness.expect_answer(now);
        let asked = Asked {
            request,
            sent_at: now,
            responder: Some(responder),
        };
        self.requests.push(now + self.config.answer_timeout, asked);
    }

    /// Appends the requests for rooms that are due, in a datagram of their own. Returns false if
    /// there are none.
    fn push_subscriptions(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.liveness.mode() != Mode::V2 || !out.is_empty() {
            return false;
        }
        while out.len() + FRAME_OVERHEAD_BYTES + MAX_COMMAND_BYTES < self.path.size().bytes()
            && let Some(frame) = self.subscriptions.take_due(now)
        {
            self.push_frame(&frame, out);
        }
        !out.is_empty()
    }

    /// Returns the number of a room by its name.
    fn number(&self, name: &RoomName) -> Number {
        match self.membership.room() {
            Some(own) if own.name.folded() == name.folded() => Number::Known(own.number),
            _ => self.subscriptions.number(name),
        }
    }

    /// Returns the number of a room, unless the session speaks there anyway.
    fn other_room(&self, number: u32) -> Option<u32> {
        let own = self.membership.room().map(|own| own.number);
        (own != Some(number)).then_some(number)
    }

    fn is_possible_in_v1(&self, command: &Outgoing) -> bool {
        match command {
            Outgoing::Say { room: None, .. } => true,
            Outgoing::Say {
                room: Some(name), ..
            } => self.identity.is_in(name),
            Outgoing::Request(Request::Subscribe(_) | Request::Unsubscribe(_)) => false,
            Outgoing::Request(_) => true,
        }
    }

    /// Appends a request, which then waits for its reply. A ping of the session itself has no
    /// responder.
    fn push_request(
        &mut self,
        request: Request,
        responder: Option<Responder>,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        self.push_command(&request, out);
        if responder.is_some() {
            self.identity.requested(&request);
            self.liveness.expect_answer(now);
        }
        let asked = Asked {
            request,
            sent_at: now,
            responder,
        };
        self.requests.push(now + self.config.answer_timeout, asked);
    }

    /// Appends a command in the version that is spoken.
    fn push_command(&self, request: &Request, out: &mut Vec<u8>) {
        if self.liveness.mode() == Mode::V1 {
            return request.push_line(out);
        }
        if let Request::Ping(number) = request {
            return self.push_frame(&ClientFrame::Ping(token(*number).as_bytes()), out);
        }
        let mut line = Vec::new();
        request.push_line(&mut line);
        self.push_frame(&ClientFrame::Command(&line), out);
    }

    /// Appends a frame, which may be the first of its datagram.
    pub(super) fn push_frame(&self, frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
        if out.is_empty() {
            push_client_header(self.membership.session(), out);
        }
        push_client_frame(frame, out);
    }

    /// A text or a payload was sent. If no echo is expected, it is delivered when the network
    /// has not refused it.
    fn note_said(&mut self, mut said: Said, now: Instant) {
        self.path.used();
        said.own_room = self.identity.expected_room();
        let is_sent_back = self.config.echo && self.config.receive;
        said.is_echoed =
            self.config.expects_echo && (is_sent_back || self.liveness.mode() == Mode::V1);
        let expires_at = if said.is_echoed {
            self.liveness.expect_answer(now);
            now + self.config.answer_timeout
        } else {
            now + self.config.settle_time
        };
        self.texts.push(expires_at, said);
    }
}

impl Outgoing {
    fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Say { room, .. } => room.as_ref(),
            Self::Request(_) => None,
        }
    }

    /// The maximum length of the body of its frame.
    fn max_bytes(&self) -> usize {
        match self {
            Self::Say {
                room: None,
                payload,
                ..
            } => payload.len(),
            Self::Say { payload, .. } => size_of::<u32>() + payload.len(),
            Self::Request(Request::Private { text, .. }) => MAX_COMMAND_BYTES + text.len(),
            Self::Request(_) => MAX_COMMAND_BYTES,
        }
    }
}

/// Returns true for a text that a server of version 1 would take for a command, or for the text
/// of another server. It drops one that begins with its own address.
fn means_something_else(text: &[u8]) -> bool {
    let is_address =
        |word| str::from_utf8(word).is_ok_and(|word| word.parse::<SocketAddr>().is_ok());
    let begins_with_address =
        matches!(ServerLine::parse(text), Some(ServerLine::Text { from, .. }) if is_address(from));
    begins_with_address || text.starts_with(GREETING_START) || parse_command(text).is_some()
}

/// Time after which a v1 server may have been restarted without notice: no server restarts,
/// and no network changes, faster.
const MAX_CONFIRMATION_AGE: Duration = Duration::from_millis(250);

/// Kind and length of a frame.
const FRAME_OVERHEAD_BYTES: usize = 3;

/// Longer than any command without a text.
const MAX_COMMAND_BYTES: usize = 80;
