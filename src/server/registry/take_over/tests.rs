use super::*;
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::{BundleSize, SessionId, SessionOptions};
use crate::wire::{Name, Protocol, RoomName};

const SMALL: SessionOptions = SessionOptions {
    bundle_size: BundleSize::Small,
    echo: false,
    receive: true,
};

fn address(port: u16) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn room(text: &str) -> RoomName {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn newcomer(port: u16, number: u64) -> Newcomer {
    Newcomer {
        address: address(port),
        protocol: Protocol::Frames(BundleSize::Full),
        session: Some(session(number)),
        options: None,
        owner: WorkerId(1),
        is_trusted: false,
    }
}

fn moved_from(port: u16, number: u64) -> Move {
    Move {
        session: session(number),
        address: address(port).socket_addr(),
    }
}

/// Checks that every peer is a member of each of its rooms, that no room has other members, and
/// that as many places are reserved.
fn check(registry: &Registry) {
    let (others, _) = registry.directory().snapshot();
    let mut members = 0;
    for (room, places) in &others {
        assert_eq!(*places as usize, room.len(), "{}", room.name());
        assert!(!room.is_empty());
        members += room.len();
    }
    members += registry.lobby().len();
    let mut memberships = 0;
    for entry in &registry.peers {
        let key = entry.key();
        for room in entry.value().memberships.iter() {
            memberships += 1;
            let (page, _) = room.page(0, usize::MAX);
            let times = page.iter().filter(|member| **member == key.address);
            assert_eq!(times.count(), 1, "{} in {}", key.address, room.name());
        }
        if let Some(name) = entry.value().name() {
            assert_eq!(registry.names.find(&name), Some(key.address));
        }
    }
    assert_eq!(
        (memberships, registry.len()),
        (members, registry.peers.len())
    );
}

#[test]
fn all_that_a_session_has_goes_to_the_new_address() {
    let registry = Registry::plain(2, 10);
    registry.open_session(&address(1), WorkerId(0), BundleSize::Full, session(7), 0);
    registry.set_options(&address(1), session(7), SMALL, 0);
    registry.rename(&address(1), name("ada")).unwrap().unwrap();
    registry.join(&address(1), room("den")).unwrap().unwrap();
    registry
        .subscribe(&address(1), room("yard"))
        .unwrap()
        .unwrap();
    registry.set_presence(&address(1), true).unwrap();
    registry.directory().events().take();

    let touch = registry.take_over(&newcomer(2, 8), &moved_from(1, 7), 5);
    let Touch::Moved(peer) = touch else {
        panic!("it was not moved");
    };
    check(&registry);
    assert!(registry.get(&address(1)).is_none());
    assert_eq!(
        (peer.session(), peer.name()),
        (Some(session(8)), Some(name("ada")))
    );
    assert_eq!(peer.options(), SMALL);
    assert_eq!(peer.protocol(), Protocol::Frames(BundleSize::Small));
    assert_eq!(peer.owner, WorkerId(1));
    let rooms: Vec<_> = peer.memberships.iter().map(|room| *room.name()).collect();
    assert_eq!(rooms, [room("den"), room("yard")]);
    assert!(registry.directory().events().is_empty(), "nobody is told");
    // It still receives notices, of the room that is its own.
    registry.touch(&address(3), Protocol::Text, WorkerId(0), 5);
    registry.join(&address(3), room("den")).unwrap().unwrap();
    let notice = registry.directory().events().take().remove(0).take_notice();
    assert_eq!(notice.unwrap().subscribers, [peer.recipient(&address(2))]);
    // The old session is gone, and can be moved no more.
    let again = registry.take_over(&newcomer(4, 9), &moved_from(1, 7), 5);
    assert!(matches!(again, Touch::Unknown));
    assert_eq!(registry.len(), 2);
}

#[test]
fn a_session_moves_while_the_registry_and_its_room_are_full() {
    let limits = super::super::RegistryLimits {
        max_peers: 1,
        max_names: 1,
        max_rooms: 1,
        max_room_members: 1,
    };
    let hash = super::super::AddressHash::random();
    let registry = Registry::new(2, limits, hash, Arc::new(|| {}));
    registry.open_session(&address(1), WorkerId(0), BundleSize::Full, session(7), 0);
    registry.rename(&address(1), name("ada")).unwrap().unwrap();
    registry.join(&address(1), room("den")).unwrap().unwrap();
    for (from, to) in [(1, 2), (2, 3)] {
        let touch = registry.take_over(&newcomer(to, 7), &moved_from(from, 7), 5);
        assert!(matches!(touch, Touch::Moved(_)));
        check(&registry);
    }
    assert_eq!(registry.leave(&address(3), Some(session(7))), Some(()));
    assert_eq!((registry.len(), registry.directory().len()), (0, 1));
    check(&registry);
}

#[test]
fn only_the_right_session_moves_and_not_to_the_address_of_another() {
    let registry = Registry::plain(2, 10);
    registry.open_session(&address(1), WorkerId(0), BundleSize::Full, session(7), 0);
    registry.touch(&address(2), Protocol::Text, WorkerId(0), 0);
    let unknown = |newcomer: &Newcomer, from: &Move| {
        let touch = registry.take_over(newcomer, from, 5);
        assert!(matches!(touch, Touch::Unknown), "{newcomer:?} {from:?}");
        check(&registry);
    };
    unknown(&newcomer(3, 8), &moved_from(1, 9));
    unknown(&newcomer(3, 8), &moved_from(2, 7));
    unknown(&newcomer(3, 8), &moved_from(4, 7));
    unknown(&newcomer(1, 7), &moved_from(1, 7));
    assert_eq!(registry.len(), 2);
    // A v1 peer has the address meanwhile. The session is lost, and nothing is left of it.
    registry.rename(&address(1), name("ada")).unwrap().unwrap();
    unknown(&newcomer(2, 8), &moved_from(1, 7));
    assert_eq!(registry.len(), 1);
    registry.rename(&address(2), name("ada")).unwrap().unwrap();
}

#[test]
fn threads_that_move_leave_and_subscribe_leave_nothing_behind() {
    let registry = &Registry::plain(2, 100);
    std::thread::scope(|scope| {
        for thread in 0..4_u16 {
            scope.spawn(move || {
                // Each session wanders over addresses that others use as well.
                let own = session(u64::from(thread) + 1);
                let mut random = u64::from(thread) + 1;
                let mut at = 100 + thread;
                registry.open_session(&address(at), WorkerId(0), BundleSize::Full, own, 0);
                for _ in 0..3_000 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let names = ["a", "b", "c"].map(room);
                    let next = 1 + (random >> 8) as u16 % 8;
                    let from = address(at);
                    match random % 6 {
                        0 => drop(registry.join(&from, names[next as usize % 3])),
                        1 => drop(registry.subscribe(&from, names[next as usize % 3])),
                        2 => drop(registry.unsubscribe(&from, next.into())),
                        3 => drop(registry.rename(&from, name(&format!("n{next}")))),
                        4 if next == 1 => drop(registry.leave(&from, Some(own))),
                        _ => {
                            let newcomer = newcomer(next, own.get());
                            let moved = moved_from(at, own.get());
                            if let Touch::Moved(_) = registry.take_over(&newcomer, &moved, 0) {
                                at = next;
                            }
                        }
                    }
                    if registry
                        .get(&address(at))
                        .is_none_or(|peer| peer.session() != Some(own))
                    {
                        at = 100 + thread;
                        registry.open_session(&address(at), WorkerId(0), BundleSize::Full, own, 0);
                    }
                }
            });
        }
    });
    check(registry);
    for thread in 0..4 {
        for port in (1..9).chain(100..104) {
            registry.leave(&address(port), Some(session(thread + 1)));
        }
    }
    assert_eq!((registry.len(), registry.directory().len()), (0, 1));
    check(registry);
}

#[test]
fn a_session_that_has_moved_has_ended_until_a_hello() {
    let registry = Registry::plain(2, 10);
    registry.register(&newcomer(1, 11), 0);
    assert!(!registry.has_ended(&address(1)));
    registry.take_over(&newcomer(2, 22), &moved_from(1, 11), 0);
    assert!(registry.has_ended(&address(1)) && !registry.has_ended(&address(2)));
    registry.greeted(&address(1));
    assert!(!registry.has_ended(&address(1)));
    registry.leave(&address(2), Some(session(22)));
    assert!(registry.has_ended(&address(2)));
}

#[test]
fn a_subscribed_room_that_becomes_its_own_sends_presence_notices() {
    let registry = Registry::plain(2, 10);
    registry.register(&newcomer(1, 11), 0);
    registry.set_presence(&address(1), true).unwrap();
    registry
        .subscribe(&address(1), room("den"))
        .unwrap()
        .unwrap();
    registry.join(&address(1), room("den")).unwrap().unwrap();
    check(&registry);
    registry.directory().events().take();
    registry.touch(&address(3), Protocol::Text, WorkerId(0), 0);
    assert!(registry.directory().events().is_empty(), "not of the lobby");
    registry.join(&address(3), room("den")).unwrap().unwrap();
    let notice = registry.directory().events().take().remove(0).take_notice();
    let peer = registry.get(&address(1)).unwrap();
    assert_eq!(notice.unwrap().subscribers, [peer.recipient(&address(1))]);
}

#[test]
fn a_move_gives_nobody_a_new_budget() {
    use crate::server::config::LimitsConfig;
    use crate::wire::reply::Resource;

    let rates = LimitsConfig::default().peer_rates();
    let registry = Registry::plain(2, 10);
    let texts_left = |port| {
        let peer = registry.get(&address(port)).unwrap();
        let budget = peer.budget().unwrap();
        let take = || budget.take(Resource::Texts, 1, &rates, 0);
        std::iter::from_fn(|| take().then_some(())).count()
    };
    registry.register(&newcomer(1, 7), 0);
    assert_eq!(texts_left(1), 60);
    // It takes what it has used to a new address, and leaves it at the old one.
    registry.take_over(&newcomer(2, 8), &moved_from(1, 7), 0);
    assert_eq!(texts_left(2), 0);
    registry.register(&newcomer(1, 9), 0);
    assert_eq!(texts_left(1), 0);
    // The budget of another session does not replace the one that is used up.
    registry.register(&newcomer(3, 10), 0);
    registry.take_over(&newcomer(2, 8), &moved_from(3, 10), 0);
    assert_eq!(texts_left(2), 0);
}

#[test]
fn a_peer_that_has_left_keeps_no_memory() {
    let registry = Registry::plain(2, 10);
    let weak = |port| {
        let peer = registry.get(&address(port)).unwrap();
        Arc::downgrade(peer.shared_budget().unwrap())
    };
    registry.register(&newcomer(1, 7), 0);
    let left = weak(1);
    registry.leave(&address(1), Some(session(7))).unwrap();
    assert_eq!(left.strong_count(), 0);
    // A session that moves has its budget with it, and leaves a copy.
    registry.register(&newcomer(2, 8), 0);
    let moved = weak(2);
    registry.take_over(&newcomer(3, 9), &moved_from(2, 8), 0);
    assert_eq!(moved.strong_count(), 1);
}
