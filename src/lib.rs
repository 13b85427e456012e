//! bullhorn: a multi-core UDP chat and fan-out server, and its client.
//!
//! # A bot
//!
//! This program repeats each text in the lobby that begins with `!echo `. Module `client` has
//! the rest.
//!
//! ```no_run
//! use std::error::Error;
//!
//! use bullhorn::client::{Event, Session, SessionConfig};
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let server = std::env::args().nth(1);
//!     let server = server.as_deref().unwrap_or("127.0.0.1:9999").parse()?;
//!     let session = Session::connect(SessionConfig::new(server))?;
//!     for event in session.events() {
//!         match event {
//!             Event::Message(message) => {
//!                 if let Some(words) = message.text().strip_prefix("!echo ")
//!                     && let Err(error) = session.say(&format!("{} said: {words}", message.from))
//!                 {
//!                     eprintln!("not said: {error}");
//!                 }
//!             }
//!             // The session goes on when the server is down, and so does the bot.
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # The server
//!
//! One datagram in, everyone in the room receives it:
//!
//! ```text
//!          ┌───────────────── server::worker runs server::core ─────────────────┐
//! socket ─▶│ net::receive ─▶ ingress ─┬─▶ registry: who sent it, in which room  │
//!          │                          ├─▶ egress.replies: to the sender alone   │
//!          │                          └─▶ egress: texts wait for the room       │
//!          │                                 │ a plan per room, built once      │
//!          │                                 ├─▶ exchange: the other workers    │
//!          │ net::send ◀── egress.poll ◀─────┘ slices of members × packets      │─▶ sockets
//!          └────────────────────────────────────────────────────────────────────┘
//!             registry::expiry removes silent peers; egress::notifier sends presence
//! ```
//!
//! The layers, lowest first. A module uses lower layers only, and `tests/tidy.rs`
//! enforces it:
//!
//! 1. `sync`: atomics, locks and threads, and `wire`: bytes to messages and back
//! 2. `net`: the kernel, and all `unsafe`
//! 3. `server::{clock, files, keys, rate}`, then `server::ops::{histogram, stats, log, supervise, turns, watchdog}`
//! 4. `server::registry`: peers, rooms, names and presence
//! 5. `server::egress`: what goes out
//! 6. `server::ingress`: what comes in
//! 7. `server::worker`: the loop
//! 8. `server::moderation`: the operator's hold on peers
//! 9. `server::ops::{admin, console, manager, sandbox, signals}`
//! 10. `server`: configuration, the core of a chat server (`server::core`), and the assembly of one
//!     (`server::chat`) or of a greeting server (`server::greet`)
//!
//! `client` uses `sync`, `wire` and `net` only. `program` is what the three programs share: their
//! names, versions and manual pages.
//!
//! The features `client`, `server`, `admin` (the admin server), `cli` (the program `client`) and
//! `tokio` (sessions as streams) choose what is compiled. All but `tokio` are on by default.
//!
//! The public API is `Server`, `config`, `moderation`, `stats`, `client` and `wire`. All other
//! modules are public for tests and benchmarks, and may change with any version.

#[cfg(not(target_os = "linux"))]
compile_error!("bullhorn runs on Linux only: it needs recvmmsg, sendmmsg and SO_REUSEPORT");

#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "server"))]
#[doc(hidden)]
pub mod net;
#[cfg(any(feature = "cli", feature = "server"))]
#[doc(hidden)]
pub mod program;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod server;
#[cfg(any(feature = "client", feature = "server"))]
mod sync;
pub mod wire;

/// The version, and the commit of a release build.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BULLHORN_BUILD"), ")");

#[cfg(feature = "server")]
#[doc(inline)]
pub use net::BindError;
#[cfg(feature = "server")]
#[doc(inline)]
pub use server::ops::{stats, supervise::ThreadDied};
#[cfg(feature = "server")]
#[doc(inline)]
pub use server::{Server, ServerHandle, StartError, config::ServerConfig};
#[cfg(feature = "server")]
#[doc(inline)]
pub use server::{config, moderation};
