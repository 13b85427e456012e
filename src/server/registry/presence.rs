//! Presence in one room: its subscribers, and its events since the last notice.

use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;

use super::ChangeQueue;
use super::memory::capacity_after_flood;
use super::peer::Recipient;
use crate::net::PeerAddr;
use crate::server::ops::supervise::{Wake, lock};
use crate::sync::{Mutex, MutexGuard};
use crate::wire::Reply;
use crate::wire::reply::{Changes, MAX_NAMED_EVENTS, PresenceEvent};

/// The rooms with events that the presence notifier has not sent.
pub struct EventQueue {
    /// Each room at most once. A vanished room stays until the notifier's next round, so there
    /// are at most as many vanished rooms as the workers create in 100 ms.
    rooms: Mutex<Vec<Arc<Presence>>>,
    wake: Wake,
    /// Not set without a cluster.
    changes: OnceLock<Arc<ChangeQueue>>,
}

pub struct Presence {
    queue: Arc<EventQueue>,
    state: Mutex<State>,
}

/// The events of a room for its subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub reply: Reply<'static>,
    pub subscribers: Vec<Recipient>,
}

#[derive(Default)]
struct State {
    /// In the order of subscribing, but the last takes the place of one that unsubscribes.
    subscribers: IndexMap<PeerAddr, Recipient>,
    /// The first [`MAX_NAMED_EVENTS`] events. A notice of more events gives numbers only.
    first: Vec<PresenceEvent>,
    /// The number of events of each kind, see [`Changes::Counts`].
    counts: [u64; 4],
    /// The number of members after the last event.
    members: usize,
    is_queued: bool,
}

impl EventQueue {
    /// `wake` wakes the notifier.
    pub fn new(wake: Wake) -> Self {
        Self {
            rooms: Mutex::default(),
            wake,
            changes: OnceLock::new(),
        }
    }

    /// The changes for the other nodes of a cluster, if there is one.
    pub(super) fn changes(&self) -> Option<&ChangeQueue> {
        self.changes.get().map(|changes| &**changes)
    }

    /// Records all changes for the other nodes of a cluster from now on. Only the first call has an
    /// effect.
    pub(super) fn record_changes(&self, changes: Arc<ChangeQueue>) {
        let _ = self.changes.set(changes);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

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
        lock(&self.rooms)
    }
}

impl Presence {
    pub(super) fn new(queue: Arc<EventQueue>) -> Self {
        Self {
            queue,
            state: Mutex::default(),
        }
    }

    /// Subscribes a peer, or updates the way in which it is sent to.
    pub(super) fn subscribe(&self, subscriber: Recipient) {
        let subscribers = &mut self.lock().subscribers;
        subscribers.insert(subscriber.address, subscriber);
    }

    /// Unsubscribes a peer. With the last subscriber all events are dropped.
    pub(super) fn unsubscribe(&self, address: &PeerAddr) {
        let mut state = self.lock();
        state.subscribers.swap_remove(address);
        if state.subscribers.is_empty() {
            *state = State {
                is_queued: state.is_queued,
                ..State::default()
            };
        }
        let subscribers = &mut state.subscribers;
        if let Some(keep) = capacity_after_flood(subscribers.len(), subscribers.capacity()) {
            subscribers.shrink_to(keep);
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// Records an event, after which the room has `members` members, and queues the room.
    /// Does nothing if there are no subscribers.
    pub(super) fn record(self: &Arc<Self>, event: PresenceEvent, members: usize) {
        let mut state = self.lock();
        if state.subscribers.is_empty() {
            return;
        }
        state.counts[event.index()] += 1;
        if state.first.len() < MAX_NAMED_EVENTS {
            state.first.push(event);
        }
        state.members = members;
        if !std::mem::replace(&mut state.is_queued, true) {
            drop(state);
            self.queue.push(Arc::clone(self));
        }
    }

    /// Takes the events since the last notice.
    pub fn take_notice(&self) -> Option<Notice> {
        let mut state = self.lock();
        state.is_queued = false;
        let first = std::mem::take(&mut state.first);
        let counts = std::mem::take(&mut state.counts);
        let changes = match counts.iter().sum() {
            0 => return None,
            total if total <= MAX_NAMED_EVENTS as u64 => Changes::Events(first),
            _ => Changes::Counts(counts),
        };
        let members = state.members;
        Some(Notice {
            reply: Reply::Presence { changes, members },
            subscribers: state.subscribers.values().copied().collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::wire::{DisplayName, Name, Protocol};

    impl Notice {
        /// The events in words.
        pub(crate) fn text(&self) -> String {
            let mut text = Vec::new();
            self.reply.push(&mut text);
            String::from_utf8(text).unwrap()
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn subscriber() -> Recipient {
        Recipient {
            address: PeerAddr::new(([127, 0, 0, 1], 1).into(), 0),
            protocol: Protocol::Text,
            session: None,
        }
    }

    fn notice_of(events: &[PresenceEvent]) -> Option<String> {
        let queue = Arc::new(EventQueue::new(Arc::new(|| {})));
        let presence = Arc::new(Presence::new(queue));
        presence.subscribe(subscriber());
        for event in events {
            presence.record(*event, 10_300);
        }
        let notice = presence.take_notice();
        assert_eq!(presence.take_notice(), None, "each event is in one notice");
        notice.map(|notice| notice.text())
    }

    #[test]
    fn few_events_are_given_one_by_one_and_many_in_numbers() {
        let ada = DisplayName::Name(name("ada"));
        let bob = DisplayName::Address("127.0.0.1:5000".parse().unwrap());
        assert_eq!(notice_of(&[]), None);
        let few = [
            PresenceEvent::Joined(ada),
            PresenceEvent::Left(bob),
            PresenceEvent::TimedOut(ada),
            PresenceEvent::Renamed(bob, DisplayName::Name(name("eve"))),
        ];
        assert_eq!(
            notice_of(&few).unwrap(),
            "ada joined, 127.0.0.1:5000 left, ada timed out, 127.0.0.1:5000 is now eve \
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
            PresenceEvent::Renamed(ada, DisplayName::Name(name("x"))),
        ]);
        assert_eq!(
            notice_of(&many).unwrap(),
            "3,120 joined, 12 left, 1 timed out, 1 renamed (10,300 here)"
        );
    }

    #[test]
    fn the_first_event_wakes_the_notifier() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let wake: Wake = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let queue = Arc::new(EventQueue::new(wake));
        let room = || {
            let room = Arc::new(Presence::new(Arc::clone(&queue)));
            room.subscribe(subscriber());
            room
        };
        let event = PresenceEvent::Joined(DisplayName::Name(name("ada")));
        let woken = || wakes.load(Ordering::Relaxed);
        let (first, second) = (room(), room());
        first.record(event, 1);
        assert_eq!(woken(), 1);
        second.record(event, 1);
        assert_eq!(woken(), 1, "it is awake");
        for room in queue.take() {
            room.take_notice().unwrap();
        }
        second.record(event, 1);
        assert_eq!(woken(), 2);
    }
}
