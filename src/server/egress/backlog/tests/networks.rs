//! Senders that share with others of their network.

use super::*;

/// Returns a sender of the network with this number.
fn of_network(network: u8, port: u16) -> Sender {
    let address = PeerAddr::new(([192, 0, network, 1], port).into(), 0);
    let network = Network::of([192, 0, network, 1].into());
    Sender {
        source: Source::Untrusted(address, network),
        ..address.into()
    }
}

/// Pushes texts of a sender. Returns how many are taken.
fn push(backlog: &mut Backlog, room: &Arc<Room>, sender: &Sender, count: usize) -> usize {
    let push = |_: &usize| backlog.push(room, sender, b"x").is_ok();
    (0..count).filter(push).count()
}

#[test]
fn the_senders_of_a_network_take_turns_as_one() {
    let registry = lobby(3);
    let room = registry.lobby();
    let mut backlog = backlog();
    for port in [1, 2, 3, 4, 1] {
        assert_eq!(push(&mut backlog, room, &of_network(1, port), 1), 1);
    }
    assert_eq!(push(&mut backlog, room, &of_network(2, 5), 2), 2);
    assert_eq!(push(&mut backlog, room, &sender(6).into(), 2), 2);
    let picked = pick(&mut backlog, room);
    let ports: Vec<u16> = picked.into_iter().map(|(port, _)| port).collect();
    assert_eq!(ports, [1, 5, 6, 2, 5, 6, 3, 4, 1]);
    assert!(is_empty(&mut backlog));
}

#[test]
fn a_network_of_two_thousand_flooders_leaves_space_for_others_in_their_room() {
    let registry = lobby(1_000);
    let mut backlog = backlog();
    let flood = |backlog: &mut Backlog, network| {
        let texts =
            (1..=2_000).map(|port| push(backlog, registry.lobby(), &of_network(network, port), 3));
        texts.sum::<usize>()
    };
    // 1.2 ms each: a third of the backlog of 100 ms, and half of the reserve of twice that.
    let first = flood(&mut backlog, 1);
    assert!((112..=120).contains(&first), "{first}");
    // A sender of another network may have some texts waiting.
    let quiet = of_network(9, 4_000);
    assert_eq!(push(&mut backlog, registry.lobby(), &quiet, 3), 3);
    // A third of what is left of the room's share, and half of what is left of the reserve.
    let second = flood(&mut backlog, 2);
    assert!((50..=56).contains(&second), "{second}");
    for (network, taken) in [(3, 1), (4, 1), (1, 0)] {
        let quiet = of_network(network, 3_000);
        assert_eq!(push(&mut backlog, registry.lobby(), &quiet, 1), taken);
    }
    // Both are in the next plan, of 59 texts.
    let quiet = of_network(5, 3_000);
    assert_eq!(push(&mut backlog, registry.lobby(), &quiet, 1), 1);
    let picked = pick(&mut backlog, registry.lobby());
    assert_eq!(picked.iter().filter(|(port, _)| *port == 3_000).count(), 3);
    pick_all(&mut backlog);
    assert!(is_empty(&mut backlog));
}

#[test]
fn a_flooder_leaves_some_of_what_its_network_may_have() {
    let registry = lobby(20);
    let mut backlog = backlog();
    let most = (MAX_BYTES / (1 + TEXT_BYTES)) as usize;
    let push = |backlog: &mut Backlog, network, port| {
        let name = RoomName::parse(format!("room-{port}").as_bytes()).unwrap();
        let own = registry.join(&sender(port), name).unwrap().unwrap();
        push(backlog, &own, &of_network(network, port), most)
    };
    // A quarter of all, while its network and its room may have more.
    let first = push(&mut backlog, 1, 1);
    assert!(first.abs_diff(most / 4) <= 2, "{first} of {most}");
    // In another room: x = (3/4 - x) - x - (1/4 + x).
    let second = push(&mut backlog, 1, 2);
    assert!(second.abs_diff(most / 8) <= 2, "{second} of {most}");
    let other = push(&mut backlog, 2, 3);
    assert!(other > most / 7, "{other} of {most}");
    pick_all(&mut backlog);
    assert!(is_empty(&mut backlog));
}

/// A text costs 2.3 ms, and the speaker's share of the room is less than what it says while a plan is
/// sent.
#[test]
fn a_network_with_few_texts_has_all_of_them_in_a_flooded_large_room() {
    let registry = lobby(2_000);
    let mut backlog = backlog();
    for port in 1..=2_000 {
        push(&mut backlog, registry.lobby(), &of_network(1, port), 3);
    }
    let quiet = of_network(2, 3_000);
    let taken = push(&mut backlog, registry.lobby(), &quiet, 20);
    assert_eq!(taken as u64, FEW_TEXTS);
    pick_all(&mut backlog);
    assert!(is_empty(&mut backlog));
}
