//! Answers to single peers, gathered while receiving and sent together.

use std::ops::Range;

use crate::net::{Outlet, Packet, PeerAddr, SendTally};
use crate::server::registry::Protocol;
use crate::wire::v2::{self, BUNDLE_BYTES, ServerFrame, push_server_frame, push_server_header};
use crate::wire::{self, DisplayName, Reply, push_private};

/// What one round of receiving caused: for each datagram one answer at most, and a
/// few direct messages. So it is bounded as the round is. It keeps its memory from
/// one round to the next.
#[derive(Default)]
pub struct Answers {
    /// Whom each datagram is for, and where in `bytes` it is.
    datagrams: Vec<(PeerAddr, Range<usize>)>,
    bytes: Vec<u8>,
    /// The answer to the datagram that is being taken in, as far as it has come.
    answer: Vec<u8>,
    asker: Option<PeerAddr>,
    privates_left: u32,
    lists_left: u32,
    shed: u64,
}

/// A peer, and what it speaks.
pub type Hearer = (PeerAddr, Protocol);

impl Answers {
    /// Begins with what the next datagram causes, which `asker` sent.
    pub fn begin(&mut self, asker: PeerAddr) {
        self.finish();
        self.asker = Some(asker);
        self.privates_left = MAX_PRIVATES;
        self.lists_left = MAX_LISTS;
    }

    /// Answers with what `encode` appends, the whole of a datagram.
    pub fn answer(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.answer.clear();
        encode(&mut self.answer);
    }

    /// Answers with one more frame; sheds and counts it if the answer would be
    /// longer than a bundle. A datagram holds hundreds of PINGs: were each answered
    /// by itself, one peer would keep the worker from all others.
    pub fn answer_frame(&mut self, frame: &ServerFrame<'_>) {
        self.answer_frame_with(|out| push_server_frame(frame, out));
    }

    fn answer_frame_with(&mut self, push_frame: impl FnOnce(&mut Vec<u8>)) {
        let len = self.answer.len();
        if len == 0 {
            push_server_header(&mut self.answer);
        }
        push_frame(&mut self.answer);
        if self.answer.len() > BUNDLE_BYTES {
            self.answer.truncate(len);
            self.shed += 1;
        }
    }

    /// Replies with a sentence, in the form that the asker receives.
    pub fn reply(&mut self, protocol: Protocol, reply: &Reply<'_>) {
        match protocol {
            Protocol::Text | Protocol::Lines => self.answer(|out| {
                wire::push_reply(reply, out);
                out.extend_from_slice(protocol.line_end().as_bytes());
            }),
            Protocol::Frames => self.answer_frame_with(|out| v2::push_reply(reply, out)),
        }
    }

    /// Tells one peer alone what `speaker` says, in the form that the peer speaks.
    /// False: the datagram has said too much, and this is shed and counted.
    pub fn tell(&mut self, (peer, protocol): Hearer, from: DisplayName, text: &[u8]) -> bool {
        if self.privates_left == 0 {
            self.shed += 1;
            return false;
        }
        self.privates_left -= 1;
        let start = self.bytes.len();
        match protocol {
            Protocol::Text | Protocol::Lines => {
                push_private(from, text, &mut self.bytes);
                self.bytes.extend_from_slice(protocol.line_end().as_bytes());
            }
            Protocol::Frames => {
                push_server_header(&mut self.bytes);
                push_server_frame(&ServerFrame::Private(from, text), &mut self.bytes);
            }
        }
        self.datagrams.push((peer, start..self.bytes.len()));
        true
    }

    /// Whether the datagram may ask for one more list. False: it has asked for too
    /// many, and this is counted.
    pub fn take_list(&mut self) -> bool {
        let is_left = self.lists_left > 0;
        self.lists_left -= u32::from(is_left);
        self.shed += u64::from(!is_left);
        is_left
    }

    /// Sends all of them.
    pub fn send(&mut self, outlet: &mut impl Outlet) -> SendTally {
        self.finish();
        let mut tally = SendTally::default();
        // In the order of receiving those of one endpoint stand together.
        for datagrams in self
            .datagrams
            .chunk_by(|a, b| a.0.endpoint() == b.0.endpoint())
        {
            let packets = datagrams
                .iter()
                .map(|(peer, range)| Packet::single(peer, &self.bytes[range.clone()]));
            tally += outlet.send(datagrams[0].0.endpoint(), packets);
        }
        self.datagrams.clear();
        self.bytes.clear();
        tally
    }

    /// How many were shed since this was last asked.
    pub fn take_shed(&mut self) -> u64 {
        std::mem::take(&mut self.shed)
    }

    /// Puts the answer that was begun, if any, to those that are ready.
    fn finish(&mut self) {
        if let Some(asker) = self.asker.take()
            && !self.answer.is_empty()
        {
            let start = self.bytes.len();
            self.bytes.append(&mut self.answer);
            self.datagrams.push((asker, start..self.bytes.len()));
        }
    }
}

/// Direct messages that one datagram may send: as many as a program has a reason
/// to put into one, and a full round of receiving is sent on in 0.1 s.
const MAX_PRIVATES: u32 = 8;

/// Lists that one datagram may ask for: to make one takes 2 µs, ten times as long as
/// any other answer, and in a datagram there is space to ask for 290.
const MAX_LISTS: u32 = 8;
