//! Bytes to messages and back: no I/O, no allocation of its own.
//!
//! `docs/PROTOCOL.md` is the specification that this module follows.

mod command;
mod limits;
mod name;
mod printable;
mod protocol;
mod v1;
pub mod v2;

pub use command::{Command, HELP, Misuse, parse_command, verbs};
pub use limits::{MAX_NAME_BYTES, MAX_ROOM_NAME_BYTES, MAX_TEXT_DATAGRAM, MAX_TOKEN_BYTES};
pub use name::{DisplayName, LOBBY, Label, Name, ParseDisplayNameError, ParseLabelError, RoomName};
pub use printable::push_printable;
pub use protocol::Protocol;
pub use v1::{
    GREETING_START, HEARTBEAT, Incoming, LINE_END, NOTICE, QUIT, Thousands, classify,
    echo_prefixes, push_greeting, push_notice, push_private, push_python_address, push_text,
};
pub use v2::FRAME_MARK;
