//! The client: a chat session as a library type, and the two programs over it.
//!
//! A [`Session`] registers at a server, sends heartbeats so that it stays
//! registered, receives, notices when the server goes away and keeps trying
//! until it is back. What happens comes as [`Event`]s over a bounded channel:
//!
//! ```no_run
//! use bullhorn::client::{Event, Session, SessionConfig};
//!
//! let session = Session::connect(SessionConfig::new("127.0.0.1:9999".parse()?))?;
//! session.say("hello, everyone")?;
//! for event in session.events() {
//!     match event {
//!         Event::Text(text) => println!("{}", bullhorn::client::escape(&text)),
//!         other => eprintln!("{other:?}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The parts, each ignorant of the ones below it:
//!
//! ```text
//! address    HOST:PORT, and what it resolves to
//! escape     what may reach a terminal
//! v1         texts, heartbeats and leaving as bytes, and back; no I/O
//! liveness   is the server there, and what is due when; no I/O, no clock
//! link       one connected UDP socket, and what its errors mean
//! session    the public type          engine   its thread
//! echo       finds the echo of an own text among what is received
//! greet      one datagram, one answer
//! interactive (input, screen)         the chat program
//! ```

mod address;
mod echo;
mod engine;
mod escape;
pub mod greet;
mod input;
pub mod interactive;
mod link;
mod liveness;
mod screen;
mod session;
mod v1;

pub use address::{ADDRESSES_MAX, AddressError, ServerAddress};
pub use escape::escape;
pub use liveness::DownReason;
pub use session::{ANSWER_WITHIN, HEARTBEAT, HEARTBEAT_MIN, RETRY, SETTLE};
pub use session::{Event, Session, SessionConfig, SessionError, Speaker};
pub use v1::NotAText;
