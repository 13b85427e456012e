//! Texts and replies from other nodes to a worker.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::{Sender, Source};
use crate::server::registry::{Recipient, Room};
use crate::wire::cluster::{NodeText, parse_batch};
use crate::wire::{DisplayName, Reply};

/// A queue from the thread of the cluster to one worker.
pub struct Inbox {
    queue: ArrayQueue<Incoming>,
}

/// Something for peers of this worker.
pub enum Incoming {
    /// Texts for the local members of a room.
    Texts(IncomingBatch),
    /// A direct message of a peer of another server.
    Private {
        to: Recipient,
        from: DisplayName,
        text: Box<[u8]>,
    },
    /// The reply to a command that other nodes were asked about.
    Reply {
        to: Recipient,
        reply: Reply<'static>,
    },
}

/// Texts of another node for a room.
pub struct IncomingBatch {
    room: Arc<Room>,
    bytes: Box<dyn AsRef<[u8]> + Send>,
    /// Number of texts at its start that were received already.
    skip: u16,
}

impl Inbox {
    /// Adds something. Returns true if the worker has to be woken, which may be asleep.
    ///
    /// # Errors
    /// The queue has [`MAX_INCOMING`]; this one comes back.
    #[expect(
        clippy::result_large_err,
        reason = "it comes back only if there is no space, and moves no further"
    )]
    pub fn push(&self, incoming: Incoming) -> Result<bool, Incoming> {
        self.queue.push(incoming)?;
        // The worker takes all before it sleeps. If another one is still here, it takes this one, too.
        Ok(self.queue.len() <= 1)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn pop(&self) -> Option<Incoming> {
        self.queue.pop()
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(MAX_INCOMING),
        }
    }
}

impl IncomingBatch {
    /// Returns a batch for a room, without its first `skip` texts. Malformed bytes have no texts.
    pub fn new(room: Arc<Room>, bytes: impl AsRef<[u8]> + Send + 'static, skip: u16) -> Self {
        Self {
            room,
            bytes: Box::new(bytes),
            skip,
        }
    }

    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub fn texts(&self) -> impl Iterator<Item = NodeText<'_>> {
        let parsed = parse_batch((*self.bytes).as_ref()).ok();
        let texts = parsed.into_iter().flat_map(|(_, texts)| texts);
        texts.skip(self.skip.into())
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

/// Maximum number of batches and others that wait, of 32 KiB at most. Beyond that, the worker has had no
/// turn for far longer than its backlog keeps texts.
pub const MAX_INCOMING: usize = 256;
