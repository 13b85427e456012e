//! What every member of a lane is to get: packets, cut into passes.

use std::num::NonZeroU16;

use crate::net::{Packet, PeerAddr};

/// Packets in their order, built once for all who get them. It keeps its
/// memory from one time to the next.
pub struct Packets {
    bytes: Vec<u8>,
    packets: Vec<Planned>,
    passes: Vec<Pass>,
    /// Datagrams that a peer may get in one pass.
    pass_datagrams: usize,
}

/// One packet.
#[derive(Debug, Clone, Copy)]
struct Planned {
    start: usize,
    end: usize,
    segment_bytes: u16,
    messages: u16,
}

/// Packets that a peer gets in one go.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    start: usize,
    end: usize,
    datagrams: usize,
}

impl Packets {
    /// With memory for `bytes` in `packets` packets; more take more.
    pub fn with_capacity(bytes: usize, packets: usize, pass_datagrams: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            packets: Vec::with_capacity(packets),
            passes: Vec::with_capacity(packets),
            pass_datagrams,
        }
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.passes.clear();
    }

    /// The buffer to which the next packet is appended.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes a packet of what was appended since the one before: `messages`
    /// messages in datagrams of `segment_bytes`, the last of which may be shorter.
    pub fn finish(&mut self, segment_bytes: u16, messages: u16) {
        let start = self.packets.last().map_or(0, |before| before.end);
        let end = self.bytes.len();
        self.packets.push(Planned {
            start,
            end,
            segment_bytes,
            messages,
        });
        let datagrams = (end - start).div_ceil(usize::from(segment_bytes).max(1));
        match self.passes.last_mut() {
            Some(pass) if pass.datagrams + datagrams <= self.pass_datagrams => {
                pass.end += 1;
                pass.datagrams += datagrams;
            }
            _ => self.passes.push(Pass {
                start: self.packets.len() - 1,
                end: self.packets.len(),
                datagrams,
            }),
        }
    }

    /// How many passes over the peers it takes.
    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    /// How many messages there are in all packets.
    pub fn messages(&self) -> usize {
        self.packets
            .iter()
            .map(|packet| usize::from(packet.messages))
            .sum()
    }

    /// What it costs about to send one pass to one peer, in µs.
    pub fn pass_cost_us(&self, pass: usize) -> usize {
        let pass = self.passes[pass];
        (pass.end - pass.start) * PACKET_COST_US + pass.datagrams * DATAGRAM_COST_US
    }

    /// The packets of one pass, for one peer.
    pub fn pass<'a>(&'a self, pass: usize, to: &'a PeerAddr) -> impl Iterator<Item = Packet<'a>> {
        let Pass { start, end, .. } = self.passes[pass];
        self.packets[start..end].iter().map(move |packet| Packet {
            to,
            payload: &self.bytes[packet.start..packet.end],
            segment_bytes: NonZeroU16::new(packet.segment_bytes),
            deliveries: packet.messages.into(),
        })
    }
}

/// What a packet, and each datagram in it, cost on the loopback interface of
/// the machine that this was measured on; they only cut slices.
const PACKET_COST_US: usize = 5;
const DATAGRAM_COST_US: usize = 1;
