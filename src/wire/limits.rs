//! Limits that several forms of messages share.

/// Maximum length of a datagram to a v1 peer, without the line end. A stock client
/// reads at most 1024 bytes of a datagram and loses the rest.
pub const MAX_TEXT_DATAGRAM: usize = 1024;

/// Maximum length of a peer's name.
pub const MAX_NAME_BYTES: usize = 24;

/// Maximum length of a room's name.
pub const MAX_ROOM_NAME_BYTES: usize = 32;

/// Maximum length of the token of a ping: space for a time and a number.
pub const MAX_TOKEN_BYTES: usize = 32;
