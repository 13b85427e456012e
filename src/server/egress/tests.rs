use super::*;
use crate::server::registry::Peers;
use crate::server::registry::{Protocol, SPLIT_MEMBERS};
use crate::wire::RoomName;
use crate::wire::v2::NO_SESSION;
use crate::wire::v2::{Message, ServerFrame, parse_server};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};

fn peer(port: u16) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
}

/// Peers from port 1 on, served by the workers in turn; those with an even
/// number speak v2.
fn peers(text: u16, frames: u16, workers: usize) -> Peers {
    let peers = Peers::plain(workers, 100_000);
    let owner = |port: u16| (usize::from(port / 2) % workers) as u8;
    for port in (1..).step_by(2).take(text.into()) {
        peers.touch(&peer(port), Protocol::Text, owner(port), 0);
    }
    for port in (2..).step_by(2).take(frames.into()) {
        peers.open_session(&peer(port), owner(port), 77, 0);
    }
    peers
}

/// Workers that hand each other plans, as in the server, step by step.
struct Workers {
    fanouts: Vec<FanOut>,
    inboxes: Vec<VecDeque<Arc<Plan>>>,
    /// To whom, from whom, what, in the order of sending.
    heard: Vec<(u16, String, String)>,
    planned: u64,
}

#[derive(Debug, PartialEq)]
enum Did {
    Sent,
    Nothing,
    Waits,
}

impl Workers {
    fn new(count: usize) -> Self {
        Self {
            fanouts: (0..count as u8)
                .map(|worker| FanOut::new(worker, count, 64))
                .collect(),
            inboxes: vec![VecDeque::new(); count],
            heard: Vec::new(),
            planned: 0,
        }
    }

    fn say(&mut self, worker: usize, peers: &Peers, speaker: u16, text: &[u8]) {
        let pushed = self.fanouts[worker].push(peers.lobby(), peer(speaker), None, text);
        pushed.unwrap();
    }

    /// What a worker does in one turn: at most one slice.
    fn step(&mut self, worker: usize) -> Did {
        loop {
            let fanout = &mut self.fanouts[worker];
            if let Some(slice) = fanout.slice() {
                slice
                    .packets()
                    .for_each(|packet| hear(packet, &mut self.heard));
                return Did::Sent;
            }
            drop(fanout.take_finished());
            let inbox = std::cell::RefCell::new(&mut self.inboxes[worker]);
            let next = fanout.begin(|| inbox.borrow_mut().pop_front());
            self.planned += fanout.take_planned();
            match next {
                Next::Send => {}
                Next::Share(plan) => {
                    for (other, inbox) in self.inboxes.iter_mut().enumerate() {
                        if other != worker {
                            inbox.push_back(Arc::clone(&plan));
                        }
                    }
                }
                Next::Idle => return Did::Nothing,
                Next::Wait => return Did::Waits,
            }
        }
    }

    /// All workers in turn, until nothing is left.
    fn finish(&mut self) {
        let mut did = Vec::new();
        while did.iter().any(|did| *did != Did::Nothing) || did.is_empty() {
            // The second round begins with all plans given back.
            let count = self.fanouts.len();
            did = (0..2 * count)
                .map(|worker| self.step(worker % count))
                .collect();
            let stuck = did.contains(&Did::Waits) && !did.contains(&Did::Sent);
            assert!(!stuck, "all wait for each other");
        }
    }
}

fn hear(packet: crate::net::Packet<'_>, heard: &mut Vec<(u16, String, String)>) {
    let before = heard.len();
    let port = packet.to.port();
    for datagram in packet.datagrams() {
        if datagram[0] == 0xFF {
            for frame in parse_server(datagram).unwrap() {
                let ServerFrame::Message(Message { from, payload, .. }) = frame else {
                    panic!("{frame:?}");
                };
                let text = String::from_utf8(payload.to_vec()).unwrap();
                heard.push((port, from.to_string(), text));
            }
        } else {
            let datagram = str::from_utf8(datagram).unwrap();
            let (from, text) = datagram.split_once(' ').unwrap();
            heard.push((port, from.to_owned(), text.to_owned()));
        }
    }
    assert_eq!(heard.len() - before, packet.deliveries as usize);
}

#[test]
fn nothing_to_say_is_nothing_to_send() {
    let mut workers = Workers::new(1);
    assert_eq!(workers.step(0), Did::Nothing);
}

#[test]
fn an_empty_room_hears_nothing_and_later_comers_hear_nothing_old() {
    let peers = peers(0, 0, 1);
    let mut workers = Workers::new(1);
    workers.say(0, &peers, 1, b"hi");
    workers.finish();
    peers.touch(&peer(1), Protocol::Text, 0, 0);
    workers.finish();
    assert_eq!((workers.heard.len(), workers.planned), (0, 0));
}

#[test]
fn what_comes_during_a_fanout_goes_out_in_the_next_one() {
    let peers = peers(3000, 0, 1);
    let mut workers = Workers::new(1);
    workers.say(0, &peers, 1, b"one");
    assert_eq!(workers.step(0), Did::Sent);
    assert!(workers.heard.len() < 3000, "more than one slice");
    workers.say(0, &peers, 1, b"two");
    workers.finish();
    let (first, second) = workers.heard.split_at(3000);
    assert!(first.iter().all(|(_, _, text)| text == "one"));
    assert!(second.iter().all(|(_, _, text)| text == "two"));
    assert_eq!(second.len(), 3000);
}

#[test]
fn a_long_backlog_goes_out_in_passes_that_fit_a_stock_clients_buffer() {
    let peers = peers(2, 0, 1);
    let mut workers = Workers::new(1);
    for speaker in 1..=1000 {
        workers.say(0, &peers, speaker, b"hi");
    }
    workers.finish();
    assert_eq!(workers.heard.len(), 2000);
    let runs = workers.heard.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len);
    let longest = runs.max();
    assert!(
        longest.is_some_and(|run| (65..=128).contains(&run)),
        "{longest:?}"
    );
}

#[test]
fn a_plan_for_many_takes_few_texts_so_that_who_leaves_is_soon_left_alone() {
    let peers = peers(20_000, 0, 1);
    let mut workers = Workers::new(1);
    for text in 0..120 {
        workers.say(0, &peers, text + 1, b"x");
    }
    while workers.heard.len() < PLAN_DELIVERIES {
        assert_eq!(workers.step(0), Did::Sent);
    }
    for port in (3..).step_by(2).take(19_999) {
        peers.leave(&peer(port), NO_SESSION);
    }
    workers.finish();
    assert_eq!(workers.heard.len(), PLAN_DELIVERIES + (120 - 50));
}

#[test]
fn a_large_room_is_shared_and_a_small_one_is_not() {
    for (members, shares) in [
        (SPLIT_MEMBERS as u16, true),
        (SPLIT_MEMBERS as u16 - 1, false),
    ] {
        let peers = peers(members, 0, 2);
        let mut workers = Workers::new(2);
        workers.say(0, &peers, 2, b"hi");
        while workers.step(0) == Did::Sent {}
        assert_eq!(workers.heard.len() < members.into(), shares);
        workers.finish();
        assert_eq!(workers.heard.len(), usize::from(members));
    }
}

#[test]
fn a_room_that_has_become_small_waits_for_what_was_shared() {
    let peers = peers(200, 0, 2);
    let mut workers = Workers::new(2);
    workers.say(0, &peers, 1, b"one");
    while workers.step(0) == Did::Sent {}
    for port in (7..400).step_by(2) {
        peers.leave(&peer(port), NO_SESSION);
    }
    workers.say(0, &peers, 1, b"two");
    assert_eq!(workers.step(0), Did::Waits);
    workers.finish();
    let twos = workers.heard.iter().position(|(_, _, text)| text == "two");
    assert_eq!(twos, Some(200), "all of one before two");
    assert_eq!(workers.heard.len(), 203);
}

#[test]
fn a_worker_that_lags_makes_the_others_wait_and_no_plan_is_lost() {
    let peers = peers(100, 0, 2);
    let mut workers = Workers::new(2);
    let mut rounds = 0;
    loop {
        workers.say(0, &peers, 1, b"x");
        rounds += 1;
        match workers.step(0) {
            Did::Waits => break,
            did => assert_eq!(did, Did::Sent),
        }
    }
    assert_eq!(rounds, PLANS + 1);
    workers.finish();
    assert_eq!(workers.heard.len(), 100 * rounds);
}

#[test]
fn own_texts_and_plans_of_others_take_turns() {
    let peers = peers(100, 0, 2);
    let name = RoomName::parse(b"small").unwrap();
    let small = peers.join(&peer(1), name).unwrap().unwrap();
    // Worker 0 has always something to send of its own, or of worker 1.
    for is_own_endless in [true, false] {
        let mut workers = Workers::new(2);
        for round in 0..20 {
            if round == 10 || is_own_endless {
                let pushed = workers.fanouts[0].push(&small, peer(1), None, b"own");
                pushed.unwrap();
            }
            if round == 10 || !is_own_endless {
                workers.say(1, &peers, 3, b"handed");
                while workers.step(1) == Did::Sent {}
            }
            let before = workers.heard.len();
            assert_eq!(workers.step(0), Did::Sent);
            assert!(workers.heard.len() > before);
        }
        let of_worker_0 = |text: &str| {
            let heard = workers.heard.iter();
            heard.filter(|heard| heard.2 == text).count()
        };
        if is_own_endless {
            assert_eq!(of_worker_0("handed"), 99, "half by each worker");
        } else {
            assert_eq!(of_worker_0("own"), 1);
        }
    }
}

#[test]
fn a_plan_that_is_sent_keeps_no_snapshot_alive() {
    let peers = peers(100, 0, 2);
    let mut workers = Workers::new(2);
    workers.say(0, &peers, 1, b"hi");
    workers.finish();
    let outdated = Arc::downgrade(&peers.lobby().members());
    peers.leave(&peer(1), NO_SESSION);
    assert_eq!(peers.lobby().members().len(), 99);
    assert!(outdated.upgrade().is_none());
}

proptest! {
    #[test]
    fn everyone_hears_every_text_once_and_each_sender_in_order(
        text in 0_u16..50,
        frames in 0_u16..50,
        count in 1_usize..4,
        // Who says something, how long, and how many steps follow it.
        said in prop::collection::vec((1_u16..9, 0_usize..60, 0_usize..3), 1..200),
    ) {
        let peers = peers(text, frames, count);
        let mut workers = Workers::new(count);
        let mut expected = HashMap::<String, Vec<String>>::new();
        for (number, (speaker, len, steps)) in said.iter().enumerate() {
            let text = format!("{number:04}{}", "x".repeat(*len));
            let worker = usize::from(*speaker) % count;
            workers.say(worker, &peers, *speaker, text.as_bytes());
            expected.entry(peer(*speaker).to_string()).or_default().push(text);
            for step in 0..*steps {
                workers.step((number + step) % count);
            }
        }
        workers.finish();
        let mut heard = HashMap::<u16, HashMap<String, Vec<String>>>::new();
        for (to, from, text) in &workers.heard {
            let by_speaker = heard.entry(*to).or_default();
            by_speaker.entry(from.clone()).or_default().push(text.clone());
        }
        prop_assert_eq!(heard.len(), peers.len());
        prop_assert!(heard.values().all(|by_speaker| *by_speaker == expected));
        prop_assert_eq!(workers.planned as usize, peers.len() * said.len());
    }
}
