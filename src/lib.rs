//! bullhorn: a multi-core UDP chat and fan-out server, and its client.
//!
//! One datagram in, everyone in the room receives it:
//!
//! ```text
//!          ┌───────────────── server::worker runs server::chat ─────────────────┐
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
//! 1. [`wire`]: bytes to messages and back
//! 2. `net`: the kernel, and all `unsafe`
//! 3. `server::clock`, and `server::ops::{stats, log, supervise}`
//! 4. `server::registry`: peers, rooms, names and presence
//! 5. `server::egress`: what goes out
//! 6. `server::ingress`: what comes in
//! 7. `server::worker`: the loop
//! 8. `server::ops::{console, signals}`
//! 9. `server`: configuration, and the assembly of a chat server (`server::chat`) or a
//!    greeting server (`server::greet`)
//!
//! [`client`] uses `wire` and `net` only.
//!
//! The public API is [`Server`], [`config`], [`stats`], [`client`] and [`wire`]. All other
//! modules are public for tests and benchmarks, and may change with any version.

#[cfg(not(target_os = "linux"))]
compile_error!("bullhorn runs on Linux only: it needs recvmmsg, sendmmsg and SO_REUSEPORT");

pub mod client;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod server;
pub mod wire;

#[doc(inline)]
pub use net::BindError;
#[doc(inline)]
pub use server::config;
#[doc(inline)]
pub use server::ops::{stats, supervise::ThreadDied};
#[doc(inline)]
pub use server::{Server, ServerHandle, StartError, config::ServerConfig};
