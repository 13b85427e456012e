//! The numbers of the texts that other nodes have sent.

use std::collections::{HashMap, VecDeque};

use crate::wire::RoomName;
use crate::wire::cluster::BatchHead;

/// The number of the next text in each stream of each node, for each room.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// By the name of the room in lower case, and by the incarnation of the node and the stream.
    rooms: HashMap<RoomName, HashMap<(u64, u8), Position>>,
    /// The incarnations of nodes that do not answer, in the order of the times at which they are forgotten.
    silent: VecDeque<(u64, u64)>,
}

/// The position of a batch among those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Number of texts at the start of the batch whose numbers have passed: they came again, or after later
    /// ones.
    pub(super) stale: u16,
    /// Number of texts before the batch that were not received.
    pub(super) missing: u32,
}

#[derive(Debug)]
struct Position {
    /// Incarnation of the room.
    room: u64,
    next: u32,
}

impl Positions {
    /// Places a batch for a room. The first one of a stream may have any number, because texts before it
    /// were not for this node.
    pub(super) fn place(&mut self, room: RoomName, head: &BatchHead) -> Placed {
        let streams = self.rooms.entry(room.folded()).or_default();
        let first = || Position {
            room: head.room,
            next: head.first,
        };
        let position = streams
            .entry((head.node, head.stream))
            .or_insert_with(first);
        if position.room != head.room {
            *position = first();
        }
        // Numbers begin again at 0 after the last one.
        let ahead = head.first.wrapping_sub(position.next) as i32;
        let stale = ahead.min(0).unsigned_abs().min(head.texts.into()) as u16;
        let missing = ahead.max(0) as u32;
        if stale < head.texts {
            position.next = head.first.wrapping_add(head.texts.into());
        }
        Placed { stale, missing }
    }

    /// Forgets a room.
    pub(super) fn end_room(&mut self, room: &RoomName) {
        self.rooms.remove(&room.folded());
    }

    /// Forgets a node.
    pub(super) fn end_node(&mut self, incarnation: u64) {
        for streams in self.rooms.values_mut() {
            streams.retain(|(node, _), _| *node != incarnation);
        }
        self.rooms.retain(|_, streams| !streams.is_empty());
    }

    /// Forgets a node that does not answer after [`KEEP_MS`]. If it answers before, what was lost meanwhile
    /// is missing.
    pub(super) fn end_silent_node(&mut self, incarnation: u64, now_ms: u64) {
        self.silent.push_back((now_ms + KEEP_MS, incarnation));
    }

    /// Forgets the nodes that did not answer for [`KEEP_MS`]. `is_alive` tells which do by now.
    pub(super) fn expire(&mut self, now_ms: u64, is_alive: impl Fn(u64) -> bool) {
        while let Some(&(end_ms, incarnation)) = self.silent.front()
            && now_ms >= end_ms
        {
            self.silent.pop_front();
            if !is_alive(incarnation) {
                self.end_node(incarnation);
            }
        }
    }
}

/// Time for which the numbers of a silent node are kept. A bus that stands still makes nodes silent for some
/// seconds, and a network that is cut for minutes at most, unless someone has to go there.
const KEEP_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: BatchHead = BatchHead {
        node: 1,
        room: 2,
        stream: 0,
        first: u32::MAX - 1,
        texts: 3,
    };

    fn placed(stale: u16, missing: u32) -> Placed {
        Placed { stale, missing }
    }

    #[test]
    fn stale_and_missing_texts_are_counted() {
        let mut positions = Positions::default();
        let room: RoomName = "den".parse().unwrap();
        let mut place = |head: &BatchHead| positions.place(room, head);
        let at = |first| BatchHead { first, ..HEAD };
        assert_eq!(place(&HEAD), placed(0, 0));
        assert_eq!(place(&HEAD), placed(3, 0));
        assert_eq!(place(&at(1)), placed(0, 0));
        assert_eq!(place(&at(3)), placed(1, 0));
        assert_eq!(place(&at(10)), placed(0, 4));
        assert_eq!(place(&at(4)), placed(3, 0));
        for other in [
            BatchHead { node: 2, ..HEAD },
            BatchHead { stream: 1, ..HEAD },
            BatchHead { room: 3, ..HEAD },
        ] {
            assert_eq!(place(&other), placed(0, 0), "{other:?}");
        }
    }

    #[test]
    fn what_has_ended_begins_again_at_any_number() {
        let mut positions = Positions::default();
        let room: RoomName = "den".parse().unwrap();
        positions.place(room, &HEAD);
        positions.end_room(&room);
        assert_eq!(positions.place(room, &HEAD), placed(0, 0));
        positions.end_node(2);
        assert_eq!(positions.place(room, &HEAD), placed(3, 0));
        positions.end_node(1);
        assert!(positions.rooms.is_empty());
        assert_eq!(positions.place(room, &HEAD), placed(0, 0));
    }

    #[test]
    fn the_numbers_of_a_silent_node_are_kept_for_a_while() {
        let mut positions = Positions::default();
        let room: RoomName = "den".parse().unwrap();
        for (node, end_ms) in [(1, 0), (2, 1_000)] {
            positions.place(room, &BatchHead { node, ..HEAD });
            positions.end_silent_node(node, end_ms);
        }
        positions.expire(KEEP_MS - 1, |_| false);
        assert_eq!(positions.place(room, &HEAD), placed(3, 0));
        // The first answers by now.
        positions.expire(KEEP_MS, |node| node == 1);
        assert_eq!(positions.place(room, &HEAD), placed(3, 0));
        positions.expire(KEEP_MS + 1_000, |node| node == 1);
        assert_eq!(positions.place(room, &HEAD), placed(3, 0));
        let second = BatchHead { node: 2, ..HEAD };
        assert_eq!(positions.place(room, &second), placed(0, 0));
    }
}
