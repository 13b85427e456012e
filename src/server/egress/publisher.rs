//! The texts of a room's plan for the members that the room has on other nodes.

use std::sync::Arc;
use std::time::Instant;

use super::backlog::Picked;
use super::outbox::{Outbox, OutgoingBatch};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Room;
use crate::wire::cluster::{BatchHead, NodeText, begin_batch, push_node_text, set_batch_len};

/// Makes batches of the texts that a worker picks. Those of one plan go out together, when the turn of
/// their room has come. So batches grow with the load, and nothing waits for a timer.
pub(super) struct Publisher {
    worker: WorkerId,
    outbox: Arc<Outbox>,
    batch: Vec<u8>,
    texts: u16,
}

impl Publisher {
    pub(super) fn new(worker: WorkerId, outbox: Arc<Outbox>) -> Self {
        Self {
            worker,
            outbox,
            batch: Vec::new(),
            texts: 0,
        }
    }

    /// Adds a text to the batch of a room. One of another node is never published again.
    pub(super) fn push(&mut self, room: &Room, picked: &Picked<'_>) {
        if !picked.is_local {
            return;
        }
        let text = NodeText {
            from: picked.from,
            text: picked.text,
        };
        if self.texts > 0 && push_node_text(&text, &mut self.batch) {
            self.texts += 1;
            return;
        }
        self.finish(room);
        let head = BatchHead {
            node: self.outbox.node(),
            room: room.incarnation(),
            stream: self.worker.0,
            first: room.published(self.worker),
            texts: 0,
        };
        begin_batch(&head, &mut self.batch);
        push_node_text(&text, &mut self.batch);
        self.texts = 1;
    }

    /// Hands the batch of a room over to the bus, if there is one.
    pub(super) fn finish(&mut self, room: &Room) {
        if self.texts == 0 {
            return;
        }
        room.add_published(self.worker, self.texts);
        set_batch_len(self.texts, &mut self.batch);
        self.outbox.push(OutgoingBatch {
            room: room.name().folded(),
            bytes: std::mem::take(&mut self.batch),
            texts: std::mem::take(&mut self.texts),
            made: Instant::now(),
        });
    }
}
