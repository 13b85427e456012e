use proptest::prelude::*;

use super::*;
use crate::server::cluster::message::MAX_CHANGES;
use crate::server::cluster::own::OwnNode;
use crate::wire::cluster::Claim;
use crate::wire::{DisplayName, Name, RoomName};

fn id() -> NodeId {
    "there".parse().unwrap()
}

fn room() -> RoomName {
    "den".parse().unwrap()
}

fn name(number: u16) -> Name {
    format!("peer-{number}").parse().unwrap()
}

fn who(number: u16) -> DisplayName {
    DisplayName::Name(name(number))
}

/// The node that tells.
fn teller(incarnation: u64) -> OwnNode {
    OwnNode::new(id(), incarnation)
}

/// Lets a node tell, and returns what it tells.
fn told(tell: impl FnOnce(&mut dyn FnMut(Message<'_>))) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    tell(&mut |message| messages.push(message.encode()));
    messages
}

fn change(node: &mut OwnNode, changes: &[Change]) -> Vec<u8> {
    let mut messages = told(|tell| node.change(changes, tell));
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

fn heartbeat(node: &OwnNode) -> Vec<u8> {
    node.heartbeat(Heartbeat::default()).encode()
}

/// The list of a node, long after the last one.
fn list(node: &mut OwnNode, now_ms: u64) -> Vec<Vec<u8>> {
    told(|tell| node.list(now_ms, tell))
}

fn handle(nodes: &mut Nodes, message: &[u8], now_ms: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let message = Message::parse(message).unwrap();
    nodes.handle(&message, now_ms, |event| events.push(event));
    events
}

fn joined(number: u16) -> Change {
    Change::Joined(room(), who(number))
}

#[test]
fn changes_are_events_and_a_silent_node_takes_its_members_along() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    let first = change(&mut there, &[joined(1), joined(2)]);
    let expected = [
        Event::Up(id()),
        Event::Changed(id(), joined(1)),
        Event::Changed(id(), joined(2)),
    ];
    assert_eq!(handle(&mut nodes, &first, 5), expected);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 1_000), []);
    let claim = Claim {
        name: name(1),
        claimed_ms: 7,
    };
    let left = vec![Change::Left(room(), who(2)), Change::Claimed(claim)];
    let events = handle(&mut nodes, &change(&mut there, &left), 1_100);
    let expected = left.into_iter().map(|change| Event::Changed(id(), change));
    assert!(events.into_iter().eq(expected));

    let mut events = Vec::new();
    nodes.expire(1_100 + MAX_SILENCE_MS, |event| events.push(event));
    assert_eq!(events, [], "not yet");
    nodes.expire(1_101 + MAX_SILENCE_MS, |event| events.push(event));
    let expected = [
        Event::Down(id(), 1, DownReason::Silent),
        Event::Changed(id(), Change::TimedOut(room(), who(1))),
        Event::Changed(id(), Change::Freed(name(1))),
    ];
    assert_eq!(events, expected);
    assert_eq!(nodes.iter().count(), 0);
}

#[test]
fn what_was_lost_comes_with_a_list_that_is_requested_once_a_second() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    handle(&mut nodes, &change(&mut there, &[joined(1), joined(2)]), 0);
    let _lost = change(&mut there, &[joined(3), Change::Left(room(), who(1))]);
    let request = [Event::Request(id())];
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 10), request);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 500), []);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 1_010), request);
    let events = handle(&mut nodes, &list(&mut there, 1_020)[0], 1_020);
    let expected = [
        Event::Changed(id(), Change::Left(room(), who(1))),
        Event::Changed(id(), joined(3)),
    ];
    assert_eq!(events, expected);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 2_000), []);
    // A list that another node has requested changes nothing.
    assert_eq!(handle(&mut nodes, &list(&mut there, 2_010)[0], 2_010), []);
    assert_eq!(
        handle(&mut nodes, &change(&mut there, &[joined(9)]), 2_020).len(),
        1
    );
}

#[test]
fn a_heartbeat_with_another_number_or_another_digest_leads_to_a_request() {
    let request = [Event::Request(id())];
    let (mut nodes, mut there, mut other) = (Nodes::default(), teller(1), teller(1));
    handle(&mut nodes, &change(&mut there, &[joined(1)]), 0);
    change(&mut other, &[joined(2)]);
    assert_eq!(handle(&mut nodes, &heartbeat(&other), 1), request);
    assert!(!nodes.get(&id()).unwrap().is_current());

    let mut nodes = Nodes::default();
    let first = list(&mut there, 2);
    handle(&mut nodes, &heartbeat(&there), 2);
    handle(&mut nodes, &first[0], 2);
    assert!(nodes.get(&id()).unwrap().is_current());
    change(&mut there, &[joined(5), Change::Left(room(), who(5))]);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 1_000), request);
}

#[test]
fn a_change_after_a_lost_one_leads_to_a_request_at_once() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    handle(&mut nodes, &change(&mut there, &[joined(1)]), 0);
    let _lost = change(&mut there, &[joined(2)]);
    let events = handle(&mut nodes, &change(&mut there, &[joined(3)]), 1);
    assert_eq!(events, [Event::Request(id())]);
}

#[test]
fn a_list_answers_all_requests_of_half_a_second() {
    let mut there = teller(1);
    let parts = [0, 499, 500].map(|now_ms| list(&mut there, now_ms).len());
    assert_eq!(parts, [1, 0, 1]);
}

/// Two peers in different networks of their server have the same link-local address.
#[test]
fn the_zone_of_an_address_gets_lost_and_nothing_is_requested() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    let zoned = |zone| DisplayName::Address(format!("[fe80::1%{zone}]:9").parse().unwrap());
    let changes = [
        Change::Joined(room(), zoned(1)),
        Change::Joined(room(), zoned(2)),
        Change::Renamed(room(), zoned(1), who(1)),
    ];
    handle(&mut nodes, &change(&mut there, &changes), 0);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 1), []);
    let left = Change::Left(room(), zoned(2));
    assert_eq!(
        handle(&mut nodes, &change(&mut there, &[left]), 2),
        [Event::Changed(
            id(),
            Change::Left(room(), "[fe80::1]:9".parse().unwrap())
        )]
    );
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 3), []);
}

#[test]
fn a_late_change_is_not_applied_twice() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    let first = change(&mut there, &[joined(1)]);
    handle(&mut nodes, &first, 0);
    assert_eq!(handle(&mut nodes, &first, 1), []);
    assert_eq!(handle(&mut nodes, &heartbeat(&there), 2), []);
}

#[test]
fn a_restarted_node_begins_without_members_and_is_not_disturbed_by_late_messages() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    handle(&mut nodes, &change(&mut there, &[joined(1)]), 0);
    let late = change(&mut there, &[joined(2)]);
    let again = teller(2);
    let events = handle(&mut nodes, &heartbeat(&again), 1);
    let expected = [
        Event::Down(id(), 1, DownReason::Restarted),
        Event::Changed(id(), Change::TimedOut(room(), who(1))),
        Event::Up(id()),
    ];
    assert_eq!(events, expected);
    assert_eq!(handle(&mut nodes, &late, 2), []);
    assert_eq!(
        handle(&mut nodes, &there.message(Body::Bye).encode(), 3),
        []
    );
    let events = handle(&mut nodes, &again.message(Body::Bye).encode(), 4);
    assert_eq!(events, [Event::Down(id(), 2, DownReason::Stopped)]);
}

#[test]
fn the_members_of_a_node_that_stops_leave() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    handle(&mut nodes, &change(&mut there, &[joined(1)]), 0);
    let bye = there.message(Body::Bye).encode();
    let expected = [
        Event::Down(id(), 1, DownReason::Stopped),
        Event::Changed(id(), Change::Left(room(), who(1))),
    ];
    assert_eq!(handle(&mut nodes, &bye, 1), expected);
}

#[test]
fn no_number_of_another_node_is_too_great() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    let _lost = change(&mut there, &[joined(1)]);
    handle(&mut nodes, &heartbeat(&there), 0);
    let list = Body::List {
        number: u64::MAX,
        part: 0,
        is_last: true,
        changes: vec![joined(1)].into(),
    };
    handle(&mut nodes, &there.message(list).encode(), 1);
    let changes = Body::Changes {
        number: u64::MAX,
        changes: vec![joined(2)].into(),
    };
    let events = handle(&mut nodes, &there.message(changes).encode(), 2);
    assert_eq!(events, [Event::Changed(id(), joined(2))]);
}

#[test]
fn a_list_of_many_parts_is_taken_as_a_whole_or_not_at_all() {
    let (mut nodes, mut there) = (Nodes::default(), teller(1));
    let many = 3 * MAX_CHANGES as u16;
    for number in 0..many {
        change(&mut there, &[joined(number)]);
    }
    handle(&mut nodes, &heartbeat(&there), 0);
    let parts = list(&mut there, 0);
    assert_eq!(parts.len(), 3);
    for part in [&parts[0], &parts[2], &parts[1]] {
        assert_eq!(handle(&mut nodes, part, 1), [], "one is missing before it");
    }
    // The rest of another list does not complete this one.
    assert_eq!(handle(&mut nodes, &parts[0], 2), []);
    change(&mut there, &[joined(many)]);
    let others = list(&mut there, 10_000);
    for part in [&others[1], &others[2], &others[3]] {
        assert_eq!(handle(&mut nodes, part, 2), []);
    }
    for part in &others[..3] {
        assert_eq!(handle(&mut nodes, part, 3), []);
    }
    assert_eq!(
        handle(&mut nodes, &others[3], 3).len(),
        usize::from(many) + 1
    );
}

proptest! {
    /// Events of a node whose messages get lost now and then lead to its members.
    #[test]
    fn whatever_is_lost_the_members_are_right_in_the_end(
        steps in prop::collection::vec((0_u16..6, 0_u8..4, any::<bool>()), 1..80),
    ) {
        let (mut nodes, mut there) = (Nodes::default(), teller(1));
        let (mut seen, mut right) = (NodeMembers::default(), NodeMembers::default());
        let mut now_ms = 0;
        let mut take = |nodes: &mut Nodes, message: &[u8], now_ms| {
            let mut is_requested = false;
            let message = Message::parse(message).unwrap();
            nodes.handle(&message, now_ms, |event| match event {
                Event::Changed(_, change) => seen.apply(&change).unwrap(),
                Event::Request(_) => is_requested = true,
                Event::Up(_) | Event::Down(..) => {}
            });
            (is_requested, seen.digest())
        };
        for (peer, kind, is_lost) in steps {
            now_ms += 600;
            let changes = [match kind {
                0 => joined(peer),
                1 => Change::Left(room(), who(peer)),
                2 => Change::Renamed(room(), who(peer), who(peer + 1)),
                _ => Change::Claimed(Claim { name: name(peer), claimed_ms: now_ms }),
            }];
            // One that does not follow from the members is never told.
            if right.apply(&changes[0]).is_err() {
                prop_assert_eq!(told(|tell| there.change(&changes, tell)).len(), 0);
                continue;
            }
            let message = change(&mut there, &changes);
            if is_lost {
                continue;
            }
            if take(&mut nodes, &message, now_ms).0 {
                for part in list(&mut there, now_ms) {
                    take(&mut nodes, &part, now_ms);
                }
            }
        }
        for _ in 0..2 {
            now_ms += REQUEST_INTERVAL_MS;
            if take(&mut nodes, &heartbeat(&there), now_ms).0 {
                for part in list(&mut there, now_ms) {
                    take(&mut nodes, &part, now_ms);
                }
            }
        }
        let (is_requested, digest) = take(&mut nodes, &heartbeat(&there), now_ms + 5_000);
        prop_assert!(!is_requested);
        prop_assert_eq!(digest, right.digest());
    }
}
