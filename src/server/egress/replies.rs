//! Replies to single peers, gathered while receiving and sent together.

use std::ops::Range;

use crate::net::{Packet, PeerAddr, SendTally, Transmit};
use crate::server::registry::{Peer, Recipient};
use crate::wire::v2::{
    self, BUNDLE_BYTES, ServerFrame, SessionId, push_padding, push_server_frame, push_server_header,
};
use crate::wire::{self, DisplayName, Protocol, Reply, push_private};

/// The replies to one round of datagrams. Each datagram causes at most one reply and
/// `MAX_PRIVATES` direct messages, so the round bounds them. Their memory is reused.
#[derive(Default)]
pub struct Replies {
    /// The recipient of each datagram, and its place in `bytes`.
    datagrams: Vec<(PeerAddr, Range<usize>)>,
    bytes: Vec<u8>,
    /// The reply to the datagram that is being handled.
    reply: Vec<u8>,
    /// The number in the header of a reply with frames.
    receiver: u64,
    /// Maximum length of `reply` to a sender that is no peer.
    unproven_bytes: usize,
    /// Maximum length of `reply` if it has more than one frame.
    max_bytes: usize,
    sender: Option<PeerAddr>,
    privates_left: u32,
    lists_left: u32,
    shed: u64,
}

/// The datagram has used up its share of direct messages or of lists. This one is counted
/// as shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Replies {
    /// Begins the reply to the next datagram, of this length, which `sender` sent.
    pub fn begin(&mut self, sender: PeerAddr, datagram_bytes: usize) {
        self.finish();
        self.sender = Some(sender);
        self.unproven_bytes = max_unproven_bytes(&sender, datagram_bytes);
        self.receiver = 0;
        self.max_bytes = BUNDLE_BYTES;
        self.privates_left = MAX_PRIVATES;
        self.lists_left = MAX_LISTS;
    }

    /// The sender is this peer, which is served from its own endpoint, and with bundles of its
    /// own size.
    pub fn set_peer(&mut self, peer: &Peer) {
        self.unproven_bytes = usize::MAX;
        if let Some(sender) = &mut self.sender {
            *sender = sender.at(peer.endpoint());
        }
        self.receiver = peer.session().map_or(0, SessionId::get);
        self.max_bytes = peer.protocol().bundle_bytes();
    }

    /// Sets the number in the header of the reply to a sender that is no peer.
    pub fn set_receiver(&mut self, receiver: u64) {
        self.receiver = receiver;
    }

    /// Replies with the datagram that `encode` appends.
    pub fn set_reply(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.reply.clear();
        encode(&mut self.reply);
    }

    pub fn reply(&mut self, protocol: Protocol, reply: &Reply<'_>) {
        match protocol {
            Protocol::Text | Protocol::Lines => self.set_reply(|out| {
                wire::push_reply(reply, out);
                out.extend_from_slice(protocol.line_end().as_bytes());
            }),
            Protocol::Frames(_) => self.append(|out| v2::push_reply(reply, out)),
        }
    }

    pub fn add_frame(&mut self, frame: &ServerFrame<'_>) {
        self.append(|out| push_server_frame(frame, out));
    }

    /// Adds a frame to the reply. If the reply would be longer than a bundle, the frame is shed
    /// and counted. A datagram can hold hundreds of PINGs. If each had a reply of its own, one
    /// peer would keep the worker from all others.
    fn append(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        let len = self.reply.len();
        if len == 0 {
            push_server_header(self.receiver, &mut self.reply);
        }
        push(&mut self.reply);
        // A frame that is long alone cannot be made shorter.
        let max_bytes = if len == 0 {
            BUNDLE_BYTES
        } else {
            self.max_bytes
        };
        if self.reply.len() > max_bytes {
            self.reply.truncate(len);
            self.shed += 1;
        }
    }

    /// Pads the reply, if there is one, to this length, at most that of a full bundle.
    pub fn pad(&mut self, bytes: usize) {
        let bytes = bytes.min(BUNDLE_BYTES);
        if (1..bytes).contains(&self.reply.len()) {
            push_padding(0, bytes, &mut self.reply);
        }
    }

    /// Sends a direct message from `from` to another peer, in the protocol of that peer.
    pub fn private(
        &mut self,
        to: &Recipient,
        from: DisplayName,
        text: &[u8],
    ) -> Result<(), TooMany> {
        self.take_private()?;
        self.push_private(to, from, text);
        Ok(())
    }

    /// Sends a direct message that a peer of another server has sent.
    pub fn push_private(&mut self, to: &Recipient, from: DisplayName, text: &[u8]) {
        let start = self.bytes.len();
        match to.protocol {
            Protocol::Text | Protocol::Lines => {
                push_private(from, text, &mut self.bytes);
                let line_end = to.protocol.line_end();
                self.bytes.extend_from_slice(line_end.as_bytes());
            }
            Protocol::Frames(_) => {
                let receiver = to.session.map_or(0, SessionId::get);
                push_server_header(receiver, &mut self.bytes);
                push_server_frame(&ServerFrame::Private(from, text), &mut self.bytes);
            }
        }
        self.datagrams.push((to.address, start..self.bytes.len()));
    }

    /// Sends a reply to a peer whose datagram was handled before.
    pub fn push_late(&mut self, to: &Recipient, reply: &Reply<'_>) {
        let start = self.bytes.len();
        match to.protocol {
            Protocol::Text | Protocol::Lines => {
                wire::push_reply(reply, &mut self.bytes);
                let line_end = to.protocol.line_end();
                self.bytes.extend_from_slice(line_end.as_bytes());
            }
            Protocol::Frames(_) => {
                let receiver = to.session.map_or(0, SessionId::get);
                push_server_header(receiver, &mut self.bytes);
                v2::push_reply(reply, &mut self.bytes);
            }
        }
        self.datagrams.push((to.address, start..self.bytes.len()));
    }

    /// Takes one of the direct messages that the datagram may send.
    pub fn take_private(&mut self) -> Result<(), TooMany> {
        self.take_share(|replies| &mut replies.privates_left)
    }

    /// Takes one of the lists that the datagram may ask for.
    pub fn take_list(&mut self) -> Result<(), TooMany> {
        self.take_share(|replies| &mut replies.lists_left)
    }

    pub fn send(&mut self, transmit: &mut impl Transmit) -> SendTally {
        self.finish();
        let mut tally = SendTally::default();
        // In the order of receiving, the datagrams for one endpoint stand together.
        for datagrams in self
            .datagrams
            .chunk_by(|a, b| a.0.endpoint() == b.0.endpoint())
        {
            let packets = datagrams
                .iter()
                .map(|(peer, range)| Packet::single(peer, &self.bytes[range.clone()]));
            tally += transmit.send(datagrams[0].0.endpoint(), packets);
        }
        self.datagrams.clear();
        self.bytes.clear();
        tally
    }

    /// Returns the number of replies shed since the last call.
    pub fn take_shed(&mut self) -> u64 {
        std::mem::take(&mut self.shed)
    }

    fn take_share(&mut self, share: impl FnOnce(&mut Self) -> &mut u32) -> Result<(), TooMany> {
        let left = share(self);
        match left.checked_sub(1) {
            Some(less) => *left = less,
            None => {
                self.shed += 1;
                return Err(TooMany);
            }
        }
        Ok(())
    }

    /// Ends the reply to the datagram that was handled, if there is one.
    fn finish(&mut self) {
        if let Some(sender) = self.sender.take()
            && !self.reply.is_empty()
        {
            let fits = self.reply.len() <= self.unproven_bytes;
            debug_assert!(fits, "{} bytes to {sender}", self.reply.len());
            if !fits {
                self.shed += 1;
                return self.reply.clear();
            }
            let start = self.bytes.len();
            self.bytes.append(&mut self.reply);
            self.datagrams.push((sender, start..self.bytes.len()));
        }
    }
}

/// Returns the maximum length of a reply to a sender whose address may be forged: with the headers
/// of IP and UDP it is at most three times as long as the datagram with those (RFC 9000, section
/// 8.1).
fn max_unproven_bytes(sender: &PeerAddr, datagram_bytes: usize) -> usize {
    MAX_UNPROVEN_FACTOR * datagram_bytes + (MAX_UNPROVEN_FACTOR - 1) * sender.header_bytes()
}

const MAX_UNPROVEN_FACTOR: usize = 3;

/// Maximum number of direct messages per datagram, which is enough for any program. Those
/// of a full round of receiving are sent in 0.1 s.
const MAX_PRIVATES: u32 = 8;

/// Maximum number of lists per datagram. A list takes 2 µs, ten times as long as any
/// other reply, and a datagram has space to ask for 290.
const MAX_LISTS: u32 = 8;
