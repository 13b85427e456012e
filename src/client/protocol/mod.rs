//! A client's side of the protocol, in both versions. No I/O, and no clock: the caller says
//! what came and what time it is.
//!
//! ```text
//!  handle_command ──▶ queue ──▶ poll_transmit      liveness  is the server there
//!  handle_datagram ─▶ ... ────▶ poll_event         identity  name and room
//!  handle_timeout ◀── poll_timeout                 requests, echoes  what is unanswered
//! ```
//!
//! With [`ProtocolChoice::Auto`] the server is greeted in version 2. A server that knows only
//! version 1 does not answer, and is then spoken to in version 1. When it was down it may be
//! another server, and is greeted again. Texts wait until the version is known.

pub(crate) mod echoes;
mod frames;
mod identity;
mod lines;
pub(crate) mod liveness;
pub(crate) mod requests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use self::echoes::Echoes;
use self::identity::{ATTEMPTS_V1, Confirmation, Identity};
use self::liveness::{Conclusion, Liveness, Mode};
use self::requests::{Request, Requests};
use super::config::{ProtocolChoice, ProtocolVersion, SessionConfig, Timeouts};
use super::event::{Answer, DownReason, Event, RequestError};
use super::loss::Sequences;
use super::ticket::Responder;
use crate::wire::reply::{NoticeCode, Reply};
use crate::wire::v2::SessionId;
use crate::wire::{Name, RoomName};

#[derive(Debug)]
pub(crate) struct Protocol {
    choice: ProtocolChoice,
    timeouts: Timeouts,
    expects_echo: bool,
    liveness: Liveness,
    identity: Identity,
    requests: Requests,
    echoes: Echoes,
    /// The results that tickets wait for. They follow the events before them.
    results: Vec<(Responder, Result<Answer, RequestError>)>,
    /// The last session that the server gave, which it may still know.
    session: Option<SessionId>,
    /// The number of PINGs sent in this session.
    pings: u64,
    /// The texts and requests that have not been sent.
    queue: VecDeque<(Outgoing, Responder)>,
    /// The datagrams that go out before anything from the queue.
    due: Due,
    /// The time at which a v1 server last confirmed the name and the room.
    identity_checked_at: Instant,
    events: VecDeque<Event>,
    /// The version of the last [`Event::Up`], if the server was not down since.
    told_up: Option<ProtocolVersion>,
    told_down: bool,
    pub(crate) losses: Sequences,
    pub(crate) counts: Counts,
}

/// The state of a session, which its application can read at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) is_up: bool,
    pub(crate) down: Option<DownReason>,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) name: Option<Name>,
    pub(crate) room: Option<RoomName>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Datagrams from the server that are not of version 2.
    pub(crate) malformed: u64,
    /// Sessions that the server gave.
    pub(crate) sessions: u64,
    /// Texts and requests that were never sent.
    pub(crate) unsent: u64,
}

/// Something that the application wants to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A text to the room.
    Text(String),
    /// A payload to the room, in version 2.
    Bytes(Vec<u8>),
    Request(Request),
}

/// Datagrams of one kind that must be sent.
#[derive(Debug, Default)]
struct Due {
    /// In version 1: a `/ping`, to be answered.
    probe: bool,
    /// In version 1, while the server is down: a HELLO, as it may be another server.
    hello: bool,
}

impl Protocol {
    pub(crate) fn new(config: &SessionConfig, now: Instant) -> Self {
        let mode = match config.protocol {
            ProtocolChoice::V1 => Mode::V1,
            ProtocolChoice::Auto | ProtocolChoice::V2 => Mode::Greeting { hellos: 0 },
        };
        let mut identity = Identity::new(config.nick, config.room);
        if mode == Mode::V1 {
            identity.renew(ATTEMPTS_V1);
        }
        Self {
            choice: config.protocol,
            timeouts: config.timeouts(),
            expects_echo: config.expects_echo,
            liveness: Liveness::new(mode, config.timeouts(), now),
            identity,
            // Without a random number, pings of others may be taken for this session's.
            requests: Requests::new(getrandom::u64().unwrap_or_default()),
            echoes: Echoes::default(),
            results: Vec::new(),
            session: None,
            pings: 0,
            queue: VecDeque::new(),
            due: Due::default(),
            identity_checked_at: now,
            events: VecDeque::new(),
            told_up: None,
            told_down: false,
            losses: Sequences::default(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            is_up: self.liveness.is_up(),
            down: self.liveness.down().cloned(),
            version: self.version(),
            name: self.identity.name(),
            room: self.identity.room(),
        }
    }

    /// Returns true if another command may be handed over.
    pub(crate) fn has_space(&self) -> bool {
        self.queue.len() < MAX_QUEUED && self.echoes.has_space() && self.requests.has_space()
    }

    /// Returns true if something waits to be sent.
    pub(crate) fn is_holding(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes a text or a request, to be sent when the version is known.
    pub(crate) fn handle_command(&mut self, command: Outgoing, responder: Responder) {
        if self.version().is_none()
            && let Some(reason) = self.liveness.down()
        {
            let error = RequestError::Down(reason.clone());
            return self.refuse(command, responder, error);
        }
        self.queue.push_back((command, responder));
    }

    /// Takes a datagram. It proves that the server is there if `is_proof`.
    pub(crate) fn handle_datagram(&mut self, datagram: &[u8], is_proof: bool, now: Instant) {
        if self.choice == ProtocolChoice::V1 || self.is_line(datagram) {
            self.handle_line(datagram, is_proof, now);
        } else {
            self.handle_frames(datagram, now);
        }
        self.update();
    }

    /// The network refused something that was sent.
    pub(crate) fn handle_refusal(&mut self, kind: io::ErrorKind, now: Instant) {
        self.liveness.refused(kind, now);
        self.update();
    }

    /// Sets the address that the session sends from. By it, the session knows its own texts.
    pub(crate) fn set_local_addr(&mut self, address: Option<SocketAddr>) {
        self.identity.set_address(address);
    }

    /// The session now sends from another address, or to another one, so the server does not
    /// know it.
    pub(crate) fn handle_reroute(&mut self, now: Instant) {
        match self.liveness.mode() {
            // With each attempt, the server is greeted as well.
            Mode::V1 => self.fall_back(now),
            Mode::V2 | Mode::Greeting { .. } => self.greet(now),
        }
    }

    /// Draws the conclusions from the time that has passed. Returns true if nobody answered
    /// at this address, and the session should go on to `has_other_address`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, has_other_address: bool) -> bool {
        match self.liveness.handle_timeout(now) {
            Conclusion::NotGreeted if has_other_address => return true,
            Conclusion::NotGreeted if self.choice == ProtocolChoice::Auto => {
                self.liveness.presume_started();
                self.fall_back(now);
            }
            Conclusion::NotGreeted if self.liveness.down().is_none() => {
                self.liveness.not_greeted(now);
            }
            Conclusion::NotGreeted | Conclusion::Nothing => {}
            Conclusion::Down | Conclusion::Settled => {}
        }
        // The application hears that the server is down before it hears of the texts.
        self.update();
        if let Some(oldest) = now.checked_sub(self.timeouts.answer) {
            self.requests.expire(oldest);
            let missing = self.echoes.expire(oldest);
            self.report_undelivered(missing, true);
        }
        self.report_answers();
        false
    }

    /// The time at which [`Self::handle_timeout`] or [`Self::poll_transmit`] has something to
    /// do.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let oldest = [self.requests.oldest(), self.echoes.oldest()];
        let oldest = oldest.into_iter().flatten().min();
        let expiry = oldest.map(|oldest| oldest + self.timeouts.answer);
        let timeout = self.liveness.poll_timeout();
        expiry.map_or(timeout, |expiry| timeout.min(expiry))
    }

    /// Writes the next datagram to `out`. Returns false if there is none.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.liveness.is_beat_due(now) {
            self.push_beat(now, out);
            return true;
        }
        if std::mem::take(&mut self.due.hello) {
            crate::wire::v2::push_hello(out);
            return true;
        }
        if std::mem::take(&mut self.due.probe) {
            self.requests.push_probe(out);
            return true;
        }
        if self.version().is_none() {
            return false;
        }
        if self.liveness.down().is_none()
            && let Some(command) = self.identity.take_due()
        {
            self.identity_checked_at = now;
            self.push_command(&command, out);
            return true;
        }
        match self.liveness.mode() {
            Mode::V1 => self.push_line(now, out),
            Mode::V2 | Mode::Greeting { .. } => self.push_frames(now, out),
        }
    }

    /// Writes the datagram that leaves the server to `out`. Returns false if the server does
    /// not know the session anyway.
    pub(crate) fn push_leave(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        match self.liveness.mode() {
            Mode::V1 => lines::push_leave(out),
            Mode::V2 | Mode::Greeting { .. } => frames::push_bye(self.session, out),
        }
        !out.is_empty()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the results that tickets wait for. The events before them come first.
    pub(crate) fn take_results(
        &mut self,
    ) -> impl Iterator<Item = (Responder, Result<Answer, RequestError>)> {
        self.results.append(&mut self.echoes.results);
        self.results.drain(..)
    }

    /// Returns true if the next attempt may take another way. It may not as long as the last
    /// one seems to have reached a server.
    pub(crate) fn may_reroute(&self) -> bool {
        self.liveness.down().is_some() && !self.liveness.is_hopeful()
    }

    pub(crate) fn is_beat_due(&self, now: Instant) -> bool {
        self.liveness.is_beat_due(now)
    }

    /// Fails everything that waits, at the end of the session.
    pub(crate) fn end(&mut self) {
        self.fail_queue(&RequestError::Ended);
        self.requests.fail_all(&RequestError::Ended);
        self.echoes.fail_all(&RequestError::Ended);
        self.report_answers();
    }

    fn version(&self) -> Option<ProtocolVersion> {
        match self.liveness.mode() {
            Mode::V1 => Some(ProtocolVersion::V1),
            Mode::V2 => Some(ProtocolVersion::V2),
            Mode::Greeting { .. } => None,
        }
    }

    /// Begins to speak version 1.
    fn fall_back(&mut self, now: Instant) {
        self.liveness.speak_v1(now);
        self.identity.renew(ATTEMPTS_V1);
    }

    fn greet(&mut self, now: Instant) {
        self.liveness.greet(now);
        self.session = None;
    }

    fn push_beat(&mut self, now: Instant, out: &mut Vec<u8>) {
        match self.liveness.mode() {
            Mode::V1 => {
                lines::push_heartbeat(out);
                self.due.probe = self.liveness.can_probe();
                let is_down = self.liveness.down().is_some();
                self.due.hello = is_down && self.choice == ProtocolChoice::Auto;
            }
            Mode::Greeting { .. } => crate::wire::v2::push_hello(out),
            Mode::V2 => {
                self.pings += 1;
                frames::push_heartbeat(self.session, self.pings, out);
            }
        }
        self.liveness.beat(now);
        self.identity.beat();
    }

    /// Tells the application what has changed, and drops what cannot be delivered any more.
    fn update(&mut self) {
        if let Some(reason) = self.liveness.down().cloned() {
            let error = RequestError::Down(reason.clone());
            if !std::mem::replace(&mut self.told_down, true) {
                self.told_up = None;
                self.events.push_back(Event::Down(reason));
                let unechoed = self.echoes.fail_all(&error);
                self.report_undelivered(unechoed, true);
                self.requests.fail_all(&error);
            }
            // Nobody knows when the server will be back, and if they still make sense then. In
            // version 1 a text may bring the news that it is.
            if self.liveness.mode() != Mode::V1 {
                self.fail_queue(&error);
            }
            return self.report_answers();
        }
        self.report_answers();
        if let Some(version) = self.version()
            && self.liveness.is_up()
            && self.told_up != Some(version)
        {
            self.told_up = Some(version);
            if std::mem::take(&mut self.told_down) && version == ProtocolVersion::V1 {
                self.identity.renew(ATTEMPTS_V1);
            }
            self.events.push_back(Event::Up(version));
        }
    }

    fn report_answers(&mut self) {
        for (responder, result) in self.requests.take_results() {
            self.events.push_back(Event::Answer {
                ticket: responder.id,
                result: result.clone(),
            });
            self.results.push((responder, result));
        }
    }

    fn report_undelivered(&mut self, payloads: Vec<Vec<u8>>, were_sent: bool) {
        if !payloads.is_empty() {
            self.events.push_back(Event::Undelivered {
                payloads,
                were_sent,
            });
        }
    }

    fn refuse(&mut self, command: Outgoing, responder: Responder, error: RequestError) {
        self.counts.unsent += 1;
        let payload = match command {
            Outgoing::Text(text) => text.into_bytes(),
            Outgoing::Bytes(bytes) => bytes,
            Outgoing::Request(_) => {
                self.requests.finish(responder, Err(error));
                return self.report_answers();
            }
        };
        self.results.push((responder, Err(error)));
        self.report_undelivered(vec![payload], false);
    }

    fn fail_queue(&mut self, error: &RequestError) {
        while let Some((command, responder)) = self.queue.pop_front() {
            self.refuse(command, responder, error.clone());
        }
    }

    /// A text or a payload was sent.
    fn note_sent(&mut self, payload: Vec<u8>, responder: Responder, now: Instant) {
        if self.expects_echo {
            self.echoes.said(payload, responder, now);
            self.liveness.expect_answer(now);
        } else {
            self.results.push((responder, Ok(Answer::Done)));
        }
    }

    /// Takes a sentence of the server in either version.
    fn handle_notice(&mut self, code: Option<NoticeCode>, sentence: &[u8], now: Instant) {
        let is_line = code.is_none();
        let reply = match code {
            Some(code) => Reply::parse(code, sentence),
            None => Reply::parse_uncoded(sentence),
        };
        let is_answer = reply
            .as_ref()
            .is_some_and(|reply| self.requests.replied(reply));
        if matches!(reply, Some(Reply::PeerLimit(_))) {
            return self.liveness.full(now);
        }
        let confirmation = match &reply {
            Some(Reply::Named(name)) => self.identity.named(*name),
            Some(Reply::Entered { room, .. }) => {
                let confirmation = self.identity.entered(*room);
                if is_line && confirmation == Confirmation::Changed {
                    self.events.push_back(Event::Room(*room));
                }
                confirmation
            }
            Some(Reply::Subscribed(is_on)) => self.identity.subscribed(*is_on),
            _ => Confirmation::Unrequested,
        };
        if is_line && (is_answer || confirmation != Confirmation::Unrequested) {
            self.liveness.set_can_probe_v1(true);
        }
        let code = code.unwrap_or(reply.as_ref().map_or(NoticeCode::Done, Reply::code));
        if is_line && confirmation == Confirmation::Known && !is_answer {
            // The reply to a check of the session itself.
            return;
        }
        let text = String::from_utf8_lossy(sentence);
        let is_repeated = code == NoticeCode::Refused && !is_answer;
        if is_repeated && self.identity.is_repeated_refusal(&text) {
            return;
        }
        let text = text.into_owned();
        self.events.push_back(Event::Notice { code, text });
        if let Some(Reply::Presence { changes, members }) = reply {
            self.events.push_back(Event::Presence { changes, members });
        }
    }
}

/// Number of commands that wait in the protocol. More wait in the channel of the session.
const MAX_QUEUED: usize = 64;

#[cfg(test)]
mod tests;
