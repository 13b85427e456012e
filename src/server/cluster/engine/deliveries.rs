//! Deliveries to the workers: the texts of other nodes, direct messages and replies.

use std::hash::BuildHasher;
use std::mem;

use super::super::positions::Placed;
use super::super::shared::add;
use super::Engine;
use crate::server::egress::inbox::{Incoming, IncomingBatch};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Recipient;
use crate::wire::cluster::CheckedBatch;
use crate::wire::v2::MAX_PAYLOAD_BYTES;
use crate::wire::{DisplayName, Reply, RoomName};

impl Engine {
    pub(super) fn take_texts(&mut self, room: RoomName, batch: impl AsRef<[u8]> + Send + 'static) {
        let shared = &self.parts.shared;
        let counters = &shared.counters;
        let Ok(batch) = CheckedBatch::new(batch) else {
            return add(&counters.malformed, 1_u64);
        };
        let (head, bytes) = (*batch.head(), batch.bytes().len());
        // A shard has other rooms, too.
        if head.node == self.own.incarnation() || !self.subscriptions.has(&room) {
            return;
        }
        let Placed { stale, missing } = self.positions.place(room, &head);
        add(&counters.texts_missing, missing);
        add(&counters.texts_stale, stale);
        let texts = head.texts - stale;
        let Some(room) = self.parts.registry.directory().find(room) else {
            return;
        };
        if texts == 0 {
            return;
        }
        // The same worker takes all texts of a stream, and keeps their order.
        let stream = (head.node, head.stream, room.number());
        let worker = self.hash.hash_one(stream) as usize % shared.inboxes.len();
        let batch = IncomingBatch::new(room, batch, stale);
        if self.push(worker, Incoming::Texts(batch)).is_ok() {
            let counters = &self.parts.shared.counters;
            add(&counters.texts_in, texts);
            add(&counters.batches_in, 1_u64);
            add(&counters.bytes_in, bytes as u64);
        } else {
            add(&self.parts.shared.counters.texts_dropped, texts);
        }
    }

    pub(super) fn take_private(&mut self, from: DisplayName, to: &DisplayName, text: &[u8]) {
        if text.len() > MAX_PAYLOAD_BYTES {
            return add(&self.parts.shared.counters.malformed, 1_u64);
        }
        let Some((to, worker)) = self.parts.registry.find_local(to) else {
            return;
        };
        let text = text.into();
        if self
            .push(worker.index(), Incoming::Private { to, from, text })
            .is_err()
        {
            add(&self.parts.shared.counters.texts_dropped, 1_u64);
        }
    }

    /// Tells a peer something, after those that wait for space at their workers.
    pub(super) fn tell(&mut self, to: Recipient, reply: Reply<'static>) {
        if self.untold.len() >= MAX_UNTOLD {
            return add(&self.parts.shared.counters.texts_dropped, 1_u64);
        }
        let is_first = self.untold.is_empty();
        self.untold.push((to, reply));
        if is_first {
            self.tell_late();
        }
    }

    /// Tells peers what their workers had no space for, each worker in order. This takes a look-up for each
    /// that waits, so it is for ticks.
    pub(super) fn tell_late(&mut self) {
        let mut full = Vec::new();
        for (to, reply) in mem::take(&mut self.untold) {
            let worker = self.parts.registry.owner(&to.address);
            let worker = worker.unwrap_or(WorkerId(0));
            if full.contains(&worker) {
                self.untold.push((to, reply));
                continue;
            }
            let incoming = Incoming::Reply { to, reply };
            if let Err(Incoming::Reply { to, reply }) = self.push(worker.index(), incoming) {
                full.push(worker);
                self.untold.push((to, reply));
            }
        }
    }

    /// Hands something over to a worker, and wakes it.
    ///
    /// # Errors
    /// The worker has no space for it.
    #[expect(
        clippy::result_large_err,
        reason = "it comes back only if there is no space, and moves no further"
    )]
    fn push(&self, worker: usize, incoming: Incoming) -> Result<(), Incoming> {
        if self.parts.shared.inboxes[worker].push(incoming)? {
            (self.parts.workers[worker].wake)();
        }
        Ok(())
    }
}

/// Maximum number of replies that wait for space. A worker that has none for so many is stuck.
const MAX_UNTOLD: usize = 8_192;
