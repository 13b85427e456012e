//! Who came and went in a room, gathered for those who want to hear of it.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::members::Protocol;
use super::room::Room;
use crate::net::PeerAddr;
use crate::server::ops::supervise::Wake;
use crate::wire::{DisplayName, Name, Thousands};

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
    pub text: String,
    /// Who wants to hear it.
    pub to: Vec<(PeerAddr, Protocol)>,
}

/// What someone in the room wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    Joined(DisplayName),
    Left(DisplayName),
    TimedOut(DisplayName),
    Renamed(DisplayName, Name),
}

/// Subscribers, and what has happened since they were told.
#[derive(Default)]
pub(super) struct Presence {
    pub(super) subscribers: HashMap<PeerAddr, Protocol>,
    /// The first few; with more, only their numbers are told.
    first: Vec<Happening>,
    joined: u64,
    left: u64,
    timed_out: u64,
    renamed: u64,
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
    pub(super) fn note(&mut self, happening: Happening) {
        match happening {
            Happening::Joined(_) => self.joined += 1,
            Happening::Left(_) => self.left += 1,
            Happening::TimedOut(_) => self.timed_out += 1,
            Happening::Renamed(..) => self.renamed += 1,
        }
        if self.first.len() < MAX_NAMED {
            self.first.push(happening);
        }
    }

    /// What to tell of a room that has so many `members` now.
    pub(super) fn take_notice(&mut self, members: usize) -> Option<Notice> {
        if self.total() == 0 {
            return None;
        }
        let text = self.sentence(members);
        self.first.clear();
        (self.joined, self.left, self.timed_out, self.renamed) = (0, 0, 0, 0);
        let to = self.subscribers.iter();
        Some(Notice {
            text,
            to: to
                .map(|(address, protocol)| (*address, *protocol))
                .collect(),
        })
    }

    fn sentence(&self, members: usize) -> String {
        let mut text = String::new();
        let mut add = |part: std::fmt::Arguments<'_>| {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{part}");
        };
        if self.total() <= MAX_NAMED as u64 {
            for happening in &self.first {
                match happening {
                    Happening::Joined(who) => add(format_args!("{who} joined")),
                    Happening::Left(who) => add(format_args!("{who} left")),
                    Happening::TimedOut(who) => add(format_args!("{who} timed out")),
                    Happening::Renamed(who, now) => add(format_args!("{who} is {now} now")),
                }
            }
        } else {
            for (count, what) in [
                (self.joined, "joined"),
                (self.left, "left"),
                (self.timed_out, "timed out"),
                (self.renamed, "renamed"),
            ] {
                if count > 0 {
                    add(format_args!("{} {what}", Thousands(count)));
                }
            }
        }
        let _ = write!(text, " ({} here)", Thousands(members as u64));
        text
    }

    fn total(&self) -> u64 {
        self.joined + self.left + self.timed_out + self.renamed
    }
}

/// So many happenings are told one by one: a line that can be read at a glance.
const MAX_NAMED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn told(happenings: &[Happening]) -> Option<String> {
        let mut presence = Presence::default();
        for happening in happenings {
            presence.note(*happening);
        }
        let notice = presence.take_notice(10_300);
        assert_eq!(presence.take_notice(10_300), None, "it is told once");
        notice.map(|notice| notice.text)
    }

    #[test]
    fn a_few_happenings_are_told_one_by_one_and_many_in_numbers() {
        let ada = DisplayName::Name(name("ada"));
        let bob = DisplayName::Address("127.0.0.1:5000".parse().unwrap());
        assert_eq!(told(&[]), None);
        let few = [
            Happening::Joined(ada),
            Happening::Left(bob),
            Happening::TimedOut(ada),
            Happening::Renamed(bob, name("eve")),
        ];
        assert_eq!(
            told(&few).unwrap(),
            "ada joined, 127.0.0.1:5000 left, ada timed out, 127.0.0.1:5000 is eve now \
             (10,300 here)"
        );
        let mut many = vec![Happening::Joined(ada); 3120];
        many.extend([Happening::Left(bob); 12]);
        assert_eq!(told(&many).unwrap(), "3,120 joined, 12 left (10,300 here)");
        many.extend([Happening::TimedOut(ada), Happening::Renamed(ada, name("x"))]);
        assert_eq!(
            told(&many).unwrap(),
            "3,120 joined, 12 left, 1 timed out, 1 renamed (10,300 here)"
        );
    }
}
