//! What became of the messages of a room, told from their sequence numbers. No
//! I/O.
//!
//! Each worker of the server counts the messages that it sends into a room, with
//! 32 bits that wrap; such a count is a *stream*. For each stream:
//!
//! - The first message that is heard sets the **base**. What the server sent
//!   before is not missed. Should a message with a lower number come later, from
//!   within the window, the base moves down to it: it was sent to us too, and was
//!   overtaken.
//! - **expected**: how many numbers lie from the base to the greatest one heard,
//!   both included.
//! - **received**: how many of these came, each number counted once.
//! - **lost**: expected less received, so those that have not come so far. A
//!   loss shows only when a later message comes.
//! - **reordered**: how many of the received came after one with a greater
//!   number. Until it came, such a message counted as lost.
//! - **repeated**: how many came with a number that had come before.
//! - **too late**: how many came with a number that lies [`WINDOW`] or more below
//!   the greatest. Nobody remembers whether that one had come before: if it had,
//!   this was a repetition; if not, it stays lost.
//!
//! Repeated messages, and those that are too late, are not to be used.
//!
//! Only who is in a room is sent its messages: a gap from the time in which we were
//! in another one is **skipped**, which is neither expected nor lost. The streams of
//! a room that was left go on for a while, as their last messages may be under way,
//! and then end. The server tells which room we are in, but that may be lost: so a
//! message of a room that we have not just left proves that we are in it.
//!
//! The window is a bitmap as in RFC 4303, section 3.4.3; which of two numbers is
//! the greater one is told by the shorter way from one to the other, as in RFC
//! 1982 and RFC 3550, appendix A.1. So a gap of 2³¹ messages or more is taken for
//! a step back.

use std::collections::{HashMap, VecDeque};

use super::stream::Stream;
pub use super::stream::WINDOW;

/// What became of messages; the module's documentation defines each figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequenceCounts {
    /// Numbers from the base to the greatest one heard.
    pub expected: u64,
    /// Those of them that came.
    pub received: u64,
    /// Those of them that have not come so far.
    pub lost: u64,
    /// Messages that came again.
    pub repeated: u64,
    /// Those of the received that came after a later one.
    pub reordered: u64,
    /// Messages so late that nobody knows whether they had come before.
    pub too_late: u64,
}

impl std::ops::AddAssign for SequenceCounts {
    fn add_assign(&mut self, other: Self) {
        self.expected += other.expected;
        self.received += other.received;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.too_late += other.too_late;
    }
}

/// What a message is, going by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is later than all before.
    New,
    /// It was overtaken by a later one.
    Reordered,
    /// It has come before.
    Repeated,
    /// It lies below the window.
    TooLate,
}

/// The streams of a session.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    streams: HashMap<(u32, u8), Stream>,
    /// Of streams that have ended.
    ended: SequenceCounts,
    /// The room that we are in, as far as we know.
    room: Option<u32>,
    /// Those that we have left a short time ago, the last one at the end.
    left: VecDeque<Left>,
}

/// A room whose last messages may be under way.
#[derive(Debug)]
struct Left {
    room: u32,
    /// How often the server has answered since.
    answers: u32,
}

impl Sequences {
    /// A message of this room and stream came.
    pub(crate) fn arrived(&mut self, room: u32, stream: u8, sequence: u32) -> Arrival {
        if self.room != Some(room) && !self.left.iter().any(|left| left.room == room) {
            self.moved_to(room);
        }
        let is_here = self.room == Some(room);
        if !is_here {
            // Its last messages; or we went back there, and nobody told us.
            self.interrupt();
        }
        if let Some(stream) = self.streams.get_mut(&(room, stream)) {
            return stream.arrived(sequence, is_here);
        }
        if self.streams.len() >= STREAMS_MAX {
            self.end_streams(|of| of == room);
        }
        let begun = Stream::new(sequence, is_here);
        self.streams.insert((room, stream), begun);
        Arrival::New
    }

    /// We are in this room now.
    pub(crate) fn moved_to(&mut self, room: u32) {
        if self.room == Some(room) {
            return;
        }
        self.left.retain(|left| left.room != room);
        if let Some(room) = self.room.replace(room) {
            self.left.push_back(Left { room, answers: 0 });
            if self.left.len() > LEFT_MAX {
                self.left.pop_front();
            }
        }
        self.interrupt();
        self.end_stale();
    }

    /// The server has answered what was asked a short time ago: what it sent
    /// before has come, or will not.
    pub(crate) fn server_answered(&mut self) {
        if self.left.is_empty() {
            return;
        }
        for left in &mut self.left {
            left.answers += 1;
        }
        self.left.retain(|left| left.answers < STALE_ANSWERS);
        self.end_stale();
    }

    /// The server counts anew from here on, and we are in this room.
    pub(crate) fn restart(&mut self, room: u32) {
        self.end_streams(|_| false);
        self.left.clear();
        self.room = Some(room);
    }

    /// Of all streams, those that have ended included.
    pub(crate) fn total(&self) -> SequenceCounts {
        let mut total = self.ended;
        for stream in self.streams.values() {
            total += stream.counts();
        }
        total
    }

    /// Of each stream that goes on: its room, its number, and its counts.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (u32, u8, SequenceCounts)> {
        let streams = self.streams.iter();
        streams.map(|((room, number), stream)| (*room, *number, stream.counts()))
    }

    /// What is next in any stream need not follow on what was last.
    fn interrupt(&mut self) {
        for stream in self.streams.values_mut() {
            stream.interrupt();
        }
    }

    /// Ends the streams of the rooms that nothing comes from any more.
    fn end_stale(&mut self) {
        let here = self.room;
        let left = std::mem::take(&mut self.left);
        self.end_streams(|room| Some(room) == here || left.iter().any(|left| left.room == room));
        self.left = left;
    }

    /// Ends the streams of all rooms but those that `goes_on` names.
    fn end_streams(&mut self, goes_on: impl Fn(u32) -> bool) {
        let ended = &mut self.ended;
        self.streams.retain(|(room, _), stream| {
            let goes_on = goes_on(*room);
            if !goes_on {
                *ended += stream.counts();
            }
            goes_on
        });
    }
}

/// Streams that are watched: 256 workers in four rooms, in 350 KiB. For one more,
/// those of other rooms end.
const STREAMS_MAX: usize = 1024;

/// As many rooms as anyone walks through in the time of two heartbeats.
const LEFT_MAX: usize = 16;

/// The first answer may be to what was asked before we left the room; the second
/// comes at least a heartbeat later, far above any queue in a server that works.
const STALE_ANSWERS: u32 = 2;

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
