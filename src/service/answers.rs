//! Answers to single peers, gathered while receiving and sent together.

use std::ops::Range;

use crate::net::{Outlet, Packet, PeerAddr, SendTally};
use crate::rooms::Protocol;
use crate::wire::frame::{NoticeCode, ServerFrame, push_server_frame, push_server_header};
use crate::wire::{Speaker, push_notice, push_private};

/// As many answers as one round of receiving caused. It keeps its memory from
/// one round to the next.
#[derive(Default)]
pub(super) struct Answers {
    answers: Vec<(PeerAddr, Range<usize>)>,
    bytes: Vec<u8>,
    /// How many more the datagram may cause that is being taken in.
    left: u32,
    shed: u64,
}

impl Answers {
    /// Begins with what the next datagram causes.
    pub(super) fn begin_datagram(&mut self) {
        self.left = MAX_A_DATAGRAM;
    }

    /// Adds an answer to `peer`, which `encode` appends to the buffer it is given;
    /// sheds and counts it if the datagram has caused too many.
    pub(super) fn push(&mut self, peer: PeerAddr, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.left == 0 {
            self.shed += 1;
            return;
        }
        self.left -= 1;
        let start = self.bytes.len();
        encode(&mut self.bytes);
        self.answers.push((peer, start..self.bytes.len()));
    }

    /// Adds a datagram of v2 with these frames.
    pub(super) fn push_frames(&mut self, peer: PeerAddr, frames: &[ServerFrame<'_>]) {
        self.push(peer, |out| {
            push_server_header(out);
            for frame in frames {
                push_server_frame(frame, out);
            }
        });
    }

    /// Adds a sentence of the server to a peer that speaks v1.
    pub(super) fn push_line(&mut self, peer: PeerAddr, text: &[u8]) {
        self.push(peer, |out| push_notice(text, out));
    }

    /// Adds a sentence of the server, in the form that the peer speaks.
    pub(super) fn push_notice(
        &mut self,
        (peer, protocol): (PeerAddr, Protocol),
        code: NoticeCode,
        text: &[u8],
    ) {
        match protocol {
            Protocol::Text => self.push_line(peer, text),
            Protocol::Frames => self.push_frames(peer, &[ServerFrame::Notice(code, text)]),
        }
    }

    /// Adds what `speaker` says to this peer alone, in the form that the peer speaks.
    pub(super) fn push_private(
        &mut self,
        (peer, protocol): (PeerAddr, Protocol),
        speaker: Speaker,
        text: &[u8],
    ) {
        match protocol {
            Protocol::Text => self.push(peer, |out| push_private(speaker, text, out)),
            Protocol::Frames => self.push_frames(peer, &[ServerFrame::Private(speaker, text)]),
        }
    }

    /// Sends all of them.
    pub(super) fn send(&mut self, outlet: &mut impl Outlet) -> SendTally {
        let mut tally = SendTally::default();
        // In the order of receiving those of one endpoint stand together.
        for answers in self
            .answers
            .chunk_by(|a, b| a.0.endpoint() == b.0.endpoint())
        {
            let packets = answers
                .iter()
                .map(|(peer, range)| Packet::single(peer, &self.bytes[range.clone()]));
            tally += outlet.send(answers[0].0.endpoint(), packets);
        }
        self.answers.clear();
        self.bytes.clear();
        tally
    }

    /// How many were shed since this was last asked.
    pub(super) fn take_shed(&mut self) -> u64 {
        std::mem::take(&mut self.shed)
    }
}

/// A datagram of v2 may hold hundreds of frames that want an answer of up to a
/// kilobyte, which would keep the worker from its other peers. This is more than a
/// client has to ask at once, and a full round of receiving is answered in 0.1 s.
const MAX_A_DATAGRAM: u32 = 8;
