//! The numbers of a sequence that arrived: a bitmap of the last ones, for each of many sequences
//! (as in RFC 4303, section 3.4.3).

/// The windows of many sequences, all of one length, in one piece of memory.
#[derive(Debug)]
pub(crate) struct Windows {
    words: Box<[u64]>,
    words_each: usize,
}

/// The state of a number that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Greater than all before.
    Newest,
    /// It had not come, and a greater one had.
    Overtaken,
    /// It had come before.
    Repeated,
    /// It lies so far back that nobody remembers whether it had come.
    TooLate,
}

impl Windows {
    /// Windows for `count` sequences, each with space for at least `numbers`.
    pub(crate) fn new(count: usize, numbers: usize) -> Self {
        let words_each = numbers
            .div_ceil(WORD_BITS as usize)
            .max(1)
            .next_power_of_two();
        Self {
            words: vec![0; count * words_each].into(),
            words_each,
        }
    }

    /// The numbers that each window remembers: a power of two.
    pub(crate) fn numbers(&self) -> u32 {
        self.words_each as u32 * WORD_BITS
    }

    /// Notes that `number` of a sequence came. `next` is one more than the greatest
    /// one that came before, and is moved on.
    pub(crate) fn arrive(&mut self, sequence: usize, next: &mut u32, number: u32) -> Arrival {
        let numbers = self.numbers();
        if number >= *next {
            let skipped = number - *next;
            if skipped >= numbers {
                self.clear(sequence);
            } else {
                for missing in *next..number {
                    self.set(sequence, missing, false);
                }
            }
            self.set(sequence, number, true);
            *next = number + 1;
            return Arrival::Newest;
        }
        if *next - number > numbers {
            return Arrival::TooLate;
        }
        if self.has(sequence, number) {
            return Arrival::Repeated;
        }
        self.set(sequence, number, true);
        Arrival::Overtaken
    }

    /// Returns true if `number`, one of the last that the window remembers, has arrived.
    pub(crate) fn has(&self, sequence: usize, number: u32) -> bool {
        let (word, bit) = self.place(sequence, number);
        self.words[word] & bit != 0
    }

    /// Forgets all numbers of a sequence.
    pub(crate) fn clear(&mut self, sequence: usize) {
        let start = sequence * self.words_each;
        self.words[start..start + self.words_each].fill(0);
    }

    /// Returns its size in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    fn set(&mut self, sequence: usize, number: u32, value: bool) {
        let (word, bit) = self.place(sequence, number);
        if value {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
    }

    fn place(&self, sequence: usize, number: u32) -> (usize, u64) {
        let word = (number / WORD_BITS) as usize & (self.words_each - 1);
        (sequence * self.words_each + word, 1 << (number % WORD_BITS))
    }
}

const WORD_BITS: u32 = u64::BITS;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Two sequences side by side, each against a set that remembers all.
        #[test]
        fn it_tells_what_a_set_tells(numbers in prop::collection::vec((0..2_usize, 0..400_u32), 0..300)) {
            let mut windows = Windows::new(2, 100);
            prop_assert_eq!(windows.numbers(), 128);
            let mut next = [0; 2];
            let mut come = [BTreeSet::new(), BTreeSet::new()];
            for (sequence, number) in numbers {
                let greatest = come[sequence].last().copied();
                let expected = match greatest {
                    None => Arrival::Newest,
                    Some(greatest) if number > greatest => Arrival::Newest,
                    Some(greatest) if greatest - number >= 128 => Arrival::TooLate,
                    _ if come[sequence].contains(&number) => Arrival::Repeated,
                    _ => Arrival::Overtaken,
                };
                prop_assert_eq!(windows.arrive(sequence, &mut next[sequence], number), expected);
                if expected != Arrival::TooLate {
                    come[sequence].insert(number);
                }
            }
        }
    }

    #[test]
    fn a_window_that_was_cleared_knows_nothing() {
        let mut windows = Windows::new(2, 1);
        let mut next = 0;
        assert_eq!(windows.arrive(1, &mut next, 7), Arrival::Newest);
        windows.clear(1);
        assert_eq!(windows.arrive(1, &mut next, 7), Arrival::Overtaken);
        assert!(windows.has(1, 7) && !windows.has(0, 7));
        assert_eq!(windows.bytes(), 16);
    }
}
