//! The packets that every member of a group receives.

use std::num::NonZeroU16;
use std::ops::{AddAssign, Mul};

use crate::net::{Packet, PeerAddr, SEND_BATCH, Tag, Template, TemplateId};
use crate::wire::v2::SessionId;

/// Packets in the order of sending, built once for all recipients. Their memory is reused.
pub(super) struct Packets {
    bytes: Vec<u8>,
    /// The identity of the bytes, in packets that are sent with the sessions of their receivers.
    template: TemplateId,
    packets: Vec<Planned>,
    datagrams: usize,
    gso: GsoCount,
    messages: usize,
}

/// A number of packets of several datagrams, and of the datagrams in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GsoCount {
    pub(super) packets: u64,
    pub(super) segments: u64,
}

/// The place of a packet in `bytes`, and its segments.
#[derive(Debug, Clone, Copy)]
struct Planned {
    start: usize,
    end: usize,
    segment_bytes: Option<NonZeroU16>,
    messages: u16,
}

impl Packets {
    pub(super) fn with_capacity(bytes: usize, packets: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            template: TemplateId::new(),
            packets: Vec::with_capacity(packets),
            datagrams: 0,
            gso: GsoCount::default(),
            messages: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.datagrams = 0;
        self.gso = GsoCount::default();
        self.messages = 0;
    }

    /// The buffer to append the next packet to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Begins packets whose datagrams are to have the sessions of their receivers. A sender keeps
    /// its copies of them from one slice to the next, and until it sends others.
    pub(super) fn clear_template(&mut self) {
        self.clear();
        self.template = TemplateId::new();
    }

    /// Ends the packet of the bytes appended since the last call. They are `messages` messages
    /// in datagrams of `segment_bytes`, of which the last may be shorter.
    pub(super) fn finish(&mut self, segment_bytes: u16, messages: u16) {
        let start = self.packets.last().map_or(0, |before| before.end);
        let end = self.bytes.len();
        self.packets.push(Planned {
            start,
            end,
            segment_bytes: NonZeroU16::new(segment_bytes),
            messages,
        });
        let datagrams = (end - start).div_ceil(usize::from(segment_bytes).max(1));
        self.datagrams += datagrams;
        if datagrams > 1 {
            self.gso += GsoCount {
                packets: 1,
                segments: datagrams as u64,
            };
        }
        self.messages += usize::from(messages);
    }

    /// The number of peers to whom one system call sends all packets, or one if they are more.
    pub(super) fn peers_per_batch(&self) -> usize {
        (SEND_BATCH / self.packets.len().max(1)).max(1)
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// The number of datagrams in packets that are finished.
    pub(super) fn datagrams(&self) -> usize {
        self.datagrams
    }

    /// The packets of several datagrams.
    pub(super) fn gso(&self) -> GsoCount {
        self.gso
    }

    /// The approximate time to send all packets to one peer.
    pub(super) fn cost_ns(&self) -> u64 {
        self.packets.len() as u64 * PACKET_COST_NS + self.datagrams as u64 * DATAGRAM_COST_NS
    }

    /// All packets for the first of `peers`, at least one, then for the next one, and so on.
    pub(super) fn to<'a>(&'a self, peers: &'a [PeerAddr]) -> impl Iterator<Item = Packet<'a>> {
        self.tagged(peers, NoTags)
    }

    /// All packets for the first of `peers`, at least one, then for the next one, and so on, with
    /// the sessions of the peers. `template` is that of these packets.
    pub(super) fn to_sessions<'a>(
        &'a self,
        peers: &'a [PeerAddr],
        sessions: &'a [Option<SessionId>],
        template: &'a Template<'a>,
    ) -> impl Iterator<Item = Packet<'a>> {
        let sessions = Sessions {
            template,
            session: None,
            left: sessions.iter(),
        };
        self.tagged(peers, sessions)
    }

    /// Returns the template of these packets, in a plan for this number of peers.
    pub(super) fn template(&self, peers: usize) -> Template<'_> {
        Template {
            id: self.template,
            bytes: &self.bytes,
            peers,
        }
    }

    fn tagged<'a, T: Tags<'a>>(&'a self, peers: &'a [PeerAddr], tags: T) -> PacketsTo<'a, T> {
        PacketsTo {
            bytes: &self.bytes,
            packets: &self.packets,
            to: &peers[0],
            left: [].iter(),
            peers: peers.iter(),
            tags,
        }
    }
}

impl AddAssign for GsoCount {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.segments += other.segments;
    }
}

impl Mul<u64> for GsoCount {
    type Output = Self;

    fn mul(self, peers: u64) -> Self {
        Self {
            packets: self.packets * peers,
            segments: self.segments * peers,
        }
    }
}

/// See [`Packets::to`]. Adapters of iterators would take a fifth more instructions.
struct PacketsTo<'a, T> {
    bytes: &'a [u8],
    packets: &'a [Planned],
    to: &'a PeerAddr,
    /// The packets that are left for this peer, and the peers after it.
    left: std::slice::Iter<'a, Planned>,
    peers: std::slice::Iter<'a, PeerAddr>,
    tags: T,
}

/// The tags of peers, one after the other.
trait Tags<'a> {
    /// Goes on to the next peer.
    fn advance(&mut self);

    fn tag(&self) -> Option<Tag<'a>>;
}

/// For v1 peers. A type of its own, so that their packets cost no more.
struct NoTags;

struct Sessions<'a> {
    template: &'a Template<'a>,
    session: Option<SessionId>,
    left: std::slice::Iter<'a, Option<SessionId>>,
}

impl<'a, T: Tags<'a>> Iterator for PacketsTo<'a, T> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        loop {
            if let Some(packet) = self.left.next() {
                return Some(Packet {
                    to: self.to,
                    payload: &self.bytes[packet.start..packet.end],
                    segment_bytes: packet.segment_bytes,
                    deliveries: packet.messages.into(),
                    tag: self.tags.tag(),
                });
            }
            self.to = self.peers.next()?;
            self.left = self.packets.iter();
            self.tags.advance();
        }
    }
}

impl<'a> Tags<'a> for NoTags {
    fn advance(&mut self) {}

    fn tag(&self) -> Option<Tag<'a>> {
        None
    }
}

impl<'a> Tags<'a> for Sessions<'a> {
    fn advance(&mut self) {
        self.session = self.left.next().copied().flatten();
    }

    fn tag(&self) -> Option<Tag<'a>> {
        Some(Tag {
            template: self.template,
            bytes: self.session?.get().to_be_bytes(),
        })
    }
}

/// Times to send a packet, and each datagram in it, measured on the loopback interface. Slices,
/// plans, and the shares of rooms and senders are measured in them.
pub(super) const PACKET_COST_NS: u64 = 5_000;
pub(super) const DATAGRAM_COST_NS: u64 = 1_000;
