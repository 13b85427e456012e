//! Texts and replies from other nodes to a worker.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam::queue::SegQueue;

use super::{Sender, Source};
use crate::server::registry::{Recipient, Room};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::wire::cluster::{CheckedBatch, NodeText};
use crate::wire::{DisplayName, Reply};

/// A queue from the thread of the cluster, which alone pushes, to one worker, which alone pops.
#[derive(Default)]
pub struct Inbox {
    queue: SegQueue<Incoming>,
    /// The bytes of all that waits. Something counts from the end of its push to the end of its pop, so
    /// the worker never meets a push that is under way, for which it would have to wait.
    bytes: AtomicUsize,
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
    batch: Box<CheckedBatch<dyn AsRef<[u8]> + Send>>,
    /// Number of texts at its start whose numbers have passed.
    skip: u16,
}

impl Inbox {
    /// Adds something. Returns true if the worker has to be woken, which may be asleep.
    ///
    /// # Errors
    /// It would have more than [`MAX_INBOX_BYTES`]; this one comes back.
    #[expect(
        clippy::result_large_err,
        reason = "it comes back only if there is no space, and moves no further"
    )]
    pub fn push(&self, incoming: Incoming) -> Result<bool, Incoming> {
        let bytes = incoming.bytes();
        if self.bytes.load(Ordering::Relaxed) + bytes > MAX_INBOX_BYTES {
            return Err(incoming);
        }
        self.queue.push(incoming);
        // The worker takes all before it sleeps. If another one is still here, it takes this one, too.
        Ok(self.bytes.fetch_add(bytes, Ordering::Release) == 0)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Acquire) == 0
    }

    /// Takes the oldest, without waiting for a push that is under way.
    pub fn pop(&self) -> Option<Incoming> {
        if self.is_empty() {
            return None;
        }
        let incoming = self.queue.pop()?;
        self.bytes.fetch_sub(incoming.bytes(), Ordering::Relaxed);
        Some(incoming)
    }
}

impl Incoming {
    /// Returns the number of bytes for which it counts: its content, and [`ITEM_BYTES`].
    pub fn bytes(&self) -> usize {
        let content = match self {
            Self::Texts(batch) => batch.batch.bytes().len(),
            Self::Private { text, .. } => text.len(),
            Self::Reply { .. } => 0,
        };
        ITEM_BYTES + content
    }
}

impl IncomingBatch {
    /// Returns a batch for a room, without its first `skip` texts.
    pub fn new(
        room: Arc<Room>,
        batch: CheckedBatch<impl AsRef<[u8]> + Send + 'static>,
        skip: u16,
    ) -> Self {
        Self {
            room,
            batch: Box::new(batch),
            skip,
        }
    }

    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub fn texts(&self) -> impl Iterator<Item = NodeText<'_>> {
        self.batch.texts().skip(self.skip.into())
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

/// Maximum number of bytes that wait, of 32,768 batches and others at most. A worker that is busy takes
/// 256 KiB after each slice of some milliseconds, so all of them in 32 slices.
pub const MAX_INBOX_BYTES: usize = 8 << 20;

/// Number of bytes for which each batch, direct message or reply counts beside its content. It is about
/// the memory that each takes in the queue and on the heap.
pub const ITEM_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{mem, thread};

    use super::*;
    use crate::net::PeerAddr;
    use crate::wire::Protocol;

    fn private(number: usize, len: usize) -> Incoming {
        let address = PeerAddr::new(([127, 0, 0, 1], 1).into(), 0);
        let mut text = number.to_be_bytes().to_vec();
        text.resize(len, 0);
        Incoming::Private {
            to: Recipient {
                address,
                protocol: Protocol::Text,
                session: None,
            },
            from: DisplayName::Address(address.socket_addr()),
            text: text.into(),
        }
    }

    fn number(incoming: &Incoming) -> usize {
        match incoming {
            Incoming::Private { text, .. } => {
                usize::from_be_bytes(*text.first_chunk().expect("a number"))
            }
            _ => panic!("no other is pushed"),
        }
    }

    #[test]
    fn it_refuses_what_exceeds_its_bytes_and_takes_again_after_a_pop() {
        let inbox = Inbox::default();
        let len = MAX_INBOX_BYTES / 4 - ITEM_BYTES;
        for number in 0..4 {
            assert_eq!(inbox.push(private(number, len)).ok(), Some(number == 0));
        }
        let refused = inbox.push(private(4, 8)).expect_err("no space");
        assert_eq!(number(&refused), 4);
        assert_eq!(inbox.pop().as_ref().map(number), Some(0));
        assert_eq!(inbox.push(private(5, len)).ok(), Some(false));
        assert!(inbox.push(private(6, 8)).is_err());
        let rest = std::iter::from_fn(|| inbox.pop());
        assert!(rest.map(|it| number(&it)).eq([1, 2, 3, 5]));
        assert!(inbox.is_empty());
        assert_eq!(inbox.push(private(7, 8)).ok(), Some(true));
    }

    #[test]
    fn short_ones_are_bounded_by_their_number() {
        let inbox = Inbox::default();
        let fits = (0..).take_while(|number| inbox.push(private(*number, 8)).is_ok());
        let fits = fits.count();
        assert_eq!(fits, MAX_INBOX_BYTES / (ITEM_BYTES + 8));
        assert!(mem::size_of::<Incoming>() < ITEM_BYTES);
    }

    #[test]
    fn a_worker_that_sleeps_when_it_is_empty_misses_nothing() {
        let (inbox, count) = (Arc::<Inbox>::default(), 20_000);
        let (wake, wakes) = mpsc::channel();
        let pushed = Arc::clone(&inbox);
        let cluster = thread::spawn(move || {
            for number in 0..count {
                let is_first = loop {
                    match pushed.push(private(number, 8)) {
                        Ok(is_first) => break is_first,
                        Err(_) => thread::yield_now(),
                    }
                };
                if is_first {
                    wake.send(()).unwrap();
                }
            }
        });
        let mut next = 0;
        while next < count {
            match inbox.pop() {
                Some(incoming) => {
                    assert_eq!(number(&incoming), next);
                    next += 1;
                }
                // One that was taken already may have woken the worker, too.
                None => wakes.recv_timeout(Duration::from_secs(30)).unwrap(),
            }
        }
        cluster.join().unwrap();
        assert!(inbox.is_empty());
    }
}
