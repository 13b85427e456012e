//! Protocol v2: frames, many of them in a datagram.
//!
//! `docs/PROTOCOL.md` is the specification; all integers are big-endian.

mod encode;
mod parse;

use std::num::NonZeroU64;

use super::limits::MAX_NAME_BYTES;
use super::name::{DisplayName, RoomName};

pub use encode::{
    push_client_frame, push_client_header, push_hello, push_padding, push_reply, push_say,
    push_server_frame, push_server_header,
};
pub use parse::{parse_client, parse_server};

pub use super::reply::NoticeCode;

/// A session, by the random number that the server chose for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(NonZeroU64);

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Asks for a session; its datagram has at least [`MIN_HELLO_BYTES`].
    Hello,
    /// The client is alive.
    Heartbeat,
    /// The client leaves.
    Bye,
    /// A payload for everyone in the room.
    Say(&'a [u8]),
    /// Asks for a [`ServerFrame::Pong`] with the same token.
    Ping(&'a [u8]),
    /// A command, as it is typed in v1.
    Command(&'a [u8]),
}

/// What a server tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// The answer to [`ClientFrame::Hello`].
    Welcome(Welcome),
    /// Someone in the room said something.
    Message(Message<'a>),
    /// The answer to [`ClientFrame::Ping`].
    Pong(&'a [u8]),
    /// A sentence of the server, to this peer alone.
    Notice(NoticeCode, &'a [u8]),
    /// The server stops.
    Goodbye,
    /// The room that the client is in from now on.
    Room(u32, RoomName),
    /// Someone said something to this peer alone.
    Private(DisplayName, &'a [u8]),
}

/// What a new session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// To be sent with every datagram from now on.
    pub session: SessionId,
    /// The session ends when nothing is heard for longer than this.
    pub timeout_ms: u32,
    /// The longest datagram that the server sends.
    pub bundle_bytes: u16,
    /// The room that the client is in.
    pub room: u32,
}

/// A message in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The room it was said in.
    pub room: u32,
    /// Which worker of the server sent it: each counts for itself.
    pub stream: u8,
    /// Its number in this room and stream: one more than that of the message
    /// before, and 0 behind the greatest.
    pub sequence: u32,
    /// Who said it.
    pub from: DisplayName,
    /// What was said; any bytes.
    pub payload: &'a [u8],
}

/// Why a datagram is not of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins with another version, or ends before the first frame.
    #[error("not a datagram of version 2")]
    Header,
    /// A frame is longer than what is left, or than its kind allows.
    #[error("a frame has a wrong length")]
    Length,
    /// A frame of a kind that this version does not have.
    #[error("a frame is of an unknown kind")]
    Kind,
}

impl SessionId {
    /// Returns the session with this number. There is none with number 0, which stands
    /// for no session in a client's datagram.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number of the session.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl NoticeCode {
    fn byte(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Misuse => 1,
            Self::Refused => 2,
            Self::Presence => 3,
            Self::Other(code) => code,
        }
    }

    fn of(code: u8) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Misuse,
            2 => Self::Refused,
            3 => Self::Presence,
            code => Self::Other(code),
        }
    }
}

/// The longest datagram that the server sends to a v2 peer: it passes the
/// minimum MTU of IPv6 (1280, RFC 8200, section 5) with IPv6 and UDP headers
/// and some space for a tunnel's.
pub const BUNDLE_BYTES: usize = 1200;

/// So that no answer to a HELLO is longer than the HELLO: whoever forges the
/// sender of one makes the server send no more than was sent to it.
pub const MIN_HELLO_BYTES: usize = 64;

/// The longest payload: with the header of a message from a sender with the
/// longest name it fills a bundle.
pub const MAX_PAYLOAD_BYTES: usize = BUNDLE_BYTES - MAGIC.len() - MESSAGE_OVERHEAD_BYTES;

/// Kind, length, room, stream, sequence, sender.
const MESSAGE_OVERHEAD_BYTES: usize = 1 + 2 + 4 + 1 + 4 + MAX_FROM_BYTES;

/// The longest name, its length, and that it is one: longer than an IPv6 address and a
/// port.
const MAX_FROM_BYTES: usize = 1 + 1 + MAX_NAME_BYTES;

/// First byte of every v2 datagram. It never occurs in UTF-8 (RFC 3629, section 1).
pub const FRAME_MARK: u8 = 0xFF;

/// Start of every datagram: the mark and the version.
const MAGIC: [u8; 2] = [FRAME_MARK, 0x02];

/// From here on the datagram is padding.
const PAD: u8 = 0x00;
const HELLO: u8 = 0x01;
const HEARTBEAT: u8 = 0x02;
const BYE: u8 = 0x03;
const SAY: u8 = 0x04;
const PING: u8 = 0x05;
const COMMAND: u8 = 0x06;
const WELCOME: u8 = 0x82;
const MESSAGE: u8 = 0x83;
const PONG: u8 = 0x84;
const NOTICE: u8 = 0x85;
const GOODBYE: u8 = 0x86;
const ROOM: u8 = 0x87;
const PRIVATE: u8 = 0x88;

/// The sender of a message has a name: its length and it follow.
const FROM_NAME: u8 = 1;
/// The sender of a message has an IPv4 address, of 4 bytes.
const FROM_V4: u8 = 4;
/// The sender of a message has an IPv6 address, of 16 bytes.
const FROM_V6: u8 = 6;

#[cfg(test)]
mod tests;
