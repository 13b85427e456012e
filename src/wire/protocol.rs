//! The forms in which the server sends to a peer.

/// Form in which the server sends to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// v1: one datagram per message.
    Text,
    /// v1, with a line end after each datagram. For peers that send line ends and print
    /// what they receive unchanged, as netcat does.
    Lines,
    /// v2: many messages per datagram.
    Frames,
}

impl Protocol {
    /// Bytes that follow each v1 datagram.
    pub fn line_end(self) -> &'static str {
        match self {
            Self::Lines => LINE_END,
            Self::Text | Self::Frames => "",
        }
    }
}

/// Follows each datagram to a peer that sends line ends.
pub const LINE_END: &str = "\n";
