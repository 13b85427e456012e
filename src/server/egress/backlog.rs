//! The texts that wait for fan-out. The time to send them and their bytes are bounded, and the
//! rooms and senders share both fairly.

mod queues;

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use self::queues::{MAX_SENDER_ROOMS, Queues, ShareKey, TYPICAL_RUN};
use super::arena::{Arena, Place};
use super::load::Load;
use super::packets::PACKET_COST_NS;
use super::pass::PassLimits;
use super::plan::Plan;
use super::turns::Turns;
use crate::net::PeerAddr;
use crate::server::registry::Room;
use crate::wire::{DisplayName, Name};

/// Texts by room and by sender.
pub(super) struct Backlog {
    /// The bound of `kept`.
    bound: Load,
    /// The texts within the shares of their rooms and senders.
    kept: Load,
    /// The other texts, each of a sender who had none waiting.
    reserved: Load,
    texts: Slab<Text>,
    bytes: Arena,
    queues: Queues,
    /// The turns of the rooms.
    turns: Turns,
    /// The number of texts that have arrived.
    arrivals: u64,
    /// The texts for the next plan.
    picked: Vec<Picked>,
    picks: u64,
}

/// The texts that were picked for one plan.
#[derive(Clone, Copy)]
pub(super) struct RoomTexts<'a> {
    backlog: &'a Backlog,
    room: &'a Arc<Room>,
    senders: usize,
}

/// The sender or its room has used up its share of the backlog. The text is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogFull;

struct Text {
    /// The sender's name or address when the text arrived.
    from: DisplayName,
    arrival: u64,
    size: Load,
    place: Place,
    is_reserved: bool,
    /// The next text of the same sender in the same room.
    next: Option<usize>,
    share: usize,
    /// The sender's number, and the text's place in the order of the turns, when it was picked.
    sender: u16,
    pick: u16,
}

struct Picked {
    arrival: u64,
    text: usize,
}

impl Backlog {
    /// Returns an empty backlog, which keeps what can be sent within `time`.
    pub(super) fn new(time: Duration) -> Self {
        Self {
            bound: Load {
                cost_ns: time.as_nanos() as u64,
                bytes: MAX_BYTES,
            },
            kept: Load::default(),
            reserved: Load::default(),
            texts: Slab::with_capacity(TYPICAL_TEXTS),
            bytes: Arena::new(),
            queues: Queues::new(),
            turns: Turns::default(),
            arrivals: 0,
            picked: Vec::with_capacity(TYPICAL_TEXTS),
            picks: 0,
        }
    }

    /// Adds a text of `sender`, whose name is `name`, for `room`.
    ///
    /// A room and a sender may each have as much waiting as is left for others. One flooder
    /// leaves half of the backlog, two leave a third (Choudhury and Hahne, "Dynamic queue length
    /// thresholds for shared-memory packet switches", 1998, with a factor of 1). A sender who has
    /// no text waiting may have one beyond that, up to [`RESERVE`] times as much for all of them.
    /// So nobody is refused because others are many, or because one text costs more than a share.
    /// An eighth more is for rooms that have none waiting. Nobody has texts waiting in more than
    /// [`MAX_SENDER_ROOMS`].
    pub(super) fn push(
        &mut self,
        room: &Arc<Room>,
        sender: PeerAddr,
        name: Option<Name>,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        let from = DisplayName::of(sender.socket_addr(), name);
        let key = ShareKey::of(sender);
        let (known, queue, share) = self.queues.find(room, key);
        if known.is_none() && share.is_some_and(|share| share.rooms == MAX_SENDER_ROOMS) {
            return Err(BacklogFull);
        }
        let packet_ns = share.map_or(PACKET_COST_NS / TYPICAL_RUN, |share| share.packet_ns);
        let size = Load::of(room, &from, text.len(), packet_ns);
        let kept = [queue.map(|queue| queue.kept), share.map(|share| share.kept)];
        let is_reserved = !kept.into_iter().all(|kept| {
            let (kept, all, bound) = (kept.unwrap_or_default(), self.kept, self.bound);
            kept.cost_ns + size.cost_ns <= bound.cost_ns.saturating_sub(all.cost_ns)
                && kept.bytes + size.bytes <= bound.bytes.saturating_sub(all.bytes)
        });
        if is_reserved {
            let is_idle = queue.is_none_or(|queue| queue.texts == 0);
            let eighths = if is_idle { 9 } else { 8 };
            let has_space = self.reserved.cost_ns < self.bound.cost_ns * RESERVE / 8 * eighths
                && self.reserved.bytes < MAX_RESERVED_BYTES / 8 * eighths;
            if !has_space || share.is_some_and(|share| share.texts > 0) {
                return Err(BacklogFull);
            }
        }
        let index = known.unwrap_or_else(|| self.queues.add_sender(room, key));
        let places = self.texts.iter_mut().map(|(_, text)| &mut text.place);
        let place = self.bytes.push(text, places);
        let text = self.texts.insert(Text {
            from,
            arrival: self.arrivals,
            size,
            place,
            is_reserved,
            next: None,
            share: self.queues.senders[index].share,
            sender: 0,
            pick: 0,
        });
        self.arrivals += 1;
        self.enqueue(index, text);
        Ok(())
    }

    /// Appends a text to the queue of a sender.
    fn enqueue(&mut self, index: usize, text: usize) {
        let sender = &mut self.queues.senders[index];
        match sender.first {
            Some(_) => self.texts[sender.last].next = Some(text),
            None => sender.first = Some(text),
        }
        sender.last = text;
        let Text {
            size, is_reserved, ..
        } = self.texts[text];
        let (queue, share) = (
            &mut self.queues.rooms[sender.room],
            &mut self.queues.shares[sender.share],
        );
        queue.texts += 1;
        queue.cost_ns += size.cost_ns;
        share.texts += 1;
        if is_reserved {
            self.reserved += size;
        } else {
            self.kept += size;
            queue.kept += size;
            share.kept += size;
        }
        let room = sender.room;
        if sender.turn.is_idle() {
            let quantum = queue.quantum();
            queue
                .senders
                .activate(&mut self.queues.senders, index, quantum);
        }
        if queue.turn.is_idle() {
            self.turns
                .activate(&mut self.queues.rooms, room, TURN_COST_NS);
        }
    }

    /// Takes the first text from the queue of a sender.
    fn dequeue(&mut self, index: usize) -> Option<usize> {
        let sender = &mut self.queues.senders[index];
        let text = sender.first?;
        let Text {
            size,
            is_reserved,
            next,
            ..
        } = self.texts[text];
        sender.first = next;
        let (queue, share) = (
            &mut self.queues.rooms[sender.room],
            &mut self.queues.shares[sender.share],
        );
        queue.texts -= 1;
        queue.cost_ns -= size.cost_ns;
        share.texts -= 1;
        if is_reserved {
            self.reserved -= size;
        } else {
            self.kept -= size;
            queue.kept -= size;
            share.kept -= size;
        }
        Some(text)
    }

    /// Returns the index of the room whose turn it is, which has texts or a plan. Forgets rooms
    /// that have had their turns and have neither.
    pub(super) fn current(&mut self) -> Option<usize> {
        loop {
            let index = self.turns.current(&mut self.queues.rooms, TURN_COST_NS)?;
            if self.queues.rooms[index].texts > 0 || self.queues.rooms[index].plan.is_some() {
                return Some(index);
            }
            if self.turns.end(&mut self.queues.rooms) {
                // Its senders are those that had a turn, and have no texts.
                while self.end_sender(index) {}
                self.queues.remove_room(index);
            }
        }
    }

    /// Takes the cost of sending for the room whose turn it is.
    pub(super) fn charge(&mut self, cost_ns: u64) {
        self.turns
            .charge(&mut self.queues.rooms, cost_ns as i64, TURN_COST_NS);
    }

    /// Takes the current room out of the turns until [`Self::resume`].
    pub(super) fn suspend(&mut self) {
        self.turns.suspend(&mut self.queues.rooms);
    }

    pub(super) fn resume(&mut self, index: usize) {
        self.turns.resume(&mut self.queues.rooms, index);
    }

    pub(super) fn room(&self, index: usize) -> &Arc<Room> {
        &self.queues.rooms[index].room
    }

    /// Returns true if a plan for the waiting texts of a room takes more than a slice.
    pub(super) fn is_long(&self, index: usize) -> bool {
        let queue = &self.queues.rooms[index];
        let (v1, v2) = queue.room.members_by_version();
        let packets_ns = (u64::from(v1) + u64::from(v2)) * PACKET_COST_NS;
        queue.cost_ns + packets_ns > SLICE_COST_NS
    }

    /// The plan of a room that is under way.
    pub(super) fn plan(&self, index: usize) -> Option<&Arc<Plan>> {
        self.queues.rooms[index].plan.as_ref()
    }

    /// Replaces the plan of a room.
    pub(super) fn set_plan(&mut self, index: usize, plan: Option<Arc<Plan>>) -> Option<Arc<Plan>> {
        std::mem::replace(&mut self.queues.rooms[index].plan, plan)
    }

    /// Takes texts for one plan from the senders of a room in turn, as many as `limits` allow.
    /// Then they stand in the order of their arrival. They are in memory until [`Self::release`].
    pub(super) fn pick(&mut self, index: usize, limits: PassLimits) -> RoomTexts<'_> {
        let (mut space, mut limits) = (limits.clone(), limits);
        self.picks += 1;
        let quantum = self.queues.rooms[index].quantum();
        let mut count = 0;
        while let Some(sender) = self.queues.rooms[index]
            .senders
            .current(&mut self.queues.senders, quantum)
        {
            let Some(first) = self.queues.senders[sender].first else {
                self.end_sender(index);
                continue;
            };
            let text = &self.texts[first];
            let (arrival, cost_ns) = (text.arrival, text.size.cost_ns);
            if !limits.take(&text.from, text.place.len(), cost_ns) {
                break;
            }
            self.dequeue(sender);
            let turns = &mut self.queues.rooms[index].senders;
            turns.charge(&mut self.queues.senders, cost_ns as i64, quantum);
            let sender = &mut self.queues.senders[sender];
            if sender.pick != self.picks {
                (sender.number, sender.pick) = (count, self.picks);
                count += 1;
            }
            let text = &mut self.texts[first];
            (text.sender, text.pick) = (sender.number, self.picked.len() as u16);
            let text = first;
            self.picked.push(Picked { arrival, text });
        }
        self.picked.sort_unstable_by_key(|picked| picked.arrival);
        // In another order, texts of different lengths may need more bundles.
        let fits = |picked: &Picked| {
            let text = &self.texts[picked.text];
            space.take(&text.from, text.place.len(), text.size.cost_ns)
        };
        if limits.depend_on_order() && !self.picked.iter().all(fits) {
            let texts = &self.texts;
            let picked = &mut self.picked;
            picked.sort_unstable_by_key(|picked| texts[picked.text].pick);
        }
        RoomTexts {
            backlog: self,
            room: &self.queues.rooms[index].room,
            senders: count.into(),
        }
    }

    /// Forgets the picked texts. `runs` are the numbers of datagrams in the packets with each of
    /// them, or empty.
    pub(super) fn release(&mut self, runs: &[u16]) {
        for (index, picked) in self.picked.drain(..).enumerate() {
            let text = self.texts.remove(picked.text);
            self.bytes.free(&text.place);
            if let Some(run) = runs.get(index)
                && let Some(share) = self.queues.shares.get_mut(text.share)
            {
                share.packet_ns = (7 * share.packet_ns + PACKET_COST_NS / u64::from(*run)) / 8;
            }
        }
    }

    /// Ends the turns of a room's current sender, who has no text. Returns false if there is no
    /// sender.
    fn end_sender(&mut self, room: usize) -> bool {
        let queue = &mut self.queues.rooms[room];
        let quantum = queue.quantum();
        let Some(index) = queue.senders.current(&mut self.queues.senders, quantum) else {
            return false;
        };
        if queue.senders.end(&mut self.queues.senders) {
            self.queues.remove_sender(index);
        }
        true
    }
}

impl<'a> RoomTexts<'a> {
    pub(super) fn room(&self) -> &'a Arc<Room> {
        self.room
    }

    pub(super) fn len(&self) -> usize {
        self.backlog.picked.len()
    }

    /// The upper bound of the senders' numbers.
    pub(super) fn senders(&self) -> usize {
        self.senders
    }

    /// The texts, each with its sender, and the sender's number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DisplayName, u16, &'a [u8])> {
        let backlog = self.backlog;
        backlog.picked.iter().map(|picked| {
            let text = &backlog.texts[picked.text];
            let bytes = backlog.bytes.get(&text.place);
            (text.from, text.sender, bytes)
        })
    }
}

/// Approximate time to send one slice, after which another room has its turn, and the worker
/// receives. In that time 10,000 peers send no more heartbeats than one receive batch holds. With
/// 2 ms, a text to 500 peers took a quarter more system calls.
pub(super) const SLICE_COST_NS: u64 = 5_000_000;

/// The quantum of a room. After a whole slice, which is never longer than [`SLICE_COST_NS`] and
/// seldom much shorter, it is used up.
const TURN_COST_NS: i64 = SLICE_COST_NS as i64 / 2;

/// Maximum number of bytes of the texts within the shares of their rooms and senders. A worker
/// receives a million short texts per second, so this holds those of 45 ms. With the reserve, a
/// worker takes up to 32 MiB of memory for texts, and only as much as have been waiting.
const MAX_BYTES: u64 = 8 << 20;

/// The time to send all other texts, as a multiple of that of the backlog. It is enough for a
/// text of each of 170 flooders in a room of 1,000, and delays only those who have sent much:
/// others are new, and have their turn before.
const RESERVE: u64 = 2;

/// Maximum number of bytes of all other texts: enough for 12,000 senders.
const MAX_RESERVED_BYTES: u64 = 2 << 20;

/// The number for which there is memory from the beginning.
const TYPICAL_TEXTS: usize = 1024;

#[cfg(test)]
mod tests;
