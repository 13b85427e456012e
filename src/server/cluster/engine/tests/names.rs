//! Names that peers of several nodes want.

use super::super::super::bus::Subject;
use super::super::super::grants::deciding_node;
use super::super::super::message::{Body, Message};
use super::world::{Random, World, id, newcomer, peer};
use crate::server::egress::inbox::{ITEM_BYTES, Incoming};
use crate::server::registry::{NameError, Registry, Renamed};
use crate::wire::Name;
use crate::wire::cluster::VERSION;
use crate::wire::cluster::{Change, Claim};
use crate::wire::v2::SessionId;

/// Two nodes, each with two peers: 1 and 2, and 3 and 4.
fn two_nodes() -> World {
    let mut world = World::new(2);
    for node in 0..2 {
        world.start(node);
        world.register(node.into(), 2 * u16::from(node) + 1);
        world.register(node.into(), 2 * u16::from(node) + 2);
    }
    world.run_ms(1_200);
    world
}

/// Returns a name about which a node decides, of the nodes 0 and 1.
fn name_of(slot: u8) -> String {
    let decides = |name: &String| {
        let name: Name = name.parse().unwrap();
        deciding_node(&name, (0..2).map(id)) == Some(id(slot))
    };
    let mut names = (0..).map(|number| format!("name-{number}"));
    names.find(decides).unwrap()
}

#[test]
fn the_node_that_decides_grants_a_free_name_and_refuses_one_that_is_taken() {
    for slot in 0..2 {
        let mut world = two_nodes();
        let (name, upper) = (name_of(slot), name_of(slot).to_uppercase());
        assert_eq!(world.rename(0, 1, &name), Ok(Renamed::Pending));
        assert_eq!(world.name(0, 1), None, "not yet");
        let named = format!("0 1: Named({name:?})");
        assert_eq!(world.replies(50), [named]);
        assert_eq!(world.name(0, 1), Some(name.clone()));
        let taken = Err(NameError::Taken(upper.parse().unwrap()));
        assert_eq!(world.rename(0, 2, &upper), taken);
        assert_eq!(world.rename(1, 3, &upper), taken);
        // The same name in another case belongs to its peer.
        assert_eq!(world.rename(0, 1, &upper), Ok(Renamed::Yes));
        // It is free again at once.
        world.nodes[0].registry.leave(&peer(1), None).unwrap();
        world.run_ms(20);
        assert_eq!(world.rename(1, 3, &name), Ok(Renamed::Pending));
        assert_eq!(world.replies(50), [format!("1 3: Named({name:?})")]);
    }
}

#[test]
fn of_two_that_ask_at_the_same_time_one_gets_the_name() {
    for slot in 0..2 {
        let mut world = two_nodes();
        let name = name_of(slot);
        for (node, port) in [(0, 1), (1, 3)] {
            assert_eq!(world.rename(node, port, &name), Ok(Renamed::Pending));
        }
        let mut replies = world.replies(1_000);
        replies.sort_unstable();
        let (winner, loser) = (usize::from(slot), 1 - usize::from(slot));
        let port = |node: usize| 2 * node as u16 + 1;
        let mut expected = [
            format!("{winner} {}: Named({name:?})", port(winner)),
            format!("{loser} {}: NameTaken({name:?})", port(loser)),
        ];
        expected.sort_unstable();
        assert_eq!(replies, expected);
        assert_eq!(world.name(winner, port(winner)), Some(name));
        assert_eq!(world.name(loser, port(loser)), None);
    }
}

#[test]
fn without_an_answer_a_name_is_not_confirmed_after_half_a_second() {
    let mut world = two_nodes();
    world.link.deaf.extend([(0, 1), (1, 0)]);
    let mut names = [name_of(1), name_of(1)];
    names[1] += "x";
    while deciding_node(&names[1].parse().unwrap(), (0..2).map(id)) != Some(id(1)) {
        names[1] += "x";
    }
    for name in &names {
        assert_eq!(world.rename(0, 1, name), Ok(Renamed::Pending));
    }
    assert_eq!(world.replies(390), [""; 0]);
    let expected = names
        .clone()
        .map(|name| format!("0 1: NamedUnconfirmed({name:?})"));
    assert_eq!(world.replies(125), expected);
    assert_eq!(world.name(0, 1).as_ref(), Some(&names[1]), "the last one");
    let registry = &world.nodes[0].registry;
    assert!(!registry.has_name(&names[0].parse().unwrap()));
}

#[test]
fn names_are_not_confirmed_while_the_bus_is_away() {
    let mut world = two_nodes();
    world.set_connected(0, false);
    world.run_ms(200);
    assert_eq!(world.rename(0, 1, "ada"), Ok(Renamed::Unconfirmed));
    assert_eq!(world.name(0, 1), Some("ada".to_owned()));
    assert_eq!(
        world.rename(0, 2, "ADA"),
        Err(NameError::Taken("ADA".parse().unwrap()))
    );
    world.set_connected(0, true);
    world.run_ms(200);
    assert_eq!(world.rename(0, 1, "eve"), Ok(Renamed::Pending));
}

#[test]
fn after_a_partition_the_earlier_claim_stays_and_the_other_peer_is_told() {
    for first in 0..2 {
        let mut world = two_nodes();
        world.link.deaf.extend([(0, 1), (1, 0)]);
        world.run_ms(4_000);
        for node in [first, 1 - first] {
            let port = 2 * node as u16 + 1;
            assert_eq!(world.rename(node, port, "ada"), Ok(Renamed::Pending));
            assert_eq!(
                world.replies(20),
                [format!("{node} {port}: Named(\"ada\")")]
            );
        }
        let loser = 1 - first;
        let port = 2 * loser as u16 + 1;
        assert_eq!(world.rename(loser, port, "Ada"), Ok(Renamed::Yes));
        world.link.deaf.clear();
        let replies = world.replies(2_500);
        let lost = format!("{loser} {port}: NameLost(\"Ada\", 192.0.2.1:{port})");
        assert_eq!(replies, [lost]);
        assert_eq!(world.name(loser, port), None);
        assert_eq!(
            world.name(first, 2 * first as u16 + 1),
            Some("ada".to_owned())
        );
        let members = ["192.0.2.1:2", "192.0.2.1:4"].map(str::to_owned);
        let address = format!("192.0.2.1:{port}");
        for node in 0..2 {
            let mut members = Vec::from(members.clone());
            members.extend(["ada".to_owned(), address.clone()]);
            members.sort_unstable();
            assert_eq!(world.members(node, "lobby"), members);
            let counters = &world.nodes[node].shared.counters;
            let lost = counters
                .names_lost
                .load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(lost, u64::from(node == loser));
        }
    }
}

/// Returns a message of a node that is not there.
fn message_of(slot: u8, body: Body<'_>) -> Vec<u8> {
    let message = Message {
        version: VERSION,
        from: id(slot),
        incarnation: 1,
        body,
    };
    message.encode()
}

fn claimed(name: &str, claimed_ms: u64, number: u64) -> Vec<u8> {
    let name = name.parse().unwrap();
    let claim = Claim { name, claimed_ms };
    let changes = vec![Change::Claimed(claim)];
    message_of(
        9,
        Body::Changes {
            number,
            changes: changes.into(),
        },
    )
}

#[test]
fn a_name_that_was_granted_to_a_node_that_is_gone_is_free() {
    let mut world = two_nodes();
    let name = name_of(0);
    let request = Message {
        version: VERSION,
        from: id(1),
        incarnation: world.nodes[1].shared.outbox.node(),
        body: Body::NameRequest {
            number: 1,
            claim: Claim {
                name: name.parse().unwrap(),
                claimed_ms: 1,
            },
        },
    };
    world.hand_over(0, Subject::Node(id(0)), request.encode());
    world.rename(0, 1, &name).unwrap();
    assert_eq!(world.replies(10), [format!("0 1: NameTaken({name:?})")]);
    world.stop(1);
    world.run_ms(10);
    world.rename(0, 1, &name).unwrap();
    assert_eq!(world.replies(10), [format!("0 1: Named({name:?})")]);
}

#[test]
fn a_name_is_granted_to_one_node_and_to_the_node_that_has_it() {
    let mut world = two_nodes();
    let now_ms = world.now_us / 1_000;
    let mut grant = |name: &str, slot| {
        let engine = &mut world.nodes[0].engine;
        engine.grant(&name.parse().unwrap(), id(slot), now_ms)
    };
    assert!(grant("eve", 1));
    assert!(!grant("EVE", 2), "it is about to be claimed");
    world.rename(0, 1, "bob").unwrap();
    world.rename(1, 3, "ada").unwrap();
    world.run_ms(50);
    let mut grant = |name: &str, slot| {
        let engine = &mut world.nodes[0].engine;
        engine.grant(&name.parse().unwrap(), id(slot), now_ms)
    };
    assert!(!grant("BOB", 1), "a peer of this node has it");
    assert!(!grant("ada", 2));
    assert!(
        grant("ada", 1),
        "another peer may have it, which is not known yet"
    );
}

/// The worker had not seen the claim of the other node, which came before that of its own peer.
#[test]
fn a_claim_that_came_too_late_is_taken_back() {
    let mut world = two_nodes();
    world.set_connected(0, false);
    world.run_ms(200);
    assert_eq!(world.rename(0, 1, "ada"), Ok(Renamed::Unconfirmed));
    // It has come to the members of other nodes, and nobody was told of it yet.
    let remote = world.nodes[0].registry.remote();
    let claim = Claim {
        name: "Ada".parse().unwrap(),
        claimed_ms: 5,
    };
    remote.apply(&id(1), &Change::Claimed(claim)).unwrap();
    let lost = "0 1: NameLost(\"ada\", 192.0.2.1:1)";
    assert_eq!(world.replies(10), [lost]);
    assert_eq!(world.name(0, 1), None);
}

/// The peer was about to move when the claim of the other node came.
#[test]
fn a_name_that_cannot_be_taken_away_yet_is_lost_a_little_later() {
    let mut world = two_nodes();
    world.rename(0, 1, "ada").unwrap();
    world.run_ms(50);
    let claim = Claim {
        name: "Ada".parse().unwrap(),
        claimed_ms: 5,
    };
    let remote = world.nodes[0].registry.remote();
    remote.apply(&id(1), &Change::Claimed(claim)).unwrap();
    world.nodes[0].engine.contested.push(claim.name);
    let lost = "0 1: NameLost(\"ada\", 192.0.2.1:1)";
    assert_eq!(world.replies(120), [lost]);
}

/// Its peer has left, which this node has not taken note of.
#[test]
fn a_name_that_cannot_be_taken_away_is_compared_until_it_is_free() {
    let mut world = two_nodes();
    world.rename(0, 1, "ada").unwrap();
    world.run_ms(50);
    let claim = Claim {
        name: "Ada".parse().unwrap(),
        claimed_ms: 5,
    };
    let registry = &world.nodes[0].registry;
    registry
        .remote()
        .apply(&id(1), &Change::Claimed(claim))
        .unwrap();
    registry.leave(&peer(1), None).unwrap();
    let engine = &mut world.nodes[0].engine;
    engine.compare(&claim.name);
    assert_eq!(engine.contested, [claim.name]);
    world.run_ms(120);
    assert_eq!(world.nodes[0].engine.contested, []);
}

#[test]
fn a_request_that_is_later_than_a_claim_is_refused_whoever_has_granted_it() {
    let mut world = two_nodes();
    let name = name_of(1);
    world.link.deaf.extend([(0, 1), (1, 0)]);
    assert_eq!(world.rename(0, 1, &name), Ok(Renamed::Pending));
    world.run_ms(50);
    world.hand_over(0, Subject::Nodes, claimed(&name, 5, 0));
    assert_eq!(world.replies(600), [format!("0 1: NameTaken({name:?})")]);
    assert_eq!(world.name(0, 1), None);
    assert!(!world.nodes[0].registry.has_name(&name.parse().unwrap()));
}

/// A node has started again with its name, and another one answers the process before.
#[test]
fn an_answer_to_the_process_before_answers_nothing() {
    let mut world = two_nodes();
    world.link.deaf.extend([(0, 1), (1, 0)]);
    let name = name_of(1);
    assert_eq!(world.rename(0, 1, &name), Ok(Renamed::Pending));
    world.run_ms(10);
    let answer = Message {
        version: VERSION,
        from: id(1),
        incarnation: world.nodes[1].shared.outbox.node(),
        body: Body::NameAnswer {
            number: 1,
            is_granted: false,
        },
    };
    world.hand_over(0, Subject::Node(id(0)), answer.encode());
    let expected = format!("0 1: NamedUnconfirmed({name:?})");
    assert_eq!(world.replies(600), [expected]);
}

#[test]
fn all_who_lose_their_names_are_told_though_their_worker_has_no_space_for_that() {
    let mut world = World::new(3);
    world.start(0);
    let count = 600;
    for port in 1..=count {
        world.register(0, port);
        world.rename(0, port, &format!("name-{port}")).unwrap();
    }
    let mut named = 0;
    world.run_until(world.now_us + 500_000, |_, _, _| named += 1);
    world.leave_space(0, 100 * ITEM_BYTES);
    for port in 1..=count {
        let message = claimed(&format!("name-{port}"), 5, u64::from(port) - 1);
        world.hand_over(0, Subject::Nodes, message);
    }
    let mut lost = std::collections::BTreeSet::new();
    world.run_until(world.now_us + 500_000, |_, _, incoming| {
        if let Incoming::Reply { to, .. } = incoming {
            lost.insert(to.address.socket_addr().port());
        }
    });
    assert_eq!((named, lost.len()), (count, usize::from(count)));
}

#[test]
fn a_peer_that_comes_to_the_address_of_another_does_not_get_its_name() {
    let mut world = two_nodes();
    let session = |number| SessionId::new(number).unwrap();
    let name = name_of(1);
    let registry = std::sync::Arc::clone(&world.nodes[0].registry);
    registry.register(&newcomer(7, Some(session(1)), true), 1_000);
    assert_eq!(world.rename(0, 7, &name), Ok(Renamed::Pending));
    registry.leave(&peer(7), Some(session(1))).unwrap();
    registry.register(&newcomer(7, Some(session(2)), true), 1_000);
    assert_eq!(world.replies(700), [""; 0]);
    assert_eq!(world.name(0, 7), None);
    assert!(!registry.has_name(&name.parse().unwrap()));
}

#[test]
fn the_names_of_a_node_that_is_gone_are_free() {
    let mut world = two_nodes();
    world.rename(1, 3, "ada").unwrap();
    world.run_ms(50);
    assert!(world.rename(0, 1, "ada").is_err());
    world.kill(1);
    world.run_ms(3_000);
    assert!(world.rename(0, 1, "ada").is_err(), "it may be alive");
    world.run_ms(800);
    assert_eq!(world.rename(0, 1, "ada"), Ok(Renamed::Pending));
    assert_eq!(world.replies(20), ["0 1: Named(\"ada\")"]);
}

#[test]
fn shares_of_networks_follow_the_names_that_their_peers_have() {
    let mut world = World::new(4);
    let registry = Registry::plain(super::world::WORKERS, 100);
    let node = world.start_with(0, true, registry);
    let registry = std::sync::Arc::clone(&world.nodes[node].registry);
    for port in 1..=3 {
        registry.register(&newcomer(port, None, false), 1_000);
    }
    let names = || registry.network_totals()[1];
    let mut random = Random::new(5);
    for step in 0..200 {
        let port = 1 + random.below(3) as u16;
        let _ = world.rename(node, port, &format!("name-{}", random.below(4)));
        if random.below(3) == 0 {
            world.run_ms(10);
        }
        if step % 7 == 0 {
            let lost = format!("name-{}", random.below(4)).parse().unwrap();
            registry.lose_name(&lost);
        }
    }
    world.run_ms(200);
    let held = (1..=3).filter(|port| world.name(node, *port).is_some());
    assert_eq!(names() as usize, held.count());
}
