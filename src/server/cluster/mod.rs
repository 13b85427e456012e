//! A cluster: several servers that are one chat, over a bus.
//!
//! [`Engine`](engine::Engine) is the node. A bus brings it messages, and takes its own. Texts do not
//! pass it on their way out: workers put batches in their outbox, and the bus takes them from there.

pub mod bus;
pub mod engine;
mod grants;
mod join;
mod load;
pub mod message;
pub mod nats;
pub mod nodes;
pub mod own;
mod positions;
mod rivals;
pub mod shared;
mod subscriptions;
mod waiting;

pub use join::{CoreParts, Node};
