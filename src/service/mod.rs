//! What the server does with datagrams: the chat, or the greeting.

mod chat;
mod greet;

pub use chat::Chat;
pub use greet::Greet;
