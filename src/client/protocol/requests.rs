//! Requests to the server that wait for its reply. No I/O, and no clock.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::event::{Answer, Joined, Listing, Members, Refusal, RequestError};
use crate::client::ticket::Responder;
use crate::wire::{Command, DisplayName, Name, Reply, RoomName, Verb, parse_command};

/// A request to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Name(Name),
    Room(RoomName),
    /// A direct message.
    Private {
        to: DisplayName,
        text: String,
    },
    /// The members of the room, from this number on.
    Members(usize),
    /// The rooms of the server, from this number on.
    Rooms(usize),
    Presence(bool),
    /// A measurement of the round trip.
    Ping,
}

/// The requests that were sent, the oldest first.
#[derive(Debug)]
pub(super) struct Requests {
    pending: VecDeque<Pending>,
    /// The numbers of other clients' pings are far from this one.
    last_ping: u64,
    /// The results that the application has not received.
    results: Vec<(Responder, Result<Answer, RequestError>)>,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    /// The number of a ping.
    ping: u64,
    sent_at: Instant,
    responder: Responder,
}

impl Request {
    /// Appends the command as a line.
    fn push_line(&self, out: &mut Vec<u8>) {
        let result = match self {
            Self::Name(name) => write!(out, "/nick {name}"),
            Self::Room(room) => write!(out, "/join {room}"),
            Self::Private { to, text } => write!(out, "/msg {to} {text}"),
            Self::Members(first) => write!(out, "/who {first}"),
            Self::Rooms(first) => write!(out, "/rooms {first}"),
            Self::Presence(true) => write!(out, "/presence on"),
            Self::Presence(false) => write!(out, "/presence off"),
            Self::Ping => Ok(()),
        };
        result.expect("writing to a Vec never fails");
    }

    fn is_command(&self, line: &[u8]) -> bool {
        let mut own = Vec::new();
        self.push_line(&mut own);
        own == line
    }

    /// Returns the result of the request if `reply` is the reply to it.
    fn result(&self, reply: &Reply<'_>) -> Option<Result<Answer, Refusal>> {
        let answer = |answer| Some(Ok(answer));
        let refusal = |refusal| Some(Err(refusal));
        match (self, reply) {
            (Self::Name(own), Reply::Named(name)) if own == name => answer(Answer::Done),
            (Self::Name(own), Reply::NameTaken(name)) if own == name => {
                refusal(Refusal::NameTaken(*name))
            }
            (Self::Name(_), Reply::NameLimit(max)) => refusal(Refusal::NameLimit(*max)),
            (Self::Room(own), Reply::Entered { room, members }) if is_same(own, room) => {
                let (room, members) = (*room, *members);
                answer(Answer::Joined(Joined { room, members }))
            }
            (Self::Room(own), Reply::RoomFull(room, max)) if is_same(own, room) => {
                refusal(Refusal::RoomFull(*room, *max))
            }
            (Self::Room(own), Reply::RoomLimit(room, max)) if is_same(own, room) => {
                refusal(Refusal::RoomLimit(*room, *max))
            }
            (Self::Private { to: own, .. }, Reply::Sent { to, .. }) if is_to(own, to) => {
                answer(Answer::Done)
            }
            (Self::Private { to: own, .. }, Reply::NoSuchPeer(to)) if is_to(own, to) => {
                refusal(Refusal::NoSuchPeer(*own))
            }
            (Self::Private { .. }, Reply::TooManyMessages) => refusal(Refusal::TooManyMessages),
            (Self::Members(_), Reply::Members(room, page)) => answer(Answer::Members(Members {
                room: *room,
                list: Listing::of(page),
            })),
            (Self::Rooms(_), Reply::Rooms(page)) => answer(Answer::Rooms(Listing::of(page))),
            (Self::Members(_) | Self::Rooms(_), Reply::TooManyLists) => {
                refusal(Refusal::TooManyLists)
            }
            (Self::Presence(own), Reply::Subscribed(is_on)) if own == is_on => answer(Answer::Done),
            (own, Reply::Usage(verb)) if own.verb() == *verb => refusal(Refusal::Misuse),
            _ => None,
        }
    }

    fn verb(&self) -> Verb {
        match self {
            Self::Name(_) => Verb::Nick,
            Self::Room(_) => Verb::Join,
            Self::Private { .. } => Verb::Msg,
            Self::Members(_) => Verb::Who,
            Self::Rooms(_) => Verb::Rooms,
            Self::Presence(_) => Verb::Presence,
            Self::Ping => Verb::Ping,
        }
    }
}

impl Requests {
    /// `seed` is a random number.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            pending: VecDeque::new(),
            last_ping: seed,
            results: Vec::new(),
        }
    }

    /// Returns true if one more request may be sent.
    pub(super) fn has_space(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    /// Appends the line that makes `request` in version 1, or the body of a COMMAND. The
    /// request then waits for its reply.
    pub(super) fn push_line(
        &mut self,
        request: Request,
        responder: Responder,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        let is_ping = request == Request::Ping;
        request.push_line(out);
        let ping = self.begin(request, responder, now);
        if is_ping {
            out.extend_from_slice(format!("/ping {ping:016x}").as_bytes());
        }
    }

    /// Returns the token of a PING of version 2, which then waits for its PONG.
    pub(super) fn ping_token(&mut self, responder: Responder, now: Instant) -> [u8; TOKEN_BYTES] {
        let mut token = [MARK; TOKEN_BYTES];
        let number = self.begin(Request::Ping, responder, now);
        token[1..].copy_from_slice(&number.to_be_bytes());
        token
    }

    /// Returns a new number for the probe of a v1 server, which no request waits for.
    pub(super) fn push_probe(&mut self, out: &mut Vec<u8>) {
        self.last_ping = self.last_ping.wrapping_add(1);
        out.extend_from_slice(format!("/ping {:016x}", self.last_ping).as_bytes());
    }

    /// Answers the oldest request that `reply` is the reply to. Returns false if there is
    /// none.
    pub(super) fn replied(&mut self, reply: &Reply<'_>) -> bool {
        let mut pending = self.pending.iter().enumerate();
        let found = pending.find_map(|(at, pending)| Some((at, pending.request.result(reply)?)));
        let Some((at, result)) = found else {
            return false;
        };
        self.respond(at, result.map_err(RequestError::Refused));
        true
    }

    /// Answers the ping with this token of version 2, and returns its round trip.
    pub(super) fn token_received(&mut self, token: &[u8], now: Instant) -> Option<Duration> {
        let (mark, number) = token.split_first()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (*mark == MARK).then(|| self.pong(number, now))?
    }

    /// Answers the ping with this token of version 1, and returns its round trip. A probe
    /// has none.
    pub(super) fn line_token_received(&mut self, token: &[u8], now: Instant) -> Option<Duration> {
        self.pong(line_number(token)?, now)
    }

    /// Returns true for the token of a probe.
    pub(super) fn is_recent_probe(&self, token: &[u8]) -> bool {
        let number = line_number(token);
        number.is_some_and(|number| self.last_ping.wrapping_sub(number) < RECENT_PINGS)
    }

    /// Someone said this text. If it is the command of a request, the server knows no
    /// commands, and told it to everyone. A ping has its round trip even so.
    pub(super) fn text_received(&mut self, text: &[u8], now: Instant) {
        if self.pending.is_empty() || !text.starts_with(b"/") {
            return;
        }
        if let Some(Ok(Command::Ping(token))) = parse_command(text) {
            self.line_token_received(token, now);
            return;
        }
        let mut pending = self.pending.iter();
        if let Some(at) = pending.position(|pending| pending.request.is_command(text)) {
            self.respond(at, Err(RequestError::NotUnderstood));
        }
    }

    /// Fails the requests that were sent before `oldest`.
    pub(super) fn expire(&mut self, oldest: Instant) {
        while self
            .pending
            .front()
            .is_some_and(|front| front.sent_at <= oldest)
        {
            self.respond(0, Err(RequestError::NoAnswer));
        }
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.sent_at)
    }

    pub(super) fn fail_all(&mut self, error: &RequestError) {
        while !self.pending.is_empty() {
            self.respond(0, Err(error.clone()));
        }
    }

    /// Gives a request its result, also one that was not sent.
    pub(super) fn finish(&mut self, responder: Responder, result: Result<Answer, RequestError>) {
        self.results.push((responder, result));
    }

    pub(super) fn take_results(
        &mut self,
    ) -> impl Iterator<Item = (Responder, Result<Answer, RequestError>)> {
        self.results.drain(..)
    }

    fn begin(&mut self, request: Request, responder: Responder, now: Instant) -> u64 {
        if request == Request::Ping {
            self.last_ping = self.last_ping.wrapping_add(1);
        }
        self.pending.push_back(Pending {
            request,
            ping: self.last_ping,
            sent_at: now,
            responder,
        });
        self.last_ping
    }

    fn pong(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let is_it = |pending: &Pending| pending.request == Request::Ping && pending.ping == number;
        let at = self.pending.iter().position(is_it)?;
        let round_trip = now.saturating_duration_since(self.pending[at].sent_at);
        self.respond(at, Ok(Answer::RoundTrip(round_trip)));
        Some(round_trip)
    }

    fn respond(&mut self, at: usize, result: Result<Answer, RequestError>) {
        if let Some(pending) = self.pending.remove(at) {
            self.finish(pending.responder, result);
        }
    }
}

/// Returns the number of a ping of version 1.
fn line_number(token: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(token).ok()?, 16).ok()
}

fn is_same(one: &RoomName, other: &RoomName) -> bool {
    one.folded() == other.folded()
}

fn is_to(one: &DisplayName, written: &[u8]) -> bool {
    DisplayName::parse(written) == Some(*one)
}

/// Maximum number of requests without a reply. More wait until replies come, or do not come
/// in time.
const MAX_PENDING: usize = 1024;

/// A mark and a number. The token of a heartbeat has another length.
const TOKEN_BYTES: usize = 9;

const MARK: u8 = b'?';

/// Probes that may still be answered.
const RECENT_PINGS: u64 = 16;

#[cfg(test)]
mod tests;
