use proptest::prelude::*;

use super::*;
use crate::net::PeerAddr;
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{Newcomer, Room, Touch};
use crate::wire::v2::{Move, SessionId, SessionOptions};
use crate::wire::{DisplayName, Name, Protocol, RoomName};

fn peer(port: u16) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
}

/// Returns a registry that records its changes.
fn registry() -> (Registry, Arc<ChangeQueue>) {
    let registry = Registry::plain(1, 100);
    let changes = Arc::new(ChangeQueue::new(Arc::new(|| {})));
    registry.record_changes(&changes);
    (registry, changes)
}

/// Returns the members of each room of a registry, sorted.
fn members_of(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut rooms = Vec::new();
    let list = |room: &Room| {
        let mut members = Vec::new();
        registry.visit_members(room, 0, |who| {
            members.push(who.to_string());
            true
        });
        members.sort();
        (room.name().folded().to_string(), members)
    };
    for room in registry.directory().some(0, usize::MAX) {
        rooms.push(list(&room));
    }
    rooms.retain(|(_, members)| !members.is_empty());
    rooms.sort();
    rooms
}

/// Returns the members of each room of a node, sorted.
fn members_of_node(node: &NodeMembers) -> Vec<(String, Vec<String>)> {
    let mut rooms: Vec<_> = node
        .rooms()
        .map(|(room, len)| {
            let members = node.members_of(&room);
            let mut members: Vec<_> = members.map(|who| who.to_string()).collect();
            assert_eq!(members.len(), len);
            members.sort();
            (room.folded().to_string(), members)
        })
        .collect();
    rooms.sort();
    rooms
}

fn name(number: u16) -> Name {
    format!("peer-{number}").parse().unwrap()
}

fn room(number: u16) -> RoomName {
    format!("room-{number}").parse().unwrap()
}

fn session(number: u16) -> SessionId {
    SessionId::new(u64::from(number) + 1).unwrap()
}

fn newcomer(port: u16) -> Newcomer {
    Newcomer {
        address: peer(port),
        protocol: Protocol::Frames(SessionOptions::default().bundle_size),
        owner: WorkerId(0),
        session: Some(session(port)),
        options: Some(SessionOptions::default()),
        is_trusted: true,
    }
}

proptest! {
    #[test]
    fn the_changes_of_a_registry_make_its_members(
        steps in prop::collection::vec((0_u8..9, 1_u16..8, 0_u16..8), 0..120),
    ) {
        let (registry, changes) = registry();
        let mut node = NodeMembers::default();
        for (step, port, number) in steps {
            let address = peer(port);
            match step {
                0 | 1 => drop(registry.register(&newcomer(port), 0)),
                2 => drop(registry.join(&address, room(number % 3))),
                3 => drop(registry.rename(&address, name(number))),
                4 => drop(registry.leave(&address, Some(session(port)))),
                5 => drop(registry.subscribe(&address, room(number % 3))),
                6 => {
                    let room = registry.directory().find(room(number % 3));
                    let number = room.map_or(0, |room| room.number());
                    registry.unsubscribe(&address, number);
                }
                7 => {
                    let former = Move {
                        session: session(port),
                        address: address.socket_addr(),
                    };
                    let mut to = newcomer(number + 20);
                    to.session = Some(session(port));
                    let moved = registry.take_over(&to, &former, 0);
                    if let Touch::Moved(_) = moved {
                        // Back, so that the next steps find it.
                        let former = Move {
                            session: session(port),
                            address: to.address.socket_addr(),
                        };
                        registry.take_over(&newcomer(port), &former, 0);
                    }
                }
                _ => registry.expire(&[1], |_| {}),
            }
            for change in changes.take() {
                prop_assert_eq!(node.apply(&change), Ok(()), "{:?}", change);
            }
            prop_assert_eq!(members_of_node(&node), members_of(&registry));
            for number in 0..8 {
                let owner = registry.find(name(number).as_bytes(), &peer(1));
                prop_assert_eq!(node.claim(&name(number)).is_some(), owner.is_some());
            }
        }
    }
}

#[test]
fn a_registry_without_a_cluster_records_nothing() {
    let registry = Registry::plain(1, 100);
    registry.touch(&peer(1), Protocol::Text, WorkerId(0), 0);
    let changes = Arc::new(ChangeQueue::new(Arc::new(|| {})));
    assert_eq!(changes.take(), []);
    let who = DisplayName::Address(peer(1).socket_addr());
    assert_eq!(
        members_of(&registry),
        [("lobby".to_owned(), vec![who.to_string()])]
    );
}

#[test]
fn rooms_and_members_of_other_nodes_are_counted_listed_and_events() {
    let (registry, changes) = registry();
    let id = "there".parse().unwrap();
    registry.remote().add(id);
    let who = |number| DisplayName::Address(([192, 0, 2, number], 9).into());
    let tell = |change: Change| {
        registry.remote().apply(&id, &change).unwrap();
        registry.note_remote(&change);
    };
    let rooms = |first| {
        let mut rooms = Vec::new();
        let count = registry.visit_rooms(first, |room, members| {
            rooms.push(format!("{room} {members}"));
            true
        });
        (rooms.join(", "), count)
    };
    tell(Change::Joined(room(1), who(1)));
    tell(Change::Joined(room(2), who(2)));
    registry.register(&newcomer(1), 0);
    registry
        .join(&peer(1), "ROOM-2".parse().unwrap())
        .unwrap()
        .unwrap();
    registry.set_presence(&peer(1), true).unwrap();
    let all = ("lobby 0, ROOM-2 2, room-1 1".to_owned(), 3);
    assert_eq!(rooms(0), all);
    assert_eq!(rooms(1), ("ROOM-2 2, room-1 1".to_owned(), 3));
    assert_eq!(rooms(2), ("room-1 1".to_owned(), 3));

    let here = registry.directory().find(room(2)).unwrap();
    assert_eq!(
        (here.len(), here.all_members()),
        (1, 2),
        "as it was created"
    );
    tell(Change::Joined(room(2), who(3)));
    tell(Change::TimedOut(room(2), who(2)));
    let members = |first| {
        let mut members = Vec::new();
        let count = registry.visit_members(&here, first, |member| {
            members.push(member);
            true
        });
        (members, count)
    };
    let own = DisplayName::Address(peer(1).socket_addr());
    assert_eq!(members(0), (vec![own, who(3)], 2));
    assert_eq!(members(1), (vec![who(3)], 2));
    assert_eq!(members(2), (vec![], 2));

    let events = registry.directory().events().take();
    let notice = events[0].take_notice().unwrap();
    assert_eq!(
        notice.text(),
        "192.0.2.3:9 joined, 192.0.2.2:9 timed out (2 here)"
    );
    let told = changes.take();
    let is_own = |change: &Change| {
        change.event().is_some_and(|(_, event)| {
        matches!(event, crate::wire::reply::PresenceEvent::Joined(who) | crate::wire::reply::PresenceEvent::Left(who) if who == own)
    })
    };
    assert!(
        told.iter().all(is_own),
        "those of others are not told again: {told:?}"
    );
}
