//! The texts that wait for fan-out. The time to send them and their memory are bounded, and
//! rooms and senders share both fairly.

mod queues;

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use self::queues::{MAX_SENDER_ROOMS, Queues, ShareKey};
use super::arena::{Arena, Place};
use super::load::{Load, TYPICAL_PACKET_NS};
use super::packets::PACKET_COST_NS;
use super::pass::PassLimits;
use super::plan::Plan;
use super::round_robin::RoundRobin;
use crate::net::PeerAddr;
use crate::server::registry::Room;
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Name};

/// Texts by room and by sender.
pub(super) struct Backlog {
    /// The bound of `kept`.
    bound: Load,
    /// The load of the texts within the shares of their rooms and senders.
    kept: Load,
    /// The load of the other texts, each of a sender who had none waiting.
    reserved: Load,
    texts: Slab<Text>,
    bytes: Arena,
    queues: Queues,
    /// The turns of the rooms.
    turns: RoundRobin,
    /// The number of texts so far.
    arrivals: u64,
    /// The texts for the next plan.
    picked: Vec<Picked>,
    /// The number of plans so far.
    plans: u64,
}

/// The texts that were picked for one plan of a room.
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
    /// The number of texts before this one.
    arrival: u64,
    /// The session that the text is not sent to.
    not_to: Option<SessionId>,
    load: Load,
    place: Place,
    /// It counts as [`Backlog::reserved`], not as kept.
    is_reserved: bool,
    /// The next text of the same sender in the same room.
    next: Option<usize>,
    share: usize,
    /// The sender's number, and the number of texts picked before this one for the same plan.
    sender: u16,
    turn: u16,
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
            turns: RoundRobin::default(),
            arrivals: 0,
            picked: Vec::with_capacity(TYPICAL_TEXTS),
            plans: 0,
        }
    }

    /// Adds a text of `sender`, whose name is `name`, for `room` without the session `not_to`.
    ///
    /// A room and a sender may each have as much waiting as is left for others. One flooder
    /// leaves half of the backlog, two leave a third (Choudhury and Hahne, "Dynamic queue length
    /// thresholds for shared-memory packet switches", 1998, with a factor of 1).
    ///
    /// A sender who has no text waiting may have one beyond that, from a reserve of [`RESERVE`]
    /// times the backlog for all senders. So nobody is refused because others are many, or because
    /// one text costs more than a share. For rooms that have no text waiting, the reserve is an
    /// eighth larger. Nobody has texts waiting in more than [`MAX_SENDER_ROOMS`].
    pub(super) fn push(
        &mut self,
        room: &Arc<Room>,
        sender: PeerAddr,
        name: Option<Name>,
        not_to: Option<SessionId>,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        let from = DisplayName::of(sender.socket_addr(), name);
        let key = ShareKey::of(sender);
        let (known, queue, share) = self.queues.find(room, key);
        if known.is_none() && share.is_some_and(|share| share.rooms == MAX_SENDER_ROOMS) {
            return Err(BacklogFull);
        }
        let packet_ns = share.map_or(TYPICAL_PACKET_NS, |share| share.packet_ns);
        let load = Load::of(room, &from, text.len(), packet_ns);
        let kept = [queue.map(|queue| queue.kept), share.map(|share| share.kept)];
        let is_reserved = !kept.into_iter().all(|kept| {
            let (kept, all, bound) = (kept.unwrap_or_default(), self.kept, self.bound);
            kept.cost_ns + load.cost_ns <= bound.cost_ns.saturating_sub(all.cost_ns)
                && kept.bytes + load.bytes <= bound.bytes.saturating_sub(all.bytes)
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
            not_to,
            load,
            place,
            is_reserved,
            next: None,
            share: self.queues.senders[index].share,
            sender: 0,
            turn: 0,
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
            load, is_reserved, ..
        } = self.texts[text];
        let (queue, share) = (
            &mut self.queues.rooms[sender.room],
            &mut self.queues.shares[sender.share],
        );
        queue.texts += 1;
        queue.cost_ns += load.cost_ns;
        share.texts += 1;
        if is_reserved {
            self.reserved += load;
        } else {
            self.kept += load;
            queue.kept += load;
            share.kept += load;
        }
        let room = sender.room;
        if sender.flow.is_idle() {
            let quantum = queue.quantum();
            queue
                .senders
                .activate(&mut self.queues.senders, index, quantum);
        }
        if queue.flow.is_idle() {
            self.turns
                .activate(&mut self.queues.rooms, room, TURN_COST_NS);
        }
    }

    /// Takes the first text from the queue of a sender.
    fn dequeue(&mut self, index: usize) -> Option<usize> {
        let sender = &mut self.queues.senders[index];
        let text = sender.first?;
        let Text {
            load,
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
        queue.cost_ns -= load.cost_ns;
        share.texts -= 1;
        if is_reserved {
            self.reserved -= load;
        } else {
            self.kept -= load;
            queue.kept -= load;
            share.kept -= load;
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
                // None of the senders that are left has texts.
                while self.end_sender(index) {}
                self.queues.remove_room(index);
            }
        }
    }

    /// Charges the room whose turn it is for what it sends.
    pub(super) fn charge(&mut self, cost_ns: u64) {
        self.turns
            .charge(&mut self.queues.rooms, cost_ns as i64, TURN_COST_NS);
    }

    /// Takes the current room out of the turns until [`Self::resume`].
    pub(super) fn suspend(&mut self) {
        self.turns.suspend(&mut self.queues.rooms);
    }

    /// Gives turns to a suspended room.
    pub(super) fn resume(&mut self, index: usize) {
        self.turns.resume(&mut self.queues.rooms, index);
    }

    pub(super) fn room(&self, index: usize) -> &Arc<Room> {
        &self.queues.rooms[index].room
    }

    /// Returns true if a plan for all waiting texts of a room would take more than a slice.
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

    /// Replaces the plan of a room, and returns the one before.
    pub(super) fn set_plan(&mut self, index: usize, plan: Option<Arc<Plan>>) -> Option<Arc<Plan>> {
        std::mem::replace(&mut self.queues.rooms[index].plan, plan)
    }

    /// Takes texts for one plan from the senders of a room in turn, as many as `limits` allow.
    /// The texts then stand in the order of their arrival. They stay in memory until
    /// [`Self::release`].
    pub(super) fn pick(&mut self, index: usize, limits: PassLimits) -> RoomTexts<'_> {
        let (mut space, mut limits) = (limits.clone(), limits);
        self.plans += 1;
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
            let (arrival, cost_ns) = (text.arrival, text.load.cost_ns);
            if !limits.take(&text.from, text.place.len(), cost_ns) {
                break;
            }
            self.dequeue(sender);
            let turns = &mut self.queues.rooms[index].senders;
            turns.charge(&mut self.queues.senders, cost_ns as i64, quantum);
            let sender = &mut self.queues.senders[sender];
            if sender.plan != self.plans {
                (sender.number, sender.plan) = (count, self.plans);
                count += 1;
            }
            let text = &mut self.texts[first];
            (text.sender, text.turn) = (sender.number, self.picked.len() as u16);
            self.picked.push(Picked {
                arrival,
                text: first,
            });
        }
        self.picked.sort_unstable_by_key(|picked| picked.arrival);
        // In another order, texts of different lengths may need more bundles.
        let fits = |picked: &Picked| {
            let text = &self.texts[picked.text];
            space.take(&text.from, text.place.len(), text.load.cost_ns)
        };
        if limits.depend_on_order() && !self.picked.iter().all(fits) {
            let texts = &self.texts;
            let picked = &mut self.picked;
            picked.sort_unstable_by_key(|picked| texts[picked.text].turn);
        }
        RoomTexts {
            backlog: self,
            room: &self.queues.rooms[index].room,
            senders: count.into(),
        }
    }

    /// Frees the picked texts. `runs` has the number of datagrams in the packet of each of them, or
    /// is empty if no member speaks v1. The senders pay for later texts accordingly.
    pub(super) fn release(&mut self, runs: &[u16]) {
        for (index, picked) in self.picked.drain(..).enumerate() {
            let text = self.texts.remove(picked.text);
            self.bytes.free(&text.place);
            if let Some(run) = runs.get(index)
                && let Some(share) = self.queues.shares.get_mut(text.share)
            {
                // A moving mean, with a weight of an eighth for each text.
                share.packet_ns = (7 * share.packet_ns + PACKET_COST_NS / u64::from(*run)) / 8;
            }
        }
    }

    /// Ends the turn of a room's current sender, who has no text. Returns false if the room has no
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

    /// The texts that are not sent to a session, with their indexes.
    pub(super) fn not_to(&self) -> impl Iterator<Item = (u16, SessionId)> {
        let backlog = self.backlog;
        let texts = backlog.picked.iter().zip(0..);
        texts.filter_map(|(picked, index)| Some((index, backlog.texts[picked.text].not_to?)))
    }

    /// The texts, each with its sender's name and number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DisplayName, u16, &'a [u8])> {
        let backlog = self.backlog;
        backlog.picked.iter().map(|picked| {
            let text = &backlog.texts[picked.text];
            let bytes = backlog.bytes.get(&text.place);
            (text.from, text.sender, bytes)
        })
    }
}

/// Maximum time to send one slice, before it is rounded to whole system calls, which makes it up to
/// twice as long. Then the worker receives, and another room has its turn. In 5 ms, 10,000 peers
/// send no more heartbeats than one receive batch holds. With 2 ms, a text to 500 peers took a
/// quarter more system calls.
pub(super) const SLICE_COST_NS: u64 = 5_000_000;

/// The quantum of a room. A whole slice, which is seldom much shorter than [`SLICE_COST_NS`], uses
/// it up.
const TURN_COST_NS: i64 = SLICE_COST_NS as i64 / 2;

/// Maximum number of bytes of the texts within the shares of their rooms and senders. A worker
/// receives a million short texts per second, so this holds those of 45 ms. With the reserve, a
/// worker takes up to 32 MiB of memory for texts, and only as much as have been waiting.
const MAX_BYTES: u64 = 8 << 20;

/// The time to send all other texts, as a multiple of the backlog. With 100 ms, it is enough for a
/// text of each of 170 flooders in a room of 1,000. It delays only those who have sent much, as
/// others are new and have their turn first.
const RESERVE: u64 = 2;

/// Maximum number of bytes of all other texts. It is enough for short ones of 12,000 senders.
const MAX_RESERVED_BYTES: u64 = 2 << 20;

/// Number of texts for which memory is allocated at the start.
const TYPICAL_TEXTS: usize = 1024;

#[cfg(test)]
mod tests;
