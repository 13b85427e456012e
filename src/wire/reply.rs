//! Sentences of the server: replies to commands, and presence notices.
//!
//! [`Reply::push`] writes them for the server, and [`Reply::parse`] parses them for clients.
//! The two are inverse, with one exception. A presence notice about a peer whose name is a
//! number, such as `12 joined (40 here)`, is parsed as one that counts peers.

mod parse;

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;

use super::command::Verb;
use super::name::{ALLOWED, DisplayName, Name, RoomName};
use super::proof::ProofToken;
use super::protocol::{MAX_NAME_BYTES, MAX_ROOM_NAME_BYTES, MAX_TOKEN_BYTES};

/// A sentence of the server to one peer.
///
/// A v1 peer receives it after `* `, a v2 peer in a NOTICE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// All commands.
    Help,
    /// `you are NAME`
    Named(Name),
    /// `you are NAME (not confirmed)`
    ///
    /// The peer has the name, but the node of the cluster that keeps it has not answered. Another peer
    /// may have it, too, and one of the two then loses it.
    NamedUnconfirmed(Name),
    /// `the cluster is split: only peers of this server are here`
    Split,
    /// `the cluster is whole again`
    Whole,
    /// `you are in ROOM (N here)`
    Entered {
        /// The room that the peer is in.
        room: RoomName,
        /// Number of its members, the peer included.
        members: usize,
    },
    /// `N in ROOM: NAME NAME ...`
    Members(RoomName, Page),
    /// `N rooms: ROOM (N) ROOM (N) ...`
    Rooms(Page),
    /// `to WHOM: TEXT`
    Sent {
        /// The receiver, as the peer wrote it. One word.
        to: &'a [u8],
        /// The text of the direct message.
        text: &'a [u8],
    },
    /// `pong TOKEN`
    Pong(&'a [u8]),
    /// `presence is on` or `presence is off`
    Subscribed(bool),
    /// `usage: /VERB ...`
    Usage(Verb),
    /// `peer limit reached (LIMIT)`
    PeerLimit(Limit),
    /// `NAME is taken`
    NameTaken(Name),
    /// `NAME belongs to a peer of another server: you are IP:PORT`
    ///
    /// The peer has lost its name, and has its address again. No request precedes it.
    NameLost(Name, SocketAddr),
    /// `name limit reached (LIMIT)`
    NameLimit(Limit),
    /// `ROOM is full (MAX)`
    RoomFull(RoomName, usize),
    /// `cannot create "ROOM": room limit reached (LIMIT)`
    RoomLimit(RoomName, Limit),
    /// `no such peer: WHOM`
    NoSuchPeer(&'a [u8]),
    /// A direct message was not sent.
    TooManyMessages,
    /// A list was not made.
    TooManyLists,
    /// `not in room NUMBER`
    NotInRoom(u32),
    /// `at most MAX rooms`
    SessionRoomLimit(usize),
    /// `unknown frame 0x77`
    UnknownFrame(u8),
    /// `unknown option 77`
    UnknownOption(u8),
    /// `say /in TOKEN`
    Prove(ProofToken),
    /// `at most 20 texts per second`
    ///
    /// The peer is over its budget. The server drops what exceeds it.
    OverBudget {
        /// The resource that the peer used too much of.
        resource: Resource,
        /// The amount that the peer may use per second: texts, bytes or units of work.
        per_second: u32,
    },
    /// `removed by the operator`
    Removed,
    /// `muted by the operator for SECONDS s`
    Muted(u64),
    /// `not muted any more`
    Unmuted,
    /// `operator: TEXT`
    Operator(&'a [u8]),
    /// `the server stops in SECONDS s`
    Stopping(u64),
    /// `stopping soon, no newcomers`
    NoNewcomers,
    /// `ada joined, bob left (12 here)`
    Presence {
        /// Changes in the peer's room since the last notice.
        changes: Changes,
        /// Number of members of the room.
        members: usize,
    },
}

/// A resource of the server that a peer has a budget of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Texts to rooms.
    Texts,
    /// Bytes of datagrams that the server receives from the peer.
    Bytes,
    /// Units of work, which commands and frames cost.
    Work,
}

/// A maximum that is reached: `10000`, `50 in your network` or `20 per second in your network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The maximum.
    pub max: u32,
    /// The range of the maximum.
    pub scope: LimitScope,
}

/// The range of a [`Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// The whole server.
    Server,
    /// The peers of a network. They have as much as is left for others.
    Network,
    /// The peers of a network within a second.
    NetworkPerSecond,
}

/// Kind of a [`Reply`], for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeCode {
    /// A command was carried out.
    Done,
    /// A command had wrong arguments. The sentence says which ones it takes.
    Misuse,
    /// A command was refused. The sentence says why.
    Refused,
    /// Peers joined, left or were renamed.
    Presence,
    /// The operator says something to a room or to all peers, or the server is about to stop.
    Operator,
    /// A code of a later version.
    Other(u8),
}

/// Part of a list that fits into one reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Number of entries of the whole list.
    pub total: usize,
    /// Number of the first entry of the page, counted from 1.
    pub first: usize,
    count: usize,
    /// The entries, each after a blank.
    text: String,
}

/// Changes in a room since the last notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// 1 to [`MAX_NAMED_EVENTS`] changes, in order: `ada joined, bob left`
    Events(Vec<PresenceEvent>),
    /// Numbers of more changes, each at its [`PresenceEvent::index`]: `3,120 joined, 12 left`
    Counts([u64; 4]),
}

/// A change in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEvent {
    /// A peer came to the room.
    Joined(DisplayName),
    /// A peer left the room, or the server.
    Left(DisplayName),
    /// The server dropped a peer that was silent for too long.
    TimedOut(DisplayName),
    /// A peer took another name. Its address is its name if it has lost one to a peer of another server.
    Renamed(DisplayName, DisplayName),
}

/// A number with a comma between groups of three digits: `10,300`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thousands(pub u64);

impl Reply<'_> {
    /// The kind of the sentence.
    pub fn code(&self) -> NoticeCode {
        match self {
            Self::Usage(_) => NoticeCode::Misuse,
            Self::NameTaken(_) | Self::NameLimit(_) | Self::NameLost(..) => NoticeCode::Refused,
            Self::NoSuchPeer(_) => NoticeCode::Refused,
            Self::RoomFull(..) | Self::RoomLimit(..) => NoticeCode::Refused,
            Self::PeerLimit(_) => NoticeCode::Refused,
            Self::TooManyMessages | Self::TooManyLists => NoticeCode::Refused,
            Self::NotInRoom(_) | Self::SessionRoomLimit(_) => NoticeCode::Refused,
            Self::UnknownFrame(_) | Self::UnknownOption(_) => NoticeCode::Refused,
            Self::Prove(_) | Self::OverBudget { .. } => NoticeCode::Refused,
            Self::Removed | Self::Muted(_) | Self::NoNewcomers => NoticeCode::Refused,
            Self::Operator(_) | Self::Stopping(_) => NoticeCode::Operator,
            Self::Split | Self::Whole => NoticeCode::Operator,
            Self::Presence { .. } => NoticeCode::Presence,
            _ => NoticeCode::Done,
        }
    }

    /// Appends the sentence. It may contain any bytes that the peer wrote.
    pub fn push(&self, out: &mut Vec<u8>) {
        self.write(out).expect("writing to a Vec never fails");
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let number = |number: &usize| Thousands(*number as u64);
        match self {
            Self::Help => write!(out, "{HELP}"),
            Self::Named(name) => write!(out, "you are {name}"),
            Self::NamedUnconfirmed(name) => write!(out, "you are {name} (not confirmed)"),
            Self::Split => write!(out, "{SPLIT}"),
            Self::Whole => write!(out, "{WHOLE}"),
            Self::Entered { room, members } => {
                write!(out, "you are in {room} ({} here)", number(members))
            }
            Self::Members(room, page) => {
                write!(out, "{} in {room}", number(&page.total))?;
                page.write(Verb::Who, out)
            }
            Self::Rooms(page) => {
                let plural = if page.total == 1 { "" } else { "s" };
                write!(out, "{} room{plural}", number(&page.total))?;
                page.write(Verb::Rooms, out)
            }
            Self::Sent { to, text } => write_parts([b"to ", to, b": ", text], out),
            Self::Pong(token) => write_parts([PONG, token], out),
            Self::Subscribed(true) => write!(out, "presence is on"),
            Self::Subscribed(false) => write!(out, "presence is off"),
            Self::Usage(verb) => write_usage(*verb, out),
            Self::PeerLimit(limit) => write!(out, "{PEER_LIMIT}{limit})"),
            Self::NameTaken(name) => write!(out, "{name} is taken"),
            Self::NameLost(name, address) => {
                write!(
                    out,
                    "{name} belongs to a peer of another server: you are {address}"
                )
            }
            Self::NameLimit(limit) => write!(out, "name limit reached ({limit})"),
            Self::RoomFull(room, max) => write!(out, "{room} is full ({max})"),
            Self::RoomLimit(room, limit) => {
                write!(
                    out,
                    "cannot create \"{room}\": room limit reached ({limit})"
                )
            }
            Self::NoSuchPeer(whom) => write_parts([NO_SUCH_PEER, whom], out),
            Self::TooManyMessages => write!(out, "too many messages in one datagram"),
            Self::TooManyLists => write!(out, "too many lists in one datagram"),
            Self::NotInRoom(room) => write!(out, "not in room {room}"),
            Self::SessionRoomLimit(max) => write!(out, "at most {max} rooms"),
            Self::UnknownFrame(kind) => write!(out, "unknown frame {kind:#04x}"),
            Self::UnknownOption(kind) => write!(out, "unknown option {kind}"),
            Self::Prove(token) => write!(out, "{PROVE}{token}"),
            Self::OverBudget {
                resource,
                per_second,
            } => {
                let amount = Thousands(u64::from(*per_second));
                write!(out, "at most {amount} {resource} per second")
            }
            Self::Removed => write!(out, "removed by the operator"),
            Self::Muted(seconds) => write!(out, "muted by the operator for {seconds} s"),
            Self::Unmuted => write!(out, "not muted any more"),
            Self::Operator(text) => write_parts([OPERATOR, text], out),
            Self::Stopping(seconds) => write!(out, "the server stops in {seconds} s"),
            Self::NoNewcomers => write!(out, "{NO_NEWCOMERS}"),
            Self::Presence { changes, members } => {
                write!(out, "{changes} ({} here)", number(members))
            }
        }
    }
}

impl Page {
    /// Begins a page with number `first` of a list, counted from 1.
    pub fn new(first: usize) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// Adds the next entry. Returns `None` if the entries would be longer than `max_bytes`.
    pub fn push(&mut self, entry: impl Display, max_bytes: usize) -> Option<()> {
        let end = self.text.len();
        self.text += &format!(" {entry}");
        if self.text.len() > max_bytes {
            self.text.truncate(end);
            return None;
        }
        self.count += 1;
        Some(())
    }

    /// The names on the page. Those that this version cannot parse are left out.
    pub fn names<N: FromStr>(&self) -> impl Iterator<Item = N> {
        self.text.split(' ').filter_map(|word| word.parse().ok())
    }

    /// Appends what follows the head of the list:
    /// - all entries: `: a b c`
    /// - none: `, none from 9 on`
    /// - some: `, 1 to 3: a b c (more: /who 4)`
    fn write(&self, verb: Verb, out: &mut Vec<u8>) -> io::Result<()> {
        let (first, text) = (self.first, &self.text);
        let next = first.saturating_add(self.count);
        if first == 1 && self.count == self.total {
            return write!(out, ":{text}");
        }
        if self.count == 0 {
            return write!(out, ", none from {first} on");
        }
        write!(out, ", {first} to {}:{text}", next - 1)?;
        if next > self.total {
            return Ok(());
        }
        write!(out, " (more: /{} {next})", verb.as_str())
    }
}

impl PresenceEvent {
    /// Index of the event's kind in [`Changes::Counts`].
    pub fn index(&self) -> usize {
        match self {
            Self::Joined(_) => 0,
            Self::Left(_) => 1,
            Self::TimedOut(_) => 2,
            Self::Renamed(..) => 3,
        }
    }
}

impl Display for Resource {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Texts => "texts",
            Self::Bytes => "bytes",
            Self::Work => "units of work",
        })
    }
}

impl Display for PresenceEvent {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(who) => write!(out, "{who} joined"),
            Self::Left(who) => write!(out, "{who} left"),
            Self::TimedOut(who) => write!(out, "{who} timed out"),
            Self::Renamed(who, now) => write!(out, "{who} is now {now}"),
        }
    }
}

impl Display for Changes {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let counted = |(count, kind): (&u64, &str)| format!("{} {kind}", Thousands(*count));
        let parts: Vec<_> = match self {
            Self::Events(events) => events.iter().map(PresenceEvent::to_string).collect(),
            Self::Counts(counts) => {
                let counts = counts.iter().zip(KINDS).filter(|(count, _)| **count > 0);
                counts.map(counted).collect()
            }
        };
        out.write_str(&parts.join(", "))
    }
}

impl Limit {
    /// Returns a maximum of the whole server.
    pub fn of_server(max: u32) -> Self {
        let scope = LimitScope::Server;
        Self { max, scope }
    }
}

impl Display for Limit {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.max, self.scope.words())
    }
}

impl LimitScope {
    pub(super) const ALL: [Self; 3] = [Self::Server, Self::Network, Self::NetworkPerSecond];

    /// Returns what follows the maximum.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Server => "",
            Self::Network => " in your network",
            Self::NetworkPerSecond => " per second in your network",
        }
    }
}

impl Display for Thousands {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            number @ ..1000 => number.fmt(out),
            number => write!(out, "{},{:03}", Self(number / 1000), number % 1000),
        }
    }
}

fn write_usage(verb: Verb, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "usage: /{}", verb.as_str())?;
    match verb {
        Verb::Help | Verb::Leave => Ok(()),
        Verb::Nick => write!(out, " NAME (1 to {MAX_NAME_BYTES} of {ALLOWED})"),
        Verb::Join => write!(out, " ROOM (1 to {MAX_ROOM_NAME_BYTES} of {ALLOWED})"),
        Verb::Who | Verb::Rooms => write!(out, " [FROM]"),
        Verb::Msg => write!(out, " NAME TEXT"),
        Verb::Ping => write!(out, " TOKEN (1 to {MAX_TOKEN_BYTES} bytes)"),
        Verb::Presence => write!(out, " on|off"),
    }
}

fn write_parts<const N: usize>(parts: [&[u8]; N], out: &mut Vec<u8>) -> io::Result<()> {
    parts.iter().try_for_each(|part| out.write_all(part))
}

const HELP: &str = "/nick NAME, /join ROOM, /leave to the lobby, /who [FROM], \
    /rooms [FROM], /msg NAME TEXT, /ping TOKEN, /presence on|off";

/// Maximum number of changes that a notice names, so that it can be read at a glance.
pub const MAX_NAMED_EVENTS: usize = 4;

/// Kinds of changes, by their index.
const KINDS: [&str; 4] = ["joined", "left", "timed out", "renamed"];

/// Start of [`Reply::PeerLimit`].
pub const PEER_LIMIT: &str = "peer limit reached (";

/// Start of [`Reply::Prove`].
pub const PROVE: &str = "say /in ";

/// The sentence of [`Reply::NoNewcomers`]. In version 1 it is not longer than three times an empty
/// datagram, with the headers, as the request for a proof is.
pub const NO_NEWCOMERS: &str = "stopping soon, no newcomers";

/// The sentence of [`Reply::Split`].
pub(super) const SPLIT: &str = "the cluster is split: only peers of this server are here";

/// The sentence of [`Reply::Whole`].
pub(super) const WHOLE: &str = "the cluster is whole again";

/// Start of [`Reply::Operator`]. No name contains a colon.
const OPERATOR: &[u8] = b"operator: ";

const PONG: &[u8] = b"pong ";
const NO_SUCH_PEER: &[u8] = b"no such peer: ";

#[cfg(test)]
mod tests;
