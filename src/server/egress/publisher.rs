//! The texts of a room's plan for the members that the room has on other nodes.

use std::sync::Arc;
use std::time::Instant;

use super::backlog::Picked;
use super::outbox::{Outbox, OutgoingBatch};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Room;
use crate::wire::cluster::{
    BatchHead, MAX_BATCH_BYTES, NodeText, begin_batch, push_node_text, set_batch_len,
};

/// Makes batches of the texts that a worker picks. Those of one plan go out together, when the turn of
/// their room has come. So batches grow with the load, and nothing waits for a timer.
pub(super) struct Publisher {
    worker: WorkerId,
    outbox: Arc<Outbox>,
    /// The batch that is being built. Its memory is reused.
    batch: Vec<u8>,
    /// Number of texts that are in the batch, or are dropped instead.
    texts: u16,
    /// The outbox was not open when the first of these texts came, so none of them is in the batch.
    is_away: bool,
}

impl Publisher {
    pub(super) fn new(worker: WorkerId, outbox: Arc<Outbox>) -> Self {
        Self {
            worker,
            outbox,
            batch: Vec::with_capacity(MAX_BATCH_BYTES),
            texts: 0,
            is_away: false,
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
        if self.texts > 0 && self.try_add(&text) {
            self.texts += 1;
            return;
        }
        self.finish(room);
        self.begin(room);
        self.try_add(&text);
        self.texts = 1;
    }

    fn begin(&mut self, room: &Room) {
        self.batch.clear();
        self.is_away = !self.outbox.is_open();
        if self.is_away {
            return;
        }
        let head = BatchHead {
            node: self.outbox.node(),
            room: room.incarnation(),
            stream: self.worker.0,
            first: room.published(self.worker),
            texts: 0,
        };
        begin_batch(&head, &mut self.batch);
    }

    /// Adds a text to the batch, if there is one. Returns false if there is no space.
    fn try_add(&mut self, text: &NodeText<'_>) -> bool {
        match self.is_away {
            true => self.texts < u16::MAX,
            false => push_node_text(text, &mut self.batch),
        }
    }

    /// Hands the batch of a room over to the bus, if there is one. Its memory is as long as the batch.
    pub(super) fn finish(&mut self, room: &Room) {
        if self.texts == 0 {
            return;
        }
        room.add_published(self.worker, self.texts);
        let texts = std::mem::take(&mut self.texts);
        if self.is_away {
            return self.outbox.drop_away(texts);
        }
        set_batch_len(texts, &mut self.batch);
        self.outbox.push(OutgoingBatch {
            room: room.name().folded(),
            bytes: self.batch.as_slice().into(),
            texts,
            made: Instant::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::registry::Registry;
    use crate::wire::DisplayName;

    #[test]
    fn it_builds_no_batch_while_the_bus_is_away() {
        let outbox = Arc::new(Outbox::new(1, Arc::new(|| {})));
        let mut publisher = Publisher::new(WorkerId(0), Arc::clone(&outbox));
        let registry = Registry::plain(1, 10);
        let room = registry.lobby();
        let mut publish = |text: &[u8]| {
            let picked = Picked {
                share: 0,
                from: DisplayName::Address(([192, 0, 2, 1], 1).into()),
                not_to: None,
                is_local: true,
                cost_ns: 0,
                age_us: 0,
                text,
            };
            publisher.push(room, &picked);
            let bytes = publisher.batch.len();
            publisher.finish(room);
            bytes
        };
        assert_eq!(publish(b"lost"), 0);
        outbox.set_open(true);
        let bytes = publish(b"hello");
        assert!(bytes > 0);
        let batch = outbox.pop(Instant::now()).unwrap();
        assert_eq!((batch.bytes.len(), batch.texts), (bytes, 1));
        assert_eq!(outbox.pop(Instant::now()), None);
        // Nothing is left of it later.
        outbox.set_open(false);
        assert_eq!(publish(b"lost"), 0);
        assert_eq!(room.published(WorkerId(0)), 3);
    }
}
