//! Events of a session, and the results of requests.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::config::ProtocolVersion;
use crate::wire::reply::{Changes, NoticeCode, Page, Resource};
use crate::wire::{DisplayName, Limit, Name, RoomName};

/// An event of a [`Session`](super::Session).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server is there, for the first time or after it was down. It is spoken to in this
    /// version of the protocol. In version 2 it has put the session into a room, so it sends the
    /// messages of the room from now on. In version 1 something has come from it. Comes again if
    /// a late answer changes the version.
    Up(ProtocolVersion),
    /// The server counts as down. The session keeps trying to reach it.
    Down(DownReason),
    /// Someone said something to the room, or to one that the session has subscribed to. This
    /// includes the session's own texts, whose sender is
    /// [`Session::name`](super::Session::name), or its address without one. See
    /// [`SessionConfig::echo`](super::SessionConfig::echo).
    Message(Message),
    /// Someone said something to this session alone.
    Private(Message),
    /// A sentence of the server for people: the reply to a command, or who joined and left.
    Notice {
        /// The kind of the sentence.
        code: NoticeCode,
        /// The sentence. Bytes that are not UTF-8 are replaced by `U+FFFD`.
        text: String,
    },
    /// Peers joined, left or were renamed, for programs. A [`Event::Notice`] with the same for
    /// people comes before. It comes only to a session that has called
    /// [`Session::presence`](super::Session::presence).
    Presence {
        /// Up to four changes since the last notice, by name. More come as counts alone, and
        /// [`Session::who`](super::Session::who) tells the names. The session's own changes
        /// are included.
        changes: Changes,
        /// The number of members of the room.
        members: usize,
    },
    /// The session was over a limit of the server, which has dropped something of it. A
    /// [`Event::Notice`] with the same for people comes before. The session sends more slowly from
    /// now on, so that it keeps the limit, until the server gives it another session.
    Limited {
        /// The resource that the session used too much of.
        resource: Resource,
        /// The amount that it may use per second: texts, bytes or units of work.
        per_second: u32,
    },
    /// The operator of the server said this to a room of the session, or to all peers, for programs.
    /// A [`Event::Notice`] with the same for people comes before.
    Operator(String),
    /// The server stops after this time, for programs. A [`Event::Notice`] with the same for people
    /// comes before.
    Stopping(Duration),
    /// The session is in this room from now on. It also comes when the session returns after
    /// the server was down, and who is there may have changed meanwhile.
    Room(RoomName),
    /// The result of a request.
    Answer {
        /// The number of the request, which its [`Ticket`](super::Ticket) also has.
        ticket: TicketId,
        /// The result.
        result: Result<Answer, RequestError>,
    },
    /// Texts whose echoes did not come, or that were not sent.
    Undelivered {
        /// The payloads, the oldest first.
        payloads: Vec<Vec<u8>>,
        /// True if they were sent. They may have been delivered even so.
        were_sent: bool,
    },
    /// The session is at another server from now on, at this address: one of
    /// [`SessionConfig::other_servers`](super::SessionConfig::other_servers), or one that the last
    /// server has named. An [`Event::Up`] follows. The session takes its name, rooms and presence
    /// notices again. Messages that its rooms received in between are lost, and nobody can tell how many
    /// there were: [`Session::stats`](super::Session::stats) does not count them.
    ServerChanged(SocketAddr),
    /// The session has lost this name, as it belongs to a peer of another server of the cluster. Its
    /// name is its address again. An [`Event::Notice`] with the same for people comes before.
    NameLost(Name),
    /// The server had forgotten the session. Its name and room have been requested again. In
    /// between, it spoke in the lobby under its address.
    Forgotten,
    /// The server sends datagrams of at most this many bytes from now on: 548 because the path
    /// loses longer ones, or 1200 because it does so no more. It comes in version 2 only. A single
    /// payload may be longer, and is then lost on such a path.
    BundleSize(usize),
    /// This many messages and notices were dropped, because the channel was full.
    Missed(u64),
}

/// Something that someone said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The room that it was said to. `None` for a direct message, and while the server has not
    /// told the room. One of version 1 tells it only when it is joined.
    pub room: Option<RoomName>,
    /// The sender.
    pub from: DisplayName,
    /// The payload: any bytes. From a server of version 1 it is printable text.
    pub payload: Vec<u8>,
    /// True if the server may have cut the payload, which it does in version 1.
    pub may_be_cut: bool,
}

/// The reason why a server counts as down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The network reported it. [`ConnectionRefused`](io::ErrorKind::ConnectionRefused)
    /// means that nothing listens on the port.
    Unreachable(io::ErrorKind),
    /// Something was sent that is answered, and nothing came within this time.
    NoAnswer(Duration),
    /// The server said goodbye: it stops, or its operator has removed the client.
    Goodbye,
    /// The server has its maximum number of peers.
    Full,
    /// The server is about to stop, and admits no newcomers.
    Stopping,
}

/// The number of a request or text in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub(super) u64);

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The request was carried out, or the text was delivered.
    Done,
    /// The session is in a room.
    Joined(Joined),
    /// The members of the room.
    Members(Members),
    /// The rooms of the server.
    Rooms(Listing<RoomName>),
    /// The time from a ping to its reply.
    RoundTrip(Duration),
}

/// The room that a session has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The room.
    pub room: RoomName,
    /// The number of its members, this session included.
    pub members: usize,
}

/// The members of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The room.
    pub room: RoomName,
    /// Its members.
    pub list: Listing<DisplayName>,
}

/// The part of a list that fits into one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// The number of the first entry in the whole list, counted from 1.
    pub first: usize,
    /// The number of entries of the whole list.
    pub total: usize,
}

/// The reason why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused it.
    #[error(transparent)]
    Refused(Refusal),
    /// No answer, or no echo of a text, came in time. The server may have carried it out.
    #[error("no answer")]
    NoAnswer,
    /// There is no result yet: the time to wait for it is over.
    #[error("no result yet")]
    Waiting,
    /// The server knows no commands. It told the command to everyone in the room.
    #[error("the server knows no commands, and told this to everyone")]
    NotUnderstood,
    /// The server is down. The request was not sent, or its answer will not come.
    #[error("the server is down: {0}")]
    Down(DownReason),
    /// The server speaks version 1, in which everything is a text.
    #[error("the server speaks version 1, in which only texts can be said")]
    TextOnly,
    /// The server speaks version 1, in which a session has one room.
    #[error("the server speaks version 1, in which a session has one room")]
    OneRoom,
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

/// A refusal of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another peer has the name.
    #[error("{0} is taken")]
    NameTaken(Name),
    /// This many names are in use, or were taken within a second.
    #[error("name limit reached ({0})")]
    NameLimit(Limit),
    /// The room has this many members, its maximum.
    #[error("{0} is full ({1})")]
    RoomFull(RoomName, usize),
    /// The room does not exist, and this many others do, or were created within a second.
    #[error("cannot create {0}: room limit reached ({1})")]
    RoomLimit(RoomName, Limit),
    /// The session is in this many rooms, its maximum.
    #[error("a session has at most {0} rooms")]
    SessionRoomLimit(usize),
    /// The session is not in this room, and does not subscribe to it.
    #[error("not in {0}")]
    NotInRoom(RoomName),
    /// No peer has this name or address.
    #[error("no such peer: {0}")]
    NoSuchPeer(DisplayName),
    /// The datagram held more direct messages than the server sends for one.
    #[error("too many messages at once")]
    TooManyMessages,
    /// The datagram held more requests for lists than the server answers for one.
    #[error("too many lists at once")]
    TooManyLists,
    /// The server does not take these arguments.
    #[error("the server does not take these arguments")]
    Misuse,
}

impl Message {
    /// The payload as text. Bytes that are not UTF-8 are replaced by `U+FFFD`. It may contain
    /// control characters, which [`push_printable`](crate::wire::push_printable) escapes.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.payload)
    }
}

impl Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(io::ErrorKind::ConnectionRefused) => {
                f.write_str("nothing listens there")
            }
            Self::Unreachable(kind) => kind.fmt(f),
            Self::NoAnswer(waited) => write!(f, "no answer within {waited:?}"),
            Self::Goodbye => f.write_str("it said goodbye"),
            Self::Full => f.write_str("it is full"),
            Self::Stopping => f.write_str("it is about to stop"),
        }
    }
}

impl<T: FromStr> Listing<T> {
    pub(super) fn of(page: &Page) -> Self {
        Self {
            entries: page.names().collect(),
            first: page.first,
            total: page.total,
        }
    }
}

macro_rules! answers {
    ($($type:ty = $pattern:pat => $value:expr;)*) => {
        $(impl TryFrom<Answer> for $type {
            /// The answer, which is one to another request.
            type Error = Answer;

            fn try_from(answer: Answer) -> Result<Self, Answer> {
                match answer {
                    $pattern => Ok($value),
                    other => Err(other),
                }
            }
        })*
    };
}

answers! {
    () = Answer::Done => ();
    Joined = Answer::Joined(joined) => joined;
    Members = Answer::Members(members) => members;
    Listing<RoomName> = Answer::Rooms(rooms) => rooms;
    Duration = Answer::RoundTrip(time) => time;
}

#[cfg(test)]
mod tests;
