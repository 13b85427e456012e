//! The batches of texts that wait for the bus of a cluster.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::server::ops::supervise::{Wake, lock};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::wire::RoomName;

/// A queue from all workers to the bus. A worker never waits for it: beyond its bounds, and while the bus
/// is away, the oldest batches are dropped and counted.
pub struct Outbox {
    /// Incarnation of this node.
    node: u64,
    is_open: AtomicBool,
    queue: Mutex<Queue>,
    wake: Wake,
    counters: OutboxCounters,
}

/// Texts for the members that a room has on other nodes.
#[derive(Debug, PartialEq, Eq)]
pub struct OutgoingBatch {
    pub room: RoomName,
    /// As `wire::cluster` has it.
    pub bytes: Vec<u8>,
    pub texts: u16,
    /// The time at which the batch was made.
    pub made: Instant,
}

/// Texts for other nodes.
#[derive(Debug, Default)]
pub struct OutboxCounters {
    /// Handed over to the bus.
    pub published: AtomicU64,
    /// Batches of the published texts.
    pub batches: AtomicU64,
    /// Bytes of these batches.
    pub bytes: AtomicU64,
    /// Dropped because more than [`MAX_BYTES`] waited.
    pub dropped_full: AtomicU64,
    /// Dropped because they had waited for longer than [`MAX_AGE`].
    pub dropped_late: AtomicU64,
    /// Dropped because the bus was away.
    pub dropped_away: AtomicU64,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<OutgoingBatch>,
    bytes: usize,
}

impl Outbox {
    /// Returns a queue that is closed. `wake` wakes the thread of the bus.
    pub fn new(node: u64, wake: Wake) -> Self {
        Self {
            node,
            is_open: AtomicBool::new(false),
            queue: Mutex::default(),
            wake,
            counters: OutboxCounters::default(),
        }
    }

    pub fn node(&self) -> u64 {
        self.node
    }

    pub fn counters(&self) -> &OutboxCounters {
        &self.counters
    }

    /// Opens the queue when the bus is there, and closes it when the bus is away. Nothing is kept
    /// meanwhile.
    pub fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
        if !is_open {
            let waiting = std::mem::take(&mut *self.lock());
            for batch in waiting.batches {
                self.drop_away(batch.texts);
            }
        }
    }

    /// Returns false while all that is added is dropped.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Counts texts that are dropped while the bus is away.
    pub fn drop_away(&self, texts: u16) {
        drop_texts(&self.counters.dropped_away, texts);
    }

    /// Takes no more from now on, as the server stops. The bus still takes what waits.
    pub fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// Adds a batch, and wakes the thread of the bus if it is the first.
    pub fn push(&self, batch: OutgoingBatch) {
        if !self.is_open() {
            return self.drop_away(batch.texts);
        }
        let now = batch.made;
        let mut queue = self.lock();
        queue.bytes += batch.bytes.len();
        queue.batches.push_back(batch);
        // Not all at once when the bus takes batches again, as workers would wait for that.
        while queue.is_late(now)
            && let Some(oldest) = queue.pop()
        {
            drop_texts(&self.counters.dropped_late, oldest.texts);
        }
        while queue.bytes > MAX_BYTES
            && let Some(oldest) = queue.pop()
        {
            drop_texts(&self.counters.dropped_full, oldest.texts);
        }
        let is_first = queue.batches.len() == 1;
        drop(queue);
        if is_first {
            (self.wake)();
        }
    }

    /// Takes the oldest batch that is not too late at `now`.
    pub fn pop(&self, now: Instant) -> Option<OutgoingBatch> {
        let mut queue = self.lock();
        loop {
            let is_late = queue.is_late(now);
            let batch = queue.pop()?;
            if !is_late {
                let counters = &self.counters;
                counters
                    .published
                    .fetch_add(batch.texts.into(), Ordering::Relaxed);
                counters.batches.fetch_add(1, Ordering::Relaxed);
                counters
                    .bytes
                    .fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
                return Some(batch);
            }
            drop_texts(&self.counters.dropped_late, batch.texts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<OutgoingBatch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.bytes.len();
        Some(batch)
    }

    /// Returns true if the oldest batch has waited for longer than [`MAX_AGE`].
    fn is_late(&self, now: Instant) -> bool {
        let oldest = self.batches.front();
        oldest.is_some_and(|it| now.saturating_duration_since(it.made) > MAX_AGE)
    }
}

fn drop_texts(counter: &AtomicU64, texts: u16) {
    counter.fetch_add(texts.into(), Ordering::Relaxed);
}

/// Maximum number of bytes that wait. A bus that takes 1 Gbit/s takes them in 64 ms.
pub const MAX_BYTES: usize = 8 << 20;

/// Maximum time for which a batch waits. A text that is later is worth less than the next ones, which it
/// would hold up.
pub const MAX_AGE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn batch(len: usize, made: Instant) -> OutgoingBatch {
        OutgoingBatch {
            room: "den".parse().unwrap(),
            bytes: vec![0; len],
            texts: 3,
            made,
        }
    }

    fn outbox() -> (Outbox, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let wake: Wake = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let outbox = Outbox::new(1, wake);
        outbox.set_open(true);
        (outbox, wakes)
    }

    #[test]
    fn the_first_batch_wakes_the_bus_and_all_come_in_order() {
        let ((outbox, wakes), now) = (outbox(), Instant::now());
        for len in 1..4 {
            outbox.push(batch(len, now));
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        for len in 1..4 {
            assert_eq!(outbox.pop(now), Some(batch(len, now)));
        }
        assert_eq!(outbox.pop(now), None);
        outbox.push(batch(1, now));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        let counters = outbox.counters();
        assert_eq!(counters.published.load(Ordering::Relaxed), 9);
        assert_eq!(counters.batches.load(Ordering::Relaxed), 3);
        assert_eq!(counters.bytes.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn the_oldest_batches_are_dropped_beyond_the_bound() {
        let ((outbox, _), now) = (outbox(), Instant::now());
        outbox.push(batch(1, now));
        for _ in 0..3 {
            outbox.push(batch(MAX_BYTES / 2, now));
        }
        let dropped = &outbox.counters().dropped_full;
        assert_eq!(dropped.load(Ordering::Relaxed), 6);
        assert_eq!(outbox.pop(now), Some(batch(MAX_BYTES / 2, now)));
        // One that is larger than all may be.
        outbox.push(batch(MAX_BYTES + 1, now));
        assert_eq!(outbox.pop(now), None);
        assert_eq!(dropped.load(Ordering::Relaxed), 12);
    }

    #[test]
    fn late_batches_are_dropped() {
        let ((outbox, _), now) = (outbox(), Instant::now());
        outbox.push(batch(1, now));
        outbox.push(batch(2, now + Duration::from_millis(1)));
        let later = now + MAX_AGE + Duration::from_millis(1);
        assert_eq!(outbox.pop(later).unwrap().bytes.len(), 2);
        let dropped = &outbox.counters().dropped_late;
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        // While the bus takes nothing, each new one drops those that are late.
        outbox.push(batch(3, later));
        outbox.push(batch(4, later + MAX_AGE));
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        outbox.push(batch(5, later + MAX_AGE + Duration::from_millis(1)));
        assert_eq!(dropped.load(Ordering::Relaxed), 6);
        assert_eq!(outbox.pop(later + MAX_AGE).unwrap().bytes.len(), 4);
    }

    #[test]
    fn nothing_is_kept_while_the_bus_is_away() {
        let ((outbox, _), now) = (outbox(), Instant::now());
        outbox.push(batch(1, now));
        outbox.set_open(false);
        outbox.push(batch(2, now));
        outbox.set_open(true);
        assert_eq!(outbox.pop(now), None);
        assert_eq!(outbox.counters().dropped_away.load(Ordering::Relaxed), 6);
        outbox.push(batch(3, now));
        assert_eq!(outbox.pop(now), Some(batch(3, now)));
    }

    #[test]
    fn what_waits_when_the_server_stops_is_still_taken() {
        let ((outbox, _), now) = (outbox(), Instant::now());
        outbox.push(batch(1, now));
        outbox.close();
        outbox.push(batch(2, now));
        assert_eq!(outbox.pop(now), Some(batch(1, now)));
        assert_eq!(outbox.pop(now), None);
        assert_eq!(outbox.counters().dropped_away.load(Ordering::Relaxed), 3);
    }
}
