//! Answers to single peers, gathered while receiving and sent together.

use std::ops::Range;

use crate::net::{Outbox, Packet, PeerAddr, SendTally};

/// The answers to what one round of receiving took in, at most one for each
/// datagram: so they are bounded as the round is. It keeps its memory from one
/// round to the next.
#[derive(Default)]
pub(super) struct Answers {
    answers: Vec<(PeerAddr, Range<usize>)>,
    bytes: Vec<u8>,
}

impl Answers {
    /// Adds an answer to `peer`, which `encode` appends to the buffer it is given.
    pub(super) fn push(&mut self, peer: PeerAddr, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        self.answers.push((peer, start..self.bytes.len()));
    }

    /// Adds to the answer that was pushed last what `encode` appends, unless it
    /// would then be longer than `max_bytes`. False: it would, and is as before.
    pub(super) fn extend_last(
        &mut self,
        max_bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some((_, range)) = self.answers.last_mut() else {
            return false;
        };
        encode(&mut self.bytes);
        let fits = self.bytes.len() - range.start <= max_bytes;
        if fits {
            range.end = self.bytes.len();
        } else {
            self.bytes.truncate(range.end);
        }
        fits
    }

    /// Sends all of them.
    pub(super) fn send(&mut self, outbox: &mut Outbox) -> SendTally {
        let mut tally = SendTally::default();
        // In the order of receiving those of one endpoint stand together.
        for answers in self
            .answers
            .chunk_by(|a, b| a.0.endpoint() == b.0.endpoint())
        {
            let packets = answers
                .iter()
                .map(|(peer, range)| Packet::single(peer, &self.bytes[range.clone()]));
            tally += outbox.send(answers[0].0.endpoint(), packets);
        }
        self.answers.clear();
        self.bytes.clear();
        tally
    }
}
