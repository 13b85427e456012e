//! Texts of other nodes, up to the inboxes of the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::super::bus::{Bus, Subject, shard};
use super::super::Now;
use super::world::{Seat, WORKERS, World, peer};
use crate::server::egress::inbox::{ITEM_BYTES, Incoming};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Room;
use crate::wire::DisplayName;
use crate::wire::cluster::{BatchHead, NodeText, begin_batch, push_node_text, set_batch_len};

/// Returns a batch of the next texts of a worker, each of which is its number.
fn batch(world: &World, node: usize, room: &Room, stream: u8, texts: u16) -> Vec<u8> {
    let worker = WorkerId(stream);
    let first = room.published(worker);
    let head = BatchHead {
        node: world.nodes[node].shared.outbox.node(),
        room: room.incarnation(),
        stream,
        first,
        texts: 0,
    };
    let mut batch = Vec::new();
    begin_batch(&head, &mut batch);
    for text in first..first + u32::from(texts) {
        let from = DisplayName::Address(peer(1).socket_addr());
        let text = text.to_string();
        let text = text.as_bytes();
        assert!(push_node_text(&NodeText { from, text }, &mut batch));
    }
    set_batch_len(texts, &mut batch);
    room.add_published(worker, texts);
    batch
}

fn subject(room: &Room) -> Subject {
    Subject::Room(room.name().folded())
}

fn publish(world: &mut World, room: &Room, stream: u8, texts: u16) {
    let batch = batch(world, 0, room, stream, texts);
    world.publish(0, subject(room), &batch);
}

/// Lets the time pass, and returns the texts that come, and their workers.
fn received(world: &mut World, ms: u64) -> Vec<(Seat, String, String)> {
    let mut received = Vec::new();
    world.run_until(world.now_us + ms * 1_000, |_, seat, incoming| {
        if let Incoming::Texts(batch) = incoming {
            let room = batch.room().name().to_string();
            for text in batch.texts() {
                let text = String::from_utf8(text.text.to_vec()).unwrap();
                received.push((seat, room.clone(), text));
            }
        }
    });
    received
}

fn texts(received: &[(Seat, String, String)]) -> Vec<&str> {
    received.iter().map(|(_, _, text)| &text[..]).collect()
}

/// Two nodes with a peer in the same room, which knows the case of its name.
fn two_nodes() -> (World, Arc<Room>) {
    let mut world = World::new(1);
    for node in 0..2 {
        world.start(node);
        world.register(node.into(), u16::from(node) + 1);
    }
    let room = world.join(0, 1, "Den");
    world.join(1, 2, "den");
    world.run_ms(1_200);
    assert_eq!(room.remote_members(), 1);
    (world, room)
}

fn count(
    world: &World,
    counter: fn(&super::super::super::shared::ClusterCounters) -> &AtomicU64,
) -> u64 {
    counter(&world.nodes[1].shared.counters).load(Ordering::Relaxed)
}

#[test]
fn texts_of_a_stream_reach_one_worker_in_order_and_never_their_own_node() {
    let (mut world, room) = two_nodes();
    let wakes = world.nodes[1].worker_wakes.load(Ordering::Relaxed);
    let mut bytes = 0;
    for texts in 1..=3 {
        let batch = batch(&world, 0, &room, 0, texts);
        bytes += batch.len() as u64;
        world.publish(0, subject(&room), &batch);
    }
    let all = received(&mut world, 50);
    assert_eq!(texts(&all), ["0", "1", "2", "3", "4", "5"]);
    let seat = all[0].0;
    assert!(
        all.iter()
            .all(|(at, room, _)| (*at, &room[..]) == (seat, "den"))
    );
    assert_eq!(seat.node, 1);
    assert!(world.nodes[1].worker_wakes.load(Ordering::Relaxed) > wakes);
    assert_eq!(count(&world, |it| &it.texts_in), 6);
    assert_eq!(count(&world, |it| &it.batches_in), 3);
    assert_eq!(count(&world, |it| &it.bytes_in), bytes);
    // Streams are shared out among the workers.
    let mut seats = std::collections::BTreeSet::new();
    for stream in 1..WORKERS as u8 {
        publish(&mut world, &room, stream, 1);
    }
    for number in 0..40 {
        let (port, name) = (100 + number, format!("room-{number}"));
        world.register(0, port);
        world.register(1, port + 100);
        let room = world.join(0, port, &name);
        world.join(1, port + 100, &name);
        world.run_ms(5);
        publish(&mut world, &room, 0, 1);
        seats.extend(received(&mut world, 20).iter().map(|it| it.0.worker));
    }
    assert_eq!(seats.len(), WORKERS);
}

#[test]
fn stale_texts_are_dropped_and_missing_ones_counted() {
    let (mut world, room) = two_nodes();
    let batches: Vec<_> = (0..4).map(|_| batch(&world, 0, &room, 0, 2)).collect();
    for at in [0, 0, 3, 1] {
        world.publish(0, subject(&room), &batches[at]);
    }
    assert_eq!(texts(&received(&mut world, 50)), ["0", "1", "6", "7"]);
    assert_eq!(count(&world, |it| &it.texts_stale), 4);
    assert_eq!(count(&world, |it| &it.texts_missing), 4);
    // One that has both.
    room.add_published(WorkerId(0), u16::MAX);
    let mut both = batches[3].clone();
    let first = 7_u32.to_be_bytes();
    both[19..23].copy_from_slice(&first);
    world.publish(0, subject(&room), &both);
    assert_eq!(texts(&received(&mut world, 50)), ["7"], "the second one");
    assert_eq!(count(&world, |it| &it.texts_stale), 5);
    assert_eq!(count(&world, |it| &it.texts_in), 5);
    assert_eq!(count(&world, |it| &it.batches_in), 3);
}

#[test]
fn a_node_takes_texts_while_it_has_members_and_five_seconds_longer() {
    let (mut world, room) = two_nodes();
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["0"]);
    world.nodes[1].registry.leave(&peer(2), None).unwrap();
    world.run_ms(4_700);
    publish(&mut world, &room, 0, 1);
    assert_eq!(received(&mut world, 50), [], "it has no members");
    world.register(1, 3);
    world.join(1, 3, "DEN");
    world.run_ms(5_500);
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["2"]);
    assert_eq!(
        count(&world, |it| &it.texts_missing),
        0,
        "it was not for anybody"
    );

    world.nodes[1].registry.leave(&peer(3), None).unwrap();
    world.run_ms(6_400);
    assert!(!world.nodes[1].subjects.contains(&subject(&room)));
    publish(&mut world, &room, 0, 1);
    let late = batch(&world, 0, &room, 0, 1);
    world.hand_over(1, subject(&room), late);
    assert_eq!(received(&mut world, 50), []);
    batch(&world, 0, &room, 0, 1);
    // What comes later begins anew.
    world.register(1, 4);
    world.join(1, 4, "den");
    world.run_ms(5);
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["6"]);
    assert_eq!(count(&world, |it| &it.texts_missing), 0);
}

#[test]
fn a_subscription_is_there_before_the_first_text_for_a_new_member() {
    let (mut world, _) = two_nodes();
    world.register(0, 5);
    let room = world.join(0, 5, "hall");
    world.register(1, 6);
    world.join(1, 6, "hall");
    while room.remote_members() == 0 {
        world.run_ms(1);
    }
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["0"]);
}

/// The kinds of the calls of a node, in their order.
#[derive(Default)]
struct Order(Vec<&'static str>);

impl Bus for Order {
    fn publish(&mut self, _: Subject, _: Vec<u8>) {
        self.0.push("publish");
    }

    fn subscribe(&mut self, _: Subject) {
        self.0.push("subscribe");
    }

    fn unsubscribe(&mut self, _: Subject) {
        self.0.push("unsubscribe");
    }
}

#[test]
fn a_node_subscribes_to_a_room_before_it_tells_of_the_member() {
    let (mut world, _) = two_nodes();
    world.register(1, 6);
    world.run_ms(5);
    world.join(1, 6, "hall");
    let (now, mut order) = (Now { us: world.now_us }, Order::default());
    world.nodes[1].engine.wake(now, &mut order);
    assert_eq!(order.0, ["subscribe", "publish"]);
}

#[test]
fn a_node_with_many_rooms_takes_their_texts_by_shards_and_no_others() {
    let (mut world, room) = two_nodes();
    for number in 0..1_024 {
        world.register(1, 1_000 + number);
        world.join(1, 1_000 + number, &format!("room-{number}"));
    }
    world.run_ms(1_200);
    let subjects = &world.nodes[1].subjects;
    assert!(!subjects.iter().any(|it| matches!(it, Subject::Room(_))));
    assert!(subjects.contains(&Subject::Shard(shard(&room.name().folded()))));
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["0"]);
    // A room of the same shard, without members there.
    let is_it = |name: &String| shard(&name.parse().unwrap()) == shard(&room.name().folded());
    let name = (0..)
        .map(|number| format!("x{number}"))
        .find(is_it)
        .unwrap();
    world.register(0, 7);
    let other = world.join(0, 7, &name);
    publish(&mut world, &other, 0, 1);
    assert_eq!(received(&mut world, 50), []);
    assert_eq!(count(&world, |it| &it.malformed), 0);
    for number in 0..1_024 {
        world.nodes[1]
            .registry
            .leave(&peer(1_000 + number), None)
            .unwrap();
    }
    world.run_ms(6_400);
    assert!(world.nodes[1].subjects.contains(&subject(&room)));
    assert!(world.nodes[1].subjects.len() < 6);
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["1"]);
}

#[test]
fn texts_for_a_worker_without_space_are_counted() {
    let (mut world, room) = two_nodes();
    let (fit, more) = (20, 10);
    let batches = (0..fit + more).map(|_| batch(&world, 0, &room, 0, 2));
    let batches: Vec<_> = batches.collect();
    let bytes = batches[..fit].iter().map(|it| ITEM_BYTES + it.len()).sum();
    world.leave_space(1, bytes);
    for batch in batches {
        world.hand_over(1, subject(&room), batch);
    }
    assert_eq!(count(&world, |it| &it.texts_dropped), 2 * more as u64);
    assert_eq!(count(&world, |it| &it.batches_in), fit as u64);
    assert_eq!(received(&mut world, 1).len(), 2 * fit);
    publish(&mut world, &room, 0, 2);
    assert_eq!(received(&mut world, 50).len(), 2, "there is space again");
}

#[test]
fn what_is_no_batch_of_this_version_is_counted() {
    let (mut world, room) = two_nodes();
    let mut batch = batch(&world, 0, &room, 0, 2);
    batch[1] += 1;
    world.publish(0, subject(&room), &batch);
    world.publish(0, subject(&room), b"hello");
    assert_eq!(received(&mut world, 50), []);
    assert_eq!(count(&world, |it| &it.malformed), 2);
}

#[test]
fn what_a_node_lost_while_it_was_silent_is_missing() {
    let (mut world, room) = two_nodes();
    publish(&mut world, &room, 0, 1);
    assert_eq!(received(&mut world, 50).len(), 1);
    world.link.deaf.insert((0, 1));
    publish(&mut world, &room, 0, 1);
    world.run_ms(4_000);
    world.link.deaf.clear();
    publish(&mut world, &room, 0, 1);
    assert_eq!(texts(&received(&mut world, 50)), ["2"]);
    assert_eq!(count(&world, |it| &it.texts_missing), 1);
}
