use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::plan::Plan;
use super::*;
use crate::server::egress::load::TEXT_BYTES;
use crate::server::egress::texts::TextPlanner;
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{Network, Registry};
use crate::wire::v2::{BundleSize, SessionId};
use crate::wire::{Protocol, RoomName};

fn sender(port: u16) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
}

fn port(from: DisplayName) -> u16 {
    match from {
        DisplayName::Address(address) => address.port(),
        DisplayName::Name(name) => panic!("{name}"),
    }
}

fn backlog() -> Backlog {
    Backlog::new(TIME)
}

/// Returns a sender of one network, or a trusted one.
fn source(port: u16, is_trusted: bool) -> Sender {
    let mut source = Sender::from(sender(port));
    if !is_trusted {
        let network = Network::of([192, 0, 2, 1].into());
        source.source = Source::Untrusted(sender(port), network);
    }
    source
}

/// Returns a lobby of `members` v1 peers.
fn lobby(members: u16) -> Registry {
    let registry = Registry::plain(1, 100_000);
    for port in 1..=members {
        registry.touch(&sender(port), Protocol::Text, WorkerId(0), 0);
    }
    registry
}

/// Pushes `count` texts of one sender, and returns how many are taken.
fn push_many(
    backlog: &mut Backlog,
    room: &Arc<Room>,
    port: u16,
    count: usize,
    text: &[u8],
) -> usize {
    let push = |_: &usize| backlog.push(room, &sender(port).into(), text).is_ok();
    (0..count).filter(push).count()
}

/// Picks texts for one plan of a room, and returns their senders and bytes.
fn pick(backlog: &mut Backlog, room: &Arc<Room>) -> Vec<(u16, Vec<u8>)> {
    let Some(&index) = backlog.room_indexes.get(&room_key(room)) else {
        return Vec::new();
    };
    let (mut plan, mut planner) = (Plan::new(WorkerId(0)), TextPlanner::new(64));
    let mut builder = plan.build(room, &mut planner);
    let mut texts = Vec::new();
    backlog.pick(index, |picked| {
        builder.try_push(picked)?;
        texts.push((port(picked.from), picked.text.to_vec()));
        Ok(())
    });
    builder.finish();
    texts
}

/// Picks all texts.
fn pick_all(backlog: &mut Backlog) {
    while let Some((_, queue)) = backlog
        .rooms
        .iter()
        .find(|(_, queue)| queue.account.texts > 0)
    {
        let room = Arc::clone(&queue.room);
        pick(backlog, &room);
    }
}

/// Returns true if nothing is left.
fn is_empty(backlog: &mut Backlog) -> bool {
    for room in backlog.room_indexes.values().copied().collect::<Vec<_>>() {
        backlog.remove_room(room);
    }
    (backlog.total, backlog.bytes.used()) == (Account::default(), 0)
        && (backlog.rooms.is_empty() && backlog.room_indexes.is_empty())
        && (backlog.senders.is_empty() && backlog.sender_indexes.is_empty())
        && (backlog.shares.is_empty() && backlog.share_indexes.is_empty())
        && (backlog.peers.is_empty() && backlog.texts.is_empty())
}

#[test]
fn senders_take_turns_in_a_plan() {
    let registry = lobby(3);
    let room = registry.lobby();
    let mut backlog = backlog();
    for (port, text) in [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (3, ""), (2, "e")] {
        let pushed = backlog.push(room, &sender(port).into(), text.as_bytes());
        pushed.unwrap();
    }
    let expected = [(1, "a"), (2, "d"), (3, ""), (1, "b"), (2, "e"), (1, "c")];
    assert_eq!(
        pick(&mut backlog, room),
        expected.map(|(port, text)| (port, text.as_bytes().to_vec()))
    );
    assert!(is_empty(&mut backlog));
}

/// 200 others have one text waiting each, as soon as their last one is in a plan of 128.
#[test]
fn one_who_speaks_seldom_is_in_the_next_plan_however_many_others_speak() {
    let registry = lobby(3);
    let room = registry.lobby();
    let mut backlog = backlog();
    let seldom = 1;
    let mut ready: Vec<u16> = (1_000..1_200).collect();
    for round in 0..100 {
        for port in ready.drain(..) {
            backlog.push(room, &sender(port).into(), b"x").unwrap();
        }
        // At first, all are new.
        let is_due = round >= 8 && round % 4 == 0;
        if is_due {
            backlog.push(room, &sender(seldom).into(), b"x").unwrap();
        }
        let picked = pick(&mut backlog, room);
        let mut ports: Vec<u16> = picked.into_iter().map(|(port, _)| port).collect();
        assert_eq!(ports.len(), 128);
        assert_eq!(ports.contains(&seldom), is_due, "in round {round}");
        ports.retain(|port| *port != seldom);
        ready = ports;
    }
}

#[test]
fn a_plan_takes_what_the_members_can_hold() {
    for (v1, v2, len, expected) in [
        // Two v1 members: datagrams.
        (2, 0, 1, 128),
        // Bundles: 54 of 17 messages of 50 + 19 bytes, and of one long message.
        (0, 2, 50, 54 * 17),
        (0, 2, 1000, 54),
        (1, 1, 1000, 54),
        (1, 1, 50, 128),
        // 69 ms for 1,000 members.
        (1_000, 0, 1, 59),
    ] {
        let registry = lobby(v1);
        for port in v1 + 1..=v1 + v2 {
            let session = SessionId::new(77).unwrap();
            registry.open_session(&sender(port), WorkerId(0), BundleSize::Full, session, 0);
        }
        let mut backlog = Backlog::new(Duration::from_secs(10));
        let count = 1_000.min(2 * expected);
        assert_eq!(
            push_many(&mut backlog, registry.lobby(), 1, count, &vec![b'x'; len]),
            count
        );
        assert_eq!(
            pick(&mut backlog, registry.lobby()).len(),
            expected.min(count),
            "{v1} {v2} {len}"
        );
    }
}

#[test]
fn a_text_that_costs_more_than_the_backlog_is_taken_alone() {
    let registry = lobby(60_000);
    let mut backlog = Backlog::new(Duration::from_millis(1));
    for _ in 0..3 {
        assert_eq!(push_many(&mut backlog, registry.lobby(), 1, 5, b"x"), 1);
        assert_eq!(pick(&mut backlog, registry.lobby()).len(), 1);
        assert!(is_empty(&mut backlog));
    }
}

#[test]
fn one_flooder_leaves_half_for_the_others() {
    let registry = lobby(20);
    let room = |name: &str, port| {
        let name = RoomName::parse(name.as_bytes()).unwrap();
        registry.join(&sender(port), name).unwrap().unwrap()
    };
    let (den, yard) = (room("den", 1), room("yard", 2));
    let mut backlog = backlog();
    // One member: 1.456 µs per text. The bytes are the limit.
    let most = (MAX_BYTES / (1 + TEXT_BYTES)) as usize;
    let taken = push_many(&mut backlog, &den, 1, 100_000, b"x");
    assert_eq!(taken, most.div_ceil(2));
    let taken = push_many(&mut backlog, &yard, 2, 100_000, b"x");
    assert!(taken.abs_diff(most / 4) <= 1);
    let quiet: usize = (100..200)
        .map(|port| push_many(&mut backlog, registry.lobby(), port, 2, b"hi"))
        .sum();
    assert_eq!(quiet, 200, "senders of few texts");
    pick_all(&mut backlog);
    assert!(is_empty(&mut backlog));
}

#[test]
fn the_time_is_shared_by_rooms_whatever_their_size() {
    let registry = lobby(1_100);
    let name = RoomName::parse(b"den").unwrap();
    let den = (1_001..=1_100).map(|port| registry.join(&sender(port), name).unwrap().unwrap());
    let den = den.last().unwrap();
    let mut backlog = backlog();
    let mut taken = [0; 2];
    for _ in 0..500 {
        for sender in 0..5 {
            taken[0] += push_many(&mut backlog, registry.lobby(), 1 + sender, 1, b"x");
            taken[1] += push_many(&mut backlog, &den, 1_001 + sender, 10, b"x");
        }
    }
    // Each room has a third of 100 ms, and each sender one text more at most.
    assert!((28..=34).contains(&taken[0]), "{taken:?}");
    assert!((280..=295).contains(&taken[1]), "{taken:?}");
}

#[test]
fn who_has_nothing_waiting_is_not_refused_because_of_others() {
    let registry = lobby(1_000);
    let mut backlog = backlog();
    for _ in 0..100 {
        for flooder in 1..=60 {
            push_many(&mut backlog, registry.lobby(), flooder, 1, b"flood");
        }
    }
    assert_eq!(
        push_many(&mut backlog, registry.lobby(), 500, 5, b"quiet"),
        1
    );
    // It is a new one, and those that wait have had no turn yet.
    let first = pick(&mut backlog, registry.lobby());
    assert_eq!(first.len(), 59);
    assert_eq!(push_many(&mut backlog, registry.lobby(), 501, 1, b"new"), 1);
    for flooder in 1..=60 {
        push_many(&mut backlog, registry.lobby(), flooder, 1, b"flood");
    }
    let second: Vec<u16> = pick(&mut backlog, registry.lobby())
        .into_iter()
        .map(|(port, _)| port)
        .collect();
    assert!(second.contains(&501) && second.contains(&500), "{second:?}");
}

#[test]
fn a_room_without_texts_has_space_when_a_thousand_flood_another() {
    let registry = lobby(2_000);
    let name = RoomName::parse(b"den").unwrap();
    let den = registry.join(&sender(2_000), name).unwrap().unwrap();
    let mut backlog = backlog();
    let flood = |backlog: &mut Backlog| {
        let texts = (1..=1_000).map(|port| push_many(backlog, registry.lobby(), port, 5, b"x"));
        texts.sum::<usize>()
    };
    // 2.3 ms each: as many as are sent in half of the time, and in twice the time.
    let texts = flood(&mut backlog);
    assert!((100..=112).contains(&texts), "{texts}");
    assert_eq!(push_many(&mut backlog, &den, 2_000, 100, b"x"), 100);
}

/// Returns a room of these members.
fn room(registry: &Registry, name: &str, members: std::ops::Range<u16>) -> Arc<Room> {
    let name = RoomName::parse(name.as_bytes()).unwrap();
    let joined = members.map(|port| registry.join(&sender(port), name).unwrap().unwrap());
    joined.last().unwrap()
}

#[test]
fn an_eighth_of_the_reserve_is_for_rooms_that_have_nothing_waiting() {
    let registry = lobby(3_000);
    // A text costs 1.1 ms, more than the backlog, and the reserve is one of 2 ms.
    let rooms = [0, 1, 2].map(|number: u16| {
        let first = 1 + 951 * number;
        room(&registry, &format!("room-{number}"), first..first + 951)
    });
    let mut backlog = Backlog::new(Duration::from_millis(1));
    let mut push = |room: usize, port| push_many(&mut backlog, &rooms[room], port, 1, b"x");
    assert_eq!([1, 2, 3].map(|port| push(0, port)), [1, 1, 0]);
    assert_eq!([4, 5].map(|port| push(1, port)), [1, 0]);
    assert_eq!(push(2, 6), 0, "the eighth is used up");
}

#[test]
fn the_bytes_of_the_reserve_are_bounded() {
    const TEXT: [u8; 1_000] = [b'x'; 1_000];
    let registry = lobby(300);
    let mut backlog = Backlog::new(Duration::from_secs(1_000));
    // Each leaves half, until less than a text is left.
    for port in 1..=20 {
        let own = room(&registry, &format!("room-{port}"), port..port + 1);
        push_many(&mut backlog, &own, port, 10_000, &TEXT);
    }
    let text_bytes = 1_000 + TEXT_BYTES;
    let least = |bytes: u64| bytes.div_ceil(text_bytes) as usize;
    for port in 10_001..15_000 {
        push_many(&mut backlog, registry.lobby(), port, 1, &TEXT);
    }
    let reserved = backlog.total.reserved.bytes / text_bytes;
    assert_eq!(reserved as usize, least(MAX_RESERVED_BYTES));
    let taken = (21..=300).map(|port| {
        let own = room(&registry, &format!("room-{port}"), port..port + 1);
        push_many(&mut backlog, &own, port, 1, &TEXT)
    });
    let taken = taken.sum::<usize>() + reserved as usize;
    assert_eq!(taken, least(MAX_RESERVED_BYTES / 8 * 9));
}

#[test]
fn a_sender_has_one_share_in_all_rooms() {
    let registry = lobby(1);
    let mut backlog = backlog();
    let mut taken = 0;
    for number in 0..20 {
        let name = RoomName::parse(format!("room-{number}").as_bytes()).unwrap();
        let room = registry.join(&sender(1), name).unwrap().unwrap();
        taken += push_many(&mut backlog, &room, 1, 10_000, b"x");
    }
    assert_eq!(taken, (MAX_BYTES / (1 + TEXT_BYTES)) as usize / 2 + 1);
}

proptest! {
    /// The texts that are taken are all picked, each sender's in order and unchanged, and nothing
    /// is left of them. The bytes are bounded.
    #[test]
    fn texts_keep_their_bytes_and_their_order(
        texts in prop::collection::vec((1_u16..6, 0_usize..3, 0_usize..1100, 0_u8..40), 1..500),
        trusted in 1_u16..7,
    ) {
        let registry = lobby(5);
        let rooms = [0, 1, 2].map(|number| {
            let name = RoomName::parse(format!("room-{number}").as_bytes()).unwrap();
            registry.touch(&sender(100 + number), Protocol::Text, WorkerId(0), 0);
            registry.join(&sender(100 + number), name).unwrap().unwrap()
        });
        let mut backlog = backlog();
        let mut expected: [[VecDeque<Vec<u8>>; 6]; 3] = Default::default();
        let check = |backlog: &mut _, expected: &mut [[VecDeque<Vec<u8>>; 6]; 3], room: usize| {
            for (port, text) in pick(backlog, &rooms[room]) {
                let queue: &mut VecDeque<_> = &mut expected[room][usize::from(port)];
                assert_eq!(Some(text), queue.pop_front());
            }
        };
        for (number, (port, room, len, action)) in texts.into_iter().enumerate() {
            let text: Vec<u8> = (0..len).map(|byte| (byte * 7 + number) as u8).collect();
            let source = source(port, port < trusted);
            if backlog.push(&rooms[room], &source, &text).is_ok() {
                expected[room][usize::from(port)].push_back(text);
            }
            if action == 0 {
                check(&mut backlog, &mut expected, room);
            }
        }
        for room in [0, 1, 2].repeat(500) {
            check(&mut backlog, &mut expected, room);
        }
        prop_assert!(expected.iter().flatten().all(VecDeque::is_empty));
        prop_assert!(is_empty(&mut backlog));
    }
}

mod networks;

const TIME: Duration = Duration::from_millis(100);
