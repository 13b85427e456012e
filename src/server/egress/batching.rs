//! The batching of messages into packets, so that many are segments of one.

/// Limits of one packet, each at least 1.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub messages: usize,
    /// Maximum number of bytes. A longer message is a packet of its own.
    pub bytes: usize,
}

/// Finds the order of messages. It keeps its memory from one plan to the next.
#[derive(Debug)]
pub struct Batcher {
    messages: Vec<Message>,
    /// The first message of each sender.
    firsts: Vec<u16>,
    /// The last message of each sender, by its number.
    last_of_sender: Vec<u16>,
    /// The messages whose predecessors from the same sender are all in packets. They
    /// stand in one queue per length, sorted by length.
    ready: Vec<Queue>,
    packet: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    sender: usize,
    len: u16,
    next_of_sender: u16,
    /// The next message in the same queue, if it is ready.
    next_in_queue: u16,
    /// The number of messages in its packet.
    run: u16,
}

/// The ready messages of one length.
#[derive(Debug, Clone, Copy)]
struct Queue {
    len: u16,
    count: u16,
    first: u16,
    last: u16,
}

impl Batcher {
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            messages: Vec::with_capacity(capacity),
            firsts: Vec::with_capacity(capacity),
            last_of_sender: Vec::with_capacity(capacity),
            ready: Vec::with_capacity(capacity),
            packet: Vec::with_capacity(capacity),
        }
    }

    /// Removes all messages.
    pub fn clear(&mut self) {
        for first in self.firsts.drain(..) {
            self.last_of_sender[self.messages[usize::from(first)].sender] = NONE;
        }
        self.messages.clear();
    }

    /// Adds a message of `len` bytes. The messages of one sender keep their order. The memory grows
    /// with the highest number of a sender. There are at most 65,535 messages.
    pub fn push(&mut self, sender: usize, len: u16) {
        debug_assert!(self.messages.len() < usize::from(NONE));
        let message = self.messages.len() as u16;
        if sender >= self.last_of_sender.len() {
            self.last_of_sender.resize(sender + 1, NONE);
        }
        let before = std::mem::replace(&mut self.last_of_sender[sender], message);
        if before == NONE {
            self.firsts.push(message);
        } else {
            self.messages[usize::from(before)].next_of_sender = message;
        }
        self.messages.push(Message {
            sender,
            len,
            next_of_sender: NONE,
            next_in_queue: NONE,
            run: 0,
        });
    }

    /// Puts all messages into packets, where each is `extra_bytes` longer. Calls `emit` with the
    /// indexes of each packet's messages and their length. Only the last may be shorter.
    ///
    /// The algorithm is greedy. A packet takes all ready messages of the most frequent
    /// length, and ends with the longest shorter message. If all lengths are equal,
    /// packets are full. If all differ, a packet still has two messages.
    pub fn batch(
        &mut self,
        extra_bytes: usize,
        limits: Limits,
        mut emit: impl FnMut(&[u16], usize),
    ) {
        for index in 0..self.firsts.len() {
            self.make_ready(self.firsts[index]);
        }
        while let Some(len) = self.fullest_length() {
            self.packet.clear();
            let bytes = usize::from(len) + extra_bytes;
            let run = (limits.bytes / bytes.max(1)).clamp(1, limits.messages);
            while self.packet.len() < run
                && let Some(message) = self.take(len)
            {
                self.packet.push(message);
            }
            let bytes_left = limits.bytes.saturating_sub(self.packet.len() * bytes);
            if self.packet.len() < limits.messages
                && let Some(max_bytes) = bytes_left.checked_sub(extra_bytes)
                && let Some(shorter) = self.longest_below(len, max_bytes)
                && let Some(message) = self.take(shorter)
            {
                self.packet.push(message);
            }
            for &message in &self.packet {
                self.messages[usize::from(message)].run = self.packet.len() as u16;
            }
            emit(&self.packet, bytes);
        }
    }

    /// The sender of each message, and the number of messages in its packet.
    pub fn runs(&self) -> impl Iterator<Item = (usize, u16)> {
        self.messages
            .iter()
            .map(|message| (message.sender, message.run))
    }

    /// Appends a message to the queue of its length.
    fn make_ready(&mut self, message: u16) {
        let Message { len, .. } = self.messages[usize::from(message)];
        match self.ready.binary_search_by_key(&len, |queue| queue.len) {
            Ok(at) => {
                let queue = &mut self.ready[at];
                self.messages[usize::from(queue.last)].next_in_queue = message;
                queue.last = message;
                queue.count += 1;
            }
            Err(at) => self.ready.insert(
                at,
                Queue {
                    len,
                    count: 1,
                    first: message,
                    last: message,
                },
            ),
        }
    }

    /// Takes the first ready message of this length, if there is one, and makes the next
    /// message of its sender ready.
    fn take(&mut self, len: u16) -> Option<u16> {
        let at = self
            .ready
            .binary_search_by_key(&len, |queue| queue.len)
            .ok()?;
        let queue = &mut self.ready[at];
        let first = queue.first;
        let message = &self.messages[usize::from(first)];
        let next = message.next_of_sender;
        if queue.count == 1 {
            self.ready.remove(at);
        } else {
            queue.first = message.next_in_queue;
            queue.count -= 1;
        }
        if next != NONE {
            self.make_ready(next);
        }
        Some(first)
    }

    /// Returns the most frequent length of ready messages. If there are several, it is the
    /// longest, so that messages of the others can end a packet.
    fn fullest_length(&self) -> Option<u16> {
        let fullest = self
            .ready
            .iter()
            .max_by_key(|queue| (queue.count, queue.len));
        fullest.map(|queue| queue.len)
    }

    /// Returns the longest ready length that is less than `len` and at most `max_bytes`.
    fn longest_below(&self, len: u16, max_bytes: usize) -> Option<u16> {
        let below = self.ready.partition_point(|queue| queue.len < len);
        let mut shorter = self.ready[..below].iter().rev().map(|queue| queue.len);
        shorter.find(|len| usize::from(*len) <= max_bytes)
    }
}

/// No message. Their indexes are less.
const NONE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        messages: 64,
        bytes: 65_000,
    };

    /// Returns the packets of messages, given as their senders and lengths.
    fn packets(messages: &[(usize, u16)], limits: Limits) -> Vec<Vec<u16>> {
        longer_packets(messages, 0, limits)
    }

    fn longer_packets(
        messages: &[(usize, u16)],
        extra_bytes: usize,
        limits: Limits,
    ) -> Vec<Vec<u16>> {
        let mut batcher = Batcher::with_capacity(1);
        // Other messages before, which leave nothing.
        batcher.push(7, 7);
        batcher.batch(0, limits, |_, _| ());
        batcher.clear();
        for (sender, len) in messages {
            batcher.push(*sender, *len);
        }
        // All protocols have the same messages.
        batcher.batch(1, limits, |_, _| ());
        let mut packets = Vec::new();
        batcher.batch(extra_bytes, limits, |packet, _| {
            packets.push(packet.to_vec());
        });
        packets
    }

    #[test]
    fn equal_lengths_fill_packets_in_the_order_of_arrival() {
        let messages = [(0, 9), (1, 9), (0, 9), (2, 9), (1, 9)];
        let limits = Limits {
            messages: 3,
            bytes: 65_000,
        };
        assert_eq!(packets(&messages, limits), [vec![0, 1, 3], vec![2, 4]]);
    }

    #[test]
    fn a_shorter_message_ends_a_packet() {
        let messages = [(0, 50), (1, 20), (2, 50), (3, 30)];
        assert_eq!(packets(&messages, LIMITS), [vec![0, 2, 3], vec![1]]);
    }

    #[test]
    fn the_most_frequent_ready_length_goes_first() {
        let messages = [(0, 50), (1, 20), (2, 20), (3, 50), (4, 20)];
        assert_eq!(packets(&messages, LIMITS), [[1, 2, 4].to_vec(), vec![0, 3]]);
    }

    #[test]
    fn a_single_sender_keeps_its_order_and_falling_lengths_are_paired() {
        let messages = [(0, 10), (0, 30), (0, 20), (0, 20)];
        assert_eq!(packets(&messages, LIMITS), [vec![0], vec![1, 2], vec![3]]);
    }

    #[test]
    fn different_lengths_of_many_senders_go_in_pairs() {
        let messages: Vec<_> = (0..50).map(|sender| (sender.into(), 16 + sender)).collect();
        assert_eq!(packets(&messages, LIMITS).len(), 25);
    }

    #[test]
    fn bytes_are_a_limit_too() {
        let messages = [(0, 400), (1, 400), (2, 400), (3, 200), (4, 300)];
        let limits = Limits {
            messages: 64,
            bytes: 1000,
        };
        assert_eq!(packets(&messages, limits), [vec![0, 1, 3], vec![2, 4]]);
    }

    proptest! {
        #[test]
        fn every_message_is_in_one_packet_in_its_senders_order_within_the_limits(
            senders_and_lens in prop::collection::vec((0_usize..20, 1_u16..40), 1..200),
            extra_bytes in 0_usize..3,
            messages in 1_usize..70,
            bytes in 1_usize..500,
        ) {
            let count = senders_and_lens.len() as u16;
            let limits = Limits { messages, bytes };
            let packets = longer_packets(&senders_and_lens, extra_bytes, limits);
            let message = |index: &u16| senders_and_lens[usize::from(*index)];
            let len = |index: &u16| usize::from(message(index).1) + extra_bytes;
            for packet in &packets {
                prop_assert!(!packet.is_empty() && packet.len() <= messages);
                prop_assert!(packet.len() == 1 || packet.iter().map(len).sum::<usize>() <= bytes);
                let (last, run) = packet.split_last().unwrap();
                prop_assert!(run.iter().all(|message| len(message) == len(&packet[0])));
                prop_assert!(len(last) <= len(&packet[0]));
            }
            let order = packets.concat();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            for sender in 0..20 {
                let of_sender = |index: &&u16| message(index).0 == sender;
                prop_assert!(order.iter().filter(of_sender).is_sorted());
            }
        }
    }
}
