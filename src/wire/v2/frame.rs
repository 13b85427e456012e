//! The frames, and their numbers on the wire.

use std::net::SocketAddr;
use std::num::NonZeroU64;

use super::servers::ServerList;
use crate::wire::name::{DisplayName, RoomName};
use crate::wire::protocol::MAX_NAME_BYTES;
use crate::wire::reply::NoticeCode;

/// Identifier of a session. The server computes it from the address of the client, so nobody who
/// does not receive what is sent to that address knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(NonZeroU64);

/// A frame from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Request for a session, or new options for the session of the datagram. Without a session,
    /// its datagram has at least [`MIN_HELLO_BYTES`].
    Hello(Hello),
    /// Sign of life, with the number of the room that the client believes to be in.
    Heartbeat(Option<u32>),
    /// End of the session.
    Bye,
    /// Payload for everyone in the client's own room.
    Say(&'a [u8]),
    /// Request for a [`ServerFrame::Pong`] with the same token.
    Ping(&'a [u8]),
    /// Command, as it is typed in v1.
    Command(&'a [u8]),
    /// Request to receive the messages of a room, besides the client's own.
    Subscribe(RoomName),
    /// End of a subscription, by the number of the room.
    Unsubscribe(u32),
    /// Payload for everyone in the room with this number, in which the client is.
    SayTo(u32, &'a [u8]),
    /// Request to take over what a session at another address has.
    Move(Move),
    /// A frame or an option that this version does not have. The frames after it are not parsed.
    Unknown(Unknown),
}

/// The content of a [`ClientFrame::Hello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello {
    /// A random number. A reply to a HELLO without a session has it in its header.
    pub nonce: u64,
    /// The options of the session.
    pub options: SessionOptions,
}

/// Options of a session, which the client chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// Maximum length of the datagrams to the client.
    pub bundle_size: BundleSize,
    /// True if the client receives its own messages.
    pub echo: bool,
    /// True if the client receives messages. False if it only sends.
    pub receive: bool,
}

/// The content of a [`ClientFrame::Move`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The session at the other address.
    pub session: SessionId,
    /// The other address, as the WELCOME of that session gave it.
    pub address: SocketAddr,
}

/// A frame or an option of a client that this version does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The kind of the frame.
    Frame(u8),
    /// The type of an option of a HELLO, and the nonce of that HELLO.
    Option(u8, u64),
}

/// A frame from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// Reply to [`ClientFrame::Hello`].
    Welcome(Welcome<'a>),
    /// Message to a room.
    Message(Message<'a>),
    /// Reply to [`ClientFrame::Ping`], with its token.
    Pong(&'a [u8]),
    /// Sentence of the server. [`Reply::parse`](crate::wire::Reply::parse) parses it.
    Notice(NoticeCode, &'a [u8]),
    /// End of all sessions: the server stops.
    Goodbye,
    /// The room that the client is in from now on, its own.
    Room(Room),
    /// Sender and payload of a direct message.
    Private(DisplayName, &'a [u8]),
    /// The server does not know the session that a datagram carried, which is the session in the
    /// header.
    UnknownSession,
    /// Another room whose messages the client receives from now on.
    Subscribed(Room),
    /// The number of a room whose messages the client does not receive any more.
    Unsubscribed(u32),
    /// Messages of the client itself, which are not sent to it.
    Own(Own),
}

/// A room, in one run of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The number of the room.
    pub number: u32,
    /// A random number, another one for each room and each run of the server.
    pub incarnation: u64,
    /// The name of the room, as its creator wrote it.
    pub name: RoomName,
}

/// Numbers of messages of a client that are not sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Number of the room.
    pub room: u32,
    /// Number of the stream, see [`Message::stream`].
    pub stream: u8,
    /// Number of the first message, see [`Message::sequence`].
    pub sequence: u32,
    /// Number of messages.
    pub count: u16,
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
pub struct Welcome<'a> {
    /// The session, which every datagram of the client must carry.
    pub session: SessionId,
    /// Time after which the server drops a silent client.
    pub timeout_ms: u32,
    /// Maximum length of a datagram from the server.
    pub bundle_bytes: u16,
    /// Address of the client, as the server sees it.
    pub address: SocketAddr,
    /// Other servers of the same cluster, which the client may go to when this one is gone.
    pub servers: ServerList<'a>,
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
}

impl Default for SessionOptions {
    /// Returns the options of a HELLO that has none.
    fn default() -> Self {
        Self {
            bundle_size: BundleSize::Full,
            echo: true,
            receive: true,
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
            Self::Operator => 4,
            Self::Other(code) => code,
        }
    }

    pub(super) fn of(code: u8) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Misuse,
            2 => Self::Refused,
            3 => Self::Presence,
            4 => Self::Operator,
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

/// Minimum length of a datagram with a HELLO and no session. No reply to it is longer, so a HELLO
/// with a forged sender is not amplified, and later versions have space in the reply.
pub const MIN_HELLO_BYTES: usize = 256;

/// Length of the header of every datagram: mark, version and session.
pub const HEADER_BYTES: usize = MAGIC.len() + size_of::<u64>();

/// Length of a datagram with one [`ServerFrame::UnknownSession`], and of the shortest datagram
/// of a client that has a frame.
pub const UNKNOWN_SESSION_BYTES: usize = HEADER_BYTES + 1 + 2;

/// Maximum length of a payload. As a message from a sender with the longest name it fills
/// a bundle.
pub const MAX_PAYLOAD_BYTES: usize = BUNDLE_BYTES - HEADER_BYTES - MESSAGE_OVERHEAD_BYTES;

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

/// The rest of the datagram is padding.
pub(super) const PAD: u8 = 0x00;
pub(super) const HELLO: u8 = 0x01;
pub(super) const HEARTBEAT: u8 = 0x02;
pub(super) const BYE: u8 = 0x03;
pub(super) const SAY: u8 = 0x04;
pub(super) const PING: u8 = 0x05;
pub(super) const COMMAND: u8 = 0x06;
pub(super) const SUBSCRIBE: u8 = 0x07;
pub(super) const UNSUBSCRIBE: u8 = 0x08;
pub(super) const SAY_TO: u8 = 0x09;
pub(super) const MOVE: u8 = 0x0A;
/// All kinds of frames from the server have this bit.
pub(super) const FIRST_SERVER_KIND: u8 = 0x80;
pub(super) const WELCOME: u8 = 0x82;
pub(super) const MESSAGE: u8 = 0x83;
pub(super) const PONG: u8 = 0x84;
pub(super) const NOTICE: u8 = 0x85;
pub(super) const GOODBYE: u8 = 0x86;
pub(super) const ROOM: u8 = 0x87;
pub(super) const PRIVATE: u8 = 0x88;
pub(super) const UNKNOWN_SESSION: u8 = 0x89;
pub(super) const SUBSCRIBED: u8 = 0x8A;
pub(super) const UNSUBSCRIBED: u8 = 0x8B;
pub(super) const OWN: u8 = 0x8C;

/// Type of the option of a WELCOME: other servers.
pub(super) const OPTION_SERVERS: u8 = 0x01;

/// Types of the options of a HELLO.
pub(super) const OPTION_BUNDLE_BYTES: u8 = 0x01;
pub(super) const OPTION_ECHO: u8 = 0x02;
pub(super) const OPTION_RECEIVE: u8 = 0x03;

/// The sender's name and its length follow.
pub(super) const FROM_NAME: u8 = 1;
/// The sender's IPv4 address and port follow.
pub(super) const FROM_V4: u8 = 4;
/// The sender's IPv6 address and port follow.
pub(super) const FROM_V6: u8 = 6;
/// The sender's link-local IPv6 address, port and zone follow. The zone is the number of an
/// interface of the server.
pub(super) const FROM_V6_ZONE: u8 = 7;
