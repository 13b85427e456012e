//! Version 2: frames, many of them in a datagram. All integers are big-endian.

mod encode;
mod frame;
mod parse;
mod servers;

pub use encode::{
    message_bytes, push_client_frame, push_client_header, push_hello, push_padding, push_reply,
    push_say, push_server_frame, push_server_header,
};
pub use frame::{
    BUNDLE_BYTES, BundleSize, ClientFrame, FRAME_MARK, HEADER_BYTES, Hello, MAX_PAYLOAD_BYTES,
    MIN_HELLO_BYTES, Malformed, Message, Move, Own, Room, SMALL_BUNDLE_BYTES, ServerFrame,
    SessionId, SessionOptions, UNKNOWN_SESSION_BYTES, Unknown, Welcome,
};
pub use parse::{ClientFrames, ServerFrames, parse_client, parse_server};
pub use servers::{MAX_OTHER_SERVERS, ServerList, push_servers};

pub use super::reply::NoticeCode;

#[cfg(test)]
mod tests;
