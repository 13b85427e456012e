//! The frames, and their numbers on the wire.

use std::num::NonZeroU64;

use crate::wire::name::{DisplayName, RoomName};
use crate::wire::protocol::MAX_NAME_BYTES;
use crate::wire::reply::NoticeCode;

/// Identifier of a session, a random number that the server chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(NonZeroU64);

/// A frame from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Request for a session with bundles of this size, or for this size within a session. Its
    /// datagram has at least [`MIN_HELLO_BYTES`].
    Hello(BundleSize),
    /// Sign of life.
    Heartbeat,
    /// End of the session.
    Bye,
    /// Payload for everyone in the room.
    Say(&'a [u8]),
    /// Request for a [`ServerFrame::Pong`] with the same token.
    Ping(&'a [u8]),
    /// Command, as it is typed in v1.
    Command(&'a [u8]),
}

/// A frame from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// Reply to [`ClientFrame::Hello`].
    Welcome(Welcome),
    /// Message to the room.
    Message(Message<'a>),
    /// Reply to [`ClientFrame::Ping`], with its token.
    Pong(&'a [u8]),
    /// Sentence of the server. [`Reply::parse`](crate::wire::Reply::parse) parses it.
    Notice(NoticeCode, &'a [u8]),
    /// End of all sessions: the server stops.
    Goodbye,
    /// Number and name of the room that the client is in from now on.
    Room(u32, RoomName),
    /// Sender and payload of a direct message.
    Private(DisplayName, &'a [u8]),
    /// The session that a datagram carried, which the server does not know.
    UnknownSession(SessionId),
}

/// Limit of the datagrams that the server sends to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum BundleSize {
    /// [`BUNDLE_BYTES`].
    #[default]
    Full,
    /// [`SMALL_BUNDLE_BYTES`], for a path that drops longer datagrams. Only a message that is
    /// longer alone exceeds it.
    Small,
}

/// Properties of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The session, which every datagram of the client must carry.
    pub session: SessionId,
    /// Time after which the server drops a silent client.
    pub timeout_ms: u32,
    /// Maximum length of a datagram from the server.
    pub bundle_bytes: u16,
    /// Number of the room that the client is in.
    pub room: u32,
}

/// A message to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Number of the room.
    pub room: u32,
    /// Number of the server's worker that sent the message. Each worker counts its own
    /// messages.
    pub stream: u8,
    /// Number of the message in its room and stream. It grows by one, and wraps to 0.
    pub sequence: u32,
    /// The sender.
    pub from: DisplayName,
    /// The payload, any bytes.
    pub payload: &'a [u8],
}

/// Error of parsing a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The datagram begins with another version, or ends before the first frame.
    #[error("not a datagram of version 2")]
    Header,
    /// A frame is cut short, or its body is not what its kind requires.
    #[error("a frame has a malformed body")]
    Body,
    /// A frame has a kind that this version does not have.
    #[error("a frame has an unknown kind")]
    Kind,
}

impl SessionId {
    /// Returns the session with this number. No session has number 0: in a datagram of a
    /// client it stands for no session.
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

impl BundleSize {
    /// All sizes.
    pub const ALL: [Self; 2] = [Self::Full, Self::Small];

    /// Returns the size that is meant by a limit in bytes.
    pub const fn of(bytes: usize) -> Self {
        match bytes {
            0..=SMALL_BUNDLE_BYTES => Self::Small,
            _ => Self::Full,
        }
    }

    /// The limit in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Full => BUNDLE_BYTES,
            Self::Small => SMALL_BUNDLE_BYTES,
        }
    }

    pub(super) fn flags(self) -> u8 {
        match self {
            Self::Full => 0,
            Self::Small => SMALL_BUNDLES,
        }
    }

    /// Later versions may use the other flags.
    pub(super) fn of_flags(flags: u8) -> Self {
        match flags & SMALL_BUNDLES {
            0 => Self::Full,
            _ => Self::Small,
        }
    }
}

impl NoticeCode {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Misuse => 1,
            Self::Refused => 2,
            Self::Presence => 3,
            Self::Other(code) => code,
        }
    }

    pub(super) fn of(code: u8) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Misuse,
            2 => Self::Refused,
            3 => Self::Presence,
            code => Self::Other(code),
        }
    }
}

/// Maximum length of a datagram from the server. With the headers of IPv6 and UDP, and
/// some space for those of a tunnel, it passes the minimum MTU of IPv6 (1280, RFC 8200,
/// section 5).
pub const BUNDLE_BYTES: usize = 1200;

/// Maximum length of a datagram to a client that has asked for small bundles. Every IPv4 host
/// must accept 576 bytes (RFC 791, section 3.1), of which 28 are the headers of IPv4 and UDP.
pub const SMALL_BUNDLE_BYTES: usize = 576 - 28;

/// Minimum length of a datagram with a HELLO. No reply to it is longer, so a HELLO with a
/// forged sender is not amplified.
pub const MIN_HELLO_BYTES: usize = 64;

/// Length of a datagram with one [`ServerFrame::UnknownSession`], and of the shortest datagram
/// of a client that has a frame.
pub const UNKNOWN_SESSION_BYTES: usize = MAGIC.len() + 1 + 2 + size_of::<u64>();

/// Maximum length of a payload. As a message from a sender with the longest name it fills
/// a bundle.
pub const MAX_PAYLOAD_BYTES: usize = BUNDLE_BYTES - MAGIC.len() - MESSAGE_OVERHEAD_BYTES;

/// Maximum length of a MESSAGE without its payload: kind, length, room, stream, sequence,
/// sender.
pub(super) const MESSAGE_OVERHEAD_BYTES: usize = 1 + 2 + 4 + 1 + 4 + MAX_FROM_BYTES;

/// Maximum length of a sender: the mark of a name, its length and the longest name. An
/// IPv6 address with a port and a zone is shorter.
pub(super) const MAX_FROM_BYTES: usize = 1 + 1 + MAX_NAME_BYTES;

/// First byte of every v2 datagram. It never occurs in UTF-8 (RFC 3629, section 1).
pub const FRAME_MARK: u8 = 0xFF;

/// Start of every datagram: the mark and the version.
pub(super) const MAGIC: [u8; 2] = [FRAME_MARK, 0x02];

/// Length of what every datagram from the server begins with.
pub const SERVER_HEADER_BYTES: usize = MAGIC.len();

/// The rest of the datagram is padding.
pub(super) const PAD: u8 = 0x00;
pub(super) const HELLO: u8 = 0x01;
/// Flag of a HELLO that asks for [`SMALL_BUNDLE_BYTES`].
const SMALL_BUNDLES: u8 = 1;
pub(super) const HEARTBEAT: u8 = 0x02;
pub(super) const BYE: u8 = 0x03;
pub(super) const SAY: u8 = 0x04;
pub(super) const PING: u8 = 0x05;
pub(super) const COMMAND: u8 = 0x06;
pub(super) const WELCOME: u8 = 0x82;
pub(super) const MESSAGE: u8 = 0x83;
pub(super) const PONG: u8 = 0x84;
pub(super) const NOTICE: u8 = 0x85;
pub(super) const GOODBYE: u8 = 0x86;
pub(super) const ROOM: u8 = 0x87;
pub(super) const PRIVATE: u8 = 0x88;
pub(super) const UNKNOWN_SESSION: u8 = 0x89;

/// The sender's name and its length follow.
pub(super) const FROM_NAME: u8 = 1;
/// The sender's IPv4 address and port follow.
pub(super) const FROM_V4: u8 = 4;
/// The sender's IPv6 address and port follow.
pub(super) const FROM_V6: u8 = 6;
/// The sender's link-local IPv6 address, port and zone follow. The zone is the number of an
/// interface of the server.
pub(super) const FROM_V6_ZONE: u8 = 7;
