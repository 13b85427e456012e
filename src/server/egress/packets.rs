//! The packets that every member of a group receives, cut into passes.

use std::num::NonZeroU16;

use crate::net::{Packet, PeerAddr};

/// Packets in the order of sending, built once for all recipients. Their memory is reused.
pub struct Packets {
    bytes: Vec<u8>,
    packets: Vec<Planned>,
    passes: Vec<Pass>,
    /// Maximum number of datagrams that a peer receives in one pass.
    pass_datagrams: usize,
}

/// The place of a packet in `bytes`, and its segments.
#[derive(Debug, Clone, Copy)]
struct Planned {
    start: usize,
    end: usize,
    segment_bytes: Option<NonZeroU16>,
    messages: u16,
}

/// Packets that a peer receives before the next peer has its turn.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    start: usize,
    end: usize,
    datagrams: usize,
}

impl Packets {
    pub fn with_capacity(bytes: usize, packets: usize, pass_datagrams: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            packets: Vec::with_capacity(packets),
            passes: Vec::with_capacity(packets),
            pass_datagrams,
        }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.passes.clear();
    }

    /// The buffer to append the next packet to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the packet of the bytes appended since the last call. They are `messages` messages
    /// in datagrams of `segment_bytes`, of which the last may be shorter.
    pub fn finish(&mut self, segment_bytes: u16, messages: u16) {
        let start = self.packets.last().map_or(0, |before| before.end);
        let end = self.bytes.len();
        self.packets.push(Planned {
            start,
            end,
            segment_bytes: NonZeroU16::new(segment_bytes),
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

    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    pub fn messages(&self) -> usize {
        self.packets
            .iter()
            .map(|packet| usize::from(packet.messages))
            .sum()
    }

    /// The approximate time to send one pass to one peer, in µs.
    pub fn pass_cost_us(&self, pass: usize) -> usize {
        let pass = self.passes[pass];
        (pass.end - pass.start) * PACKET_COST_US + pass.datagrams * DATAGRAM_COST_US
    }

    pub fn pass<'a>(&'a self, pass: usize, to: &'a PeerAddr) -> impl Iterator<Item = Packet<'a>> {
        let Pass { start, end, .. } = self.passes[pass];
        self.packets[start..end].iter().map(move |packet| Packet {
            to,
            payload: &self.bytes[packet.start..packet.end],
            segment_bytes: packet.segment_bytes,
            deliveries: packet.messages.into(),
        })
    }
}

/// Times to send a packet and each datagram in it, measured on the loopback interface. They
/// only determine the length of slices.
const PACKET_COST_US: usize = 5;
const DATAGRAM_COST_US: usize = 1;
