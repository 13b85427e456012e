//! Packets for v1 peers. Every text is a datagram of its own.

use super::backlog::Picked;
use super::batching::{Batcher, Limits};
use super::packets::Packets;
use crate::net::MAX_PACKET_BYTES;
use crate::wire::{MAX_TEXT_DATAGRAM, push_text};

/// Encodes texts, and batches them so that many are segments of one packet.
pub(super) struct TextPlanner {
    /// The encoded texts, without line ends, and the end of each.
    encoded: Vec<u8>,
    ends: Vec<usize>,
    batcher: Batcher,
    limits: Limits,
}

impl TextPlanner {
    pub(super) fn new(max_segments: usize) -> Self {
        Self {
            encoded: Vec::with_capacity(ENCODED_BYTES),
            ends: Vec::with_capacity(MAX_DATAGRAMS),
            batcher: Batcher::with_capacity(MAX_DATAGRAMS),
            limits: Limits {
                messages: max_segments,
                bytes: MAX_PACKET_BYTES,
            },
        }
    }

    pub(super) fn new_packets() -> Packets {
        Packets::with_capacity(ENCODED_BYTES, MAX_DATAGRAMS)
    }

    /// Forgets all texts.
    pub(super) fn clear(&mut self) {
        self.encoded.clear();
        self.ends.clear();
        self.batcher.clear();
    }

    /// The number of texts.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, picked: &Picked<'_>) {
        let start = self.encoded.len();
        push_text(picked.from, picked.text, &mut self.encoded);
        let end = self.encoded.len();
        self.ends.push(end);
        self.batcher.push(picked.share, (end - start) as u16);
    }

    /// Fills `packets` with the texts, each followed by `line_end`.
    pub(super) fn plan(&mut self, line_end: &str, packets: &mut Packets) {
        let (encoded, ends, line_end) = (&self.encoded, &self.ends, line_end.as_bytes());
        self.batcher
            .batch(line_end.len(), self.limits, |messages, len| {
                for &message in messages {
                    let message = usize::from(message);
                    let start = message.checked_sub(1).map_or(0, |before| ends[before]);
                    packets
                        .bytes()
                        .extend_from_slice(&encoded[start..ends[message]]);
                    packets.bytes().extend_from_slice(line_end);
                }
                packets.finish(len as u16, messages.len() as u16);
            });
    }

    /// For each text that was planned, the index of its sender's share and the number of texts in
    /// its packet.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, u16)> {
        self.batcher.runs()
    }
}

/// Bytes of the texts of one plan.
const ENCODED_BYTES: usize = MAX_DATAGRAMS * MAX_TEXT_DATAGRAM;

/// Maximum number of v1 datagrams per plan. Linux's default receive buffer (212,992 bytes) holds
/// 277 small datagrams, at 768 bytes each. Half of that leaves space for datagrams that the client
/// has not read yet.
pub(super) const MAX_DATAGRAMS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{MAX_SEGMENTS, PeerAddr};
    use crate::wire::DisplayName;

    #[test]
    fn long_texts_fill_packets_that_the_kernel_takes() {
        let mut planner = TextPlanner::new(MAX_SEGMENTS);
        for port in 10_001..=10_100 {
            planner.push(&Picked {
                share: usize::from(port),
                from: DisplayName::Address(([127, 0, 0, 1], port).into()),
                not_to: None,
                is_local: true,
                cost_ns: 0,
                age_us: 0,
                text: &[b'x'; 984],
            });
        }
        // Each text has 1000 bytes with its `127.0.0.1:10001 `, and 1001 with a line end.
        for (line_end, len, most) in [("", 1000, 65), ("\n", 1001, 64)] {
            let mut packets = TextPlanner::new_packets();
            planner.plan(line_end, &mut packets);
            let to = [PeerAddr::new(([127, 0, 0, 1], 9).into(), 0)];
            let packets = packets.to(&to).map(|packet| packet.payload.len());
            assert!(packets.eq([most * len, (100 - most) * len]));
            let runs = planner.runs().map(|(_, run)| usize::from(run));
            assert!(runs.eq([vec![most; most], vec![100 - most; 100 - most]].concat()));
        }
    }
}
