//! Version 2: frames, many of them in a datagram. All integers are big-endian.

mod encode;
mod frame;
mod parse;

pub use encode::{
    message_bytes, push_client_frame, push_client_header, push_hello, push_hello_in, push_padding,
    push_reply, push_say, push_server_frame, push_server_header,
};
pub use frame::{
    BUNDLE_BYTES, BundleSize, ClientFrame, FRAME_MARK, MAX_PAYLOAD_BYTES, MIN_HELLO_BYTES,
    Malformed, Message, SERVER_HEADER_BYTES, SMALL_BUNDLE_BYTES, ServerFrame, SessionId,
    UNKNOWN_SESSION_BYTES, Welcome,
};
pub use parse::{ClientFrames, parse_client, parse_server};

pub use super::reply::NoticeCode;

#[cfg(test)]
mod tests;
