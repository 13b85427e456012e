//! What a run must find: computed from what passed a relay, by the definitions of
//! `Counts` alone, with sets that remember everything.

use std::collections::{BTreeSet, HashMap, HashSet};

use loadgen::engine::stamp::Stamp;
use loadgen::outcome::{Counts, Second};

/// What was sent to whom, and what therefore is the outcome.
#[derive(Debug)]
pub(crate) struct Truth {
    /// What was due before it, since the load began, does not count.
    recorded_from_ns: u64,
    rooms: RoomPlan,
    counts: Counts,
    seconds: Vec<Second>,
    /// Of each receiver and each speaker, the texts that the one has from the other.
    texts: HashMap<(u32, u32), BTreeSet<u32>>,
    answers: HashSet<(u32, u32)>,
}

/// Who is in which room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RoomPlan {
    /// So many are in each: client number `n` in room `n / size`.
    Rooms(u32),
    /// So many, and all of them, are in the lobby.
    Lobby(u32),
}

/// What a datagram carries that has a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A text.
    Text(Stamp),
    /// A request, or its answer.
    Ask(Stamp),
}

impl Item {
    pub(crate) fn stamp(&self) -> &Stamp {
        match self {
            Self::Text(stamp) | Self::Ask(stamp) => stamp,
        }
    }
}

impl Truth {
    /// Nothing so far.
    pub(crate) fn new(recorded_from_ns: u64, rooms: RoomPlan) -> Self {
        Self {
            recorded_from_ns,
            rooms,
            counts: Counts::default(),
            seconds: Vec::new(),
            texts: HashMap::new(),
            answers: HashSet::new(),
        }
    }

    /// The room of a client.
    pub(crate) fn room_of(&self, client: u32) -> u32 {
        match self.rooms {
            RoomPlan::Rooms(size) => client / size,
            RoomPlan::Lobby(_) => 0,
        }
    }

    /// A client has sent it, in a datagram of so many bytes.
    pub(crate) fn said(&mut self, item: Item, bytes: usize) {
        let (RoomPlan::Rooms(members) | RoomPlan::Lobby(members)) = self.rooms;
        let members = u64::from(members);
        let Some((counts, second)) = self.row(item.stamp()) else {
            return;
        };
        counts.sent += 1;
        counts.sent_bytes += bytes as u64;
        second.sent += 1;
        match item {
            Item::Ask(_) => {
                counts.asked += 1;
                second.asked += 1;
            }
            Item::Text(_) => {
                counts.texts += 1;
                counts.expected += members;
                second.expected += members;
            }
        }
    }

    /// It was sent to a client, and came, as nothing behind the relay loses anything.
    pub(crate) fn received(&mut self, receiver: u32, item: Item) {
        let is_right = match item {
            Item::Text(stamp) => self.room_of(stamp.client) == self.room_of(receiver),
            Item::Ask(stamp) => stamp.client == receiver,
        };
        if self.row(item.stamp()).is_none() {
            return;
        }
        if !is_right {
            return self.strayed(1);
        }
        match item {
            Item::Text(stamp) => self.received_text(receiver, &stamp),
            Item::Ask(stamp) => {
                let is_new = self.answers.insert((receiver, stamp.sequence));
                if let Some((counts, second)) = self.row(&stamp) {
                    counts.answered += u64::from(is_new);
                    second.answered += u64::from(is_new);
                    counts.answered_again += u64::from(!is_new);
                }
            }
        }
    }

    /// Counts datagrams that no client should receive.
    pub(crate) fn strayed(&mut self, count: u64) {
        self.counts.stray += count;
    }

    /// The counts; those that are no matter of a relay are 0.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            lost: self.counts.expected - self.counts.delivered,
            unanswered: self.counts.asked - self.counts.answered,
            ..self.counts
        }
    }

    /// The seconds; `due` is 0.
    pub(crate) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    fn received_text(&mut self, receiver: u32, stamp: &Stamp) {
        let received = self.texts.entry((receiver, stamp.client)).or_default();
        let is_new = received.insert(stamp.sequence);
        let is_overtaken = received.last() > Some(&stamp.sequence);
        if let Some((counts, second)) = self.row(stamp) {
            if is_new {
                counts.delivered += 1;
                second.delivered += 1;
                counts.reordered += u64::from(is_overtaken);
            } else {
                counts.repeated += 1;
            }
        }
    }

    /// None: it does not count.
    fn row(&mut self, stamp: &Stamp) -> Option<(&mut Counts, &mut Second)> {
        let index = stamp.due_ns.checked_sub(self.recorded_from_ns)? / 1_000_000_000;
        let count = self.seconds.len().max(index as usize + 1);
        self.seconds.resize(count, Second::default());
        Some((&mut self.counts, &mut self.seconds[index as usize]))
    }
}
