//! Who came and went in a room, gathered for those who want to hear of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::members::Protocol;
use super::room::Room;
use crate::net::PeerAddr;
use crate::server::ops::supervise::Wake;
use crate::wire::Reply;
use crate::wire::reply::{Changes, MAX_NAMED_EVENTS, PresenceCounts, PresenceEvent};

/// Rooms in which something has happened that someone wants to hear of, on their
/// way to the one who tells it (see `crier`).
pub struct News {
    /// Each once. Those that have vanished since stay up to the crier's next round: no
    /// more than the workers make in 100 ms.
    rooms: Mutex<Vec<Arc<Room>>>,
    wake: Wake,
}

/// One sentence, and whom to tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What has happened.
    pub reply: Reply<'static>,
    /// Who wants to hear it.
    pub to: Vec<(PeerAddr, Protocol)>,
}

/// Subscribers, and what has happened since they were told.
#[derive(Default)]
pub(super) struct Presence {
    pub(super) subscribers: HashMap<PeerAddr, Protocol>,
    /// The first few; with more, only their numbers are told.
    first: Vec<PresenceEvent>,
    counts: PresenceCounts,
}

impl News {
    /// None so far; `wake` wakes the one who tells them.
    pub fn new(wake: Wake) -> Self {
        Self {
            rooms: Mutex::default(),
            wake,
        }
    }

    /// Something has happened in `room`, for the first time since its last notice
    /// was taken.
    pub fn tell(&self, room: &Arc<Room>) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.push(Arc::clone(room));
        let is_first = rooms.len() == 1;
        drop(rooms);
        if is_first {
            (self.wake)();
        }
    }

    /// Whether a room has news.
    pub fn is_waiting(&self) -> bool {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        !rooms.is_empty()
    }

    /// The rooms that have news.
    pub fn take(&self) -> Vec<Arc<Room>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut rooms)
    }
}

impl Presence {
    pub(super) fn note(&mut self, event: PresenceEvent) {
        self.counts.add(&event);
        if self.first.len() < MAX_NAMED_EVENTS {
            self.first.push(event);
        }
    }

    /// What to tell of a room that has so many `members` now.
    pub(super) fn take_notice(&mut self, members: usize) -> Option<Notice> {
        let counts = std::mem::take(&mut self.counts);
        let first = std::mem::take(&mut self.first);
        let changes = match counts.total() {
            0 => return None,
            total if total <= MAX_NAMED_EVENTS as u64 => Changes::Events(first.into()),
            _ => Changes::Counts(counts),
        };
        let to = self.subscribers.iter();
        Some(Notice {
            reply: Reply::Presence { changes, members },
            to: to
                .map(|(address, protocol)| (*address, *protocol))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DisplayName, Name};

    impl Notice {
        /// The sentence, without what the forms of the protocol add.
        pub(crate) fn text(&self) -> String {
            let mut out = Vec::new();
            self.reply.push(&mut out);
            String::from_utf8(out).unwrap()
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn told(happenings: &[PresenceEvent]) -> Option<String> {
        let mut presence = Presence::default();
        for happening in happenings {
            presence.note(*happening);
        }
        let notice = presence.take_notice(10_300);
        assert_eq!(presence.take_notice(10_300), None, "it is told once");
        notice.map(|notice| notice.text())
    }

    #[test]
    fn a_few_happenings_are_told_one_by_one_and_many_in_numbers() {
        let ada = DisplayName::Name(name("ada"));
        let bob = DisplayName::Address("127.0.0.1:5000".parse().unwrap());
        assert_eq!(told(&[]), None);
        let few = [
            PresenceEvent::Joined(ada),
            PresenceEvent::Left(bob),
            PresenceEvent::TimedOut(ada),
            PresenceEvent::Renamed(bob, name("eve")),
        ];
        assert_eq!(
            told(&few).unwrap(),
            "ada joined, 127.0.0.1:5000 left, ada timed out, 127.0.0.1:5000 is now eve \
             (10,300 here)"
        );
        let mut many = vec![PresenceEvent::Joined(ada); 3120];
        many.extend([PresenceEvent::Left(bob); 12]);
        assert_eq!(told(&many).unwrap(), "3,120 joined, 12 left (10,300 here)");
        many.extend([
            PresenceEvent::TimedOut(ada),
            PresenceEvent::Renamed(ada, name("x")),
        ]);
        assert_eq!(
            told(&many).unwrap(),
            "3,120 joined, 12 left, 1 timed out, 1 renamed (10,300 here)"
        );
    }
}
