//! Requests to the server that wait for its reply. No I/O, and no clock.

use std::io::Write;
use std::time::{Duration, Instant};

use super::unanswered::Unanswered;
use crate::client::event::{Answer, Joined, Listing, Members, Refusal, RequestError};
use crate::client::ticket::Responder;
use crate::wire::{DisplayName, Name, Reply, RoomName, Verb};

/// A request to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
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
    /// To receive a room, besides the own one.
    Subscribe(RoomName),
    Unsubscribe(RoomName),
    /// A measurement of the round trip, with a number of its own.
    Ping(u64),
}

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) sent_at: Instant,
    /// `None` for a ping of the session itself.
    pub(super) responder: Option<Responder>,
}

/// The result of a request, and the means to hand it over.
pub(super) type Answered = (Option<Responder>, Result<Answer, RequestError>);

/// Returns a random number, or 0 if the kernel has none. Then pings of others may be taken for
/// those of this session, anybody may answer a HELLO, and retries have no jitter.
pub(crate) fn random_number() -> u64 {
    getrandom::u64().unwrap_or_default()
}

impl Request {
    /// Returns a ping that nobody else sends.
    pub fn ping() -> Self {
        Self::Ping(random_number())
    }

    /// Appends the command as a line. A subscription is none.
    pub(super) fn push_line(&self, out: &mut Vec<u8>) {
        let result = match self {
            Self::Name(name) => write!(out, "/nick {name}"),
            Self::Room(room) => write!(out, "/join {room}"),
            Self::Private { to, text } => write!(out, "/msg {to} {text}"),
            Self::Members(first) => write!(out, "/who {first}"),
            Self::Rooms(first) => write!(out, "/rooms {first}"),
            Self::Presence(true) => write!(out, "/presence on"),
            Self::Presence(false) => write!(out, "/presence off"),
            Self::Ping(number) => write!(out, "/ping {}", token(*number)),
            Self::Subscribe(_) | Self::Unsubscribe(_) => Ok(()),
        };
        result.expect("writing to a Vec never fails");
    }

    /// Returns true if the line is the command.
    pub(super) fn is_command(&self, line: &[u8]) -> bool {
        let mut own = Vec::new();
        self.push_line(&mut own);
        own == line
    }

    /// Returns the result of the request if `reply`, which came after this time, is the reply
    /// to it.
    fn result(&self, reply: &Reply<'_>, time: Duration) -> Option<Result<Answer, Refusal>> {
        let answer = |answer| Some(Ok(answer));
        let refusal = |refusal| Some(Err(refusal));
        match (self, reply) {
            (Self::Name(own), Reply::Named(name) | Reply::NamedUnconfirmed(name))
                if own == name =>
            {
                answer(Answer::Done)
            }
            (Self::Name(own), Reply::NameTaken(name) | Reply::NameLost(name, _)) if own == name => {
                refusal(Refusal::NameTaken(*name))
            }
            (Self::Name(_), Reply::NameLimit(limit)) => refusal(Refusal::NameLimit(*limit)),
            (Self::Room(own), Reply::Entered { room, members }) if is_same(own, room) => {
                let (room, members) = (*room, *members);
                answer(Answer::Joined(Joined { room, members }))
            }
            (Self::Room(own), Reply::RoomFull(room, max)) if is_same(own, room) => {
                refusal(Refusal::RoomFull(*room, *max))
            }
            (Self::Room(own), Reply::RoomLimit(room, limit)) if is_same(own, room) => {
                refusal(Refusal::RoomLimit(*room, *limit))
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
            (Self::Ping(own), Reply::Pong(other)) if token(*own).as_bytes() == *other => {
                answer(Answer::RoundTrip(time))
            }
            (Self::Subscribe(own), Reply::RoomFull(room, max)) if is_same(own, room) => {
                refusal(Refusal::RoomFull(*room, *max))
            }
            (Self::Subscribe(own), Reply::RoomLimit(room, limit)) if is_same(own, room) => {
                refusal(Refusal::RoomLimit(*room, *limit))
            }
            (Self::Subscribe(_), Reply::SessionRoomLimit(max)) => {
                refusal(Refusal::SessionRoomLimit(*max))
            }
            (own, Reply::Usage(verb)) if own.verb() == Some(*verb) => refusal(Refusal::Misuse),
            _ => None,
        }
    }

    fn verb(&self) -> Option<Verb> {
        Some(match self {
            Self::Name(_) => Verb::Nick,
            Self::Room(_) => Verb::Join,
            Self::Private { .. } => Verb::Msg,
            Self::Members(_) => Verb::Who,
            Self::Rooms(_) => Verb::Rooms,
            Self::Presence(_) => Verb::Presence,
            Self::Ping(_) => Verb::Ping,
            Self::Subscribe(_) | Self::Unsubscribe(_) => return None,
        })
    }
}

impl Unanswered<Asked> {
    /// Removes the oldest request that `reply` is the reply to, and returns it with its result.
    pub(super) fn replied(
        &mut self,
        reply: &Reply<'_>,
        now: Instant,
    ) -> Option<(Asked, Result<Answer, RequestError>)> {
        let result = |asked: &Asked| asked.request.result(reply, asked.age(now));
        let (at, result) = self.find(result)?;
        let asked = self.remove(at)?;
        Some((asked, result.map_err(RequestError::Refused)))
    }

    /// Removes a request that has been carried out.
    pub(super) fn done(&mut self, is_it: impl Fn(&Request) -> bool) -> Option<Answered> {
        let (at, ()) = self.find(|asked| is_it(&asked.request).then_some(()))?;
        Some((self.remove(at)?.responder, Ok(Answer::Done)))
    }

    /// Someone said this text. If it is the command of a request, the server knows no
    /// commands, and told it to everyone. A ping has its round trip even so.
    pub(super) fn text_received(&mut self, text: &[u8], now: Instant) -> Option<Answered> {
        // This is called for each message, and seldom needed.
        if !text.starts_with(b"/") {
            return None;
        }
        let (at, result) = self.find(|asked| match asked.request {
            _ if !asked.request.is_command(text) => None,
            Request::Ping(_) => Some(Ok(Answer::RoundTrip(asked.age(now)))),
            _ => Some(Err(RequestError::NotUnderstood)),
        })?;
        Some((self.remove(at)?.responder, result))
    }
}

impl Asked {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.sent_at)
    }
}

/// Returns the token of a ping with this number, in either version.
pub(super) fn token(ping: u64) -> String {
    format!("{ping:016x}")
}

fn is_same(one: &RoomName, other: &RoomName) -> bool {
    one.folded() == other.folded()
}

fn is_to(one: &DisplayName, written: &[u8]) -> bool {
    DisplayName::parse(written) == Some(*one)
}

#[cfg(test)]
mod tests;
