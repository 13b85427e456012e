use super::*;
use crate::net::PeerAddr;
use crate::server::registry::*;
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Name};

fn address(port: u16, endpoint: u8) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), endpoint)
}

fn peers() -> Peers {
    Peers::plain(4, 1_000)
}

fn lane(endpoint: u8, protocol: Protocol, owner: u8) -> Lane {
    Lane {
        endpoint,
        protocol,
        owner,
    }
}

#[test]
fn members_are_sorted_into_lanes() {
    let peers = peers();
    for (port, endpoint) in [(1, 2), (2, 0), (3, 2), (4, 0)] {
        peers.touch(&address(port, endpoint), Protocol::Text, 3, 0);
    }
    peers.open_session(&address(5, 2), 3, SessionId::new(77).unwrap(), 0);
    let members = peers.lobby().members();
    assert_eq!(
        (members.len(), members.lanes(), members.is_split()),
        (5, 3, false)
    );
    let text = |endpoint| lane(endpoint, Protocol::Text, 0);
    assert_eq!(
        members.lane(0),
        (text(2), &[address(1, 2), address(3, 2)][..])
    );
    assert_eq!(
        members.lane(1),
        (text(0), &[address(2, 0), address(4, 0)][..])
    );
    let frames = lane(2, Protocol::Frames, 0);
    assert_eq!(members.lane(2), (frames, &[address(5, 2)][..]));
}

#[test]
fn a_large_room_is_split_by_who_serves_its_members() {
    let peers = peers();
    for port in 1..SPLIT_MEMBERS as u16 {
        peers.touch(&address(port, 0), Protocol::Text, (port % 3) as u8, 0);
    }
    assert!(!peers.lobby().members().is_split());
    peers.touch(&address(999, 0), Protocol::Text, 1, 0);
    let members = peers.lobby().members();
    assert!(members.is_split());
    for index in 0..members.lanes() {
        let (lane, addresses) = members.lane(index);
        let owner = |address: &PeerAddr| {
            if address.port() == 999 {
                1
            } else {
                (address.port() % 3) as u8
            }
        };
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| owner(address) == lane.owner));
    }
    assert_eq!(members.lanes(), 3);
}

#[test]
fn a_snapshot_in_use_does_not_change() {
    let peers = peers();
    peers.touch(&address(1, 0), Protocol::Text, 0, 0);
    let before = peers.lobby().members();
    peers.touch(&address(2, 0), Protocol::Text, 0, 0);
    assert_eq!(before.len(), 1);
    assert_eq!(peers.lobby().members().len(), 2);
}

#[test]
fn an_unchanged_room_makes_no_new_snapshot() {
    let peers = peers();
    peers.touch(&address(1, 0), Protocol::Text, 0, 0);
    let before = peers.lobby().members();
    peers.touch(&address(1, 0), Protocol::Text, 0, 1);
    assert!(Arc::ptr_eq(&before, &peers.lobby().members()));
}

#[test]
fn many_changes_make_one_new_snapshot() {
    let peers = Peers::plain(1, 10_000);
    let before = peers.lobby().members();
    for port in 1..=10_000 {
        peers.touch(&address(port, 0), Protocol::Text, 0, 0);
    }
    assert_eq!(Arc::strong_count(&before), 2, "it is still the room's");
    let after = peers.lobby().members();
    assert_eq!((Arc::strong_count(&before), after.len()), (1, 10_000));
    assert!(Arc::ptr_eq(&after, &peers.lobby().members()));
}

#[test]
fn leaving_in_any_order_keeps_the_others() {
    let peers = peers();
    for port in 1..=50 {
        peers.touch(&address(port, 0), Protocol::Text, 0, 0);
    }
    let mut left: Vec<u16> = (1..=50).collect();
    for step in 0..50 {
        let port = left.remove((step * 31) % left.len());
        assert!(peers.leave(&address(port, 0), None));
        let members = peers.lobby().members();
        let lanes = (0..members.lanes()).flat_map(|lane| members.lane(lane).1);
        let mut ports: Vec<u16> = lanes.map(PeerAddr::port).collect();
        ports.sort_unstable();
        assert_eq!(ports, left);
    }
}

#[test]
fn each_worker_numbers_its_own_messages() {
    let room = Room::plain(0, 2);
    assert_eq!(room.take_sequence(0, 3), 0);
    assert_eq!(room.take_sequence(0, 1), 3);
    assert_eq!(room.take_sequence(1, 1), 0);
}

#[test]
fn a_room_that_most_have_left_gives_its_memory_back() {
    let peers = Peers::plain(1, 10_000);
    for port in 1..=10_000 {
        peers.touch(&address(port, 0), Protocol::Text, 0, 0);
    }
    assert!(peers.lobby().capacity() >= 10_000);
    for port in 11..=10_000 {
        peers.leave(&address(port, 0), None);
    }
    let capacity = peers.lobby().capacity();
    assert!(capacity <= 100, "{capacity} places for 10 members");
    assert_eq!(peers.lobby().members().len(), 10);
}

#[test]
fn a_storm_of_rooms_gives_its_memory_back() {
    let peers = peers();
    for port in 1..=1_000 {
        peers.touch(&address(port, 0), Protocol::Text, 0, 0);
        let name = room_name(&format!("room-{port}"));
        peers.join(&address(port, 0), name).unwrap().unwrap();
    }
    for port in 11..=1_000 {
        peers.leave(&address(port, 0), None);
    }
    let directory = peers.rooms().lock();
    let capacities = [directory.list.capacity(), directory.by_name.capacity()];
    assert!(
        capacities.iter().all(|places| *places <= 100),
        "{capacities:?}"
    );
    assert_eq!((directory.list.len(), directory.by_name.len()), (10, 10));
}

/// Threads that go in and out of the same rooms, take the same names, leave and come
/// back, while a reaper looks.
#[test]
fn threads_that_share_rooms_lose_nobody_and_leave_nothing_behind() {
    let limits = RoomLimits {
        max_rooms: 2,
        max_members: 3,
    };
    let rooms = Rooms::new(1, limits, News::new(Box::new(|| {})));
    let peers = &Peers::new(rooms, crate::server::registry::Names::new(3), 100);
    let names = ["a", "A", "b", "c", "d"].map(|name| Name::parse(name.as_bytes()).unwrap());
    let room_names = ["x", "X", "y", "z", "lobby"].map(room_name);
    std::thread::scope(|scope| {
        for thread in 0..4_u16 {
            scope.spawn(move || {
                for round in 0..3_000_usize {
                    // One of its own, or one that all threads move.
                    let port = if round % 4 == 0 { 9 } else { thread + 1 };
                    let (peer, at) = (address(port, 0), round * 7 + usize::from(thread));
                    peers.touch(&peer, Protocol::Text, 0, round as u64);
                    let _ = peers.join(&peer, room_names[at % 5]);
                    let _ = peers.rename(&peer, names[at % 5]);
                    match at % 11 {
                        0 => drop(peers.leave(&peer, None)),
                        1 => peers.expire(round as u64, 500, |_| {}),
                        2 => drop(peers.set_presence(&peer, at % 2 == 0)),
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
    assert_eq!((peers.len(), peers.rooms().len()), (0, 1));
    assert!(peers.lobby().is_empty() && peers.lobby().members().is_empty());
    // All names are free again.
    peers.touch(&address(1, 0), Protocol::Text, 0, 0);
    for name in names {
        assert_eq!(peers.rename(&address(1, 0), name), Some(Ok(())));
    }
}

/// Each thread has one peer, and all go in and out of one room, which is made and
/// vanishes all the time.
#[test]
fn who_joins_a_room_that_vanishes_is_in_one_that_can_be_found() {
    let peers = &peers();
    let all = |name| {
        let mut found = Vec::new();
        peers.rooms().visit(0, |room| {
            if room.name().folded() == name {
                found.push(room.number());
            }
            true
        });
        found
    };
    std::thread::scope(|scope| {
        for port in 1..=4 {
            scope.spawn(move || {
                let peer = address(port, 0);
                peers.touch(&peer, Protocol::Text, 0, 0);
                for _ in 0..3_000 {
                    let room = peers.join(&peer, room_name("x")).unwrap().unwrap();
                    assert_eq!(all(room_name("x")), [room.number()], "while one is in it");
                    let mut is_here = false;
                    room.visit(0, |speaker| {
                        is_here |= speaker == DisplayName::Address(peer.socket_addr());
                        true
                    });
                    assert!(is_here && Arc::ptr_eq(&peers.room_and_name(&peer).unwrap().0, &room));
                    peers.join(&peer, lobby()).unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!((peers.rooms().len(), peers.lobby().len()), (1, 4));
}

/// Every peer is in the room that it thinks it is in, and in no other; every room but
/// the lobby has members, as many as it has given places to.
fn check(peers: &Peers, ports: std::ops::RangeInclusive<u16>) {
    let mut rooms = Vec::new();
    let count = peers.rooms().lock().list.len();
    rooms.extend(peers.rooms().lock().list.iter().map(Arc::clone));
    for room in &rooms {
        assert_eq!(room.places.load(Ordering::Relaxed) as usize, room.len());
        assert!(
            (1..=3).contains(&room.len()),
            "{}: {}",
            room.name(),
            room.len()
        );
    }
    rooms.push(Arc::clone(peers.lobby()));
    assert_eq!(peers.rooms().len(), count + 1);
    let mut members = 0;
    for room in &rooms {
        let snapshot = room.members();
        assert_eq!(snapshot.len(), room.len());
        members += snapshot.len();
        for peer in (0..snapshot.lanes()).flat_map(|lane| snapshot.lane(lane).1) {
            let (place, name) = peers.room_and_name(peer).expect("it is registered");
            assert!(Arc::ptr_eq(&place, room), "{peer}");
            if let Some(name) = name {
                let found = peers.find(name.as_bytes(), peer);
                assert_eq!(found, Some((*peer, Protocol::Text)));
            }
        }
    }
    let registered = ports.filter(|port| peers.room_and_name(&address(*port, 0)).is_some());
    assert_eq!((peers.len(), registered.count()), (members, members));
}

fn room_name(text: &str) -> RoomName {
    RoomName::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_room_is_among_the_news_once_however_often_its_only_hearer_changes_its_mind() {
    let peers = peers();
    let peer = address(1, 0);
    peers.touch(&peer, Protocol::Text, 0, 0);
    for name in [b"ada", b"bob", b"cyd"] {
        assert!(peers.set_presence(&peer, true));
        let name = Name::parse(name).unwrap();
        peers.rename(&peer, name).unwrap().unwrap();
        assert!(peers.set_presence(&peer, false));
    }
    let news = peers.rooms().news.take();
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].take_notice(), None, "nobody hears it any more");
    peers.set_presence(&peer, true);
    let name = Name::parse(b"dan").unwrap();
    peers.rename(&peer, name).unwrap().unwrap();
    assert_eq!(peers.rooms().news.take().len(), 1, "it is news again");
}
