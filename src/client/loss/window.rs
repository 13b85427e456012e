//! The numbers of a stream that have come, or were skipped, as bits.

use super::WINDOW;

/// A bit for each of the last [`WINDOW`] numbers.
#[derive(Debug, Default)]
pub(super) struct Window {
    words: [u64; WINDOW_WORDS],
}

impl Window {
    pub(super) fn has(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.words[word] & bit != 0
    }

    pub(super) fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = place(number);
        if value {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
    }

    /// Sets the numbers after `last`, up to `next`, to `value`. They take the places of the
    /// oldest.
    pub(super) fn advance(&mut self, last: u64, next: u64, value: bool) {
        if next - last >= WINDOW {
            self.words = [if value { u64::MAX } else { 0 }; WINDOW_WORDS];
            return;
        }
        for number in last + 1..=next {
            self.set(number, value);
        }
    }
}

/// Returns the word of the window and the bit in it for a number.
fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

const WINDOW_WORDS: usize = (WINDOW / 64) as usize;
