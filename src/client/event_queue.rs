//! The way of events to the application, which may take none.

use std::collections::VecDeque;

use crossbeam::channel::Sender;

use super::event::Event;

/// The sender of a channel, bounded by the memory that its events take.
#[derive(Debug)]
pub(super) struct EventQueue {
    events: Sender<Event>,
    /// Maximum weight of the events in the channel.
    max_weight: usize,
    /// The weights of the events in the channel, and of those that were taken since.
    weights: VecDeque<usize>,
    /// Their sum.
    weight: usize,
    /// Number of events dropped since the last [`Event::Missed`].
    missed: u64,
    total_missed: u64,
}

impl EventQueue {
    /// `events` belongs to an unbounded channel.
    pub(super) fn new(events: Sender<Event>, max_events: usize) -> Self {
        Self {
            events,
            max_weight: max_events.max(1),
            weights: VecDeque::new(),
            weight: 0,
            missed: 0,
            total_missed: 0,
        }
    }

    /// Hands over an event. If there is no space, messages and notices are dropped at once, and
    /// other events if there are far too many.
    pub(super) fn push(&mut self, event: Event) {
        let may_drop = matches!(
            event,
            Event::Message(_) | Event::Private(_) | Event::Notice { .. } | Event::Presence { .. }
        );
        let reserve = if may_drop { 0 } else { MAX_RESERVE };
        if self.weight() >= self.max_weight.saturating_add(reserve) {
            self.missed += 1;
            self.total_missed += 1;
            return;
        }
        self.push_missed();
        self.send(event);
    }

    /// Tells how many events were dropped, if there is space now.
    pub(super) fn flush(&mut self) {
        if self.weight() < self.max_weight {
            self.push_missed();
        }
    }

    /// Returns true if the application is told of all events that were dropped.
    pub(super) fn has_told_all(&self) -> bool {
        self.missed == 0
    }

    /// The number of events that were dropped.
    pub(super) fn total_missed(&self) -> u64 {
        self.total_missed
    }

    fn push_missed(&mut self) {
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            self.send(Event::Missed(missed));
        }
    }

    fn send(&mut self, event: Event) {
        let weight = weight(&event);
        self.weights.push_back(weight);
        self.weight += weight;
        // Fails when nobody can take it any more.
        let _ = self.events.send(event);
    }

    /// Returns the weight of the events that wait.
    fn weight(&mut self) -> usize {
        let taken = self.weights.len().saturating_sub(self.events.len());
        self.weight -= self.weights.drain(..taken).sum::<usize>();
        self.weight
    }
}

/// Returns one for an event, and one for each KiB that it holds.
fn weight(event: &Event) -> usize {
    let bytes = match event {
        Event::Message(message) | Event::Private(message) => message.payload.len(),
        Event::Undelivered { payloads, .. } => payloads.iter().map(Vec::len).sum(),
        _ => 0,
    };
    1 + bytes / 1024
}

/// Weight of the events that must not be dropped, beyond those for which there is space.
const MAX_RESERVE: usize = 1024;

#[cfg(test)]
mod tests;
