use crossbeam::channel::{Receiver, unbounded};

use super::*;
use crate::client::event::{DownReason, Message};

fn queue(max_events: usize) -> (EventQueue, Receiver<Event>) {
    let (sender, events) = unbounded();
    (EventQueue::new(sender, max_events), events)
}

fn message(bytes: usize) -> Event {
    Event::Message(Message {
        room: None,
        from: "ada".parse().unwrap(),
        payload: vec![b'x'; bytes],
        may_be_cut: false,
    })
}

fn undelivered(bytes: usize) -> Event {
    Event::Undelivered {
        payloads: vec![vec![b'x'; 1024]; bytes / 1024],
        were_sent: true,
    }
}

fn taken(events: &Receiver<Event>) -> Vec<Event> {
    events.try_iter().collect()
}

#[test]
fn messages_beyond_the_bound_are_dropped_and_told() {
    let (mut queue, events) = queue(2);
    for _ in 0..5 {
        queue.push(message(1));
    }
    queue.flush();
    assert!(!queue.has_told_all());
    assert_eq!(taken(&events), [message(1), message(1)]);
    queue.flush();
    assert!(queue.has_told_all());
    assert_eq!(taken(&events), [Event::Missed(3)]);
    assert_eq!(queue.total_missed(), 3);
    queue.push(message(2));
    assert_eq!(taken(&events), [message(2)]);
}

#[test]
fn what_was_missed_stands_where_it_was() {
    let (mut queue, events) = queue(1);
    queue.push(message(1));
    queue.push(message(1));
    queue.push(Event::Down(DownReason::Goodbye));
    queue.push(message(1));
    let expected = [
        message(1),
        Event::Missed(1),
        Event::Down(DownReason::Goodbye),
    ];
    assert_eq!(taken(&events), expected);
    queue.flush();
    assert_eq!(taken(&events), [Event::Missed(1)]);
}

#[test]
fn an_application_that_takes_nothing_costs_bounded_memory() {
    let (mut queue, events) = queue(4);
    for _ in 0..10 {
        queue.push(message(1100));
    }
    assert_eq!(events.len(), 2);
    for _ in 0..1000 {
        queue.push(undelivered(100 * 1024));
    }
    let waiting = taken(&events);
    let weight: usize = waiting.iter().map(weight).sum();
    // One event may go beyond it.
    assert!(
        (MAX_RESERVE..MAX_RESERVE + 4 + 102).contains(&weight),
        "{weight}"
    );
    let is_pushed = |event: &&Event| !matches!(event, Event::Missed(_));
    let pushed = waiting.iter().filter(is_pushed).count();
    assert_eq!(queue.total_missed(), 1010 - pushed as u64);
}
