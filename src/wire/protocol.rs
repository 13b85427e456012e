//! The forms in which the server sends to a peer, and the limits that they share.

use super::v2::{BUNDLE_BYTES, BundleSize};

/// Form in which the server sends to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// v1: one datagram per message.
    Text,
    /// v1, with a line end after each datagram. For peers that send line ends and print
    /// what they receive unchanged, as netcat does.
    Lines,
    /// v2: many messages per datagram, in bundles of this size.
    Frames(BundleSize),
}

impl Protocol {
    /// Bytes that follow each v1 datagram.
    pub fn line_end(self) -> &'static str {
        match self {
            Self::Lines => LINE_END,
            Self::Text | Self::Frames(_) => "",
        }
    }

    /// Maximum length of a reply to several frames of a v2 datagram.
    pub fn bundle_bytes(self) -> usize {
        match self {
            Self::Frames(size) => size.bytes(),
            Self::Text | Self::Lines => BUNDLE_BYTES,
        }
    }

    /// Maximum length of the entries on a page of a list. There is space for a head and an end
    /// in a datagram.
    pub fn page_bytes(self) -> usize {
        match self {
            Self::Frames(size) => size.bytes().min(MAX_TEXT_DATAGRAM) - PAGE_OVERHEAD_BYTES,
            Self::Text | Self::Lines => MAX_TEXT_DATAGRAM - PAGE_OVERHEAD_BYTES,
        }
    }
}

/// Follows each datagram to a peer that sends line ends.
pub const LINE_END: &str = "\n";

/// Maximum length of a datagram to a v1 peer, without the line end. A stock client
/// reads at most 1024 bytes of a datagram and loses the rest.
pub const MAX_TEXT_DATAGRAM: usize = 1024;

/// Space for the head of a list, and for the command for its next page.
const PAGE_OVERHEAD_BYTES: usize = 124;

/// Maximum length of a peer's name.
pub const MAX_NAME_BYTES: usize = 24;

/// Maximum length of a room's name.
pub const MAX_ROOM_NAME_BYTES: usize = 32;

/// Maximum length of the token of a ping: space for a time and a number.
pub const MAX_TOKEN_BYTES: usize = 32;
