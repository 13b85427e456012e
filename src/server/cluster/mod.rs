//! A cluster: several servers that are one chat, over a bus.

pub mod message;
pub mod nodes;
pub mod own;
