use super::*;
use crate::net::{Endpoint, LocalIndex, PeerAddr};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::*;
use crate::wire::v2::{BundleSize, SessionId};
use crate::wire::{DisplayName, Name, Protocol};

fn address(port: u16, bind: u8) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), bind)
}

/// Returns the address of a peer that wrote to a local address.
fn address_at(port: u16, local: usize) -> PeerAddr {
    let address = address(port, 0);
    address.at(address.endpoint().with_local(LocalIndex::of(local)))
}

fn peers() -> Registry {
    Registry::plain(4, 1_000)
}

fn group(bind: u8, protocol: Protocol) -> SendGroup {
    SendGroup {
        endpoint: Endpoint::of(bind),
        protocol,
        echo: true,
    }
}

#[test]
fn members_are_grouped() {
    let peers = peers();
    for (port, endpoint) in [(1, 2), (2, 0), (3, 2), (4, 0)] {
        peers.touch(&address(port, endpoint), Protocol::Text, WorkerId(3), 0);
    }
    peers.open_session(
        &address(5, 2),
        WorkerId(3),
        BundleSize::Full,
        SessionId::new(77).unwrap(),
        0,
    );
    let members = peers.lobby().members();
    let text = |endpoint, peers| Part {
        group: group(endpoint, Protocol::Text),
        peers,
        sessions: &[],
    };
    let (second, first) = (
        [address(1, 2), address(3, 2)],
        [address(2, 0), address(4, 0)],
    );
    let frames = Part {
        group: group(2, Protocol::Frames(BundleSize::Full)),
        peers: &[address(5, 2)],
        sessions: &[SessionId::new(77)],
    };
    let expected = [text(2, &second), text(0, &first), frames];
    assert!(members.parts(0..5).eq(expected));
    let part = [text(2, &second[1..]), text(0, &first[..1])];
    assert!(
        members.parts(1..3).eq(part),
        "the last of one group, the first of the next"
    );
    assert_eq!(members.parts(2..2).count(), 0);
    assert_eq!(peers.lobby().members_by_version(), (4, 1));
    for port in [1, 2] {
        peers
            .leave(&address(port, 2 * (port as u8 % 2)), None)
            .unwrap();
    }
    peers.leave(&address(5, 2), SessionId::new(77)).unwrap();
    assert_eq!(peers.lobby().members_by_version(), (2, 0));
}

#[test]
fn peers_of_a_thousand_local_addresses_are_grouped() {
    let peers = Registry::plain(4, 10_000);
    for port in 1..=3000 {
        let from = address_at(port, usize::from(port % 1000) + 1);
        peers.touch(&from, Protocol::Text, WorkerId(0), 0);
    }
    let members = peers.lobby().members();
    assert_eq!(
        (members.len(), members.parts(0..3000).count()),
        (3000, 1000)
    );
    for part in members.parts(0..3000) {
        let has_local = |peer: &PeerAddr| peer.endpoint() == part.group.endpoint;
        assert!(part.peers.len() == 3 && part.peers.iter().all(has_local));
    }
}

/// Returns the endpoints of all members of the lobby, in groups.
fn endpoints(peers: &Registry) -> Vec<Endpoint> {
    let members = peers.lobby().members();
    let groups = members.parts(0..members.len());
    let endpoints = groups.flat_map(|part| part.peers.iter().map(move |_| part.group.endpoint));
    endpoints.collect()
}

#[test]
fn a_v1_peer_keeps_the_address_that_it_first_wrote_to() {
    let peers = peers();
    for local in [1, 2] {
        peers.touch(&address_at(5, local), Protocol::Text, WorkerId(0), 0);
        peers.set_presence(&address_at(5, local), true).unwrap();
    }
    let first = address_at(5, 1).endpoint();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers.get(&address(5, 0)).unwrap().endpoint(), first);
    assert_eq!(endpoints(&peers), [first]);
    let found = peers.find(b"127.0.0.1:5", &address_at(5, 2)).unwrap();
    assert_eq!(found.address.endpoint(), first);
    peers.touch(&address(6, 0), Protocol::Text, WorkerId(0), 0);
    let room = peers.directory().events().take().remove(0);
    let notice = room.take_notice().unwrap();
    assert_eq!(notice.subscribers[0].address.endpoint(), first);
}

#[test]
fn only_a_datagram_with_its_session_moves_a_v2_peer() {
    let (peers, session) = (peers(), SessionId::new(77).unwrap());
    let [first, second] = [1, 2].map(|local| address_at(5, local));
    peers.open_session(&first, WorkerId(0), BundleSize::Full, session, 0);
    peers
        .rename(&first, Name::parse(b"ada").unwrap())
        .unwrap()
        .unwrap();
    peers.set_presence(&first, true).unwrap();
    let wrong = SessionId::new(78).unwrap();
    peers.open_session(&second, WorkerId(0), BundleSize::Full, wrong, 0);
    assert!(matches!(
        peers.touch_session(&second, wrong, 0),
        Touch::Refused(DropReason::WrongSession)
    ));
    assert!(matches!(
        peers.touch(&second, Protocol::Text, WorkerId(0), 0),
        Touch::Refused(DropReason::WrongSession)
    ));
    assert_eq!(endpoints(&peers), [first.endpoint()]);

    let Touch::Refreshed(moved) = peers.touch_session(&second, session, 0) else {
        panic!("the session is right");
    };
    assert_eq!(moved.endpoint(), second.endpoint());
    assert_eq!(endpoints(&peers), [second.endpoint()]);
    assert_eq!((peers.len(), peers.lobby().len()), (1, 1));
    let found = peers.find(b"ada", &first).unwrap();
    assert_eq!(found.address.endpoint(), second.endpoint());
    let mut sessions = Vec::new();
    peers.visit_sessions(WorkerId(0), |peer, _| sessions.push(peer.endpoint()));
    assert_eq!(sessions, [second.endpoint()]);
    peers.touch(&address(6, 0), Protocol::Text, WorkerId(0), 0);
    let room = peers.directory().events().take().remove(0);
    let notice = room.take_notice().unwrap();
    assert_eq!(notice.subscribers[0].address.endpoint(), second.endpoint());
}

#[test]
fn a_snapshot_in_use_does_not_change() {
    let peers = peers();
    peers.touch(&address(1, 0), Protocol::Text, WorkerId(0), 0);
    let before = peers.lobby().members();
    peers.touch(&address(2, 0), Protocol::Text, WorkerId(0), 0);
    assert_eq!(before.len(), 1);
    assert_eq!(peers.lobby().members().len(), 2);
}

#[test]
fn an_unchanged_room_makes_no_new_snapshot() {
    let peers = peers();
    peers.touch(&address(1, 0), Protocol::Text, WorkerId(0), 0);
    let before = peers.lobby().members();
    peers.touch(&address(1, 0), Protocol::Text, WorkerId(0), 1);
    assert!(Arc::ptr_eq(&before, &peers.lobby().members()));
}

#[test]
fn many_changes_make_one_new_snapshot() {
    let peers = Registry::plain(1, 10_000);
    let before = peers.lobby().members();
    for port in 1..=10_000 {
        peers.touch(&address(port, 0), Protocol::Text, WorkerId(0), 0);
    }
    assert_eq!(Arc::strong_count(&before), 2, "the room still has it");
    let after = peers.lobby().members();
    assert_eq!((Arc::strong_count(&before), after.len()), (1, 10_000));
    assert!(Arc::ptr_eq(&after, &peers.lobby().members()));
}

#[test]
fn leaving_in_any_order_keeps_the_others() {
    let peers = peers();
    for port in 1..=50 {
        peers.touch(&address(port, 0), Protocol::Text, WorkerId(0), 0);
    }
    let mut left: Vec<u16> = (1..=50).collect();
    for step in 0..50 {
        let port = left.remove((step * 31) % left.len());
        assert!(peers.leave(&address(port, 0), None).is_some());
        let members = peers.lobby().members();
        let groups = members.parts(0..members.len());
        let groups = groups.flat_map(|part| part.peers);
        let mut ports: Vec<u16> = groups.map(PeerAddr::port).collect();
        ports.sort_unstable();
        assert_eq!(ports, left);
    }
}

#[test]
fn each_worker_numbers_its_own_messages() {
    let room = Room::plain(0, 2);
    assert_eq!(room.take_sequence(WorkerId(0), 3), 0);
    assert_eq!(room.take_sequence(WorkerId(0), 1), 3);
    assert_eq!(room.take_sequence(WorkerId(1), 1), 0);
}

#[test]
fn memory_goes_back_after_most_members_left() {
    let peers = Registry::plain(1, 10_000);
    for port in 1..=10_000 {
        peers.touch(&address(port, 0), Protocol::Text, WorkerId(0), 0);
    }
    let capacity = peers.lobby().capacity();
    assert!((10_000..=12_504).contains(&capacity), "{capacity} slots");
    for port in 11..=10_000 {
        peers.leave(&address(port, 0), None);
    }
    let capacity = peers.lobby().capacity();
    assert!(capacity <= 100, "{capacity} slots for 10 members");
    assert_eq!(peers.lobby().members().len(), 10);
}

#[test]
fn memory_goes_back_after_a_burst_of_rooms() {
    let peers = peers();
    for port in 1..=1_000 {
        peers.touch(&address(port, 0), Protocol::Text, WorkerId(0), 0);
        let name = room_name(&format!("room-{port}"));
        peers.join(&address(port, 0), name).unwrap().unwrap();
    }
    for port in 11..=1_000 {
        peers.leave(&address(port, 0), None);
    }
    let (rooms, capacity) = peers.directory().snapshot();
    assert!(capacity <= 100, "{capacity} slots for 10 rooms");
    assert_eq!((rooms.len(), peers.directory().len()), (10, 11));
}

/// Several threads join and leave the same rooms, take the same names, leave the server
/// and come back, while peers expire.
#[test]
fn threads_that_share_rooms_lose_no_peer_and_leave_nothing_behind() {
    let limits = RegistryLimits {
        max_peers: 100,
        max_names: 3,
        max_rooms: 2,
        max_room_members: 3,
    };
    let peers = &Registry::new(1, limits, AddressHash::random(), Arc::new(|| {}));
    let names = ["a", "A", "b", "c", "d"].map(|name| Name::parse(name.as_bytes()).unwrap());
    let room_names = ["x", "X", "y", "z", "lobby"].map(room_name);
    std::thread::scope(|scope| {
        for thread in 0..4_u16 {
            scope.spawn(move || {
                for round in 0..3_000_usize {
                    // A peer of this thread, or one that all threads move.
                    let port = if round % 4 == 0 { 9 } else { thread + 1 };
                    let (peer, at) = (address(port, 0), round * 7 + usize::from(thread));
                    peers.touch(&peer, Protocol::Text, WorkerId(0), round as u64);
                    let _ = peers.join(&peer, room_names[at % 5]);
                    let _ = peers.rename(&peer, names[at % 5]);
                    match at % 11 {
                        0 => _ = peers.leave(&peer, None),
                        1 => peers.expire(&[round.saturating_sub(500) as u64], |_| {}),
                        2 => _ = peers.set_presence(&peer, at % 2 == 0),
                        _ => {}
                    }
                }
            });
        }
    });
    check(peers, 1..=9);
    for port in 1..=9 {
        peers.leave(&address(port, 0), None);
    }
    assert_eq!((peers.len(), peers.directory().len()), (0, 1));
    assert!(peers.lobby().is_empty() && peers.lobby().members().is_empty());
    // All names are free again.
    peers.touch(&address(1, 0), Protocol::Text, WorkerId(0), 0);
    for name in names {
        assert_eq!(peers.rename(&address(1, 0), name), Some(Ok(Renamed::Yes)));
    }
}

/// The peers of several threads join and leave one room, which is created and vanishes all
/// the time.
#[test]
fn a_peer_that_joins_a_vanishing_room_is_in_a_room_that_can_be_found() {
    let peers = &peers();
    let all = |name| {
        let rooms = peers.directory().some(0, usize::MAX).into_iter();
        let found = rooms.filter(|room| room.name().folded() == name);
        found.map(|room| room.number()).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        for port in 1..=4 {
            scope.spawn(move || {
                let peer = address(port, 0);
                peers.touch(&peer, Protocol::Text, WorkerId(0), 0);
                for _ in 0..3_000 {
                    let room = peers.join(&peer, room_name("x")).unwrap().unwrap();
                    assert_eq!(
                        all(room_name("x")),
                        [room.number()],
                        "while it has a member"
                    );
                    let mut is_member = false;
                    peers.visit_members(&room, 0, |member| {
                        is_member |= member == DisplayName::Address(peer.socket_addr());
                        true
                    });
                    assert!(is_member && Arc::ptr_eq(&peers.get(&peer).unwrap().room(), &room));
                    peers.join(&peer, lobby()).unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!((peers.directory().len(), peers.lobby().len()), (1, 4));
}

/// Checks that every peer is in its room and in no other, and that every room but the
/// lobby has members, as many as reserved places.
fn check(peers: &Registry, ports: std::ops::RangeInclusive<u16>) {
    let (others, _) = peers.directory().snapshot();
    for (room, places) in &others {
        assert_eq!(*places as usize, room.len());
        assert!(
            (1..=3).contains(&room.len()),
            "{}: {}",
            room.name(),
            room.len()
        );
    }
    assert_eq!(peers.directory().len(), others.len() + 1);
    let mut members = 0;
    let others = others.iter().map(|(room, _)| room);
    for room in others.chain([peers.lobby()]) {
        let snapshot = room.members();
        assert_eq!(snapshot.len(), room.len());
        members += snapshot.len();
        for address in snapshot
            .parts(0..snapshot.len())
            .flat_map(|part| part.peers)
        {
            let peer = peers.get(address).expect("it is registered");
            assert!(Arc::ptr_eq(&peer.room(), room), "{address}");
            if let Some(name) = peer.name() {
                let found = peers.find(name.as_bytes(), address);
                assert_eq!(found, Some(peer.recipient(address)));
            }
        }
    }
    let registered = ports.filter(|port| peers.get(&address(*port, 0)).is_some());
    assert_eq!((peers.len(), registered.count()), (members, members));
}

fn room_name(text: &str) -> RoomName {
    RoomName::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_room_is_queued_once_however_often_its_only_subscriber_unsubscribes() {
    let peers = peers();
    let peer = address(1, 0);
    peers.touch(&peer, Protocol::Text, WorkerId(0), 0);
    for name in [b"ada", b"bob", b"cyd"] {
        peers.set_presence(&peer, true).unwrap();
        let name = Name::parse(name).unwrap();
        peers.rename(&peer, name).unwrap().unwrap();
        peers.set_presence(&peer, false).unwrap();
    }
    let rooms = peers.directory().events().take();
    assert_eq!(rooms.len(), 1);
    assert_eq!(
        rooms[0].take_notice(),
        None,
        "there is no subscriber any more"
    );
    peers.set_presence(&peer, true).unwrap();
    let name = Name::parse(b"dan").unwrap();
    peers.rename(&peer, name).unwrap().unwrap();
    assert_eq!(peers.directory().events().take().len(), 1, "queued again");
}
