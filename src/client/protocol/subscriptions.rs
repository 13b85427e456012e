//! The rooms that the session receives besides its own. Each is requested until the server has
//! answered, and again in every new session. No I/O.

use std::time::{Duration, Instant};

use crate::wire::RoomName;
use crate::wire::v2::{ClientFrame, Room};

#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

#[derive(Debug)]
struct Subscription {
    name: RoomName,
    /// The room, once the server has told it in this session.
    room: Option<Room>,
    is_wanted: bool,
    /// The number of times that the server may still be asked.
    attempts: u32,
    /// The time to ask next, if the server has not answered by then.
    next: Instant,
}

/// The number of a room that is known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Known(u32),
    /// The server was asked for it.
    Awaited,
    /// The session does not receive the room.
    Unknown,
}

impl Subscriptions {
    /// Subscribes to a room. The first request is due.
    pub(super) fn add(&mut self, name: RoomName, now: Instant) {
        self.remove(&name);
        self.0.push(Subscription {
            name,
            room: None,
            is_wanted: true,
            attempts: MAX_ATTEMPTS,
            next: now,
        });
    }

    /// Ends a subscription. Returns true if the server must be told, which is due.
    pub(super) fn end(&mut self, name: &RoomName, now: Instant) -> bool {
        let Some(subscription) = self.find(name) else {
            return false;
        };
        if subscription.room.is_none() {
            self.remove(name);
            return false;
        }
        subscription.is_wanted = false;
        subscription.attempts = MAX_ATTEMPTS;
        subscription.next = now;
        true
    }

    /// Forgets a room that the server has refused. One that it has told is not affected, as the
    /// refusal is of another request.
    pub(super) fn refused(&mut self, name: &RoomName) {
        self.0
            .retain(|other| other.room.is_some() || !is_same(&other.name, name));
    }

    fn remove(&mut self, name: &RoomName) {
        self.0.retain(|other| !is_same(&other.name, name));
    }

    /// The server has told a room that the session receives. Returns true if the room has begun
    /// again since it was told last. `None` is a room that the session does not want.
    pub(super) fn subscribed(&mut self, room: Room) -> Option<bool> {
        let subscription = self.find(&room.name)?;
        let last = subscription.room.replace(room);
        if subscription.is_wanted {
            subscription.attempts = 0;
        }
        Some(last.is_some_and(|last| last.incarnation != room.incarnation))
    }

    /// The server has ended a subscription. Returns the name of its room.
    pub(super) fn unsubscribed(&mut self, number: u32) -> Option<RoomName> {
        let name = self.name(number)?;
        self.remove(&name);
        Some(name)
    }

    /// The session is not in this room, which is requested again if it is wanted.
    pub(super) fn lost(&mut self, number: u32, now: Instant) {
        if let Some(name) = self.name(number) {
            self.add(name, now);
        }
    }

    /// The server does not know the session. All rooms are due.
    pub(super) fn renew(&mut self, now: Instant) {
        self.0.retain(|subscription| subscription.is_wanted);
        for subscription in &mut self.0 {
            subscription.room = None;
            subscription.attempts = MAX_ATTEMPTS;
            subscription.next = now;
        }
    }

    /// Returns the name of the room with this number.
    pub(super) fn name(&self, number: u32) -> Option<RoomName> {
        let is_it = |it: &&Subscription| it.room.is_some_and(|room| room.number == number);
        self.0.iter().find(is_it).map(|it| it.name)
    }

    pub(super) fn number(&self, name: &RoomName) -> Number {
        match self.0.iter().find(|it| is_same(&it.name, name)) {
            Some(Subscription {
                room: Some(room), ..
            }) => Number::Known(room.number),
            Some(it) if it.attempts > 0 => Number::Awaited,
            _ => Number::Unknown,
        }
    }

    /// Returns the next request that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ClientFrame<'static>> {
        let is_due = |it: &&mut Subscription| it.attempts > 0 && it.next <= now;
        let subscription = self.0.iter_mut().find(is_due)?;
        subscription.attempts -= 1;
        let made = MAX_ATTEMPTS - subscription.attempts;
        subscription.next = now + FIRST_INTERVAL * made;
        Some(match subscription.room {
            Some(room) => ClientFrame::Unsubscribe(room.number),
            None => ClientFrame::Subscribe(subscription.name),
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.0.iter().filter(|it| it.attempts > 0);
        waiting.map(|it| it.next).min()
    }

    fn find(&mut self, name: &RoomName) -> Option<&mut Subscription> {
        self.0.iter_mut().find(|it| is_same(&it.name, name))
    }
}

fn is_same(one: &RoomName, other: &RoomName) -> bool {
    one.folded() == other.folded()
}

/// Number of requests. They take 8.4 s in all, so one of them passes any path on which anything
/// can be said.
const MAX_ATTEMPTS: u32 = 8;

/// Time after the first request without an answer. It grows by as much with each.
const FIRST_INTERVAL: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
