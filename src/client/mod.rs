//! The client: sessions with a server, for programs.
//!
//! A [`Session`] registers with a server, keeps the registration alive, receives, notices
//! when the server goes away, and keeps trying until it is back. Events come over a bounded
//! channel. The front page of the crate has a bot of 20 lines.
//!
//! A request returns a [`Ticket`] at once. Its result comes as an [`Event::Answer`], or is
//! waited for:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use bullhorn::client::{RequestError, Refusal, Session, SessionConfig};
//! # let session = Session::connect(SessionConfig::new("127.0.0.1:9999".parse()?))?;
//! let joined = session.join("den".parse()?)?.wait(Duration::from_secs(3))?;
//! println!("{} in {}", joined.members, joined.room);
//! match session.nick("ada".parse()?)?.wait(Duration::from_secs(3)) {
//!     Ok(()) => println!("the name is mine"),
//!     Err(RequestError::Refused(Refusal::NameTaken(name))) => println!("{name} is taken"),
//!     Err(error) => println!("no name: {error}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | call |
//! | --- | --- |
//! | say something to the room | [`Session::say`], [`Session::say_bytes`] |
//! | say something to one peer | [`Session::private`] |
//! | take a name, go to a room | [`Session::nick`], [`Session::join`] |
//! | receive more rooms, and speak there | [`Session::subscribe`], [`Session::say_to`] |
//! | receive no messages of its own, or none | [`SessionConfig::echo`], [`SessionConfig::receive`] |
//! | list members and rooms | [`Session::who`], [`Session::rooms`] |
//! | be told who comes and goes | [`Session::presence`] |
//! | measure the round trip, and losses | [`Session::ping`], [`Session::stats`] |
//!
//! With the feature `tokio`, `Session::into_stream` makes a session a stream of events.
//!
//! # Structure
//!
//! [`Session`] and its thread talk through bounded channels. The thread (`engine`) owns the
//! socket. It hands datagrams, commands and timeouts to `protocol`, which does no I/O, and
//! sends what that returns.

mod address;
mod config;
mod engine;
mod event;
mod event_queue;
mod loss;
#[doc(hidden)]
pub mod protocol;
mod route;
mod session;
mod shared;
mod sleep;
mod socket;
#[cfg(feature = "tokio")]
mod stream;
mod ticket;

pub use address::{AddressError, MAX_ADDRESSES, ServerAddress};
pub use config::{
    ANSWER_TIMEOUT, GREETING_TIMEOUT, HEARTBEAT_INTERVAL, MIN_HEARTBEAT, ProtocolChoice,
    ProtocolVersion, RETRY_DELAY, SETTLE_TIME, SessionConfig, UnknownProtocol,
};
pub use event::{
    Answer, DownReason, Event, Joined, Listing, Members, Message, Refusal, RequestError, TicketId,
};
pub use loss::{SequenceCounts, WINDOW};
pub use session::{ConnectError, MAX_TEXT_BYTES, SayError, Session};
pub use shared::SessionStats;
#[cfg(feature = "tokio")]
pub use stream::EventStream;
pub use ticket::Ticket;

pub use crate::wire::reply::{Changes, NoticeCode, PresenceEvent, Resource};
pub use crate::wire::{DisplayName, Name, RoomName};
