//! What offers the load, and finds out what becomes of it.
//!
//! ```text
//! schedule ─due→ shard/offering ─→ dialect ─→ mail ─sendmmsg→ ports ─→ the server
//!                     │ stamp: whose, which, when due
//!                     ▼
//!         rooms: the number of each text, and who is owed it
//!                     ▲
//! recorder ←─ shard/hearing ←─ dialect ←─recvmmsg─ ports ←─ the server
//!     │           window: which numbers came
//!     └─ once a second ─→ collector ─→ samples, and at last the outcome
//! ```
//!
//! A thread is a shard: clients of its own on sockets of its own, so that nothing on the
//! way of a datagram is shared but the counters of the rooms.

pub mod run;

mod collector;
pub mod recorder;
mod shard;

pub mod client;
pub mod rooms;
pub mod window;

pub mod dialect;
pub mod stamp;

pub mod mail;
pub mod ports;

pub mod files;
pub mod schedule;
pub mod selfwatch;
pub mod shape;
