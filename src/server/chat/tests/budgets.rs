//! Peers that are not trusted, and send too much.

use super::core::Core;
use super::*;
use crate::server::config::LimitsConfig;
use crate::server::ops::stats::DropReason;
use crate::wire::Reply;
use crate::wire::reply::Resource;
use crate::wire::v2::ClientFrame;

/// A core with the default limits, in which no peer is trusted.
struct Limited {
    core: Core,
}

impl Limited {
    fn new() -> Self {
        let (log, _writer) = Log::new();
        let rates = LimitsConfig::default().peer_rates();
        let limits = RegistryLimits {
            max_peers: 1_000,
            max_room_members: 1_000,
            ..LIMITS
        };
        let core = Core::with_rates(limits, rates, &log);
        Self { core }
    }

    fn lines(&mut self, peer: usize) -> Vec<String> {
        let received = std::mem::take(&mut self.core.settle()[peer]);
        let line = |received| match received {
            Received::Line(line) => line,
            other => panic!("{other:?}"),
        };
        received.into_iter().map(line).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.core.counts().dropped(reason)
    }
}

fn sentence(resource: Resource, per_second: u32) -> String {
    let mut sentence = b"* ".to_vec();
    let limit = Reply::OverBudget {
        resource,
        per_second,
    };
    limit.push(&mut sentence);
    String::from_utf8(sentence).unwrap()
}

#[test]
fn twenty_texts_per_second_pass_and_a_burst_of_sixty() {
    let mut limited = Limited::new();
    let (speaker, other) = (0, 1);
    limited.core.receive(other, b"@im@");
    let mut passed = |ms, texts| {
        limited.core.move_clock(ms);
        for _ in 0..texts {
            limited.core.receive(speaker, b"hi");
        }
        let received = limited.core.settle();
        (received[other].len(), received[speaker].len())
    };
    // The speaker receives its texts and one sentence.
    assert_eq!(passed(0, 100), (60, 61));
    assert_eq!(passed(1_000, 100), (20, 20));
    assert_eq!(passed(500, 9), (9, 9));
    // It is told again when it has kept within its budget for the time of a burst.
    assert_eq!(passed(10_000, 61), (60, 61));
    assert_eq!(limited.dropped(DropReason::TextLimit), 40 + 80 + 1);
    let counts = limited.core.counts();
    assert_eq!((counts.texts, counts.dropped_total()), (149, 121));
}

#[test]
fn a_limited_peer_is_told_which_limit_it_has_reached() {
    for (line, count, sentence) in [
        (&b"hi"[..], 60, sentence(Resource::Texts, 20)),
        (b"/rooms", 60, sentence(Resource::Work, 200)),
        (b"/join den", 150, sentence(Resource::Work, 200)),
        (b"/msg x y", 60, sentence(Resource::Texts, 20)),
        (&[b'x'; 2000], 97, sentence(Resource::Bytes, 65_536)),
    ] {
        let mut limited = Limited::new();
        for _ in 0..count {
            limited.core.receive(0, line);
        }
        let told = |lines: Vec<String>| lines.iter().filter(|line| **line == sentence).count();
        let line = String::from_utf8_lossy(line).into_owned();
        assert_eq!(told(limited.lines(0)), 0, "{line}");
        limited.core.receive(0, line.as_bytes());
        assert_eq!(told(limited.lines(0)), 1, "{line}");
        limited.core.receive(0, line.as_bytes());
        assert_eq!(told(limited.lines(0)), 0, "{line}");
    }
}

#[test]
fn a_datagram_of_a_flooder_is_a_sign_of_life_and_nothing_else() {
    let mut limited = Limited::new();
    limited.core.receive(1, b"@im@");
    for _ in 0..30 {
        limited.core.move_clock(1_000);
        for _ in 0..1_000 {
            limited.core.receive(0, &[b'x'; 1_000]);
        }
        limited.core.receive(1, b"@im@");
        assert!(limited.core.settle()[1].len() <= 64 + 3 * 64);
        limited.core.wait(0);
    }
    assert_eq!(limited.core.registry.len(), 2);
    assert!(limited.dropped(DropReason::ByteLimit) > 25_000);
    // A text of another peer is not concerned.
    limited.core.receive(1, b"hi");
    assert_eq!(limited.core.settle()[1].len(), 1);
}

#[test]
fn what_a_peer_without_bytes_sends_does_not_reach_the_registry() {
    let mut limited = Limited::new();
    for _ in 0..1_000 {
        limited.core.receive(0, &[b'x'; 1_000]);
    }
    let mut last_seen_ms = |ms| {
        limited.core.move_clock(ms);
        limited.core.receive(0, b"@im@");
        let peer = limited.core.registry.get(&address(0)).unwrap();
        peer.last_seen_ms()
    };
    let flood_ms = last_seen_ms(0);
    assert_eq!(last_seen_ms(5), flood_ms);
    assert_eq!(last_seen_ms(15), flood_ms + 20);
}

#[test]
fn a_datagram_full_of_frames_is_cut_where_the_budget_ends() {
    for (frame, whole) in [
        (ClientFrame::Command(b"/join a"), 1),
        (ClientFrame::Subscribe("a".parse().unwrap()), 1),
        (ClientFrame::Ping(b"x"), 6),
        (ClientFrame::Heartbeat(None), 6),
        (ClientFrame::Heartbeat(Some(7)), 6),
        (ClientFrame::Heartbeat(Some(0)), 10),
        (ClientFrame::Say(b""), 0),
        (ClientFrame::SayTo(0, b""), 0),
    ] {
        let mut limited = Limited::new();
        limited.core.hello(0);
        limited.core.settle();
        let session = limited.core.session(0).unwrap();
        for _ in 0..10 {
            let frames = std::iter::repeat_n(frame, 100);
            limited.core.receive_frames(0, session, frames);
        }
        let counts = limited.core.counts();
        assert_eq!(counts.frames_limited, 10 - whole, "{frame:?}");
        assert_eq!(counts.frames, 11, "with the HELLO");
        assert!(counts.messages <= 60, "{frame:?}");
    }
}

#[test]
fn a_peer_that_leaves_and_comes_back_has_no_new_budget() {
    let mut limited = Limited::new();
    limited.core.receive(1, b"@im@");
    let (mut lines, mut frames, mut told) = (0, 0, 0);
    let limit = sentence(Resource::Texts, 20);
    for _ in 0..10 {
        (0..30).for_each(|_| limited.core.receive(0, b"hi"));
        limited.core.receive(0, b"quit");
        let received = limited.core.settle();
        lines += received[1].len();
        let is_limit = |line: &&Received| matches!(line, Received::Line(line) if *line == limit);
        told += received[0].iter().filter(is_limit).count();
    }
    assert_eq!((lines, told), (60, 1));
    for _ in 0..10 {
        limited.core.hello(2);
        limited.core.settle();
        let session = limited.core.session(2).unwrap();
        let says = std::iter::repeat_n(ClientFrame::Say(b"hi"), 30);
        limited
            .core
            .receive_frames(2, session, says.chain([ClientFrame::Bye]));
        // What follows the text over the limit is dropped, the BYE too.
        limited.core.receive_frames(2, session, [ClientFrame::Bye]);
        frames += limited.core.settle()[1].len();
    }
    assert_eq!(frames, 60);
    // It has one again after a while, like any other.
    limited.core.move_clock(1_000);
    (0..30).for_each(|_| limited.core.receive(0, b"hi"));
    assert_eq!(limited.core.settle()[1].len(), 20);
}

#[test]
fn a_heartbeat_passes_when_texts_and_work_are_used_up() {
    let mut limited = Limited::new();
    for _ in 0..100 {
        limited.core.receive(0, b"hi");
        limited.core.receive(0, b"/rooms");
    }
    let before = limited.core.counts().heartbeats;
    limited.core.receive(0, b"@im@");
    assert_eq!(limited.core.counts().heartbeats, before + 1);
}

#[test]
fn a_change_in_a_room_costs_the_notices_that_it_leads_to() {
    let mut limited = Limited::new();
    let joins = |limited: &mut Limited, peer| {
        let is_within = |joins: &u32| {
            let room = if joins.is_multiple_of(2) {
                "/join b"
            } else {
                "/leave"
            };
            limited.core.receive(peer, room.as_bytes());
            limited.dropped(DropReason::WorkLimit) == 0
        };
        (0..1_000).take_while(is_within).count()
    };
    assert_eq!(joins(&mut limited, 0), 150);
    let mut limited = Limited::new();
    add_subscribers(&limited, "lobby");
    // Four units more for each.
    assert_eq!(joins(&mut limited, 0), 75);
}

#[test]
fn a_name_and_a_subscription_cost_the_notices_that_they_lead_to() {
    let mut limited = Limited::new();
    add_subscribers(&limited, "lobby");
    for number in 0..100 {
        limited
            .core
            .receive(0, format!("/nick n{number}").as_bytes());
    }
    assert_eq!(limited.dropped(DropReason::WorkLimit), 25);

    let mut limited = Limited::new();
    limited.core.hello(0);
    limited.core.settle();
    let number = add_subscribers(&limited, "b");
    let session = limited.core.session(0).unwrap();
    for pair in 0..100 {
        let subscribe = ClientFrame::Subscribe("b".parse().unwrap());
        let frames = [subscribe, ClientFrame::Unsubscribe(number)];
        limited.core.receive_frames(0, session, frames);
        assert_eq!(
            limited.core.counts().frames_limited > 0,
            pair >= 50,
            "{pair}"
        );
    }
}

/// Adds 400 subscribers to the presence notices of a room. Returns its number.
fn add_subscribers(limited: &Limited, room: &str) -> u32 {
    let registry = &limited.core.registry;
    let mut number = None;
    for subscriber in 0..400_u16 {
        let address = PeerAddr::new(([10, 0, 0, 1], 1_000 + subscriber).into(), 0);
        registry.touch(&address, crate::wire::Protocol::Text, worker_id(), 0);
        let entered = registry.join(&address, room.parse().unwrap()).unwrap();
        number = Some(entered.unwrap().number());
        registry.set_presence(&address, true).unwrap();
    }
    number.unwrap()
}

fn worker_id() -> crate::server::ops::stats::WorkerId {
    crate::server::ops::stats::WorkerId(0)
}
