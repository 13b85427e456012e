//! The batches of texts that other nodes have sent to a worker.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::{Sender, Source};
use crate::server::registry::Room;
use crate::wire::cluster::{MalformedBatch, NodeText, Texts, parse_batch};

/// A queue from the bus to one worker, which shares the texts out among the local members of their rooms.
pub struct Inbox {
    batches: ArrayQueue<IncomingBatch>,
}

/// Texts of another node for a room.
pub struct IncomingBatch {
    room: Arc<Room>,
    bytes: Box<dyn AsRef<[u8]> + Send>,
}

impl Inbox {
    /// Adds a batch, and the worker has to be woken then.
    ///
    /// # Errors
    /// It has [`MAX_BATCHES`]; this one comes back.
    pub fn push(&self, batch: IncomingBatch) -> Result<(), IncomingBatch> {
        self.batches.push(batch)
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn pop(&self) -> Option<IncomingBatch> {
        self.batches.pop()
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            batches: ArrayQueue::new(MAX_BATCHES),
        }
    }
}

impl IncomingBatch {
    /// Returns a batch for a room, without those texts before it that were received already.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn new(
        room: Arc<Room>,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Self, MalformedBatch> {
        parse_batch(bytes.as_ref())?;
        Ok(Self {
            room,
            bytes: Box::new(bytes),
        })
    }

    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = NodeText<'_>> {
        let parsed = parse_batch((*self.bytes).as_ref()).ok();
        parsed
            .into_iter()
            .flat_map(|(_, texts): (_, Texts<'_>)| texts)
    }
}

/// Returns the sender of a text of another node, whose account is that of its display name.
pub(super) fn sender(text: &NodeText<'_>, hash: &RandomState) -> Sender {
    Sender {
        from: text.from,
        source: Source::Node(hash.hash_one(text.from)),
        session_without_echo: None,
    }
}

/// Maximum number of batches that wait, of 32 KiB at most. Beyond that, the worker has had no turn for far
/// longer than its backlog keeps texts.
const MAX_BATCHES: usize = 256;
