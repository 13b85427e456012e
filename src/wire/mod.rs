//! Bytes to messages and back: no I/O, no allocation of its own.
//!
//! `docs/PROTOCOL.md` is the specification that this module follows.

mod classify;
mod command;
mod name;
mod printable;
mod protocol;
mod text;
pub mod v2;

pub use classify::{FRAME_MARK, HEARTBEAT, Incoming, QUIT, classify};
pub use command::{Command, HELP, Misuse, parse_command, verbs};
pub use name::{LOBBY, Label, Name, NotASpeaker, RoomName, Speaker};
pub use printable::push_printable;
pub use protocol::Protocol;
pub use text::{
    GREETING_START, LINE_END, NOTICE, Thousands, echo_prefixes, push_greeting, push_notice,
    push_private, push_python_address, push_text,
};

/// The most bytes that a datagram to a stock client has: such a client reads
/// no more than 1024 at once, and the rest would be lost.
pub const MAX_TEXT_DATAGRAM: usize = 1024;
