use super::*;
use std::net::Ipv4Addr;

/// The session with this number.
fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn address(number: u32) -> PeerAddr {
    let ip = Ipv4Addr::from_bits(0x7F00_0000 + number);
    PeerAddr::new((ip, 5000).into(), 0)
}

fn peers(max_count: usize) -> Peers {
    Peers::plain(1, max_count)
}

fn in_lobby(peers: &Peers) -> Vec<PeerAddr> {
    let members = peers.lobby().members();
    let lanes = (0..members.lanes()).flat_map(|lane| members.lane(lane).1);
    let mut members: Vec<PeerAddr> = lanes.copied().collect();
    members.sort_by_key(PeerAddr::socket_addr);
    members
}

#[test]
fn a_first_sign_of_life_registers_and_a_later_one_refreshes() {
    let peers = peers(10);
    assert_eq!(
        peers.touch(&address(1), Protocol::Text, 0, 0),
        Touch::Registered
    );
    assert_eq!(
        peers.touch(&address(1), Protocol::Text, 0, 5),
        Touch::Refreshed
    );
    assert_eq!(
        peers.touch(&address(2), Protocol::Text, 0, 5),
        Touch::Registered
    );
    assert_eq!(peers.len(), 2);
    assert_eq!(in_lobby(&peers), [address(1), address(2)]);
}

#[test]
fn whoever_leaves_is_gone_from_the_table_and_the_room() {
    let peers = peers(10);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(2), Protocol::Text, 0, 0);
    assert!(peers.leave(&address(1), None));
    assert!(!peers.leave(&address(1), None), "gone already");
    assert!(!peers.leave(&address(3), None), "never was here");
    assert_eq!((peers.len(), in_lobby(&peers)), (1, vec![address(2)]));
}

#[test]
fn only_more_than_the_timeout_expires() {
    let peers = peers(10);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(2), Protocol::Text, 0, 1);
    let mut expired = Vec::new();
    peers.expire(10_000, 10_000, |address| expired.push(address));
    assert_eq!(expired, [], "10 s are not more than 10 s");
    peers.expire(10_001, 10_000, |address| expired.push(address));
    assert_eq!(expired, [address(1)]);
    assert_eq!((peers.len(), peers.expired()), (1, 1));
    assert_eq!(in_lobby(&peers), [address(2)]);
}

#[test]
fn a_refreshed_peer_does_not_expire() {
    let peers = peers(10);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(1), Protocol::Text, 0, 5_000);
    peers.expire(15_000, 10_000, |address| panic!("{address} expired"));
    assert_eq!(peers.len(), 1);
}

#[test]
fn a_full_table_takes_nobody_new_until_someone_leaves() {
    let peers = peers(2);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(2), Protocol::Text, 0, 0);
    assert_eq!(peers.touch(&address(3), Protocol::Text, 0, 0), Touch::Full);
    assert_eq!(
        peers.touch(&address(1), Protocol::Text, 0, 0),
        Touch::Refreshed
    );
    assert_eq!((peers.len(), in_lobby(&peers).len()), (2, 2));
    peers.leave(&address(1), None);
    assert_eq!(
        peers.touch(&address(3), Protocol::Text, 0, 0),
        Touch::Registered
    );
}

#[test]
fn threads_that_come_and_go_leave_table_and_room_agreeing() {
    let peers = &peers(10_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..2_000_u32 {
                    let address = address((round * 7 + thread) % 97);
                    if round % 3 == thread % 3 {
                        peers.leave(&address, None);
                    } else {
                        peers.touch(&address, Protocol::Text, 0, u64::from(round));
                    }
                    if round % 16 == 0 {
                        peers.expire(u64::from(round), 50, |_| {});
                    }
                }
            });
        }
    });
    let mut table: Vec<PeerAddr> = peers.table.iter().map(|entry| *entry.key()).collect();
    table.sort_by_key(PeerAddr::socket_addr);
    assert!(!table.is_empty());
    assert_eq!(in_lobby(peers), table);
    assert_eq!(peers.len(), table.len());
}

#[test]
fn a_session_can_be_neither_guessed_nor_ended_nor_taken_over() {
    let peers = peers(10);
    let open = |new| peers.open_session(&address(1), 0, session(new), 0);
    assert_eq!(open(77), Some((session(77), Touch::Registered)));
    assert_eq!(
        open(88),
        Some((session(77), Touch::Refreshed)),
        "asked again"
    );
    assert_eq!(
        peers.touch_session(&address(1), session(78), 5),
        Touch::WrongSession
    );
    assert_eq!(
        peers.touch(&address(1), Protocol::Text, 0, 5),
        Touch::WrongSession,
        "text"
    );
    assert!(!peers.leave(&address(1), None));
    assert!(!peers.leave(&address(1), Some(session(78))));
    assert_eq!(
        peers.touch_session(&address(1), session(77), 5),
        Touch::Refreshed
    );
    assert_eq!(
        peers.touch_session(&address(2), session(77), 5),
        Touch::WrongSession
    );
    assert!(peers.leave(&address(1), Some(session(77))));
    assert_eq!((peers.len(), in_lobby(&peers)), (0, vec![]));
}

#[test]
fn a_text_peer_that_asks_for_a_session_changes_its_lane() {
    let peers = peers(2);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(2), Protocol::Text, 0, 0);
    assert_eq!(
        peers.touch_session(&address(1), session(77), 0),
        Touch::WrongSession,
        "it has none"
    );
    assert_eq!(
        peers.open_session(&address(1), 0, session(77), 0),
        Some((session(77), Touch::Refreshed))
    );
    assert_eq!(
        peers.open_session(&address(3), 0, session(78), 0),
        None,
        "full"
    );
    let members = peers.lobby().members();
    assert_eq!((peers.len(), members.len(), members.lanes()), (2, 2, 2));
    let lane = |index| (members.lane(index).0.protocol, members.lane(index).1);
    assert_eq!(lane(0), (Protocol::Frames, &[address(1)][..]));
    assert_eq!(lane(1), (Protocol::Text, &[address(2)][..]));
}

#[test]
fn a_peer_that_gets_a_session_never_is_away() {
    let peers = peers(10);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.set_presence(&address(1), true);
    peers.touch(&address(2), Protocol::Text, 0, 0);
    peers.open_session(&address(1), 0, session(77), 0);
    let notice = peers.lobby().take_notice().unwrap();
    assert_eq!(notice.text(), "127.0.0.2:5000 joined (2 here)");
    assert_eq!(notice.to, [(address(1), Protocol::Frames)]);
    // In its old place, from which it can leave.
    assert!(peers.leave(&address(1), Some(session(77))));
    assert_eq!(in_lobby(&peers), [address(2)]);
}

#[test]
fn a_peer_is_in_the_room_that_it_entered_until_it_leaves() {
    let peers = peers(10);
    let chess = RoomName::parse(b"chess").unwrap();
    assert!(peers.join(&address(1), chess).is_none(), "not registered");
    assert_eq!(peers.rooms().len(), 1, "nothing was made for nobody");
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(2), Protocol::Text, 0, 0);
    let other = peers.join(&address(1), chess).unwrap().unwrap();
    let place = |number| {
        peers
            .room_and_name(&address(number))
            .map(|(room, _)| room.number())
    };
    assert_eq!((place(1), place(2)), (Some(1), Some(0)));
    assert_eq!(in_lobby(&peers), [address(2)]);
    assert_eq!(other.members().len(), 1);
    peers.open_session(&address(1), 0, session(77), 0).unwrap();
    assert_eq!(other.members().lane(0).0.protocol, Protocol::Frames);
    assert!(peers.leave(&address(1), Some(session(77))));
    assert!(other.members().is_empty() && place(1).is_none());
    assert_eq!(peers.rooms().len(), 1, "it has vanished");
}

#[test]
fn each_worker_visits_the_sessions_that_it_serves() {
    let peers = peers(10);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.open_session(&address(2), 0, session(77), 0);
    peers.open_session(&address(3), 1, session(77), 0);
    let mut visited = Vec::new();
    peers.visit_sessions(1, |address| visited.push(*address));
    assert_eq!(visited, [address(3)]);
}

#[test]
fn who_speaks_between_the_look_and_the_removal_stays() {
    let peers = peers(10);
    peers.touch(&address(1), Protocol::Text, 0, 0);
    peers.touch(&address(2), Protocol::Text, 0, 0);
    let mut expired = Vec::new();
    peers.expire(20_000, 10_000, |gone| {
        // Both were found silent; now the other one is heard.
        let other = address(if gone == address(1) { 2 } else { 1 });
        peers.touch(&other, Protocol::Text, 0, 20_000);
        expired.push(gone);
    });
    assert_eq!((expired.len(), peers.expired()), (1, 1));
    assert_eq!((peers.len(), in_lobby(&peers).len()), (1, 1));
    assert_ne!(in_lobby(&peers), expired);
}
