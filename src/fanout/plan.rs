//! From texts to packets, once for all members of a room.

use crate::fanout::backlog::{Backlog, MAX_BYTES, MAX_TEXTS};
use crate::fanout::regroup::{Item, Limits, Regrouper};
use crate::net::{MAX_PACKET_BYTES, MAX_SEGMENTS, Packet, PeerAddr};
use crate::wire::push_text;

/// What every member of a room is to get, as packets in their order; it keeps
/// its memory from one time to the next.
pub struct Plan {
    /// The texts as they are encoded, in the order of the backlog.
    encoded: Vec<u8>,
    ends: Vec<usize>,
    items: Vec<Item>,
    regrouper: Regrouper,
    /// The same bytes in the order of the packets.
    bytes: Vec<u8>,
    packets: Vec<Planned>,
    passes: Vec<Pass>,
}

/// One packet: what lies between the end of the one before and its own.
#[derive(Debug, Clone, Copy)]
struct Planned {
    start: usize,
    end: usize,
    segment_bytes: u16,
    messages: u16,
}

/// Packets that a peer gets in one go.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// Which packets.
    start: usize,
    end: usize,
    messages: usize,
}

impl Plan {
    /// Space for the longest backlog, as long as its texts are printable.
    pub fn new() -> Self {
        const PREFIX_BYTES: usize = 32;
        Self {
            encoded: Vec::with_capacity(MAX_BYTES + MAX_TEXTS * PREFIX_BYTES),
            ends: Vec::with_capacity(MAX_TEXTS),
            items: Vec::with_capacity(MAX_TEXTS),
            regrouper: Regrouper::with_capacity(MAX_TEXTS),
            bytes: Vec::with_capacity(MAX_BYTES + MAX_TEXTS * PREFIX_BYTES),
            packets: Vec::with_capacity(MAX_TEXTS),
            passes: Vec::with_capacity(MAX_TEXTS),
        }
    }

    /// Plans all texts of `backlog` for peers that speak protocol v1.
    pub fn build(&mut self, backlog: &Backlog) {
        self.encode(backlog);
        self.bytes.clear();
        self.packets.clear();
        self.passes.clear();
        let Self {
            encoded,
            ends,
            items,
            regrouper,
            bytes,
            packets,
            passes,
        } = self;
        regrouper.regroup(items, LIMITS, |messages| {
            let start = bytes.len();
            for &message in messages {
                let end = ends[usize::from(message)];
                let len = usize::from(items[usize::from(message)].len);
                bytes.extend_from_slice(&encoded[end - len..end]);
            }
            let packet = Planned {
                start,
                end: bytes.len(),
                segment_bytes: items[usize::from(messages[0])].len,
                messages: messages.len() as u16,
            };
            packets.push(packet);
            add_to_passes(passes, packets.len(), messages.len());
        });
    }

    /// How many passes over the peers it takes.
    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    /// What it costs about to send one pass to one peer, in µs.
    pub fn pass_cost_us(&self, pass: usize) -> usize {
        let Pass {
            start,
            end,
            messages,
        } = self.passes[pass];
        (end - start) * PACKET_COST_US + messages * SEGMENT_COST_US
    }

    /// The packets of one pass, for one peer.
    pub fn packets<'a>(
        &'a self,
        pass: usize,
        to: &'a PeerAddr,
    ) -> impl Iterator<Item = Packet<'a>> {
        let Pass { start, end, .. } = self.passes[pass];
        self.packets[start..end].iter().map(move |packet| Packet {
            to,
            payload: &self.bytes[packet.start..packet.end],
            segment_bytes: packet.segment_bytes,
            deliveries: packet.messages.into(),
        })
    }

    fn encode(&mut self, backlog: &Backlog) {
        self.encoded.clear();
        self.ends.clear();
        self.items.clear();
        for (speaker, sender, text) in backlog.texts() {
            let start = self.encoded.len();
            push_text(speaker, text, &mut self.encoded);
            self.ends.push(self.encoded.len());
            let len = (self.encoded.len() - start) as u16;
            self.items.push(Item { sender, len });
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the newest packet into the last pass, or begins a new one.
fn add_to_passes(passes: &mut Vec<Pass>, packets: usize, messages: usize) {
    match passes.last_mut() {
        Some(pass) if pass.messages + messages <= PASS_MESSAGES => {
            pass.end = packets;
            pass.messages += messages;
        }
        _ => passes.push(Pass {
            start: packets - 1,
            end: packets,
            messages,
        }),
    }
}

const LIMITS: Limits = Limits {
    messages: MAX_SEGMENTS,
    bytes: MAX_PACKET_BYTES,
};

/// Messages that a peer gets at once. The receive buffer of a stock client, as
/// Linux gives it (212,992 bytes), holds 277 small datagrams of 768 bytes each;
/// half of that leaves space for what it has not read yet.
const PASS_MESSAGES: usize = 128;

/// What a packet and each datagram in it cost, measured over the loopback
/// interface (see the table in docs/ARCHITECTURE.md); they cut slices.
const PACKET_COST_US: usize = 5;
const SEGMENT_COST_US: usize = 1;
