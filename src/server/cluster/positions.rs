//! The numbers of the texts that other nodes have sent.

use std::collections::HashMap;

use crate::wire::RoomName;
use crate::wire::cluster::BatchHead;

/// The number of the next text in each stream of each node, for each room.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// By the name of the room in lower case, and by the incarnation of the node and the stream.
    rooms: HashMap<RoomName, HashMap<(u64, u8), Position>>,
}

/// The position of a batch among those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Number of texts of the batch that were received already, at its start.
    pub(super) repeated: u16,
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
        let repeated = ahead.min(0).unsigned_abs().min(head.texts.into()) as u16;
        let missing = ahead.max(0) as u32;
        if repeated < head.texts {
            position.next = head.first.wrapping_add(head.texts.into());
        }
        Placed { repeated, missing }
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
}

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

    fn placed(repeated: u16, missing: u32) -> Placed {
        Placed { repeated, missing }
    }

    #[test]
    fn texts_that_repeat_and_those_that_are_missing_are_counted() {
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
}
