//! Sentences of the server: replies to commands, and presence notices.
//!
//! [`Reply::push`] writes them for the server, and [`Reply::parse`] parses them for clients.
//! The two are inverse, with one exception. A presence notice about a peer whose name is a
//! number, such as `12 joined (40 here)`, is parsed as one that counts peers.

mod number;
mod page;
mod presence;

use std::fmt::Display;
use std::io::Write;

use super::command::Verb;
use super::limits::{MAX_NAME_BYTES, MAX_ROOM_NAME_BYTES, MAX_TOKEN_BYTES};
use super::name::{DisplayName, LabelRule, Name, RoomName};

use number::parse_number;

pub use number::Thousands;
pub use page::{Entry, MAX_PAGE_BYTES, Page, PageBuilder, PageFull, RoomSummary};
pub use presence::{Changes, MAX_NAMED_EVENTS, PresenceCounts, PresenceEvent};

/// A sentence of the server to one peer.
///
/// A v1 peer receives it after `* `, a v2 peer in a NOTICE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// All commands.
    Help,
    /// `you are NAME`
    Named(Name),
    /// `you are in ROOM (N here)`
    Entered {
        /// The room that the peer is in.
        room: RoomName,
        /// Number of its members, the peer included.
        members: usize,
    },
    /// `N in ROOM: NAME NAME ...`
    Members {
        /// The room that the peer is in.
        room: RoomName,
        /// Its members.
        page: Page<'a, DisplayName>,
    },
    /// `N rooms: ROOM (N) ROOM (N) ...`
    Rooms(Page<'a, RoomSummary>),
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
    /// `NAME is taken`
    NameTaken(Name),
    /// `name limit reached (N)`
    NameLimit(usize),
    /// `ROOM is full (N)`
    RoomFull {
        /// The room.
        room: RoomName,
        /// Maximum number of its members.
        max_members: usize,
    },
    /// `cannot create "ROOM": room limit reached (N)`
    RoomLimit {
        /// The room that does not exist.
        room: RoomName,
        /// Maximum number of rooms.
        max_rooms: usize,
    },
    /// `no such peer: WHOM`
    NoSuchPeer(&'a [u8]),
    /// A direct message was not sent.
    TooManyMessages,
    /// A list was not made.
    TooManyLists,
    /// `ada joined, bob left (12 here)`
    Presence {
        /// Changes in the peer's room since the last notice.
        changes: Changes<'a>,
        /// Number of members of the room.
        members: usize,
    },
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
    /// A code of a later version.
    Other(u8),
}

impl<'a> Reply<'a> {
    /// The kind of the sentence.
    pub fn code(&self) -> NoticeCode {
        match self {
            Self::Help
            | Self::Named(_)
            | Self::Entered { .. }
            | Self::Members { .. }
            | Self::Rooms(_)
            | Self::Sent { .. }
            | Self::Pong(_)
            | Self::Subscribed(_) => NoticeCode::Done,
            Self::Usage(_) => NoticeCode::Misuse,
            Self::NameTaken(_)
            | Self::NameLimit(_)
            | Self::RoomFull { .. }
            | Self::RoomLimit { .. }
            | Self::NoSuchPeer(_)
            | Self::TooManyMessages
            | Self::TooManyLists => NoticeCode::Refused,
            Self::Presence { .. } => NoticeCode::Presence,
        }
    }

    /// Appends the sentence. It may contain any bytes that the peer wrote.
    pub fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Help => push(out, HELP),
            Self::Named(name) => push(out, format_args!("you are {name}")),
            Self::Entered { room, members } => {
                let members = Thousands(*members as u64);
                push(out, format_args!("you are in {room} ({members} here)"));
            }
            Self::Members { room, page } => {
                let total = Thousands(page.total() as u64);
                push(out, format_args!("{total} in {room}"));
                page.push(Verb::Who, out);
            }
            Self::Rooms(page) => {
                let total = Thousands(page.total() as u64);
                let plural = if page.total() == 1 { "" } else { "s" };
                push(out, format_args!("{total} room{plural}"));
                page.push(Verb::Rooms, out);
            }
            Self::Sent { to, text } => {
                for part in [b"to ", *to, b": ", text] {
                    out.extend_from_slice(part);
                }
            }
            Self::Pong(token) => {
                out.extend_from_slice(PONG);
                out.extend_from_slice(token);
            }
            Self::Subscribed(true) => push(out, SUBSCRIBED),
            Self::Subscribed(false) => push(out, UNSUBSCRIBED),
            Self::Usage(verb) => push_usage(*verb, out),
            Self::NameTaken(name) => push(out, format_args!("{name}{IS_TAKEN}")),
            Self::NameLimit(max) => push(out, format_args!("{NAME_LIMIT}{max})")),
            Self::RoomFull { room, max_members } => {
                push(out, format_args!("{room}{IS_FULL}{max_members})"));
            }
            Self::RoomLimit { room, max_rooms } => {
                push(
                    out,
                    format_args!("{CANNOT_CREATE}{room}{ROOM_LIMIT}{max_rooms})"),
                );
            }
            Self::NoSuchPeer(whom) => {
                push(out, NO_SUCH_PEER);
                out.extend_from_slice(whom);
            }
            Self::TooManyMessages => push(out, TOO_MANY_MESSAGES),
            Self::TooManyLists => push(out, TOO_MANY_LISTS),
            Self::Presence { changes, members } => {
                changes.push(out);
                let members = Thousands(*members as u64);
                push(out, format_args!(" ({members} here)"));
            }
        }
    }

    /// Parses the sentence of a NOTICE with this code. Returns `None` if this version
    /// does not know it.
    pub fn parse(code: NoticeCode, text: &'a [u8]) -> Option<Self> {
        match code {
            NoticeCode::Done => parse_done(text),
            NoticeCode::Misuse => parse_usage(text),
            NoticeCode::Refused => parse_refusal(text),
            NoticeCode::Presence => {
                let (changes, members) = split_members(text)?;
                let changes = Changes::parse(changes)?;
                Some(Self::Presence { changes, members })
            }
            NoticeCode::Other(_) => None,
        }
    }

    /// Parses a sentence that came to a v1 peer, which has no code.
    ///
    /// The reply to a ping is ambiguous if its token continues another sentence.
    /// `pong is taken` is parsed as [`Reply::NameTaken`].
    pub fn parse_uncoded(text: &'a [u8]) -> Option<Self> {
        let codes = [
            NoticeCode::Misuse,
            NoticeCode::Refused,
            NoticeCode::Presence,
            NoticeCode::Done,
        ];
        codes.into_iter().find_map(|code| Self::parse(code, text))
    }
}

fn push_usage(verb: Verb, out: &mut Vec<u8>) {
    push(out, format_args!("{USAGE}{}", verb.as_str()));
    match verb {
        Verb::Help | Verb::Leave => {}
        Verb::Nick => push(out, format_args!(" NAME ({})", LabelRule::<MAX_NAME_BYTES>)),
        Verb::Join => {
            push(
                out,
                format_args!(" ROOM ({})", LabelRule::<MAX_ROOM_NAME_BYTES>),
            );
        }
        Verb::Who | Verb::Rooms => push(out, " [FROM]"),
        Verb::Msg => push(out, " NAME TEXT"),
        Verb::Ping => push(out, format_args!(" TOKEN (1 to {MAX_TOKEN_BYTES} bytes)")),
        Verb::Presence => push(out, " on|off"),
    }
}

/// Every verb has one usage, so the arguments are not looked at.
fn parse_usage(text: &[u8]) -> Option<Reply<'_>> {
    let usage = text.strip_prefix(USAGE.as_bytes())?;
    let verb = usage.split(|byte| *byte == b' ').next()?;
    Verb::parse(verb).map(Reply::Usage)
}

fn parse_done(text: &[u8]) -> Option<Reply<'_>> {
    if let Some(token) = text.strip_prefix(PONG) {
        return Some(Reply::Pong(token));
    }
    if let Some(place) = text.strip_prefix(b"you are in ") {
        let (room, members) = split_members(place)?;
        let room = RoomName::parse(room)?;
        return Some(Reply::Entered { room, members });
    }
    if let Some(name) = text.strip_prefix(b"you are ") {
        return Name::parse(name).map(Reply::Named);
    }
    if let Some(sent) = text.strip_prefix(b"to ") {
        let (to, text) = split_at_blank(sent)?;
        let to = to.strip_suffix(b":")?;
        return Some(Reply::Sent { to, text });
    }
    match text {
        _ if text == HELP.as_bytes() => Some(Reply::Help),
        _ if text == SUBSCRIBED.as_bytes() => Some(Reply::Subscribed(true)),
        _ if text == UNSUBSCRIBED.as_bytes() => Some(Reply::Subscribed(false)),
        _ => parse_list(text),
    }
}

fn parse_list(text: &[u8]) -> Option<Reply<'_>> {
    let (total, rest) = split_at_blank(text)?;
    let total = usize::try_from(Thousands::parse(total)?.0).ok()?;
    if let Some(list) = rest.strip_prefix(b"in ") {
        let is_end = |byte: &u8| matches!(byte, b':' | b',');
        let (room, list) = list.split_at(list.iter().position(is_end)?);
        let room = RoomName::parse(room)?;
        let page = Page::parse(total, list)?;
        return Some(Reply::Members { room, page });
    }
    let rooms = if total == 1 { "room" } else { "rooms" };
    let list = rest.strip_prefix(rooms.as_bytes())?;
    Page::parse(total, list).map(Reply::Rooms)
}

fn parse_refusal(text: &[u8]) -> Option<Reply<'_>> {
    let strip = |start: &str| text.strip_prefix(start.as_bytes());
    if let Some(whom) = strip(NO_SUCH_PEER) {
        return Some(Reply::NoSuchPeer(whom));
    }
    if let Some(name) = text.strip_suffix(IS_TAKEN.as_bytes()) {
        return Name::parse(name).map(Reply::NameTaken);
    }
    if text == TOO_MANY_MESSAGES.as_bytes() {
        return Some(Reply::TooManyMessages);
    }
    if text == TOO_MANY_LISTS.as_bytes() {
        return Some(Reply::TooManyLists);
    }
    // The others end with a limit in parentheses.
    let limit = text.iter().rposition(|byte| *byte == b'(')? + 1;
    let (start, max) = text.split_at(limit);
    let max = parse_number(max.strip_suffix(b")")?)?;
    if start == NAME_LIMIT.as_bytes() {
        return Some(Reply::NameLimit(max));
    }
    if let Some(room) = start.strip_suffix(IS_FULL.as_bytes()) {
        let room = RoomName::parse(room)?;
        let max_members = max;
        return Some(Reply::RoomFull { room, max_members });
    }
    let room = start.strip_prefix(CANNOT_CREATE.as_bytes())?;
    let room = RoomName::parse(room.strip_suffix(ROOM_LIMIT.as_bytes())?)?;
    let max_rooms = max;
    Some(Reply::RoomLimit { room, max_rooms })
}

/// Splits ` (N here)` off the end of a sentence.
fn split_members(text: &[u8]) -> Option<(&[u8], usize)> {
    let text = text.strip_suffix(b" here)")?;
    let end = text.windows(2).rposition(|pair| pair == b" (")?;
    let members = Thousands::parse(&text[end + 2..])?;
    Some((&text[..end], usize::try_from(members.0).ok()?))
}

/// Returns what stands before and after the first blank.
pub(super) fn split_at_blank(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..blank], &text[blank + 1..]))
}

fn push(out: &mut Vec<u8>, text: impl Display) {
    write!(out, "{text}").expect("writing to a Vec never fails");
}

const HELP: &str = "/nick NAME, /join ROOM, /leave to the lobby, /who [FROM], \
    /rooms [FROM], /msg NAME TEXT, /ping TOKEN, /presence on|off";

const PONG: &[u8] = b"pong ";
const SUBSCRIBED: &str = "presence is on";
const UNSUBSCRIBED: &str = "presence is off";
const USAGE: &str = "usage: /";
const IS_TAKEN: &str = " is taken";
const NAME_LIMIT: &str = "name limit reached (";
const IS_FULL: &str = " is full (";
const CANNOT_CREATE: &str = "cannot create \"";
const ROOM_LIMIT: &str = "\": room limit reached (";
const NO_SUCH_PEER: &str = "no such peer: ";
const TOO_MANY_MESSAGES: &str = "too many messages in one datagram";
const TOO_MANY_LISTS: &str = "too many lists in one datagram";

#[cfg(test)]
mod tests;
