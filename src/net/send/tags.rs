//! Packets that are the same for many peers, but for a tag in each of their datagrams.

use std::num::{NonZeroU16, NonZeroU64};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that many peers receive, each with tags of its own. The call that sends them never
/// changes them, so several threads may send them at a time.
#[derive(Debug)]
pub struct Template<'a> {
    pub id: TemplateId,
    pub bytes: &'a [u8],
    /// The approximate number of peers that receive them.
    pub peers: usize,
}

/// Identity of the bytes of a [`Template`]. Other bytes have another one, also at the same place in
/// memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateId(NonZeroU64);

/// The bytes at [`TAG`] in every datagram of a packet whose payload is a part of `template`.
#[derive(Debug, Clone, Copy)]
pub struct Tag<'a> {
    pub template: &'a Template<'a>,
    pub bytes: [u8; TAG.end - TAG.start],
}

/// A payload with the tags of a peer.
pub(super) struct Tagged<'a> {
    pub(super) bytes: &'a [u8],
    /// True if the batch must end after it, as all copies are in use.
    pub(super) is_last: bool,
}

impl TemplateId {
    /// Returns an identity that no other template of this process has.
    pub fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Self(NonZeroU64::new(number).expect("2^64 templates take centuries"))
    }
}

impl Default for TemplateId {
    fn default() -> Self {
        Self::new()
    }
}

/// A sender's own copies of one template. Each has the tags of one peer, and stands in memory as
/// the kernel is to send it. A copy is made once, and then only its tags change. That costs less
/// than an iovec for each tag, or a system call for each peer.
#[derive(Default)]
pub(super) struct Copies {
    /// Empty until the first tagged packet.
    memory: Box<[u8]>,
    template: Option<TemplateId>,
    len: usize,
    /// The place of the first copy, and the distance from one to the next.
    first: usize,
    step: usize,
    /// The number of copies that are used, of those that are made, and of those in the batch that is
    /// being gathered.
    max: usize,
    made: usize,
    used: usize,
    /// The tag of the last one in the batch.
    tag: [u8; TAG.end - TAG.start],
}

impl Copies {
    /// Begins a batch. The kernel has taken all packets of the last one.
    pub(super) fn begin_batch(&mut self) {
        self.used = 0;
    }

    /// Returns `payload` with the tags of a peer. It stays as it is until the next batch begins.
    ///
    /// # Panics
    /// If the payload is not a part of the template, if one of its datagrams has no space for
    /// the tag, if another template is in the batch, or if the last one was the last.
    pub(super) fn tagged(
        &mut self,
        payload: &[u8],
        segment_bytes: Option<NonZeroU16>,
        tag: &Tag<'_>,
    ) -> Tagged<'_> {
        let template = tag.template;
        if self.template != Some(template.id) {
            self.change(template);
        }
        // Packets to one peer share a copy.
        if self.used == 0 || self.tag != tag.bytes {
            assert!(self.used < self.max, "the batch had to end");
            self.used += 1;
            self.tag = tag.bytes;
        }
        let start = self.first + (self.used - 1) * self.step;
        let copy = &mut self.memory[start..start + self.len];
        if self.made < self.used {
            self.made = self.used;
            copy.copy_from_slice(template.bytes);
        }
        let offset = payload.as_ptr().addr() - template.bytes.as_ptr().addr();
        let bytes = &mut copy[offset..offset + payload.len()];
        let segment_bytes = segment_bytes.map_or(payload.len().max(1), |bytes| bytes.get().into());
        for datagram in bytes.chunks_mut(segment_bytes) {
            datagram[TAG].copy_from_slice(&tag.bytes);
        }
        Tagged {
            bytes,
            is_last: self.used == self.max,
        }
    }

    /// Places the copies of another template.
    #[cold]
    fn change(&mut self, template: &Template<'_>) {
        assert_eq!(self.used, 0, "another template is in the batch");
        let len = template.bytes.len();
        self.step = len.next_multiple_of(CACHE_LINE_BYTES);
        let needed = self.step.max(COPIES_BYTES) + CACHE_LINE_BYTES;
        if self.memory.len() < needed {
            self.memory = vec![0; needed].into();
            self.first = self.memory.as_ptr().align_offset(CACHE_LINE_BYTES);
        }
        let space = (self.memory.len() - CACHE_LINE_BYTES) / self.step.max(1);
        // To `peers`, `n` copies and `peers / n` calls cost least if both cost the same.
        let calls_bytes = template.peers.saturating_mul(CALL_COST_BYTES);
        let cheapest = (calls_bytes / len.max(1)).isqrt();
        self.max = cheapest.min(space).max(1);
        self.template = Some(template.id);
        self.len = len;
        self.made = 0;
    }
}

/// The place of the tag in a datagram: that of the session in a datagram of version 2.
pub const TAG: Range<usize> = 2..10;

/// Memory for copies, which a sender takes with its first tagged packet. It holds 6 of the largest
/// packets, or 10 of 32 bundles. With 1 MiB, which is a core's whole second-level cache here, packets
/// of 32 and 40 bundles to 1000 peers with GRO took 1 % more time, and others as much.
const COPIES_BYTES: usize = 384 << 10;

/// The number of bytes that are copied in the time of a system call.
const CALL_COST_BYTES: usize = 16 << 10;

const CACHE_LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests;
