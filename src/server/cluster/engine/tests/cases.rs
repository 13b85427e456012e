//! Nodes that come, go, sleep, or cannot be nodes beside each other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::super::bus::Subject;
use super::super::super::message::{Body, Message};
use super::super::super::nodes::MAX_SILENCE_MS;
use super::super::super::shared::ClusterShared;
use super::super::{MAX_NAMED_SERVERS, incarnation, version};
use super::world::{World, advertised, id, peer};
use crate::server::egress::inbox::ITEM_BYTES;
use crate::server::egress::outbox::OutgoingBatch;
use crate::server::ops::supervise::lock;
use crate::server::registry::Request;
use crate::wire::cluster::NodeId;
use crate::wire::cluster::VERSION;
use crate::wire::v2::MAX_PAYLOAD_BYTES;
use crate::wire::{DisplayName, Reply};

/// Nodes that know each other, with a peer each, whose port is the number of its node and 1.
fn nodes(count: u8) -> World {
    let mut world = World::new(count.into());
    for slot in 0..count {
        world.start(slot);
        world.register(slot.into(), u16::from(slot) + 1);
    }
    world.run_ms(2_500);
    world
}

fn told(world: &World, node: usize) -> Vec<Reply<'static>> {
    lock(&world.nodes[node].told).clone()
}

#[test]
fn nodes_know_each_other_and_their_members_at_once() {
    let mut world = World::new(1);
    for slot in 0..3 {
        world.start(slot);
        world.register(slot.into(), u16::from(slot) + 1);
    }
    world.run_ms(300);
    for node in 0..3 {
        assert_eq!(world.others(node).len(), 2);
        let members = [1, 2, 3].map(|port| format!("192.0.2.1:{port}"));
        assert_eq!(world.members(node, "lobby"), members);
        let status = world.nodes[node].shared.status();
        assert!(status.is_connected);
    }
    // One that comes later, in the middle of a second.
    world.run_ms(1_000);
    world.start(3);
    world.run_ms(250);
    assert_eq!(world.others(3), ["node-0", "node-1", "node-2"]);
}

#[test]
fn a_node_that_stops_is_gone_at_once_and_its_late_messages_do_not_bring_it_back() {
    let mut world = nodes(3);
    world.stop(1);
    world.run_ms(20);
    let late = Message {
        version: VERSION,
        from: id(1),
        incarnation: incarnation(1_700_000_000_000 + 1_000, 2),
        body: Body::Pong(1),
    };
    world.hand_over(0, Subject::Node(id(0)), late.encode());
    assert_eq!(world.others(0), ["node-2"]);
    assert_eq!(world.members(1, "lobby"), ["192.0.2.1:1", "192.0.2.1:3"]);
}

/// Puts a batch in the outbox of a node. Returns true if it waits there for the bus.
fn is_kept(shared: &ClusterShared) -> bool {
    let batch = OutgoingBatch {
        room: "den".parse().unwrap(),
        bytes: vec![0],
        texts: 1,
        made: Instant::now(),
    };
    shared.outbox.push(batch);
    shared.outbox.pop(Instant::now()).is_some()
}

#[test]
fn nothing_waits_for_the_bus_while_a_node_takes_no_part() {
    let mut world = nodes(2);
    let shared = Arc::clone(&world.nodes[0].shared);
    assert!(is_kept(&shared));
    world.set_connected(0, false);
    assert!(!is_kept(&shared));
    world.set_connected(0, true);
    assert!(is_kept(&shared));
    world.stop(0);
    assert!(!is_kept(&shared));
    let private = Request::Private {
        node: id(1),
        from: "ada".parse().unwrap(),
        to: "eve".parse().unwrap(),
        text: b"hi".as_slice().into(),
    };
    assert!(!shared.requests.push(private));
}

#[test]
fn a_node_that_dies_is_gone_after_its_time_of_silence() {
    let mut world = nodes(3);
    world.kill(1);
    world.run_ms(MAX_SILENCE_MS - 1_100);
    assert_eq!(world.others(0), ["node-1", "node-2"]);
    world.run_ms(1_100 + 120);
    assert_eq!(world.others(0), ["node-2"]);
    assert_eq!(world.members(1, "lobby"), ["192.0.2.1:1", "192.0.2.1:3"]);
}

#[test]
fn of_two_nodes_with_one_name_the_older_stays_and_the_younger_waits() {
    let mut world = nodes(2);
    world.start(0);
    world.register(2, 9);
    world.run_ms(4_000);
    // Others see the older one, as before.
    assert_eq!(world.others(1), ["node-0"]);
    assert_eq!(world.members(1, "lobby"), ["192.0.2.1:1", "192.0.2.1:2"]);
    let is_active = |world: &World, node: usize| world.nodes[node].shared.status().is_connected;
    assert_eq!(
        [0, 1, 2].map(|node| is_active(&world, node)),
        [true, true, false]
    );
    let warnings = world.lines.take_warnings().join("\n");
    for expected in ["this one stays", "this one does not take part"] {
        assert_eq!(
            warnings.matches(expected).count(),
            1,
            "{expected}: {warnings}"
        );
    }
    // The peers of the younger one have names, which nobody confirms.
    let renamed = world.rename(2, 9, "ada");
    assert_eq!(renamed, Ok(crate::server::registry::Renamed::Unconfirmed));
    // What goes to the name of both is for the older one.
    let message = private_message(&world, 1, "ada", b"hi");
    world.hand_over(2, Subject::Node(id(0)), message);
    assert_eq!(world.replies(50), [""; 0]);
    for ms in [50, 10_000] {
        world.run_ms(ms);
        assert_eq!(world.members(1, "lobby"), ["192.0.2.1:1", "192.0.2.1:2"]);
    }

    world.stop(0);
    world.run_ms(MAX_SILENCE_MS + 1_300);
    assert_eq!(world.others(0), ["node-0"]);
    assert_eq!(world.members(0, "lobby"), ["192.0.2.1:2", "ada"]);
    assert!(is_active(&world, 1));
}

#[test]
fn nodes_of_other_versions_refuse_each_other_and_say_so() {
    let mut world = nodes(2);
    world.lines.take_warnings();
    let message = Message {
        version: VERSION,
        from: id(7),
        incarnation: 1,
        body: Body::Bye,
    };
    let mut bytes = message.encode();
    bytes[0] = VERSION + 1;
    for _ in 0..3 {
        world.hand_over(0, Subject::Nodes, bytes.clone());
        world.hand_over(0, Subject::Nodes, b"\x01?".to_vec());
    }
    let expected = format!(
        "cluster: node node-7 has version {} of the cluster's messages, and this server {VERSION}: \
         it is not part of the cluster",
        VERSION + 1
    );
    assert_eq!(world.lines.take_warnings(), [expected]);
    assert_eq!(world.others(0), ["node-1"]);
    let counters = &world.nodes[0].shared.counters;
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 6);
    world.hand_over(0, Subject::Shard(1), Vec::new());
    let counters = &world.nodes[0].shared.counters;
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 7);
}

/// Returns a direct message of a peer of `node`, as its node sends it.
fn private_message(world: &World, node: usize, to: &str, text: &[u8]) -> Vec<u8> {
    let message = Message {
        version: VERSION,
        from: id(node as u8),
        incarnation: world.nodes[node].shared.outbox.node(),
        body: Body::Private {
            from: "eve".parse().unwrap(),
            to: to.parse().unwrap(),
            text: text.into(),
        },
    };
    message.encode()
}

#[test]
fn a_direct_message_reaches_a_peer_of_another_node_by_name_and_by_address() {
    let mut world = nodes(3);
    world.rename(2, 3, "ada").unwrap();
    world.replies(50);
    let from: DisplayName = "192.0.2.1:1".parse().unwrap();
    for (to, port) in [("ADA", 3), ("192.0.2.1:2", 2)] {
        let to: DisplayName = to.parse().unwrap();
        let registry = &world.nodes[0].registry;
        let node = registry.remote().find(&to).unwrap();
        let text = b"hi".as_slice().into();
        let private = Request::Private {
            node,
            from,
            to,
            text,
        };
        assert!(registry.requests().unwrap().push(private));
        let expected = format!("{} {port}: 192.0.2.1:1 says hi", port - 1);
        assert_eq!(world.replies(50), [expected]);
    }
    // One that has left gets nothing, and nobody is harmed.
    let private = Request::Private {
        node: id(1),
        from,
        to: "eve".parse().unwrap(),
        text: b"hi".as_slice().into(),
    };
    world.nodes[0].registry.requests().unwrap().push(private);
    assert_eq!(world.replies(50), [""; 0]);
    // Those that have no space are counted.
    let message = private_message(&world, 0, "ada", b"hi");
    world.leave_space(2, 3 * (ITEM_BYTES + 2));
    for _ in 0..3 + 5 {
        world.hand_over(2, Subject::Node(id(2)), message.clone());
    }
    let counters = &world.nodes[2].shared.counters;
    assert_eq!(counters.texts_dropped.load(Ordering::Relaxed), 5);
}

#[test]
fn a_direct_message_that_no_peer_can_send_is_dropped() {
    let mut world = nodes(2);
    for (len, replies) in [(MAX_PAYLOAD_BYTES, 1), (MAX_PAYLOAD_BYTES + 1, 0)] {
        let message = private_message(&world, 0, "192.0.2.1:2", &vec![b'x'; len]);
        world.hand_over(1, Subject::Node(id(1)), message);
        assert_eq!(world.replies(10).len(), replies, "{len}");
    }
    let counters = &world.nodes[1].shared.counters;
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 1);
}

#[test]
fn peers_are_told_once_that_the_cluster_is_split_and_once_that_it_is_whole() {
    let mut world = nodes(2);
    world.set_connected(0, false);
    world.run_ms(MAX_SILENCE_MS - 200);
    assert_eq!(told(&world, 0), []);
    world.run_ms(8_000);
    assert_eq!(told(&world, 0), [Reply::Split]);
    assert_eq!(world.members(0, "lobby"), ["192.0.2.1:1"]);
    assert!(!world.nodes[0].shared.status().is_connected);
    // The bus comes, goes before anybody was heard, and comes again.
    world.link.deaf.insert((1, 0));
    world.set_connected(0, true);
    world.run_ms(500);
    assert_eq!(told(&world, 0), [Reply::Split]);
    world.set_connected(0, false);
    world.run_ms(5_000);
    world.link.deaf.clear();
    world.set_connected(0, true);
    world.run_ms(4_000);
    assert_eq!(told(&world, 0), [Reply::Split, Reply::Whole]);
    assert_eq!(told(&world, 1), []);
    let counters = &world.nodes[0].shared.counters;
    assert_eq!(counters.disconnects.load(Ordering::Relaxed), 2);
    assert_eq!(world.members(0, "lobby"), ["192.0.2.1:1", "192.0.2.1:2"]);
}

#[test]
fn a_node_alone_is_not_split_and_a_short_absence_is_no_news() {
    let mut world = nodes(1);
    world.set_connected(0, false);
    world.run_ms(10_000);
    world.set_connected(0, true);
    world.run_ms(1_000);
    assert_eq!(told(&world, 0), []);
    let mut world = nodes(2);
    world.set_connected(0, false);
    world.run_ms(3_000);
    assert_eq!(world.others(0), ["node-1"]);
    world.set_connected(0, true);
    world.run_ms(1_500);
    assert_eq!((told(&world, 0), world.others(0).len()), (vec![], 1));
}

#[test]
fn a_node_that_comes_back_does_not_drop_the_others() {
    let mut world = nodes(2);
    world.set_connected(0, false);
    world.run_ms(2_300);
    // The others are heard again 1.5 s later.
    world.link.deaf.insert((1, 0));
    world.set_connected(0, true);
    world.run_ms(1_500);
    world.link.deaf.clear();
    for _ in 0..30 {
        world.run_ms(100);
        assert_eq!(world.others(0), ["node-1"]);
    }
}

#[test]
fn a_node_that_has_slept_does_not_drop_the_others() {
    let mut world = nodes(3);
    world.lines.take_warnings();
    world.nodes[0].asleep_until_us = world.now_us + 4_000_000;
    // What comes meanwhile has not arrived when it wakes up.
    world.link.deaf.extend([(1, 0), (2, 0)]);
    world.run_ms(4_500);
    assert_eq!(world.others(0), ["node-1", "node-2"]);
    world.link.deaf.clear();
    world.run_ms(2_500);
    assert_eq!(world.others(0), ["node-1", "node-2"]);
    let warnings = world.lines.take_warnings();
    let own = warnings.iter().filter(|it| !it.contains("node-0"));
    assert_eq!(own.count(), 0, "{warnings:?}");
    assert_eq!(world.members(1, "lobby").len(), 3);
}

#[test]
fn the_status_shows_the_nodes_and_clients_are_told_of_three_of_them() {
    let mut world = nodes(6);
    world.join(1, 2, "den");
    world.run_ms(12_000);
    let status = world.nodes[0].shared.status();
    assert_eq!((&status.node[..], &status.cluster[..]), ("node-0", "test"));
    assert!(status.is_connected);
    let ids: Vec<NodeId> = status.nodes.iter().map(|node| node.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(id));
    for node in &status.nodes {
        assert_eq!((node.peers, node.rooms), (1, 1));
        assert_eq!(node.version, version());
        assert!(node.silent_ms < 1_300, "{}", node.silent_ms);
        let round_trip_us = node.round_trip_us.expect("a pong");
        assert!((1..=10_000).contains(&round_trip_us), "{round_trip_us}");
        assert!(node.is_current);
    }
    let pong = Message {
        version: VERSION,
        from: id(1),
        incarnation: world.nodes[1].shared.outbox.node(),
        body: Body::Pong(1),
    };
    world.run_ms(500);
    world.hand_over(0, Subject::Node(id(0)), pong.encode());
    let of_1 = world.nodes[0].engine.nodes().get(&id(1)).unwrap();
    let round_trip_us = of_1.status(0).round_trip_us;
    assert!(
        round_trip_us < Some(100_000),
        "it is that of an earlier ping"
    );

    let advertised: Vec<_> = [1, 2, 3, 4, 5].map(|slot| Some(advertised(slot))).into();
    let told: Vec<_> = status.nodes.iter().map(|node| node.advertise).collect();
    assert_eq!(told, advertised);
    let named = lock(&world.nodes[0].named).clone();
    assert_eq!(named.len(), MAX_NAMED_SERVERS);
    assert!(
        named
            .iter()
            .all(|address| advertised.contains(&Some(*address)))
    );
    for node in 1..6 {
        assert!(
            world.nodes[node]
                .registry
                .get(&peer(node as u16 + 1))
                .is_some()
        );
    }
}

#[test]
fn an_incarnation_is_greater_than_those_before_it() {
    assert!(incarnation(1, u64::MAX) < incarnation(2, 0));
    assert_ne!(incarnation(1, 1), incarnation(1, 2));
    let in_500_years = 17_000_000_000_000;
    assert!(incarnation(in_500_years, 0) < incarnation(in_500_years + 1, 0));
}
