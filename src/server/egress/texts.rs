//! Packets for peers that speak v1: every text a datagram of its own.

use super::backlog::{MAX_BYTES, MAX_TEXTS, RoomTexts};
use super::batching::{Item, Limits, Regrouper};
use super::packets::Packets;
use crate::net::MAX_PACKET_BYTES;
use crate::wire::push_text;

/// Encodes texts and regroups them, so that as many as can be are segments of
/// one packet.
pub struct TextPlanner {
    /// The texts as they go out, in the order of the backlog.
    encoded: Vec<u8>,
    ends: Vec<usize>,
    items: Vec<Item>,
    regrouper: Regrouper,
    limits: Limits,
}

impl TextPlanner {
    /// With memory for the longest backlog; packets have at most `max_segments`
    /// texts.
    pub fn new(max_segments: usize) -> Self {
        Self {
            encoded: Vec::with_capacity(ENCODED_BYTES),
            ends: Vec::with_capacity(MAX_TEXTS),
            items: Vec::with_capacity(MAX_TEXTS),
            regrouper: Regrouper::with_capacity(MAX_TEXTS),
            limits: Limits {
                messages: max_segments,
                bytes: MAX_PACKET_BYTES,
            },
        }
    }

    /// Space for what it makes.
    pub fn packets() -> Packets {
        Packets::with_capacity(ENCODED_BYTES, MAX_TEXTS, PASS_DATAGRAMS)
    }

    /// Plans all texts of a room, each with `line_end` behind it.
    pub fn plan(&mut self, texts: RoomTexts<'_>, line_end: &str, packets: &mut Packets) {
        self.encode(texts, line_end);
        packets.clear();
        let (encoded, ends, items) = (&self.encoded, &self.ends, &self.items);
        let senders = texts.senders();
        let limits = self.limits;
        self.regrouper.regroup(items, senders, limits, |messages| {
            for &message in messages {
                let end = ends[usize::from(message)];
                let len = usize::from(items[usize::from(message)].len);
                packets.bytes().extend_from_slice(&encoded[end - len..end]);
            }
            let segment_bytes = items[usize::from(messages[0])].len;
            packets.finish(segment_bytes, messages.len() as u16);
        });
    }

    fn encode(&mut self, texts: RoomTexts<'_>, line_end: &str) {
        self.encoded.clear();
        self.ends.clear();
        self.items.clear();
        for (speaker, sender, text) in texts.iter() {
            let start = self.encoded.len();
            push_text(speaker, text, &mut self.encoded);
            self.encoded.extend_from_slice(line_end.as_bytes());
            self.ends.push(self.encoded.len());
            let len = (self.encoded.len() - start) as u16;
            self.items.push(Item { sender, len });
        }
    }
}

/// Texts and their speakers' addresses, as long as little has to be escaped;
/// for more the buffers grow.
const ENCODED_BYTES: usize = MAX_BYTES + MAX_TEXTS * 32;

/// The receive buffer of a stock client, as Linux gives it (212,992 bytes),
/// holds 277 small datagrams of 768 bytes each; half of that leaves space for
/// what it has not read yet.
const PASS_DATAGRAMS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{MAX_SEGMENTS, PeerAddr};
    use crate::server::egress::Backlog;
    use crate::server::registry::Room;

    #[test]
    fn long_texts_fill_packets_that_the_kernel_takes() {
        let peer = |port| PeerAddr::new(([127, 0, 0, 1], port).into(), 0);
        let mut backlog = Backlog::new();
        let room = Room::plain(0, 1);
        for port in 10_001..=10_100 {
            backlog.push(&room, peer(port), None, &[b'x'; 984]).unwrap();
        }
        let mut packets = TextPlanner::packets();
        TextPlanner::new(MAX_SEGMENTS).plan(backlog.room(0).unwrap(), "", &mut packets);
        let to = peer(9);
        let packets = (0..packets.passes()).flat_map(|pass| packets.pass(pass, &to));
        let lens: Vec<usize> = packets.map(|packet| packet.payload.len()).collect();
        // Each with its `127.0.0.1:10001 ` is 1000 bytes.
        assert_eq!(lens, [65_000, 35_000]);
    }
}
