//! Presence of one room: its subscribers, and the events that they have not been
//! notified of.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::members::Protocol;
use crate::net::PeerAddr;
use crate::server::ops::supervise::Wake;
use crate::wire::{Name, Speaker, Thousands};

/// The rooms with events that their subscribers have not been notified of, on their
/// way to the presence notifier.
pub struct EventQueue {
    /// Each room once. A room that has vanished stays until the notifier's next
    /// round, so there are no more of these than the workers create in 100 ms.
    rooms: Mutex<Vec<Arc<Presence>>>,
    wake: Wake,
}

/// The subscribers of a room, and its events since the last notice.
pub struct Presence {
    queue: Arc<EventQueue>,
    state: Mutex<State>,
}

/// A change in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEvent {
    /// A peer registered, or came from another room.
    Joined(Speaker),
    /// A peer left the server, or went to another room.
    Left(Speaker),
    /// A peer expired.
    TimedOut(Speaker),
    /// A peer took another name.
    Renamed(Speaker, Name),
}

/// A sentence for the subscribers of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The events, in words.
    pub text: String,
    /// The subscribers, and the protocol that each speaks.
    pub subscribers: Vec<(PeerAddr, Protocol)>,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<PeerAddr, Protocol>,
    /// The first few events. With more, the notice gives numbers only.
    first: Vec<PresenceEvent>,
    joined: u64,
    left: u64,
    timed_out: u64,
    renamed: u64,
    /// The number of members after the last event.
    members: usize,
    /// True while the room is in the queue.
    is_queued: bool,
}

impl EventQueue {
    /// Returns an empty queue. `wake` wakes the notifier.
    pub fn new(wake: Wake) -> Self {
        Self {
            rooms: Mutex::default(),
            wake,
        }
    }

    /// Returns true if no room has events.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes all rooms that have events.
    pub fn take(&self) -> Vec<Arc<Presence>> {
        std::mem::take(&mut *self.lock())
    }

    fn push(&self, room: Arc<Presence>) {
        let mut rooms = self.lock();
        rooms.push(room);
        let is_first = rooms.len() == 1;
        drop(rooms);
        if is_first {
            (self.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Presence>>> {
        // A panic under this lock ends the process (see `supervise`).
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    pub(super) fn new(queue: Arc<EventQueue>) -> Self {
        Self {
            queue,
            state: Mutex::default(),
        }
    }

    /// Subscribes a peer, or updates the protocol that it speaks.
    pub(super) fn subscribe(&self, address: PeerAddr, protocol: Protocol) {
        self.lock().subscribers.insert(address, protocol);
    }

    /// Unsubscribes a peer. With the last subscriber all events are dropped.
    pub(super) fn unsubscribe(&self, address: &PeerAddr) {
        let mut state = self.lock();
        state.subscribers.remove(address);
        if state.subscribers.is_empty() {
            *state = State {
                is_queued: state.is_queued,
                ..State::default()
            };
        }
    }

    /// Records an event, after which the room has this many members, and puts the
    /// room into the queue. Does nothing while there are no subscribers.
    pub(super) fn record(self: &Arc<Self>, event: PresenceEvent, members: usize) {
        let mut state = self.lock();
        if state.subscribers.is_empty() {
            return;
        }
        state.record(event);
        state.members = members;
        if !std::mem::replace(&mut state.is_queued, true) {
            drop(state);
            self.queue.push(Arc::clone(self));
        }
    }

    /// Takes the events since the last notice, as one sentence.
    pub fn take_notice(&self) -> Option<Notice> {
        let mut state = self.lock();
        state.is_queued = false;
        if state.events() == 0 {
            return None;
        }
        let text = state.sentence();
        state.clear();
        let subscribers = state.subscribers.iter();
        Some(Notice {
            text,
            subscribers: subscribers
                .map(|(address, protocol)| (*address, *protocol))
                .collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock ends the process (see `supervise`).
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, event: PresenceEvent) {
        match event {
            PresenceEvent::Joined(_) => self.joined += 1,
            PresenceEvent::Left(_) => self.left += 1,
            PresenceEvent::TimedOut(_) => self.timed_out += 1,
            PresenceEvent::Renamed(..) => self.renamed += 1,
        }
        if self.first.len() < MAX_NAMED_EVENTS {
            self.first.push(event);
        }
    }

    fn clear(&mut self) {
        self.first.clear();
        (self.joined, self.left, self.timed_out, self.renamed) = (0, 0, 0, 0);
    }

    fn events(&self) -> u64 {
        self.joined + self.left + self.timed_out + self.renamed
    }

    fn sentence(&self) -> String {
        let mut text = String::new();
        let mut add = |part: std::fmt::Arguments<'_>| {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{part}");
        };
        if self.events() <= MAX_NAMED_EVENTS as u64 {
            for event in &self.first {
                match event {
                    PresenceEvent::Joined(peer) => add(format_args!("{peer} joined")),
                    PresenceEvent::Left(peer) => add(format_args!("{peer} left")),
                    PresenceEvent::TimedOut(peer) => add(format_args!("{peer} timed out")),
                    PresenceEvent::Renamed(peer, now) => add(format_args!("{peer} is {now} now")),
                }
            }
        } else {
            for (count, verb) in [
                (self.joined, "joined"),
                (self.left, "left"),
                (self.timed_out, "timed out"),
                (self.renamed, "renamed"),
            ] {
                if count > 0 {
                    add(format_args!("{} {verb}", Thousands(count)));
                }
            }
        }
        let _ = write!(text, " ({} here)", Thousands(self.members as u64));
        text
    }
}

/// Maximum number of events that a notice gives one by one, so that it can be read at
/// a glance.
const MAX_NAMED_EVENTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn notice_of(events: &[PresenceEvent]) -> Option<String> {
        let queue = Arc::new(EventQueue::new(Box::new(|| {})));
        let presence = Arc::new(Presence::new(queue));
        let subscriber = PeerAddr::new(([127, 0, 0, 1], 1).into(), 0);
        presence.subscribe(subscriber, Protocol::Text);
        for event in events {
            presence.record(*event, 10_300);
        }
        let notice = presence.take_notice();
        assert_eq!(presence.take_notice(), None, "each event is in one notice");
        notice.map(|notice| notice.text)
    }

    #[test]
    fn few_events_are_given_one_by_one_and_many_in_numbers() {
        let ada = Speaker::Name(name("ada"));
        let bob = Speaker::Address("127.0.0.1:5000".parse().unwrap());
        assert_eq!(notice_of(&[]), None);
        let few = [
            PresenceEvent::Joined(ada),
            PresenceEvent::Left(bob),
            PresenceEvent::TimedOut(ada),
            PresenceEvent::Renamed(bob, name("eve")),
        ];
        assert_eq!(
            notice_of(&few).unwrap(),
            "ada joined, 127.0.0.1:5000 left, ada timed out, 127.0.0.1:5000 is eve now \
             (10,300 here)"
        );
        let mut many = vec![PresenceEvent::Joined(ada); 3120];
        many.extend([PresenceEvent::Left(bob); 12]);
        assert_eq!(
            notice_of(&many).unwrap(),
            "3,120 joined, 12 left (10,300 here)"
        );
        many.extend([
            PresenceEvent::TimedOut(ada),
            PresenceEvent::Renamed(ada, name("x")),
        ]);
        assert_eq!(
            notice_of(&many).unwrap(),
            "3,120 joined, 12 left, 1 timed out, 1 renamed (10,300 here)"
        );
    }
}
