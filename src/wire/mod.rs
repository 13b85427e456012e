//! Bytes to messages, and back: no I/O, and no clock.
//!
//! `docs/PROTOCOL.md` is the specification. Encoders append to a buffer of the caller, and
//! parsed messages borrow from the datagram. These allocate otherwise: [`Reply::parse`],
//! lists, presence notices, and [`push_reply`] for a reply with bytes that it has to escape.

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod cluster;
mod command;
mod name;
mod printable;
mod proof;
mod protocol;
pub mod reply;
mod v1;
pub mod v2;

pub use command::{Command, Misuse, Verb, parse_command};
pub use name::{DisplayName, LOBBY, Label, Name, ParseDisplayNameError, ParseLabelError, RoomName};
pub use printable::push_printable;
pub use proof::{PROOF_VERB, ProofToken, parse_proof};
pub use protocol::{
    LINE_END, MAX_NAME_BYTES, MAX_ROOM_NAME_BYTES, MAX_TEXT_DATAGRAM, MAX_TOKEN_BYTES, Protocol,
};
pub use reply::{Limit, LimitScope, Reply, Thousands};
#[cfg(feature = "client")]
pub(crate) use v1::without_line_end;
pub use v1::{
    ClientDatagram, GREETING_START, HEARTBEAT, NOTICE, QUIT, ServerLine, classify, line_protocol,
    push_greeting, push_private, push_python_address, push_reply, push_text,
};
pub use v2::FRAME_MARK;
