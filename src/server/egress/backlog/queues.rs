//! The queues of the waiting texts, one per room and sender.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use crate::net::PeerAddr;
use crate::server::egress::load::{Load, TYPICAL_PACKET_NS};
use crate::server::egress::plan::Plan;
use crate::server::egress::round_robin::{Flow, FlowState, RoundRobin};
use crate::server::registry::Room;

/// The queues that have texts, or have had some a few turns ago.
pub(super) struct Queues {
    pub(super) rooms: Slab<RoomQueue>,
    pub(super) senders: Slab<SenderQueue>,
    pub(super) shares: Slab<Share>,
    /// By the address in memory of a room. `rooms` holds the room, so no other one can have it.
    room_indexes: HashMap<usize, usize>,
    share_indexes: HashMap<ShareKey, usize>,
    /// The index in `senders` of the one that was looked up last. A datagram may have many texts
    /// of one sender.
    last: usize,
}

/// The texts for one room.
pub(super) struct RoomQueue {
    pub(super) room: Arc<Room>,
    /// The plan that is under way.
    pub(super) plan: Option<Arc<Plan>>,
    pub(super) flow: FlowState,
    /// The turns of the senders.
    pub(super) senders: RoundRobin,
    pub(super) texts: u64,
    pub(super) cost_ns: u64,
    pub(super) kept: Load,
}

/// The texts of one sender for one room, a list linked by `Text::next`.
pub(super) struct SenderQueue {
    pub(super) key: ShareKey,
    pub(super) room: usize,
    pub(super) share: usize,
    /// The next queue of the same share.
    pub(super) next: Option<usize>,
    pub(super) flow: FlowState,
    pub(super) first: Option<usize>,
    pub(super) last: usize,
    /// The sender's number among those of a plan, and the number of that plan.
    pub(super) number: u16,
    pub(super) plan: u64,
}

/// The waiting texts of one sender in all rooms.
pub(super) struct Share {
    pub(super) texts: u64,
    pub(super) kept: Load,
    /// The mean part of a text in the cost of a packet to a v1 peer. A sender whose texts do not
    /// fit into packets with others pays for more packets.
    pub(super) packet_ns: u64,
    /// The first [`SenderQueue`] of this share. Each is for another room, and more than one is
    /// rare.
    pub(super) queues: Option<usize>,
    /// The number of rooms, at most [`MAX_SENDER_ROOMS`].
    pub(super) rooms: usize,
}

/// The key of a share. Senders with the same key also take turns as one in a room. Today each
/// sender has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ShareKey(PeerAddr);

impl Queues {
    pub(super) fn new() -> Self {
        Self {
            rooms: Slab::with_capacity(TYPICAL_SENDERS),
            senders: Slab::with_capacity(TYPICAL_SENDERS),
            shares: Slab::with_capacity(TYPICAL_SENDERS),
            room_indexes: HashMap::with_capacity(TYPICAL_SENDERS),
            share_indexes: HashMap::with_capacity(TYPICAL_SENDERS),
            last: 0,
        }
    }

    /// Returns what is known of a sender in a room: the index of its queue there, the queue of the
    /// room, and its share.
    pub(super) fn find(
        &mut self,
        room: &Arc<Room>,
        key: ShareKey,
    ) -> (Option<usize>, Option<&RoomQueue>, Option<&Share>) {
        if let Some(sender) = self.senders.get(self.last)
            && sender.key == key
            && Arc::ptr_eq(&self.rooms[sender.room].room, room)
        {
            let (queue, share) = (&self.rooms[sender.room], &self.shares[sender.share]);
            return (Some(self.last), Some(queue), Some(share));
        }
        let share = self.share_indexes.get(&key).copied();
        let sender = share.and_then(|share| self.sender(share, room));
        let queue = match sender {
            Some(index) => {
                self.last = index;
                Some(self.senders[index].room)
            }
            None => self.room_indexes.get(&room_key(room)).copied(),
        };
        let queue = queue.map(|index| &self.rooms[index]);
        (sender, queue, share.map(|index| &self.shares[index]))
    }

    /// Returns the index of the queue of a share for a room.
    fn sender(&self, share: usize, room: &Arc<Room>) -> Option<usize> {
        let next = |index: &usize| self.senders[*index].next;
        let mut queues = std::iter::successors(self.shares[share].queues, next);
        queues.find(|index| Arc::ptr_eq(&self.rooms[self.senders[*index].room].room, room))
    }

    /// Adds a queue for the texts of a sender for a room.
    #[cold]
    pub(super) fn add_sender(&mut self, room: &Arc<Room>, key: ShareKey) -> usize {
        let (rooms, shares) = (&mut self.rooms, &mut self.shares);
        let queue = self.room_indexes.entry(room_key(room));
        let queue = *queue.or_insert_with(|| rooms.insert(RoomQueue::new(Arc::clone(room))));
        let share = self.share_indexes.entry(key);
        let share = *share.or_insert_with(|| shares.insert(Share::new()));
        let index = self.senders.insert(SenderQueue {
            key,
            room: queue,
            share,
            next: shares[share].queues,
            flow: FlowState::default(),
            first: None,
            last: 0,
            number: 0,
            plan: 0,
        });
        self.shares[share].queues = Some(index);
        self.shares[share].rooms += 1;
        index
    }

    pub(super) fn remove_sender(&mut self, index: usize) {
        let sender = self.senders.remove(index);
        let mut link = &mut self.shares[sender.share].queues;
        while let Some(other) = *link
            && other != index
        {
            link = &mut self.senders[other].next;
        }
        *link = sender.next;
        self.shares[sender.share].rooms -= 1;
        if self.shares[sender.share].queues.is_none() {
            self.shares.remove(sender.share);
            self.share_indexes.remove(&sender.key);
        }
    }

    /// Removes a room without senders.
    pub(super) fn remove_room(&mut self, index: usize) {
        let queue = self.rooms.remove(index);
        self.room_indexes.remove(&room_key(&queue.room));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        (self.rooms.is_empty() && self.room_indexes.is_empty())
            && self.senders.is_empty()
            && (self.shares.is_empty() && self.share_indexes.is_empty())
    }
}

impl RoomQueue {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            plan: None,
            flow: FlowState::default(),
            senders: RoundRobin::default(),
            texts: 0,
            cost_ns: 0,
            kept: Load::default(),
        }
    }

    /// The quantum of a sender: a text of mean cost.
    pub(super) fn quantum(&self) -> i64 {
        self.cost_ns.div_ceil(self.texts.max(1)).max(1) as i64
    }
}

impl Share {
    fn new() -> Self {
        Self {
            texts: 0,
            kept: Load::default(),
            packet_ns: TYPICAL_PACKET_NS,
            queues: None,
            rooms: 0,
        }
    }
}

impl Flow for RoomQueue {
    fn state(&mut self) -> &mut FlowState {
        &mut self.flow
    }
}

impl Flow for SenderQueue {
    fn state(&mut self) -> &mut FlowState {
        &mut self.flow
    }
}

impl ShareKey {
    pub(super) fn of(sender: PeerAddr) -> Self {
        Self(sender)
    }
}

fn room_key(room: &Arc<Room>) -> usize {
    Arc::as_ptr(room).addr()
}

/// Maximum number of rooms in which a sender has texts waiting. The queue for a room is searched
/// among so many, in less than 1 µs. Who says something, goes to another room and says something
/// there waits for the texts of few rooms.
pub(super) const MAX_SENDER_ROOMS: usize = 64;

/// Number of rooms and senders for which memory is allocated at the start.
const TYPICAL_SENDERS: usize = 128;
