//! The texts that wait for fan-out: bounded, and shared fairly by their senders.

use std::collections::HashMap;

use crate::net::PeerAddr;

/// Texts, one behind the other in one buffer, in the order in which they came.
pub struct Backlog {
    bytes: Vec<u8>,
    texts: Vec<Text>,
    senders: HashMap<PeerAddr, Share>,
}

/// The backlog has no place left for a text of this sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogFull;

/// A text in a [`Backlog`].
#[derive(Debug, Clone, Copy)]
struct Text {
    speaker: PeerAddr,
    /// The speaker's number in this backlog.
    sender: u16,
    end: usize,
}

/// What one sender has in the backlog.
#[derive(Debug, Clone, Copy)]
struct Share {
    number: u16,
    texts: usize,
    bytes: usize,
}

impl Backlog {
    /// An empty backlog, with space for all that it may hold.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MAX_BYTES),
            texts: Vec::with_capacity(MAX_TEXTS),
            senders: HashMap::with_capacity(MAX_TEXTS),
        }
    }

    /// Takes up a text.
    ///
    /// A sender may have as much in the backlog as is free for others: so one
    /// flooder leaves half of it, two leave a third, and whoever says little is
    /// heard. (Choudhury and Hahne, "Dynamic queue length thresholds for
    /// shared-memory packet switches", 1998, with a factor of 1.)
    ///
    /// # Errors
    /// [`BacklogFull`]: the sender has its share.
    pub fn push(&mut self, speaker: PeerAddr, text: &[u8]) -> Result<(), BacklogFull> {
        let free_texts = MAX_TEXTS - self.texts.len();
        let free_bytes = MAX_BYTES - self.bytes.len();
        let number = self.senders.len() as u16;
        let share = self.senders.get(&speaker).copied().unwrap_or(Share {
            number,
            texts: 0,
            bytes: 0,
        });
        if share.texts >= free_texts || share.bytes + text.len() > free_bytes {
            return Err(BacklogFull);
        }
        let grown = Share {
            texts: share.texts + 1,
            bytes: share.bytes + text.len(),
            ..share
        };
        self.senders.insert(speaker, grown);
        self.bytes.extend_from_slice(text);
        self.texts.push(Text {
            speaker,
            sender: share.number,
            end: self.bytes.len(),
        });
        Ok(())
    }

    /// How many texts wait.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether no text waits.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Every text, with its speaker and the speaker's number.
    pub fn texts(&self) -> impl Iterator<Item = (PeerAddr, u16, &[u8])> {
        let mut start = 0;
        self.texts.iter().map(move |text| {
            let bytes = &self.bytes[start..text.end];
            start = text.end;
            (text.speaker, text.sender, bytes)
        })
    }

    /// Forgets all texts.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.texts.clear();
        self.senders.clear();
    }
}

impl Default for Backlog {
    fn default() -> Self {
        Self::new()
    }
}

/// Texts that may wait in a worker while as many are sent: at 1000 peers and a
/// million deliveries/s one second of work. To hold more would only delay what
/// is shed in the end. Enough for bundles to fill the largest packets.
pub(super) const MAX_TEXTS: usize = 1024;

/// Space for as many texts of a quarter of the greatest length.
pub(super) const MAX_BYTES: usize = MAX_TEXTS * crate::wire::MAX_TEXT_DATAGRAM / 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(port: u16) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
    }

    /// How many of `count` texts of one speaker are taken.
    fn push_many(backlog: &mut Backlog, port: u16, count: usize, text: &[u8]) -> usize {
        let push = |_: &usize| backlog.push(speaker(port), text).is_ok();
        (0..count).filter(push).count()
    }

    #[test]
    fn texts_come_out_as_they_went_in_with_a_number_for_each_sender() {
        let mut backlog = Backlog::new();
        for (port, text) in [(7, "a"), (9, "bb"), (7, ""), (8, "c")] {
            backlog.push(speaker(port), text.as_bytes()).unwrap();
        }
        let texts: Vec<_> = backlog.texts().collect();
        assert_eq!(
            texts,
            [
                (speaker(7), 0, &b"a"[..]),
                (speaker(9), 1, b"bb"),
                (speaker(7), 0, b""),
                (speaker(8), 2, b"c"),
            ]
        );
        backlog.clear();
        assert!(backlog.is_empty());
        backlog.push(speaker(8), b"d").unwrap();
        assert_eq!(
            backlog.texts().collect::<Vec<_>>(),
            [(speaker(8), 0, &b"d"[..])]
        );
    }

    #[test]
    fn one_flooder_leaves_half_for_the_others() {
        let mut backlog = Backlog::new();
        assert_eq!(push_many(&mut backlog, 1, 5000, b"x"), MAX_TEXTS / 2);
        assert_eq!(push_many(&mut backlog, 2, 5000, b"x"), MAX_TEXTS / 4);
        let quiet: usize = (10..110)
            .map(|port| push_many(&mut backlog, port, 2, b"hi"))
            .sum();
        assert_eq!(quiet, 200, "who says little is heard");
    }

    #[test]
    fn flooders_at_the_same_time_get_equal_shares() {
        let mut backlog = Backlog::new();
        let mut taken = [0; 3];
        for _ in 0..5000 {
            for (taken, port) in taken.iter_mut().zip(1..) {
                *taken += push_many(&mut backlog, port, 1, b"x");
            }
        }
        assert_eq!(taken, [MAX_TEXTS / 4; 3]);
    }

    #[test]
    fn bytes_are_shared_like_texts() {
        let mut backlog = Backlog::new();
        let long = [b'x'; 1024];
        assert_eq!(
            push_many(&mut backlog, 1, 5000, &long),
            MAX_BYTES / 1024 / 2
        );
        assert!(backlog.push(speaker(2), &long).is_ok());
    }

    #[test]
    fn the_bounds_are_never_passed() {
        let mut backlog = Backlog::new();
        for port in 1..=5000 {
            push_many(&mut backlog, port, 1, b"x");
        }
        assert_eq!(backlog.len(), MAX_TEXTS);
    }
}
