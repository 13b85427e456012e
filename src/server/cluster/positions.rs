//! The numbers of the texts that other nodes have sent.

use std::collections::{HashMap, VecDeque};

use crate::wire::RoomName;
use crate::wire::cluster::BatchHead;

/// The number of the next text in each stream of each node, for each room.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// By the name of the room in lower case, and by the incarnation of the node and the stream.
    rooms: HashMap<RoomName, HashMap<(u64, u8), Position>>,
    /// The incarnations of nodes that are down, in the order of the times at which they are forgotten.
    down: VecDeque<(u64, u64)>,
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
    /// The one before. Its texts may come late, by a connection that was given up.
    former_room: Option<u64>,
    next: u32,
}

impl Positions {
    /// Places a batch for a room. The first one of a stream may have any number, because texts before it
    /// were not for this node.
    pub(super) fn place(&mut self, room: RoomName, head: &BatchHead) -> Placed {
        let streams = self.rooms.entry(room.folded()).or_default();
        let first = |former_room| Position {
            room: head.room,
            former_room,
            next: head.first,
        };
        let position = streams
            .entry((head.node, head.stream))
            .or_insert_with(|| first(None));
        if position.former_room == Some(head.room) {
            return Placed {
                stale: head.texts,
                missing: 0,
            };
        }
        if position.room != head.room {
            *position = first(Some(position.room));
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

    /// Forgets a node that is down after [`KEEP_MS`]: texts of one that has stopped may still come, and one
    /// that was silent may answer again, and then what was lost meanwhile is missing.
    pub(super) fn end_node(&mut self, incarnation: u64, now_ms: u64) {
        self.down.push_back((now_ms + KEEP_MS, incarnation));
    }

    /// Forgets the nodes that have been down for [`KEEP_MS`]. `is_alive` tells which are not.
    pub(super) fn expire(&mut self, now_ms: u64, is_alive: impl Fn(u64) -> bool) {
        while let Some(&(end_ms, incarnation)) = self.down.front()
            && now_ms >= end_ms
        {
            self.down.pop_front();
            let is_down_again = self.down.iter().any(|(_, later)| *later == incarnation);
            if !is_down_again && !is_alive(incarnation) {
                self.forget(incarnation);
            }
        }
    }

    fn forget(&mut self, incarnation: u64) {
        for streams in self.rooms.values_mut() {
            streams.retain(|(node, _), _| *node != incarnation);
        }
        self.rooms.retain(|_, streams| !streams.is_empty());
    }
}

/// Time for which the numbers of a node that is down are kept. A bus that stands still makes nodes silent for
/// some seconds. A longer silence is an outage, after which counts begin again.
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
        // The room has been there before.
        assert_eq!(place(&HEAD), placed(3, 0));
        assert_eq!(place(&BatchHead { room: 3, ..HEAD }), placed(3, 0));
    }

    #[test]
    fn what_has_ended_begins_again_at_any_number() {
        let mut positions = Positions::default();
        let room: RoomName = "den".parse().unwrap();
        positions.place(room, &HEAD);
        positions.end_room(&room);
        assert_eq!(positions.place(room, &HEAD), placed(0, 0));
        positions.forget(2);
        assert_eq!(positions.place(room, &HEAD), placed(3, 0));
        positions.forget(1);
        assert!(positions.rooms.is_empty());
        assert_eq!(positions.place(room, &HEAD), placed(0, 0));
    }

    #[test]
    fn the_numbers_of_a_node_that_is_down_are_kept_for_a_while() {
        let mut positions = Positions::default();
        let room: RoomName = "den".parse().unwrap();
        let of = |node| BatchHead { node, ..HEAD };
        for (node, down_ms) in [(1, 0), (2, 0), (3, 0), (3, 1_000)] {
            positions.place(room, &of(node));
            positions.end_node(node, down_ms);
        }
        positions.expire(KEEP_MS - 1, |_| false);
        assert_eq!(positions.place(room, &of(2)), placed(3, 0));
        // The first answers by now, and the third did in between.
        positions.expire(KEEP_MS, |node| node == 1);
        assert_eq!(positions.place(room, &of(1)), placed(3, 0));
        assert_eq!(positions.place(room, &of(2)), placed(0, 0));
        assert_eq!(positions.place(room, &of(3)), placed(3, 0));
        positions.expire(KEEP_MS + 1_000, |node| node == 1);
        assert_eq!(positions.place(room, &of(3)), placed(0, 0));
    }
}
