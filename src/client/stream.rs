//! One stream of numbered messages: what of it came, and what did not. No I/O.

use super::sequence::{Arrival, SequenceCounts};

/// One stream. Its numbers are continued over the wraps in 64 bits.
#[derive(Debug)]
pub(crate) struct Stream {
    base: u64,
    greatest: u64,
    /// Whether a number of the window has come, at the place of the number
    /// modulo [`WINDOW`].
    come: Window,
    /// Whether it was not sent to us, at the same place.
    skipped: Window,
    /// How many from the base to the greatest were not sent to us.
    skipped_count: u64,
    /// We were in its room ever since its greatest number came.
    is_unbroken: bool,
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
    /// One whose first message has come. `is_here`: we are in its room.
    pub(crate) fn new(first: u32, is_here: bool) -> Self {
        // So that numbers below the first one have a place, whatever it is.
        let first = FIRST_WRAP + u64::from(first);
        let mut stream = Self {
            base: first,
            greatest: first,
            come: Window::default(),
            skipped: Window::default(),
            skipped_count: 0,
            is_unbroken: is_here,
            received: 1,
            repeated: 0,
            reordered: 0,
            too_late: 0,
            too_late_in_a_row: 0,
            before: SequenceCounts::default(),
        };
        stream.come.set(first, true);
        stream
    }

    /// A message with this number came. `is_here`: we are in its room.
    pub(crate) fn arrived(&mut self, sequence: u32, is_here: bool) -> Arrival {
        let step = sequence.wrapping_sub(self.greatest as u32).cast_signed();
        let number = self.greatest.saturating_add_signed(step.into());
        if self.greatest.saturating_sub(number) >= WINDOW {
            return self.arrived_too_late(number, is_here);
        }
        self.too_late_in_a_row = 0;
        if number > self.greatest {
            let is_skip = !(is_here && self.is_unbroken);
            self.is_unbroken = is_here;
            self.advance_to(number, is_skip);
            return Arrival::New;
        }
        if self.come.has(number) {
            self.repeated += 1;
            return Arrival::Repeated;
        }
        // It was sent to us after all.
        if number > self.base && self.skipped.has(number) {
            self.skipped.set(number, false);
            self.skipped_count -= 1;
        }
        self.base = self.base.min(number);
        self.received += 1;
        self.reordered += 1;
        self.come.set(number, true);
        Arrival::Reordered
    }

    /// We have left its room, or come back to it: what is next need not follow on
    /// what was last.
    pub(crate) fn interrupt(&mut self) {
        self.is_unbroken = false;
    }

    pub(crate) fn counts(&self) -> SequenceCounts {
        let expected = self.greatest - self.base + 1 - self.skipped_count;
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

    /// The message with this number, which is greater than all before, has come.
    /// `is_skip`: those between were not sent to us.
    fn advance_to(&mut self, number: u64, is_skip: bool) {
        if is_skip {
            self.skipped_count += number - self.greatest - 1;
        }
        self.come.advance(self.greatest, number, false);
        self.skipped.advance(self.greatest, number, is_skip);
        self.come.set(number, true);
        self.skipped.set(number, false);
        self.greatest = number;
        self.received += 1;
    }

    /// So many of them and nothing else are no stragglers: the stream has begun
    /// anew, and to refuse them would be to stay deaf for up to 2³² messages.
    fn arrived_too_late(&mut self, number: u64, is_here: bool) -> Arrival {
        self.too_late_in_a_row += 1;
        if self.too_late_in_a_row < BEGUN_ANEW {
            self.too_late += 1;
            return Arrival::TooLate;
        }
        let before = self.counts();
        *self = Self::new(number as u32, is_here);
        self.before = before;
        Arrival::New
    }
}

/// A bit for each of the last [`WINDOW`] numbers.
#[derive(Debug, Default)]
struct Window {
    words: [u64; WINDOW_WORDS],
}

impl Window {
    fn has(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.words[word] & bit != 0
    }

    fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = place(number);
        if value {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
    }

    /// Takes the numbers after `last`, up to `next`, with that value; they take the
    /// places of the oldest.
    fn advance(&mut self, last: u64, next: u64, value: bool) {
        if next - last >= WINDOW {
            self.words = [if value { u64::MAX } else { 0 }; WINDOW_WORDS];
            return;
        }
        for number in last + 1..=next {
            self.set(number, value);
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
/// messages, in 256 bytes a stream.
pub const WINDOW: u64 = 1024;

const WINDOW_WORDS: usize = (WINDOW / 64) as usize;

/// Far above the base of any stream, however often that is moved down: there is
/// space for as many messages as 2³² wraps below it.
const FIRST_WRAP: u64 = 1 << 63;

/// Messages too late in a row after which a stream is taken to have begun anew:
/// more than come in two datagrams of 1200 bytes.
pub(super) const BEGUN_ANEW: u32 = 128;
