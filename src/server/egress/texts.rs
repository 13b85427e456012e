//! Packets for v1 peers. Every text is a datagram of its own.

use super::backlog::RoomTexts;
use super::packets::{Batcher, Item, Limits, Packets};
use crate::net::MAX_PACKET_BYTES;
use crate::wire::{MAX_TEXT_DATAGRAM, push_text};

/// Encodes texts, and batches them so that many are segments of one packet.
pub(super) struct TextPlanner {
    /// The encoded texts, in the order of [`RoomTexts`].
    encoded: Vec<u8>,
    ends: Vec<usize>,
    items: Vec<Item>,
    batcher: Batcher,
    limits: Limits,
    /// See [`Self::runs`].
    runs: Vec<u16>,
}

impl TextPlanner {
    pub(super) fn new(max_segments: usize) -> Self {
        Self {
            encoded: Vec::with_capacity(ENCODED_BYTES),
            ends: Vec::with_capacity(PASS_DATAGRAMS),
            items: Vec::with_capacity(PASS_DATAGRAMS),
            batcher: Batcher::with_capacity(PASS_DATAGRAMS),
            limits: Limits {
                messages: max_segments,
                bytes: MAX_PACKET_BYTES,
            },
            runs: Vec::with_capacity(PASS_DATAGRAMS),
        }
    }

    pub(super) fn new_packets() -> Packets {
        Packets::with_capacity(ENCODED_BYTES, PASS_DATAGRAMS)
    }

    /// Fills `packets` with the texts of a plan, each followed by `line_end`.
    pub(super) fn plan(&mut self, texts: RoomTexts<'_>, line_end: &str, packets: &mut Packets) {
        self.encode(texts, line_end);
        packets.clear();
        let (encoded, ends, items) = (&self.encoded, &self.ends, &self.items);
        let senders = texts.senders();
        let (limits, runs) = (self.limits, &mut self.runs);
        runs.clear();
        runs.resize(items.len(), 0);
        self.batcher.batch(items, senders, limits, |messages| {
            for &message in messages {
                let end = ends[usize::from(message)];
                let len = usize::from(items[usize::from(message)].len);
                runs[usize::from(message)] = messages.len() as u16;
                packets.bytes().extend_from_slice(&encoded[end - len..end]);
            }
            let segment_bytes = items[usize::from(messages[0])].len;
            packets.finish(segment_bytes, messages.len() as u16);
        });
    }

    /// For each text that was planned last, the number of texts in its packet.
    pub(super) fn runs(&self) -> &[u16] {
        &self.runs
    }

    /// Forgets the texts that were planned last.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }

    fn encode(&mut self, texts: RoomTexts<'_>, line_end: &str) {
        self.encoded.clear();
        self.ends.clear();
        self.items.clear();
        for (display_name, sender, text) in texts.iter() {
            let start = self.encoded.len();
            push_text(display_name, text, &mut self.encoded);
            self.encoded.extend_from_slice(line_end.as_bytes());
            self.ends.push(self.encoded.len());
            let len = (self.encoded.len() - start) as u16;
            self.items.push(Item { sender, len });
        }
    }
}

/// Bytes of the texts of one plan.
const ENCODED_BYTES: usize = PASS_DATAGRAMS * MAX_TEXT_DATAGRAM;

/// Maximum number of v1 datagrams per plan. Linux's default receive buffer (212,992 bytes) holds
/// 277 small datagrams, at 768 bytes each. Half of that leaves space for datagrams that the client
/// has not read yet.
pub(super) const PASS_DATAGRAMS: usize = 128;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::{MAX_SEGMENTS, PeerAddr};
    use crate::server::egress::backlog::Backlog;
    use crate::server::egress::pass::PassLimits;
    use crate::server::ops::stats::WorkerId;
    use crate::server::registry::Registry;
    use crate::wire::Protocol;

    #[test]
    fn long_texts_fill_packets_that_the_kernel_takes() {
        let peer = |port| PeerAddr::new(([127, 0, 0, 1], port).into(), 0);
        let registry = Registry::plain(1, 1);
        registry.touch(&peer(9), Protocol::Text, WorkerId(0), 0);
        let room = registry.lobby();
        let mut backlog = Backlog::new(Duration::from_secs(10));
        for port in 10_001..=10_100 {
            backlog
                .push(room, peer(port), None, None, &[b'x'; 984])
                .unwrap();
        }
        let mut packets = TextPlanner::new_packets();
        let index = backlog.current().unwrap();
        let texts = backlog.pick(index, PassLimits::new(&room.members()));
        TextPlanner::new(MAX_SEGMENTS).plan(texts, "", &mut packets);
        let to = [peer(9)];
        let lens: Vec<usize> = packets.to(&to).map(|packet| packet.payload.len()).collect();
        // Each text has 1000 bytes with its `127.0.0.1:10001 `.
        assert_eq!(lens, [65_000, 35_000]);
    }
}
