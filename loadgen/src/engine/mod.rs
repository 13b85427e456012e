//! The engine: it sends the load and finds out what becomes of it.
//!
//! ```text
//! schedule ─due→ shard/send ─→ codec ─→ send_batch ─sendmmsg→ ports ─→ the server
//!                     │ stamp: whose, which, when due
//!                     ▼
//!         rooms: the number of each text, and who should receive it
//!                     ▲
//! recorder ←─ shard/receive ←─ codec ←─recvmmsg─ ports ←─ the server
//!     │           window: which numbers came
//!     └─ once a second ─→ collector ─→ samples, and at last the outcome
//! ```
//!
//! A thread is a shard: clients of its own on sockets of its own, so that nothing on the
//! way of a datagram is shared but the counters of the rooms.
//!
//! The modules stand in the order in which they build on each other.

pub mod schedule;
pub mod stamp;

mod client;
mod codec;
pub mod files;
pub(crate) mod probe;
mod pulse;
mod resource_usage;
mod rooms;
mod window;

pub mod ports;

pub mod partition;
mod recorder;
mod send_batch;

mod common;
mod shard;

mod collector;
pub mod run;
