//! Things that were sent and wait for their answers. No I/O, and no clock.

use std::collections::VecDeque;
use std::time::Instant;

/// Things without an answer, the oldest first, each with the time at which it expires.
#[derive(Debug)]
pub(super) struct Unanswered<T>(VecDeque<(Instant, T)>);

impl<T> Unanswered<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a thing that was sent. It expires no earlier than those before it.
    pub(super) fn push(&mut self, expires_at: Instant, thing: T) {
        self.0.push_back((expires_at, thing));
    }

    /// Returns the index of the oldest thing that is answered, and its answer.
    pub(super) fn find<A>(&self, answer: impl Fn(&T) -> Option<A>) -> Option<(usize, A)> {
        let mut things = self.0.iter().enumerate();
        things.find_map(|(at, (_, thing))| Some((at, answer(thing)?)))
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        self.0.remove(at).map(|(_, thing)| thing)
    }

    /// The first `count` things expire at this time, unless they expire before.
    pub(super) fn hurry(&mut self, count: usize, expires_at: Instant) {
        for (at, _) in self.0.iter_mut().take(count) {
            *at = expires_at.min(*at);
        }
    }

    /// All things expire at this time, and are changed by `each`.
    pub(super) fn expire_all_at(&mut self, expires_at: Instant, each: impl Fn(&mut T)) {
        for (at, thing) in &mut self.0 {
            *at = expires_at;
            each(thing);
        }
    }

    /// The time at which the oldest thing expires.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.front().map(|(expires_at, _)| *expires_at)
    }

    /// Removes the things that have expired.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<T> {
        let expired = self.0.partition_point(|(expires_at, _)| *expires_at <= now);
        self.0.drain(..expired).map(|(_, thing)| thing).collect()
    }

    /// Removes all things.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.0.drain(..).map(|(_, thing)| thing).collect()
    }
}

impl<T> Default for Unanswered<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}
