//! Turns of rooms, and of the senders in them.

use super::*;

#[test]
fn own_plans_go_before_those_of_others() {
    let registry = registry(1000, 0, 2);
    let small = registry.join(&peer(1), RoomName::parse(b"small").unwrap());
    let small = small.unwrap().unwrap();
    let mut workers = Workers::new(2);
    workers.push(1, &registry, 3, b"shared");
    assert_eq!(workers.step(1), Progress::More);
    for _ in 0..3 {
        workers.push_to(0, &small, 1, b"own");
        assert_eq!(workers.step(0), Progress::More);
        assert_eq!(workers.received.0.last().unwrap().2, "own");
    }
    assert_eq!(workers.step(0), Progress::More);
    assert_eq!(workers.received.0.last().unwrap().2, "shared");
}

#[test]
fn rooms_take_turns_and_small_ones_go_first() {
    let registry = registry(2000, 0, 1);
    let small = registry.join(&peer(1), RoomName::parse(b"small").unwrap());
    let small = small.unwrap().unwrap();
    let mut workers = Workers::new(1);
    for round in 0..20 {
        for sender in 0..10 {
            workers.push(0, &registry, 3 + 2 * sender, b"flood");
        }
        assert_eq!(workers.step(0), Progress::More);
        workers.push_to(0, &small, 1, b"quiet");
        assert_eq!(workers.step(0), Progress::More);
        assert_eq!(workers.received.0.last().unwrap().2, "quiet", "{round}");
    }
}

#[test]
fn a_sender_pays_for_texts_that_do_not_share_packets() {
    let registry = registry(100, 0, 1);
    let mut workers = Workers::new(1);
    for number in 0..10_000 {
        workers.push(0, &registry, 1, &[b'x'; 50]);
        workers.push(0, &registry, 3, &vec![b'x'; 51 + number % 7 * 100]);
        // Both have texts waiting until the end.
        while workers.planned() < 100 * number as u64 {
            workers.step(0);
        }
    }
    let received = workers.received.0.iter().filter(|(to, _, _)| *to == 1);
    let (all, equal) = received.fold((0, 0), |(all, equal), (_, _, text)| {
        (all + 1, equal + usize::from(text.len() == 50))
    });
    // Packets of 32 and of 2 texts take 1.2 and 3.5 µs for each.
    assert!((2 * all / 3..all).contains(&equal), "{equal} of {all}");
}

#[test]
fn small_rooms_do_not_wait_for_plans_of_large_ones() {
    const ROOMS: u16 = 50;
    const TEXTS: usize = 20;
    let registry = registry(0, 0, 1);
    let room = |number: u16| RoomName::parse(format!("room-{number}").as_bytes()).unwrap();
    let join = |port: u16, number| {
        registry.touch(&peer(port), Protocol::Text, WorkerId(0), 0);
        registry.join(&peer(port), room(number)).unwrap().unwrap()
    };
    let mut workers = Workers::new(1);
    for number in 0..ROOMS {
        for member in 0..600 {
            join(600 * number + member + 1, number);
        }
        let room = join(600 * number + 1, number);
        for _ in 0..TEXTS {
            workers.push_to(0, &room, 600 * number + 1, b"to many");
        }
    }
    let small = join(60_000, ROOMS);
    // Each large room has had a slice, and as many plans as may be are under way.
    for _ in 0..2 * ROOMS {
        assert_eq!(workers.step(0), Progress::More);
    }
    workers.push_to(0, &small, 60_000, b"to one");
    // After so many new rooms, old ones may have a turn before it.
    let is_last = |workers: &Workers| workers.received.0.last().unwrap().2 == "to one";
    let steps = (0..20).take_while(|_| workers.step(0) == Progress::More && !is_last(&workers));
    let steps = steps.count();
    assert!(steps <= 4, "{steps}");
    workers.finish();
    assert_eq!(
        workers.received.0.len(),
        usize::from(ROOMS) * 600 * TEXTS + 1
    );
}

/// Returns a room of its own for a peer.
fn own_room(registry: &Registry, port: u16, name: &str) -> Arc<Room> {
    let name = RoomName::parse(name.as_bytes()).unwrap();
    registry.touch(&peer(port), Protocol::Text, WorkerId(0), 0);
    registry.join(&peer(port), name).unwrap().unwrap()
}

#[test]
fn an_empty_text_waits_while_all_others_are_sent() {
    let registry = registry(3, 0, 1);
    let small = own_room(&registry, 1, "small");
    let mut workers = Workers::new(1);
    workers.push(0, &registry, 3, b"abc");
    workers.push_to(0, &small, 1, b"");
    workers.finish();
    let mut received = workers.received.0;
    received.sort();
    let texts = received.iter().map(|(to, _, text)| (*to, &text[..]));
    assert!(texts.eq([(1, ""), (3, "abc"), (5, "abc")]));
}

#[test]
fn ever_new_rooms_starve_no_old_one() {
    let registry = registry(2_000, 0, 1);
    let mut workers = Workers::new(1);
    workers.push(0, &registry, 3, b"lobby");
    workers.step(0);
    let mut steps = 0;
    while workers
        .received
        .0
        .iter()
        .filter(|(_, _, text)| text == "lobby")
        .count()
        < 2_000
    {
        let port = 10_001 + steps % 10_000;
        let room = own_room(&registry, port, &format!("room-{steps}"));
        workers.push_to(0, &room, port, b"new");
        workers.step(0);
        steps += 1;
        assert!(steps < 10_000, "they go before for ever");
    }
}
