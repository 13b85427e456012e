use super::*;
use crate::net::PeerAddr;
use crate::peers::{NO_SESSION, Peers};

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
    peers.open_session(&address(5, 2), 3, 77, 0);
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
fn leaving_in_any_order_keeps_the_others() {
    let peers = peers();
    for port in 1..=50 {
        peers.touch(&address(port, 0), Protocol::Text, 0, 0);
    }
    let mut left: Vec<u16> = (1..=50).collect();
    for step in 0..50 {
        let port = left.remove((step * 31) % left.len());
        assert!(peers.leave(&address(port, 0), NO_SESSION));
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
        peers.leave(&address(port, 0), NO_SESSION);
    }
    let capacity = peers.lobby().capacity();
    assert!(capacity <= 100, "{capacity} places for 10 members");
    assert_eq!(peers.lobby().members().len(), 10);
}
