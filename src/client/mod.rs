//! The client: a chat session as a library type.
//!
//! A [`Session`] registers at a server, sends heartbeats so that it stays
//! registered, receives, notices when the server goes away and keeps trying
//! until it is back. What happens comes as [`Event`]s over a bounded channel:
//!
//! ```no_run
//! use bullhorn::client::{Session, SessionConfig};
//!
//! let session = Session::connect(SessionConfig::new("127.0.0.1:9999".parse()?))?;
//! session.say("hello, everyone")?;
//! for event in session.events() {
//!     match event.line() {
//!         Some(line) => println!("{line}"),
//!         None => eprintln!("{event:?}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The parts, each ignorant of the ones below it:
//!
//! ```text
//! address        HOST:PORT, and what it resolves to
//! escape         what may reach a terminal
//! v1             texts, heartbeats and leaving as bytes, and back; no I/O
//! liveness       is the server there, in v1, and what is due when; no I/O, no clock
//! config         how a session behaves
//! sequence       what was lost, repeated and reordered (stream); no I/O
//! payload        what is to be said
//! event, stats, error   what an application is told
//! heard          what came, for the application; no I/O
//! identity       our name and room, restored in a new session; no I/O, no clock
//! ping           measures round trips; no I/O, no clock
//! v2             sessions, probes and messages as frames; no I/O, no clock
//! conversation   which of the two is spoken; no I/O, no clock
//! link           one connected UDP socket, and what its errors mean
//! session        the public type          engine   its thread
//! ```

mod address;
mod config;
mod conversation;
mod engine;
mod error;
mod escape;
mod event;
mod heard;
mod identity;
mod link;
mod liveness;
mod payload;
mod ping;
mod sequence;
mod session;
mod stats;
mod stream;
mod v1;
mod v2;

pub use address::{ADDRESSES_MAX, AddressError, ServerAddress};
pub use config::{ANSWER_WITHIN, GREET_WITHIN, HEARTBEAT, HEARTBEAT_MIN, RETRY, SETTLE};
pub use config::{Protocol, ProtocolChoice, SessionConfig, UnknownProtocol};
pub use error::SessionError;
pub use escape::escape;
pub use event::{Event, Message};
pub use liveness::DownReason;
pub use sequence::{SequenceCounts, WINDOW};
pub use session::{Session, Speaker};
pub use stats::{SessionStats, StreamStats};
pub use v1::NotAText;

pub use crate::wire::v2::NoticeCode;
pub use crate::wire::{Name, RoomName};

/// Parts that the chat program uses, and that may change with any version.
#[doc(hidden)]
pub mod program {
    pub use super::escape::into_text;
    pub use super::link::{DATAGRAM_BYTES_MAX, bind_for, is_too_long, is_unreachable};
    pub use super::ping::is_ping;
    pub use super::v1::{decode, encode};
}
