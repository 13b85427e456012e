//! Lost messages of a room, found by their sequence numbers. No I/O.
//!
//! Each worker of the server numbers the messages that it sends into a room, with 32 bits that
//! wrap. Such a sequence is a *stream*. For each stream:
//!
//! - The **base** is the number of the first message received. If a message with a lower number
//!   within the window comes later, the base moves down to it: it was overtaken.
//! - **expected**: the numbers from the base to the greatest one received.
//! - **received**: those of them that have come, each counted once.
//! - **lost**: those of them that have not come. A loss shows only when a later message comes.
//! - **reordered**: those of the received that came after one with a greater number. Until
//!   then they counted as lost.
//! - **repeated**: messages whose number had come before.
//! - **too late**: messages whose number is [`WINDOW`] or more below the greatest. Nobody
//!   remembers if it had come before.
//!
//! Repeated and late messages are not to be used.
//!
//! A peer receives the messages of its own room and of those that it has subscribed to. A gap from
//! the time in which it was in another room is **skipped**: neither expected nor lost. The streams
//! of a room that was left go on for a while, as their last messages may be under way. The frame
//! that tells the room may be lost, so a message of a room that was not just left proves that the
//! peer is in it.
//!
//! A number far above the greatest is a **jump**. Its message is received, but the window stays
//! where it is until the message of a second datagram continues the jump. Otherwise one forged
//! datagram would make the window pass all messages that really come. In the same way, a stream
//! begins again below its first datagram if no other one has continued that.
//!
//! The window is a bitmap as in RFC 4303, section 3.4.3. The greater of two numbers is found by
//! the shorter way from one to the other, as in RFC 1982 and RFC 3550, appendix A.1. So a gap of
//! 2³¹ messages or more is taken for a step back.

mod window;

use std::collections::{HashMap, VecDeque};

use self::window::Window;

/// Counts of messages, by their numbers. The base is the lowest number received; a message with
/// a lower one counts if it is less than [`WINDOW`] below the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequenceCounts {
    /// Numbers from the base to the greatest one received.
    pub expected: u64,
    /// Numbers of them that have come.
    pub received: u64,
    /// Numbers of them that have not come.
    pub lost: u64,
    /// Messages whose number had come before.
    pub repeated: u64,
    /// Received messages that came after a later one.
    pub reordered: u64,
    /// Messages below the window.
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

/// Kind of a message, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Later than all before.
    New,
    /// Overtaken by a later one.
    Reordered,
    /// A number that has come before.
    Repeated,
    /// Below the window.
    TooLate,
}

/// The streams of a session.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    streams: HashMap<(u32, u8), Stream>,
    /// The counts of streams that have ended.
    ended: SequenceCounts,
    /// The rooms that the peer left a short time ago, and the one that it is in, as far as it
    /// knows, at the end. Each with the number of answers of the server since it was left.
    rooms: VecDeque<(u32, u32)>,
    /// The other rooms that the peer receives.
    subscribed: Vec<u32>,
    /// The number of the datagram that is being handled.
    datagram: u64,
}

impl Sequences {
    /// The messages that come from now on are of another datagram.
    pub(crate) fn begin_datagram(&mut self) {
        self.datagram += 1;
    }

    /// Takes the number of a message of this room and stream.
    pub(crate) fn arrived(&mut self, room: u32, stream: u8, sequence: u32) -> Arrival {
        let is_subscribed = self.subscribed.contains(&room);
        if !is_subscribed && !self.rooms.iter().any(|(known, _)| *known == room) {
            self.moved_to(room);
        }
        let is_here = is_subscribed || self.is_in(room);
        if !is_here {
            // The last messages of the room, or the peer is back in it, and that frame was lost.
            self.interrupt();
        }
        if let Some(stream) = self.streams.get_mut(&(room, stream)) {
            return stream.arrived(sequence, is_here, self.datagram);
        }
        if self.streams.len() >= MAX_STREAMS {
            self.end_streams(|of| of == room);
        }
        let begun = Stream::new(sequence, is_here, self.datagram);
        self.streams.insert((room, stream), begun);
        Arrival::New
    }

    /// The peer is in this room now.
    pub(crate) fn moved_to(&mut self, room: u32) {
        if self.is_in(room) {
            return;
        }
        self.rooms.retain(|(left, _)| *left != room);
        self.rooms.push_back((room, 0));
        if self.rooms.len() > MAX_ROOMS {
            self.rooms.pop_front();
        }
        self.interrupt();
        self.end_stale();
    }

    /// The peer receives this room, besides its own.
    pub(crate) fn subscribed(&mut self, room: u32) {
        if !self.subscribed.contains(&room) {
            self.subscribed.push(room);
        }
    }

    /// The peer does not receive this room any more, unless it is its own.
    pub(crate) fn unsubscribed(&mut self, room: u32) {
        self.subscribed.retain(|subscribed| *subscribed != room);
        self.end_stale();
    }

    /// The room has another incarnation, in which the numbers begin again.
    pub(crate) fn room_began_again(&mut self, room: u32) {
        self.end_streams(|other| other != room);
    }

    /// The server has answered a question of a short time ago. All that it sent before that has
    /// come, or will not come.
    pub(crate) fn server_answered(&mut self) {
        let left = self.rooms.len().saturating_sub(1);
        for (_, answers) in self.rooms.iter_mut().take(left) {
            *answers += 1;
        }
        self.rooms.retain(|(_, answers)| *answers < STALE_ANSWERS);
        self.end_stale();
    }

    /// The server counts from the beginning, and the room of the peer is not known.
    pub(crate) fn restart(&mut self) {
        self.end_streams(|_| false);
        self.rooms.clear();
        self.subscribed.clear();
    }

    /// The counts of all streams, including those that have ended.
    pub(crate) fn total(&self) -> SequenceCounts {
        let mut total = self.ended;
        for stream in self.streams.values() {
            total += stream.counts();
        }
        total
    }

    fn is_in(&self, room: u32) -> bool {
        self.rooms.back().is_some_and(|(here, _)| *here == room)
    }

    /// The next number of a stream may be any, but for those of the subscriptions.
    fn interrupt(&mut self) {
        for ((room, _), stream) in &mut self.streams {
            if !self.subscribed.contains(room) {
                stream.interrupt();
            }
        }
    }

    /// Ends the streams of the rooms that nothing comes from any more.
    fn end_stale(&mut self) {
        let rooms = std::mem::take(&mut self.rooms);
        let subscribed = std::mem::take(&mut self.subscribed);
        self.end_streams(|room| {
            subscribed.contains(&room) || rooms.iter().any(|(known, _)| *known == room)
        });
        (self.rooms, self.subscribed) = (rooms, subscribed);
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

/// One stream. Its numbers are continued over the wraps in 64 bits.
#[derive(Debug)]
pub(crate) struct Stream {
    base: u64,
    /// True if numbers below the base that do not come were not sent to this peer.
    is_skip_below: bool,
    greatest: u64,
    /// The numbers of the window that have come.
    come: Window,
    /// The numbers of the window that were not sent to this peer.
    skipped: Window,
    /// True if the peer was in the room since the greatest number came.
    is_unbroken: bool,
    /// The datagram that began the stream, until another one continues it.
    begun_by: Option<u64>,
    /// Number of late messages since the last one that was not late.
    too_late_in_a_row: u32,
    /// Messages beyond the window, which is to follow them if more continue them.
    jump: Option<Box<Jump>>,
    /// The counts, but for those that are lost.
    counts: SequenceCounts,
}

/// Messages far above the greatest number of a stream. Their numbers are all greater than that by
/// more than [`WINDOW`].
#[derive(Debug)]
struct Jump {
    /// The stream that begins with them.
    stream: Stream,
    /// The datagram that brought the last of them, if nothing came meanwhile that continues the
    /// stream without the jump.
    datagram: Option<u64>,
}

impl Stream {
    /// Begins with its first message, of the datagram with this number. `is_here` is true if the
    /// peer is in its room.
    pub(crate) fn new(first: u32, is_here: bool, datagram: u64) -> Self {
        // So that numbers below the first one have a place, whatever it is.
        let first = FIRST_WRAP + u64::from(first);
        let mut stream = Self {
            base: first,
            is_skip_below: false,
            greatest: first,
            come: Window::default(),
            skipped: Window::default(),
            is_unbroken: is_here,
            begun_by: Some(datagram),
            too_late_in_a_row: 0,
            jump: None,
            counts: SequenceCounts::default(),
        };
        stream.come.set(first, true);
        stream.counts.expected = 1;
        stream.counts.received = 1;
        stream
    }

    /// Takes a number of the datagram with this number. `is_here` is true if the peer is in the
    /// room.
    pub(crate) fn arrived(&mut self, sequence: u32, is_here: bool, datagram: u64) -> Arrival {
        let number = self.nearest(sequence);
        let is_late = self.greatest.saturating_sub(number) >= WINDOW;
        let is_far = number > self.greatest + WINDOW;
        if is_late || is_far {
            if let Some(arrival) = self.arrived_in_jump(sequence, is_here, datagram) {
                return arrival;
            }
            return match is_late {
                true => self.arrived_too_late(number, is_here, datagram),
                false => self.begin_jump(number, is_here, datagram),
            };
        }
        self.too_late_in_a_row = 0;
        self.begun_by = self.begun_by.filter(|begun_by| *begun_by == datagram);
        if let Some(jump) = &mut self.jump {
            jump.datagram = None;
            if number + WINDOW >= jump.stream.base {
                // The window reaches the jump, which is none any more.
                self.follow_jump(is_here);
                return self.arrived(sequence, is_here, datagram);
            }
        }
        if number > self.greatest {
            let is_skip = !(is_here && self.is_unbroken);
            self.is_unbroken = is_here;
            self.advance_to(number, is_skip);
            return Arrival::New;
        }
        if self.come.has(number) {
            self.counts.repeated += 1;
            return Arrival::Repeated;
        }
        if number < self.base {
            if self.is_skip_below {
                self.counts.expected += 1;
                (number + 1..self.base).for_each(|between| self.skipped.set(between, true));
            } else {
                self.counts.expected += self.base - number;
            }
            self.base = number;
        } else if self.skipped.has(number) {
            // It was sent to this peer after all.
            self.counts.expected += 1;
            self.skipped.set(number, false);
        }
        self.counts.received += 1;
        self.counts.reordered += 1;
        self.come.set(number, true);
        Arrival::Reordered
    }

    /// The peer has left the room, or come back to it, so the next number may be any.
    pub(crate) fn interrupt(&mut self) {
        self.is_unbroken = false;
        if let Some(jump) = &mut self.jump {
            jump.stream.interrupt();
        }
    }

    pub(crate) fn counts(&self) -> SequenceCounts {
        let mut counts = self.counts;
        if let Some(jump) = &self.jump {
            counts += jump.stream.counts;
        }
        counts.lost = counts.expected - counts.received;
        counts
    }

    /// Returns the number that is meant by its lower half.
    fn nearest(&self, sequence: u32) -> u64 {
        let step = sequence.wrapping_sub(self.greatest as u32).cast_signed();
        self.greatest.saturating_add_signed(step.into())
    }

    /// Takes a number that is far from the window. Returns `None` if it is far from the jump, too,
    /// or there is none.
    fn arrived_in_jump(&mut self, sequence: u32, is_here: bool, datagram: u64) -> Option<Arrival> {
        let jump = self.jump.as_mut()?;
        let number = jump.stream.nearest(sequence);
        if number.abs_diff(jump.stream.greatest) >= WINDOW || number <= self.greatest + WINDOW {
            return None;
        }
        let arrival = jump.stream.arrived(sequence, is_here, datagram);
        if arrival != Arrival::Repeated {
            match jump.datagram {
                Some(last) if last != datagram => self.follow_jump(is_here),
                _ => jump.datagram = Some(datagram),
            }
        }
        Some(arrival)
    }

    /// Takes a number that is far above the greatest.
    fn begin_jump(&mut self, number: u64, is_here: bool, datagram: u64) -> Arrival {
        self.drop_jump();
        let stream = Self {
            base: number,
            is_skip_below: !(is_here && self.is_unbroken),
            greatest: number,
            ..Self::new(number as u32, is_here, datagram)
        };
        self.jump = Some(Box::new(Jump {
            stream,
            datagram: Some(datagram),
        }));
        Arrival::New
    }

    /// Moves the window to the jump.
    fn follow_jump(&mut self, is_here: bool) {
        let Some(jump) = self.jump.take() else {
            return;
        };
        let Jump { stream: next, .. } = *jump;
        let is_skip = !(is_here && self.is_unbroken);
        // All numbers of the old window are too low for the new one.
        self.skipped = next.skipped;
        for number in (next.greatest + 1 - WINDOW)..next.base {
            self.skipped.set(number, is_skip);
        }
        if !is_skip {
            self.counts.expected += next.base - self.greatest - 1;
        }
        self.counts += next.counts;
        self.come = next.come;
        self.greatest = next.greatest;
        self.is_unbroken = next.is_unbroken;
        self.begun_by = None;
    }

    /// Nothing continues the jump. What it brought stays counted.
    fn drop_jump(&mut self) {
        if let Some(jump) = self.jump.take() {
            self.counts += jump.stream.counts;
        }
    }

    /// Takes a number that is greater than all before. `is_skip` is true if those between
    /// were not sent to this peer.
    fn advance_to(&mut self, number: u64, is_skip: bool) {
        self.counts.expected += if is_skip { 1 } else { number - self.greatest };
        self.come.advance(self.greatest, number, false);
        self.skipped.advance(self.greatest, number, is_skip);
        self.come.set(number, true);
        self.skipped.set(number, false);
        self.greatest = number;
        self.counts.received += 1;
    }

    /// Many late messages in a row mean that the stream has begun again. To refuse them
    /// would lose up to 2³² messages.
    fn arrived_too_late(&mut self, number: u64, is_here: bool, datagram: u64) -> Arrival {
        self.too_late_in_a_row += 1;
        let is_doubtful = self.begun_by.is_some_and(|begun_by| begun_by != datagram);
        if !is_doubtful && self.too_late_in_a_row < MAX_LATE_IN_A_ROW {
            self.counts.too_late += 1;
            return Arrival::TooLate;
        }
        self.drop_jump();
        let before = self.counts;
        *self = Self::new(number as u32, is_here, datagram);
        self.counts += before;
        Arrival::New
    }
}

/// Maximum distance of a message from the greatest number: about a millisecond at the highest
/// rate that a core can send, or 20 bundles of short messages. It takes 256 bytes per stream.
pub const WINDOW: u64 = 1024;

/// Far above the base of any stream. There is space for the messages of 2³² wraps below it.
const FIRST_WRAP: u64 = 1 << 63;

/// Late messages in a row after which a stream has begun again: more than come in two
/// datagrams of 1200 bytes.
pub(super) const MAX_LATE_IN_A_ROW: u32 = 128;

/// Maximum number of streams: 256 workers in four rooms. They take 350 KiB. For one more,
/// those of other rooms end.
const MAX_STREAMS: usize = 1024;

/// More rooms than anyone visits in the time of two heartbeats, and the one after them.
const MAX_ROOMS: usize = 17;

/// The first answer may be to a question from before the peer left the room. The second comes
/// at least a heartbeat later, which is longer than any queue in a server that works.
const STALE_ANSWERS: u32 = 2;

#[cfg(test)]
mod tests;
