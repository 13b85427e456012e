//! bullhorn: a multi-core UDP chat and fan-out server, and its client.
//!
//! One datagram in, everyone in earshot hears it:
//!
//! ```text
//! socket ─recvmmsg→ wire::classify ─→ peers.touch ─→ fanout: build once ─→ sendmmsg ─→ sockets
//!                                      ▲    │           ▲                      ▲
//!                       reaper: drops whom  │           rooms: snapshots       │
//!                       nobody has heard    │           of the members         │
//!                                           └─→ service: commands, answered ───┘
//! ```
//!
//! The modules, in the order in which they build on each other: a module uses
//! those above it. `rooms` and `peers` alone know each other, as a peer is in a
//! room, and the room tells the peer where it keeps it. To build on are [`Server`],
//! [`config`], [`client`], [`wire`] and [`stats`]; the others are public so that tests
//! and benchmarks reach the parts, and may change with any version.

#[cfg(not(target_os = "linux"))]
compile_error!("bullhorn runs on Linux only: it needs recvmmsg, sendmmsg and SO_REUSEPORT");

pub mod client;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod server;
pub mod wire;

#[doc(inline)]
pub use server::ops::stats;
#[doc(inline)]
pub use server::{Server, ServerHandle, StartError, config, config::ServerConfig};
