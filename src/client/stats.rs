//! What a session has counted.

use super::sequence::SequenceCounts;

/// What a [`Session`](super::Session) has counted. All figures only grow, but for that of
/// the lost, which may still come; and streams end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// In v2: what became of the messages, of all streams and sessions.
    pub messages: SequenceCounts,
    /// The same for each stream that goes on, ordered by room and number: those of
    /// the room that the session is in, and of the rooms that it has left within
    /// the last two heartbeats.
    pub streams: Vec<StreamStats>,
    /// In v2: datagrams from the server that were not of the protocol, and were
    /// dropped.
    pub malformed: u64,
    /// In v2: how often the server gave us a session. Each after the first one
    /// means that it had forgotten us, or has restarted.
    pub sessions: u64,
    /// Texts that waited for the server's answer to the greeting, and were never
    /// sent.
    pub unsent: u64,
    /// As [`Session::texts_missed`](super::Session::texts_missed).
    pub texts_missed: u64,
}

/// What became of the messages of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStats {
    /// The number of the room.
    pub room: u32,
    /// Which worker of the server counts.
    pub stream: u8,
    /// What became of them.
    pub counts: SequenceCounts,
}
