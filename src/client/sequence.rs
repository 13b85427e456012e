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
//! The window is a bitmap as in RFC 4303, section 3.4.3; which of two numbers is
//! the greater one is told by the shorter way from one to the other, as in RFC
//! 1982 and RFC 3550, appendix A.1. So a gap of 2³¹ messages or more is taken for
//! a step back.

use std::collections::HashMap;

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
    /// There are too many streams to watch this one, too.
    Unwatched,
}

/// The streams of a session.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    streams: HashMap<(u32, u8), Stream>,
    /// Of streams that have ended.
    ended: SequenceCounts,
}

impl Sequences {
    /// A message of this room and stream came.
    pub(crate) fn arrived(&mut self, room: u32, stream: u8, sequence: u32) -> Arrival {
        if let Some(stream) = self.streams.get_mut(&(room, stream)) {
            return stream.arrived(sequence);
        }
        if self.streams.len() >= STREAMS_MAX {
            return Arrival::Unwatched;
        }
        self.streams.insert((room, stream), Stream::new(sequence));
        Arrival::New
    }

    /// The server counts anew from here on.
    pub(crate) fn restart(&mut self) {
        self.ended = self.total();
        self.streams.clear();
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
}

/// One stream. Its numbers are continued over the wraps in 64 bits.
#[derive(Debug)]
struct Stream {
    base: u64,
    greatest: u64,
    /// Whether a number of the window has come, at the place of the number
    /// modulo [`WINDOW`].
    window: [u64; WINDOW_WORDS],
    received: u64,
    repeated: u64,
    reordered: u64,
    too_late: u64,
    /// Those that were too late since the last one that was not.
    too_late_in_a_row: u32,
    /// What it had counted when it began anew.
    before: SequenceCounts,
}

impl Stream {
    fn new(first: u32) -> Self {
        // So that numbers below the first one have a place, whatever it is.
        let first = FIRST_WRAP + u64::from(first);
        let mut stream = Self {
            base: first,
            greatest: first,
            window: [0; WINDOW_WORDS],
            received: 1,
            repeated: 0,
            reordered: 0,
            too_late: 0,
            too_late_in_a_row: 0,
            before: SequenceCounts::default(),
        };
        stream.mark(first);
        stream
    }

    fn arrived(&mut self, sequence: u32) -> Arrival {
        let step = sequence.wrapping_sub(self.greatest as u32).cast_signed();
        let number = self.greatest.saturating_add_signed(step.into());
        if self.greatest.saturating_sub(number) >= WINDOW {
            return self.arrived_too_late(number);
        }
        self.too_late_in_a_row = 0;
        if number > self.greatest {
            self.clear_between(self.greatest, number);
            self.greatest = number;
            self.received += 1;
            self.mark(number);
            return Arrival::New;
        }
        if self.has_come(number) {
            self.repeated += 1;
            return Arrival::Repeated;
        }
        self.base = self.base.min(number);
        self.received += 1;
        self.reordered += 1;
        self.mark(number);
        Arrival::Reordered
    }

    /// So many of them and nothing else are no stragglers: the stream has begun
    /// anew, and to refuse them would be to stay deaf for up to 2³² messages.
    fn arrived_too_late(&mut self, number: u64) -> Arrival {
        self.too_late_in_a_row += 1;
        if self.too_late_in_a_row < BEGUN_ANEW {
            self.too_late += 1;
            return Arrival::TooLate;
        }
        let before = self.counts();
        *self = Self::new(number as u32);
        self.before = before;
        Arrival::New
    }

    fn counts(&self) -> SequenceCounts {
        let expected = self.greatest - self.base + 1;
        let mut counts = self.before;
        counts += SequenceCounts {
            expected,
            received: self.received,
            lost: expected - self.received,
            repeated: self.repeated,
            reordered: self.reordered,
            too_late: self.too_late,
        };
        counts
    }

    fn has_come(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.window[word] & bit != 0
    }

    fn mark(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.window[word] |= bit;
    }

    /// Takes the numbers after `last`, up to `next`, into the window, where they
    /// take the places of the oldest.
    fn clear_between(&mut self, last: u64, next: u64) {
        if next - last >= WINDOW {
            self.window = [0; WINDOW_WORDS];
            return;
        }
        for number in last + 1..=next {
            let (word, bit) = place(number);
            self.window[word] &= !bit;
        }
    }
}

/// The word of the window in which a number has its place, and its bit there.
fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

/// How far a message may lag behind and be told apart from a repetition: about a
/// millisecond at the highest rate that a core can send, or 20 bundles of short
/// messages, in 128 bytes a stream.
pub const WINDOW: u64 = 1024;

const WINDOW_WORDS: usize = (WINDOW / 64) as usize;

/// Far above the base of any stream, however often that is moved down: there is
/// space for as many messages as 2³² wraps below it.
const FIRST_WRAP: u64 = 1 << 63;

/// Messages too late in a row after which a stream is taken to have begun anew:
/// more than come in two datagrams of 1200 bytes.
const BEGUN_ANEW: u32 = 128;

/// Streams that are watched: 256 workers in four rooms, in 200 KiB. Messages of
/// more are passed on, and not counted.
const STREAMS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use Arrival::{New, Reordered, Repeated, TooLate};
    use proptest::prelude::*;

    fn after(numbers: &[u32]) -> (Vec<Arrival>, SequenceCounts) {
        let mut sequences = Sequences::default();
        let arrive = |number: &u32| sequences.arrived(1, 0, *number);
        let arrivals = numbers.iter().map(arrive).collect();
        (arrivals, sequences.total())
    }

    fn counts(counts: [u64; 6]) -> SequenceCounts {
        let [expected, received, lost, repeated, reordered, too_late] = counts;
        SequenceCounts {
            expected,
            received,
            lost,
            repeated,
            reordered,
            too_late,
        }
    }

    #[test]
    fn the_first_one_sets_the_base() {
        assert_eq!(after(&[700]).1, counts([1, 1, 0, 0, 0, 0]));
        assert_eq!(after(&[700, 701]).1, counts([2, 2, 0, 0, 0, 0]));
    }

    #[test]
    fn what_is_missing_is_lost_until_it_comes() {
        assert_eq!(after(&[5, 9]).1, counts([5, 2, 3, 0, 0, 0]));
        let (arrivals, late) = after(&[5, 9, 7]);
        assert_eq!(arrivals, [New, New, Reordered]);
        assert_eq!(late, counts([5, 3, 2, 0, 1, 0]));
    }

    #[test]
    fn what_comes_again_is_repeated_however_it_came_first() {
        let (arrivals, total) = after(&[5, 7, 6, 6, 5, 7]);
        assert_eq!(
            arrivals,
            [New, New, Reordered, Repeated, Repeated, Repeated]
        );
        assert_eq!(total, counts([3, 3, 0, 3, 1, 0]));
    }

    #[test]
    fn one_that_was_overtaken_by_the_first_moves_the_base_down() {
        let (arrivals, total) = after(&[5, 3, 4, 3]);
        assert_eq!(arrivals, [New, Reordered, Reordered, Repeated]);
        assert_eq!(total, counts([3, 3, 0, 1, 2, 0]));
        assert_eq!(after(&[0, u32::MAX]).1, counts([2, 2, 0, 0, 1, 0]));
    }

    #[test]
    fn numbers_wrap() {
        let (arrivals, total) = after(&[u32::MAX - 1, 1, u32::MAX, 0, 2]);
        assert_eq!(arrivals, [New, New, Reordered, Reordered, New]);
        assert_eq!(total, counts([5, 5, 0, 0, 2, 0]));
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let last_in = 5000 - (WINDOW as u32 - 1);
        let (arrivals, total) = after(&[1, 5000, last_in, last_in, last_in - 1]);
        assert_eq!(arrivals, [New, New, Reordered, Repeated, TooLate]);
        assert_eq!(total, counts([5000, 3, 4997, 1, 1, 1]));
    }

    #[test]
    fn places_in_the_window_are_taken_over_clean() {
        let window = WINDOW as u32;
        // 3 has the place of 3 + window, which has not come.
        let (arrivals, _) = after(&[3, 4 + window, 3 + window]);
        assert_eq!(arrivals, [New, New, Reordered]);
        let (arrivals, _) = after(&[3, 2 + window, 4 + window, 3 + window]);
        assert_eq!(arrivals, [New, New, New, Reordered]);
        let (arrivals, _) = after(&[3, 100_000, 3 + 97 * window]);
        assert_eq!(arrivals, [New, New, Reordered]);
    }

    #[test]
    fn a_stream_that_begins_anew_is_heard_again_and_no_count_goes_back() {
        let mut sequences = Sequences::default();
        sequences.arrived(1, 0, 10_000);
        sequences.arrived(1, 0, 10_002);
        for number in 0..BEGUN_ANEW - 1 {
            assert_eq!(sequences.arrived(1, 0, number), TooLate);
        }
        let refused = u64::from(BEGUN_ANEW - 1);
        assert_eq!(sequences.total(), counts([3, 2, 1, 0, 0, refused]));
        assert_eq!(sequences.arrived(1, 0, BEGUN_ANEW), New);
        assert_eq!(sequences.arrived(1, 0, BEGUN_ANEW + 2), New);
        assert_eq!(sequences.total(), counts([6, 4, 2, 0, 0, refused]));
    }

    #[test]
    fn stragglers_among_others_do_not_begin_a_stream_anew() {
        let mut sequences = Sequences::default();
        sequences.arrived(1, 0, 10_000);
        for number in 0..2 * BEGUN_ANEW {
            assert_eq!(sequences.arrived(1, 0, number), TooLate);
            assert_eq!(sequences.arrived(1, 0, 10_001 + number), New);
        }
        assert_eq!(sequences.total().lost, 0);
    }

    #[test]
    fn streams_and_rooms_count_for_themselves() {
        let mut sequences = Sequences::default();
        for (room, stream, number) in [(1, 0, 5), (1, 1, 900), (2, 0, 7), (1, 0, 7), (1, 1, 901)] {
            assert_eq!(sequences.arrived(room, stream, number), New);
        }
        let mut streams: Vec<_> = sequences.streams().collect();
        streams.sort_by_key(|(room, stream, _)| (*room, *stream));
        let expected = [
            (1, 0, counts([3, 2, 1, 0, 0, 0])),
            (1, 1, counts([2, 2, 0, 0, 0, 0])),
            (2, 0, counts([1, 1, 0, 0, 0, 0])),
        ];
        assert_eq!(streams, expected);
        sequences.restart();
        assert_eq!(sequences.arrived(1, 0, 0), New);
        assert_eq!(sequences.total(), counts([7, 6, 1, 0, 0, 0]));
    }

    #[test]
    fn more_streams_than_can_be_watched_are_passed_on() {
        let mut sequences = Sequences::default();
        for room in 0..STREAMS_MAX as u32 {
            assert_eq!(sequences.arrived(room, 0, 0), New);
        }
        assert_eq!(sequences.arrived(9999, 0, 0), Arrival::Unwatched);
        assert_eq!(sequences.arrived(0, 0, 1), New);
    }

    proptest! {
        /// Against a model that remembers everything.
        #[test]
        fn counts_are_those_of_who_remembers_all(
            start in any::<u32>(),
            offsets in prop::collection::vec(0_u32..900, 1..600),
        ) {
            let mut stream = Stream::new(start.wrapping_add(offsets[0]));
            let mut heard = vec![offsets[0]];
            let (mut repeated, mut reordered) = (0, 0);
            for offset in &offsets[1..] {
                let arrival = stream.arrived(start.wrapping_add(*offset));
                let expected = if heard.contains(offset) {
                    repeated += 1;
                    Repeated
                } else if heard.iter().any(|other| other > offset) {
                    reordered += 1;
                    Reordered
                } else {
                    New
                };
                prop_assert_eq!(arrival, expected);
                if expected != Repeated {
                    heard.push(*offset);
                }
            }
            let range = heard.iter().max().unwrap() - heard.iter().min().unwrap() + 1;
            let received = heard.len() as u64;
            prop_assert_eq!(
                stream.counts(),
                counts([range.into(), received, u64::from(range) - received, repeated, reordered, 0])
            );
        }

        #[test]
        fn no_numbers_make_the_counts_contradict_each_other(
            numbers in prop::collection::vec(any::<u32>(), 1..500),
        ) {
            let total = after(&numbers).1;
            prop_assert_eq!(total.expected, total.received + total.lost);
            let heard = total.received + total.repeated + total.too_late;
            prop_assert_eq!(heard, numbers.len() as u64);
        }
    }
}
