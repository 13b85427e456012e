//! Answers to single peers, gathered while receiving and sent together.

use std::ops::Range;

use crate::net::{Outbox, Packet, PeerAddr, SendTally};

/// As many answers as one round of receiving caused. It keeps its memory from
/// one round to the next.
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
