//! What the server does with datagrams: the chat, or the greeting.

mod answers;
mod chat;
mod commands;
mod greet;

pub use chat::{Chat, ChatShared};
pub use greet::Greet;

#[cfg(test)]
mod model_tests;
