use super::*;
use crate::wire::v2::BundleSize;
use std::net::Ipv4Addr;

const WORKER: WorkerId = WorkerId(0);
const FULL: BundleSize = BundleSize::Full;

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn address(number: u32) -> PeerAddr {
    let ip = Ipv4Addr::from_bits(0x7F00_0000 + number);
    PeerAddr::new((ip, 5000).into(), 0)
}

fn registry(max_peers: usize) -> Registry {
    Registry::plain(1, max_peers)
}

/// Takes a sign of life of v1 peer `number`.
fn touch(registry: &Registry, number: u32, now_ms: u64) -> &'static str {
    outcome(&registry.touch(&address(number), Protocol::Text, WORKER, now_ms))
}

fn outcome(touch: &Touch) -> &'static str {
    match touch {
        Touch::Refreshed(_) => "refreshed",
        Touch::Registered(_) => "registered",
        Touch::Moved(_) => "moved",
        Touch::Unknown => "unknown",
        Touch::Refused(reason) => reason.name(),
        Touch::LimitReached(_) => "limit reached",
    }
}

fn options(bundle_size: BundleSize) -> SessionOptions {
    SessionOptions {
        bundle_size,
        ..SessionOptions::default()
    }
}

fn in_lobby(registry: &Registry) -> Vec<PeerAddr> {
    let members = registry.lobby().members();
    let groups = members.parts(0..members.len()).flat_map(|part| part.peers);
    let mut members: Vec<PeerAddr> = groups.copied().collect();
    members.sort_by_key(PeerAddr::socket_addr);
    members
}

#[test]
fn a_first_sign_of_life_registers_and_a_later_one_refreshes() {
    let registry = registry(10);
    assert_eq!(touch(&registry, 1, 0), "registered");
    assert_eq!(touch(&registry, 1, 5), "refreshed");
    assert_eq!(touch(&registry, 2, 5), "registered");
    assert_eq!(registry.len(), 2);
    assert_eq!(in_lobby(&registry), [address(1), address(2)]);
}

#[test]
fn a_peer_that_leaves_is_gone_from_the_registry_and_the_room() {
    let registry = registry(10);
    touch(&registry, 1, 0);
    touch(&registry, 2, 0);
    assert_eq!(registry.leave(&address(1), None), Some(()));
    assert_eq!(registry.leave(&address(1), None), None, "gone already");
    assert_eq!(registry.leave(&address(3), None), None, "never registered");
    assert_eq!((registry.len(), in_lobby(&registry)), (1, vec![address(2)]));
}

#[test]
fn only_more_than_the_timeout_expires() {
    let registry = registry(10);
    touch(&registry, 1, 0);
    touch(&registry, 2, 1);
    let mut expired = Vec::new();
    registry.expire(&[0], |address| expired.push(address));
    assert_eq!(expired, [], "10 s are not more than 10 s");
    registry.expire(&[1], |address| expired.push(address));
    assert_eq!(expired, [address(1)]);
    assert_eq!((registry.len(), registry.expired()), (1, 1));
    assert_eq!(in_lobby(&registry), [address(2)]);
}

#[test]
fn a_refreshed_peer_does_not_expire() {
    let registry = registry(10);
    touch(&registry, 1, 0);
    touch(&registry, 1, 5_000);
    registry.expire(&[5_000], |address| panic!("{address} expired"));
    assert_eq!(registry.len(), 1);
}

#[test]
fn a_full_registry_refuses_new_peers_until_one_leaves() {
    let registry = registry(2);
    touch(&registry, 1, 0);
    touch(&registry, 2, 0);
    assert_eq!(touch(&registry, 3, 0), "limit reached");
    assert_eq!(touch(&registry, 1, 0), "refreshed");
    assert_eq!((registry.len(), in_lobby(&registry).len()), (2, 2));
    registry.leave(&address(1), None);
    assert_eq!(touch(&registry, 3, 0), "registered");
}

#[test]
fn registry_and_room_agree_after_threads_registered_and_removed_peers() {
    let registry = &registry(10_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..2_000_u32 {
                    let number = (round * 7 + thread) % 97;
                    if round % 3 == thread % 3 {
                        registry.leave(&address(number), None);
                    } else {
                        touch(registry, number, u64::from(round));
                    }
                    if round % 16 == 0 {
                        registry.expire(&[u64::from(round.saturating_sub(50))], |_| {});
                    }
                }
            });
        }
    });
    let mut registered: Vec<PeerAddr> = registry
        .peers
        .iter()
        .map(|entry| entry.key().address)
        .collect();
    registered.sort_by_key(PeerAddr::socket_addr);
    assert!(!registered.is_empty());
    assert_eq!(in_lobby(registry), registered);
    assert_eq!(registry.len(), registered.len());
}

#[test]
fn a_session_cannot_be_guessed_or_ended_or_replaced() {
    let registry = registry(10);
    let open = |new| {
        let touch = registry.open_session(&address(1), WORKER, FULL, session(new), 0);
        (
            registry.get(&address(1)).unwrap().session(),
            outcome(&touch),
        )
    };
    let touch_session =
        |number, id| outcome(&registry.touch_session(&address(number), session(id), 5));
    assert_eq!(open(77), (Some(session(77)), "registered"));
    assert_eq!(open(88), (Some(session(77)), "wrong session"));
    assert_eq!(touch_session(1, 78), "wrong session");
    assert_eq!(touch(&registry, 1, 5), "wrong session", "text");
    assert_eq!(registry.leave(&address(1), None), None);
    assert_eq!(registry.leave(&address(1), Some(session(78))), None);
    assert_eq!(touch_session(1, 77), "refreshed");
    assert_eq!(touch_session(2, 77), "unknown");
    assert_eq!(registry.leave(&address(1), Some(session(77))), Some(()));
    assert_eq!((registry.len(), in_lobby(&registry)), (0, vec![]));
    assert_eq!(touch_session(1, 77), "unknown", "it has left");
}

#[test]
fn a_v1_peer_is_given_no_session_until_it_has_left() {
    let registry = registry(2);
    touch(&registry, 1, 0);
    touch(&registry, 2, 0);
    let open =
        |number| outcome(&registry.open_session(&address(number), WORKER, FULL, session(77), 5));
    assert_eq!(open(1), "wrong session");
    assert_eq!(open(3), "limit reached");
    let members = registry.lobby().members();
    assert_eq!(
        (
            members.parts(0..members.len()).count(),
            members.any_speaks(Protocol::Frames(FULL))
        ),
        (1, false)
    );
    // The request is no sign of life.
    registry.expire(&[1], |_| {});
    assert_eq!(registry.len(), 0);
    assert_eq!(open(1), "registered");
    assert!(
        registry
            .lobby()
            .members()
            .any_speaks(Protocol::Frames(FULL))
    );
}

#[test]
fn a_peer_is_in_the_room_that_it_joined_until_it_leaves() {
    let registry = registry(10);
    let chess = RoomName::parse(b"chess").unwrap();
    let join = |number| registry.join(&address(number), chess);
    assert!(join(1).is_none(), "not registered");
    assert_eq!(registry.directory().len(), 1, "no room is created");
    touch(&registry, 1, 0);
    touch(&registry, 2, 0);
    let other = join(1).unwrap().unwrap();
    let room = |number| Some(registry.get(&address(number))?.room().number());
    assert_eq!((room(1), room(2)), (Some(1), Some(0)));
    assert_eq!(in_lobby(&registry), [address(2)]);
    assert_eq!(other.members().len(), 1);
    assert_eq!(registry.leave(&address(1), None), Some(()));
    assert!(other.members().is_empty() && room(1).is_none());
    assert_eq!(registry.directory().len(), 1, "the room has vanished");
}

#[test]
fn only_a_datagram_with_the_session_changes_the_size_of_bundles() {
    const SMALL: BundleSize = BundleSize::Small;
    let registry = registry(10);
    touch(&registry, 1, 0);
    registry.open_session(&address(2), WORKER, FULL, session(77), 0);
    registry.set_presence(&address(2), true);
    let set = |number, session, size| {
        outcome(&registry.set_options(&address(number), session, options(size), 5))
    };
    let sizes = || {
        let members = registry.lobby().members();
        [FULL, SMALL].map(|size| members.any_speaks(Protocol::Frames(size)))
    };
    assert_eq!(set(1, session(77), SMALL), "wrong session");
    assert_eq!(set(2, session(78), SMALL), "wrong session");
    assert_eq!(set(3, session(77), SMALL), "unknown");
    // A HELLO without the session may be forged.
    registry.open_session(&address(2), WORKER, SMALL, session(79), 0);
    assert_eq!(sizes(), [true, false]);
    assert_eq!(set(2, session(77), SMALL), "refreshed");
    assert_eq!(sizes(), [false, true]);
    let peer = registry.get(&address(2)).unwrap();
    assert_eq!(peer.protocol(), Protocol::Frames(SMALL));
    assert!(peer.subscriber(&address(2)).is_some() && peer.session() == Some(session(77)));
    assert_eq!(set(2, session(77), FULL), "refreshed");
    assert_eq!((sizes(), in_lobby(&registry).len()), ([true, false], 2));
}

#[test]
fn a_session_that_only_sends_is_a_member_that_no_message_is_sent_to() {
    let registry = registry(10);
    touch(&registry, 1, 0);
    registry.open_session(&address(2), WORKER, FULL, session(77), 0);
    let den = RoomName::parse(b"den").unwrap();
    let den = registry.subscribe(&address(2), den).unwrap().unwrap();
    let lobby = registry.lobby();
    let received = |room: &Room| (room.members().len(), room.members_by_version());
    for (receive, in_lobby, in_den) in [
        (false, (1, (1, 0)), (0, (0, 0))),
        (true, (2, (1, 1)), (1, (0, 1))),
        (false, (1, (1, 0)), (0, (0, 0))),
    ] {
        let options = SessionOptions {
            receive,
            ..SessionOptions::default()
        };
        let set = registry.set_options(&address(2), session(77), options, 5);
        assert_eq!(outcome(&set), "refreshed");
        assert_eq!((received(lobby), received(&den)), (in_lobby, in_den));
        assert_eq!((lobby.len(), den.len()), (2, 1));
    }
    registry.join(&address(2), *den.name()).unwrap().unwrap();
    assert_eq!((received(&den), den.len()), ((0, (0, 0)), 1));
    registry.leave(&address(2), Some(session(77))).unwrap();
    assert!(den.is_empty());
    assert_eq!(received(lobby), (1, (1, 0)));
}

#[test]
fn each_worker_visits_the_sessions_that_it_serves() {
    let registry = registry(10);
    touch(&registry, 1, 0);
    registry.open_session(&address(2), WorkerId(0), FULL, session(77), 0);
    registry.open_session(&address(3), WorkerId(1), FULL, session(77), 0);
    let mut visited = Vec::new();
    registry.visit_sessions(WorkerId(1), |address, _| visited.push(address));
    assert_eq!(visited, [address(3)]);
}

#[test]
fn a_peer_that_sends_between_the_search_and_its_removal_stays() {
    let registry = registry(10);
    touch(&registry, 1, 0);
    touch(&registry, 2, 0);
    let mut expired = Vec::new();
    registry.expire(&[10_000], |gone| {
        // Both were found silent. Now the other one sends.
        let other = if gone == address(1) { 2 } else { 1 };
        touch(&registry, other, 20_000);
        expired.push(gone);
    });
    assert_eq!((expired.len(), registry.expired()), (1, 1));
    assert_eq!((registry.len(), in_lobby(&registry).len()), (1, 1));
    assert_ne!(in_lobby(&registry), expired);
}

#[test]
fn memory_goes_back_after_a_flood_of_peers() {
    const FLOOD: u32 = 50_000;
    let registry = registry(FLOOD as usize);
    for number in 0..FLOOD {
        touch(&registry, number, 0);
        registry.set_presence(&address(number), true);
    }
    assert_eq!(registry.lobby().members().len(), FLOOD as usize);
    for number in 0..10 {
        touch(&registry, number, 20_000);
    }
    let capacity = || {
        let shards = registry.peers.shards().iter();
        shards.map(|shard| shard.read().buckets()).sum::<usize>()
    };
    registry.expire(&[10_000], |_| {});
    let before = capacity();
    registry.release_memory();
    let after = capacity();
    // A shard without peers has one bucket.
    assert!(before >= FLOOD as usize, "{before}");
    assert!(after <= 2 * SHARDS, "{after}");
    // Nobody has to say anything before the snapshot of the room is gone.
    let lobby = registry.lobby();
    assert!(lobby.capacity() <= 100 && lobby.snapshot_len() <= 100);
    assert_eq!((registry.len(), lobby.members().len()), (10, 10));
    assert_eq!(touch(&registry, 9, 20_000), "refreshed");
    assert_eq!(touch(&registry, FLOOD, 20_000), "registered");
}
