mod nodes;
mod stuck;
mod times;
mod turns;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::net::{Endpoint, Packet, SendTally};
use crate::server::ops::stats::Counts;
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::Registry;
use crate::wire::v2::{BundleSize, Message, ServerFrame, SessionId, parse_server};
use crate::wire::{Protocol, RoomName};

fn peer(port: u16) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
}

/// Registers peers from port 1 on. The workers serve them in turn. Those with an even
/// port speak v2, every second of them in small bundles.
fn registry(text: u16, frames: u16, workers: usize) -> Registry {
    let registry = Registry::plain(workers, 100_000);
    let owner = |port: u16| WorkerId((usize::from(port / 2) % workers) as u8);
    for port in (1..).step_by(2).take(text.into()) {
        registry.touch(&peer(port), Protocol::Text, owner(port), 0);
    }
    for port in (2..).step_by(2).take(frames.into()) {
        let session = SessionId::new(port.into()).unwrap();
        registry.open_session(&peer(port), owner(port), size_of(port), session, 0);
    }
    registry
}

fn size_of(port: u16) -> BundleSize {
    match port % 4 {
        0 => BundleSize::Small,
        _ => BundleSize::Full,
    }
}

/// The egress of several workers, driven step by step.
struct Workers {
    /// `None` while a worker is in the middle of a step.
    egresses: Vec<Option<Egress>>,
    infos: Vec<Arc<WorkerInfo>>,
    /// The number of times that each worker was woken.
    wakes: Vec<Arc<AtomicUsize>>,
    now_ms: u64,
    received: Received,
    /// Functions to call after the next batches that a worker sends, while it is in the middle of
    /// its slice.
    pauses: VecDeque<Pause>,
}

type Pause = Box<dyn FnOnce(&mut Workers)>;

/// The kernel, as one worker sees it.
struct Kernel<'a>(&'a mut Workers);

/// Recipient, sender and text of each message, in the order of sending.
#[derive(Default)]
struct Received(Vec<(u16, String, String)>);

impl Workers {
    fn new(count: usize) -> Self {
        let infos: Vec<_> = (0..count).map(|_| WorkerInfo::new("")).collect();
        let wakes: Vec<Arc<AtomicUsize>> = (0..count).map(|_| Arc::default()).collect();
        let handle = |(info, wakes): (&Arc<WorkerInfo>, &Arc<AtomicUsize>)| {
            let (info, wakes) = (Arc::clone(info), Arc::clone(wakes));
            let wake = move || {
                wakes.fetch_add(1, Ordering::Relaxed);
            };
            WorkerHandle {
                info,
                wake: Arc::new(wake),
            }
        };
        let handles: Vec<WorkerHandle> = infos.iter().zip(&wakes).map(handle).collect();
        let exchange = Arc::new(Exchange::new(handles.clone()));
        let egress = |(worker, _)| {
            let exchange = Arc::clone(&exchange);
            Some(Egress::new(WorkerId(worker), exchange, BACKLOG, 64))
        };
        Self {
            egresses: (0..).zip(handles).map(egress).collect(),
            infos,
            wakes,
            now_ms: 0,
            received: Received::default(),
            pauses: VecDeque::new(),
        }
    }

    fn wakes(&self, worker: usize) -> usize {
        self.wakes[worker].load(Ordering::Relaxed)
    }

    fn push(&mut self, worker: usize, registry: &Registry, sender: u16, text: &[u8]) {
        self.push_to(worker, registry.lobby(), sender, text);
    }

    fn push_to(&mut self, worker: usize, room: &Arc<Room>, sender: u16, text: &[u8]) {
        let egress = self.egresses[worker].as_mut().unwrap();
        egress.push(room, &peer(sender).into(), text).unwrap();
    }

    /// Takes a turn of the worker's loop, which sends at most one slice.
    fn step(&mut self, worker: usize) -> Progress {
        self.infos[worker].counters.turns.add(1);
        self.poll(worker)
    }

    /// Sends at most one slice, in the same turn as before.
    fn poll(&mut self, worker: usize) -> Progress {
        let mut egress = self.egresses[worker].take().unwrap();
        let now_ms = self.now_ms;
        let progress = egress.poll(&mut Kernel(self), now_ms);
        self.egresses[worker] = Some(egress);
        progress
    }

    /// Steps a worker until it has nothing more to do.
    fn drain(&mut self, worker: usize) {
        while self.step(worker) == Progress::More {}
    }

    /// Steps a worker, and calls `pause` after the first batch that it sends.
    fn step_with(&mut self, worker: usize, pause: impl FnOnce(&mut Self) + 'static) {
        self.pauses.push_back(Box::new(pause));
        assert_eq!(self.step(worker), Progress::More);
    }

    /// The number of deliveries that a worker made.
    fn deliveries(&self, worker: usize) -> u64 {
        self.infos[worker].counters.deliveries.get()
    }

    /// Steps all workers in turn until all are idle.
    fn finish(&mut self) {
        let mut idle_rounds = 0;
        // A worker may be idle because another one has a plan to send, so once is not
        // enough.
        while idle_rounds < 2 {
            let steps = (0..self.egresses.len()).map(|worker| self.step(worker));
            let busy = steps.filter(|step| *step == Progress::More).count();
            idle_rounds = if busy == 0 { idle_rounds + 1 } else { 0 };
        }
    }

    fn counts(&self) -> Counts {
        let mut total = Counts::default();
        for info in &self.infos {
            total += info.counters.read();
        }
        total
    }

    fn planned(&self) -> u64 {
        self.counts().deliveries_planned
    }
}

impl Transmit for Kernel<'_> {
    fn send<'a>(
        &mut self,
        _endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        for packet in packets {
            self.0.received.receive(packet);
            tally.sent += u64::from(packet.deliveries);
        }
        if let Some(pause) = self.0.pauses.pop_front() {
            pause(self.0);
        }
        tally
    }
}

/// A kernel that takes nothing. The first packet of each call finds no space, and the others
/// are refused.
struct Refusing;

impl Transmit for Refusing {
    fn send<'a>(
        &mut self,
        _endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let deliveries = packets.into_iter().map(|packet| packet.deliveries);
        let count = deliveries.map(u64::from).sum::<u64>();
        SendTally {
            congested: 1,
            refused: count - 1,
            ..SendTally::default()
        }
    }
}

impl Received {
    fn receive(&mut self, packet: Packet<'_>) {
        let before = self.0.len();
        let port = packet.to.port();
        let session = packet.tag.map(|tag| u64::from_be_bytes(tag.bytes));
        for datagram in packet.datagrams() {
            assert_eq!(session, (datagram[0] == 0xFF).then_some(port.into()));
            if session.is_some() {
                assert!(datagram.len() <= size_of(port).bytes());
                for frame in parse_server(datagram).unwrap() {
                    let ServerFrame::Message(Message { from, payload, .. }) = frame else {
                        panic!("{frame:?}");
                    };
                    let text = String::from_utf8(payload.to_vec()).unwrap();
                    self.0.push((port, from.to_string(), text));
                }
            } else {
                let datagram = str::from_utf8(datagram).unwrap();
                let (from, text) = datagram.split_once(' ').unwrap();
                self.0.push((port, from.to_owned(), text.to_owned()));
            }
        }
        assert_eq!(self.0.len() - before, packet.deliveries as usize);
    }
}

#[test]
fn failed_replies_and_deliveries_are_counted() {
    let registry = registry(5, 0, 1);
    let mut workers = Workers::new(1);
    workers.push(0, &registry, 1, b"hi");
    let egress = workers.egresses[0].as_mut().unwrap();
    for port in [1, 3, 5] {
        egress.replies.begin(peer(port), 1_000);
        egress.replies.set_reply(|out| out.extend_from_slice(b"no"));
    }
    while egress.poll(&mut Refusing, 0) == Progress::More {}
    let counts = workers.counts();
    assert_eq!((counts.replies, counts.replies_failed), (0, 3));
    assert_eq!((counts.deliveries_planned, counts.deliveries), (5, 0));
    assert_eq!(
        (counts.deliveries_congested, counts.deliveries_refused),
        (1, 4)
    );
}

#[test]
fn without_texts_nothing_is_sent() {
    let mut workers = Workers::new(1);
    assert_eq!(workers.step(0), Progress::Idle);
}

#[test]
fn a_text_to_an_empty_room_is_not_kept_for_later_members() {
    let registry = registry(0, 0, 1);
    let mut workers = Workers::new(1);
    workers.push(0, &registry, 1, b"hi");
    workers.finish();
    registry.touch(&peer(1), Protocol::Text, WorkerId(0), 0);
    workers.finish();
    assert_eq!((workers.received.0.len(), workers.planned()), (0, 0));
}

#[test]
fn texts_that_arrive_during_a_fanout_are_sent_in_the_next_one() {
    let registry = registry(3000, 0, 1);
    let mut workers = Workers::new(1);
    workers.push(0, &registry, 1, b"one");
    assert_eq!(workers.step(0), Progress::More);
    assert!(workers.received.0.len() < 3000, "more than one slice");
    workers.push(0, &registry, 1, b"two");
    workers.finish();
    let (first, second) = workers.received.0.split_at(3000);
    assert!(first.iter().all(|(_, _, text)| text == "one"));
    assert!(second.iter().all(|(_, _, text)| text == "two"));
    assert_eq!(second.len(), 3000);
}

#[test]
fn a_long_backlog_is_sent_in_passes_that_fit_into_a_receive_buffer() {
    let registry = registry(2, 0, 1);
    let mut workers = Workers::new(1);
    for sender in 1..=1000 {
        workers.push(0, &registry, sender, b"hi");
    }
    workers.finish();
    let received = &workers.received.0;
    assert_eq!(received.len(), 2000);
    let runs = received.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len);
    let longest = runs.max();
    assert!(
        longest.is_some_and(|run| (65..=128).contains(&run)),
        "{longest:?}"
    );
}

#[test]
fn a_plan_for_many_members_takes_few_texts() {
    let registry = registry(20_000, 0, 1);
    let mut workers = Workers::new(1);
    for text in 0..120 {
        workers.push(0, &registry, text + 1, b"x");
    }
    workers.step(0);
    let planned = workers.planned() / 20_000;
    assert!((40..=50).contains(&planned), "{planned} texts");
    for port in (3..).step_by(2).take(19_999) {
        registry.leave(&peer(port), None);
    }
    workers.finish();
    assert_eq!(workers.planned(), planned * 20_000 + (120 - planned));
    assert_eq!(workers.received.0.len() as u64, workers.planned());
}

#[test]
fn a_plan_is_shared_by_its_cost() {
    // A packet to each of 60 members takes 0.36 ms, and of a few more texts 0.42 ms.
    for (members, texts, is_shared) in [(50, 1, false), (60, 1, true), (50, 10, true)] {
        let registry = registry(members, 0, 2);
        let mut workers = Workers::new(2);
        for sender in 1..=texts {
            workers.push(0, &registry, sender, b"hi");
        }
        assert_eq!(workers.step(0), Progress::More);
        workers.drain(1);
        assert_eq!(workers.deliveries(1) > 0, is_shared, "{members}, {texts}");
        workers.finish();
        assert_eq!(workers.received.0.len(), usize::from(members * texts));
    }
}

#[test]
fn a_shared_plan_is_sent_evenly_whoever_serves_the_members() {
    // Worker 0 serves all of them.
    let registry = registry(1000, 0, 1);
    let mut workers = Workers::new(2);
    for sender in 1..=10 {
        workers.push(0, &registry, sender, b"hi");
    }
    let mut shares = [0, 0];
    while shares[0] + shares[1] < 10_000 {
        // Both are equally fast.
        workers.step(usize::from(shares[1] < shares[0]));
        shares = [0, 1].map(|worker| workers.deliveries(worker));
    }
    assert!(shares[0].abs_diff(shares[1]) <= 100, "{shares:?}");
}

#[test]
fn the_next_plan_of_a_room_waits_until_all_slices_are_sent() {
    let registry = registry(200, 0, 2);
    let small = registry.join(&peer(1), RoomName::parse(b"small").unwrap());
    let small = small.unwrap().unwrap();
    let mut workers = Workers::new(2);
    workers.push(0, &registry, 3, b"one");
    assert_eq!(workers.step(0), Progress::More);
    workers.step_with(1, move |workers| {
        assert_eq!(workers.wakes(0), 0);
        workers.drain(0);
        workers.push(0, &registry, 3, b"two");
        workers.push_to(0, &small, 1, b"other room");
        assert_eq!(workers.step(0), Progress::More);
        assert_eq!(workers.step(0), Progress::Waiting);
        let (_, _, text) = workers.received.0.last().unwrap();
        assert_eq!(text, "other room", "which goes on");
    });
    assert_eq!(workers.wakes(0), 1);
    workers.finish();
    let mut texts = workers.received.0.iter().filter(|(to, _, _)| *to != 1);
    assert_eq!(texts.position(|(_, _, text)| text == "two"), Some(199));
    assert_eq!(workers.received.0.len(), 199 * 2 + 1);
}

#[test]
fn a_shared_plan_wakes_as_many_sleepers_as_pay_off() {
    for (members, woken) in [(50, 0), (100, 1), (1000, 2)] {
        let registry = registry(members, 0, 3);
        let mut workers = Workers::new(3);
        assert_eq!(workers.step(0), Progress::Idle);
        assert_eq!(workers.step(2), Progress::Idle);
        workers.push(1, &registry, 1, b"hi");
        workers.step(1);
        let wakes = [0, 1, 2].map(|worker| workers.wakes(worker));
        assert_eq!((wakes[1], wakes[0] + wakes[2]), (0, woken));
        workers.step(1);
        assert_eq!([0, 1, 2].map(|worker| workers.wakes(worker)), wakes, "once");
    }
}

#[test]
fn a_plan_that_was_sent_keeps_no_snapshot_alive() {
    let registry = registry(100, 0, 2);
    let mut workers = Workers::new(2);
    workers.push(0, &registry, 1, b"hi");
    workers.finish();
    let outdated = Arc::downgrade(&registry.lobby().members());
    registry.leave(&peer(1), None);
    assert_eq!(registry.lobby().members().len(), 99);
    assert!(outdated.upgrade().is_none());
}

proptest! {
    #[test]
    fn every_member_receives_every_text_once_in_its_senders_order(
        text in 0_u16..50,
        frames in 0_u16..50,
        count in 1_usize..4,
        // The sender of each text, its length, and the number of steps after it.
        texts in prop::collection::vec((1_u16..9, 0_usize..60, 0_usize..3), 1..200),
    ) {
        let registry = registry(text, frames, count);
        let mut workers = Workers::new(count);
        let mut expected = HashMap::<String, Vec<String>>::new();
        for (number, (sender, len, steps)) in texts.iter().enumerate() {
            let text = format!("{number:04}{}", "x".repeat(*len));
            let worker = usize::from(*sender) % count;
            workers.push(worker, &registry, *sender, text.as_bytes());
            expected.entry(peer(*sender).to_string()).or_default().push(text);
            for step in 0..*steps {
                workers.step((number + step) % count);
            }
        }
        workers.finish();
        let mut received = HashMap::<u16, HashMap<String, Vec<String>>>::new();
        for (to, from, text) in &workers.received.0 {
            let by_sender = received.entry(*to).or_default();
            by_sender.entry(from.clone()).or_default().push(text.clone());
        }
        prop_assert_eq!(received.len(), registry.len());
        prop_assert!(received.values().all(|by_sender| *by_sender == expected));
        prop_assert_eq!(workers.planned() as usize, registry.len() * texts.len());
    }
}

/// Enough for all texts of a test.
const BACKLOG: Duration = Duration::from_secs(10);
