//! Models of peers and rooms that several threads change.

use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, JoinHandle};

use super::*;
use crate::wire::v2::{BundleSize, Move};

const WORKER: WorkerId = WorkerId(0);

/// Returns an address. Those with an even number are in another shard than those with an odd one.
fn address(number: u16) -> PeerAddr {
    let hash = AddressHash::with_key(0, 0);
    let is_there = |address: &PeerAddr| hash.hash(address).hash % 2 == u64::from(number % 2);
    let ports = (1..).map(|port| PeerAddr::new(([127, 0, 0, 1], port).into(), 0));
    ports.filter(is_there).nth((number / 2).into()).unwrap()
}

fn session(number: u64) -> Option<SessionId> {
    SessionId::new(number)
}

fn touch(registry: &Registry, port: u16, now_ms: u64) -> Touch {
    registry.touch(&address(port), Protocol::Text, WORKER, now_ms)
}

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn newcomer(port: u16, number: u64) -> Newcomer {
    Newcomer {
        address: address(port),
        protocol: Protocol::Frames(BundleSize::Full),
        session: session(number),
        options: None,
        owner: WORKER,
        is_trusted: true,
    }
}

/// Runs every interleaving with up to `preemptions` switches from a thread that could go on.
fn model(preemptions: usize, body: impl Fn(&Arc<Registry>) + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(move || {
        let registry = Arc::new(Registry::plain(1, 10));
        body(&registry);
        check(&registry);
    });
}

fn spawn<T: 'static>(
    registry: &Arc<Registry>,
    body: impl FnOnce(&Registry) -> T + 'static,
) -> JoinHandle<T> {
    let registry = Arc::clone(registry);
    thread::spawn(move || body(&registry))
}

/// Checks that every peer is a member of its rooms, and that no room has another member. A debug
/// build panics when a peer is put into a room twice.
fn check(registry: &Registry) {
    let (rooms, _) = registry.directory.snapshot();
    let mut members = 0;
    let mut names = Vec::new();
    for (room, places) in rooms {
        assert_eq!((places as usize, room.is_empty()), (room.len(), false));
        members += room.len();
        names.push(room.name().folded());
    }
    let is_once = |name| names.iter().filter(|other| *other == name).count() == 1;
    assert!(names.iter().all(is_once), "a room for each name");
    members += registry.lobby().len();
    let mut memberships = 0;
    for entry in &registry.peers {
        for room in entry.value().memberships.iter() {
            let (page, _) = room.page(0, 10);
            assert!(page.contains(&entry.key().address), "in its room");
            memberships += 1;
        }
    }
    assert_eq!(members, memberships);
    assert_eq!(registry.len(), registry.peers.iter().count());
}

#[test]
fn a_peer_that_was_refreshed_does_not_expire() {
    model(4, |registry| {
        touch(registry, 1, 0);
        let reaper = spawn(registry, |registry| registry.expire(&[100], |_| {}));
        let touch = registry.touch_text(&address(1), 100);
        reaper.join().unwrap();
        match touch {
            Touch::Refreshed(peer) => {
                let known = registry.get(&address(1)).expect("it was refreshed");
                assert!(Arc::ptr_eq(&peer, &known));
                assert_eq!((known.last_seen_ms(), registry.expired()), (100, 0));
            }
            _ => assert_eq!((registry.len(), registry.expired()), (0, 1)),
        }
    });
}

#[test]
fn a_peer_that_leaves_and_comes_back_is_in_one_room_once() {
    model(3, |registry| {
        touch(registry, 1, 0);
        let threads = [
            spawn(registry, |registry| registry.expire(&[100], |_| {})),
            spawn(registry, |registry| drop(touch(registry, 1, 100))),
        ];
        registry.join(&address(1), room("den"));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let peer = registry.get(&address(1)).expect("it has come back");
        assert_eq!(peer.last_seen_ms(), 100);
    });
}

#[test]
fn a_room_that_is_joined_does_not_vanish_with_its_last_member() {
    model(3, |registry| {
        touch(registry, 1, 0);
        touch(registry, 2, 0);
        registry.join(&address(1), room("den")).unwrap().unwrap();
        let leaver = spawn(registry, |registry| registry.leave(&address(1), None));
        let joined = registry.join(&address(2), room("DEN")).unwrap().unwrap();
        leaver.join().unwrap().expect("it was there");
        let (rooms, _) = registry.directory.snapshot();
        assert_eq!(rooms.len(), 1);
        assert!(Arc::ptr_eq(&rooms[0].0, &joined));
    });
}

#[test]
fn two_who_join_a_new_room_are_in_the_same() {
    model(3, |registry| {
        touch(registry, 1, 0);
        touch(registry, 2, 0);
        let join = |port| {
            move |registry: &Registry| {
                let joined = registry.join(&address(port), room("den"));
                joined.unwrap().unwrap()
            }
        };
        let other = spawn(registry, join(1));
        let room = join(2)(registry);
        assert!(Arc::ptr_eq(&room, &other.join().unwrap()));
        assert_eq!(room.members().len(), 2);
    });
}

#[test]
fn a_session_that_moves_while_another_comes_is_in_its_rooms_once() {
    model(3, |registry| {
        registry.register(&newcomer(1, 1), 0);
        let den = registry.subscribe(&address(1), room("den"));
        den.unwrap().unwrap();
        let former = Move {
            session: session(1).unwrap(),
            address: address(1).socket_addr(),
        };
        let threads = [
            spawn(registry, move |registry| {
                drop(registry.take_over(&newcomer(2, 2), &former, 100));
            }),
            spawn(registry, |registry| registry.expire(&[100], |_| {})),
        ];
        registry.register(&newcomer(1, 3), 100);
        registry.subscribe(&address(1), room("den"));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_text_reaches_every_peer_whose_registration_was_handled_before_it() {
    model(3, |registry| {
        touch(registry, 1, 0);
        assert_eq!(registry.lobby().members().len(), 1);
        let is_handled = Arc::new(AtomicBool::new(false));
        let handled = Arc::clone(&is_handled);
        let worker = spawn(registry, move |registry| {
            touch(registry, 2, 0);
            handled.store(true, Ordering::Release);
        });
        // A fan-out of another worker makes a snapshot, before or after that.
        let other = spawn(registry, |registry| registry.lobby().members().len());
        if is_handled.load(Ordering::Acquire) {
            assert_eq!(registry.lobby().members().len(), 2);
        }
        worker.join().unwrap();
        other.join().unwrap();
        assert_eq!(registry.lobby().members().len(), 2);
    });
}

#[test]
fn a_text_reaches_nobody_whose_leave_was_handled_before_it() {
    model(3, |registry| {
        touch(registry, 1, 0);
        touch(registry, 2, 0);
        let is_handled = Arc::new(AtomicBool::new(false));
        let handled = Arc::clone(&is_handled);
        let worker = spawn(registry, move |registry| {
            registry.leave(&address(2), None);
            handled.store(true, Ordering::Release);
        });
        let other = spawn(registry, |registry| registry.lobby().members().len());
        if is_handled.load(Ordering::Acquire) {
            assert_eq!(registry.lobby().members().len(), 1);
        }
        worker.join().unwrap();
        other.join().unwrap();
        assert_eq!(registry.lobby().members().len(), 1);
    });
}

#[test]
fn the_last_place_for_a_peer_is_taken_once() {
    model(4, |registry| {
        for number in 1..10 {
            touch(registry, number, 0);
        }
        let other = spawn(registry, |registry| touch(registry, 10, 0));
        let touches = [touch(registry, 11, 0), other.join().unwrap()];
        let is_refused = |touch: &&Touch| matches!(touch, Touch::LimitReached(_));
        assert_eq!(touches.iter().filter(is_refused).count(), 1);
    });
}

#[test]
fn the_last_place_for_a_network_is_taken_once() {
    loom::model(|| {
        let network = NetworkSlot(std::num::NonZero::<u16>::MIN);
        let shares = Arc::new(NetworkShares::default());
        assert_eq!(shares.count(network), 0);
        let others = [0, 1].map(|_| {
            let shares = Arc::clone(&shares);
            thread::spawn(move || shares.enter(Some(network), 0, 1, 0))
        });
        let entered = others.map(|other| other.join().unwrap());
        assert_eq!(entered.into_iter().filter(Result::is_ok).count(), 1);
        shares.leave(Some(network));
        assert_eq!(shares.count(network), 0);
    });
}
