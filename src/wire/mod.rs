//! Bytes to messages, and back: no I/O, and no clock.
//!
//! `docs/PROTOCOL.md` is the specification. Encoders append to a buffer of the caller, and
//! parsed messages borrow from the datagram. These allocate otherwise: [`Reply::parse`],
//! lists, presence notices, and [`push_reply`] for a reply with bytes that it has to escape.

mod command;
mod name;
mod printable;
pub mod reply;
mod v1;
pub mod v2;

pub use command::{Command, Misuse, Verb, parse_command};
pub use name::{DisplayName, LOBBY, Label, Name, ParseDisplayNameError, ParseLabelError, RoomName};
pub use printable::push_printable;
pub use reply::{Reply, Thousands};
pub use v1::{
    ClientDatagram, GREETING_START, HEARTBEAT, LINE_END, NOTICE, Protocol, QUIT, ServerLine,
    classify, push_greeting, push_private, push_python_address, push_reply, push_text,
};
pub use v2::FRAME_MARK;

/// Maximum length of a datagram to a v1 peer, without the line end. A stock client
/// reads at most 1024 bytes of a datagram and loses the rest.
pub const MAX_TEXT_DATAGRAM: usize = 1024;

/// Maximum length of a peer's name.
pub const MAX_NAME_BYTES: usize = 24;

/// Maximum length of a room's name.
pub const MAX_ROOM_NAME_BYTES: usize = 32;

/// Maximum length of the token of a ping: space for a time and a number.
pub const MAX_TOKEN_BYTES: usize = 32;
