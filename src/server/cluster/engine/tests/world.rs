//! Several nodes and their bus, in simulated time.

mod peers;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::super::bus::{Bus, Subject};
use super::super::super::shared::ClusterShared;
use super::super::{Engine, Now, Parts, TICK_MS, incarnation};
use crate::server::egress::inbox::Incoming;
use crate::server::ops::log::{Log, LogWriter};
use crate::server::ops::stats::WorkerInfo;
use crate::server::ops::supervise::{Wake, lock};
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::{Registry, SET_CLOCK_MS};
use crate::sync::Mutex;
use crate::wire::Reply;
use crate::wire::cluster::NodeId;

pub(super) use self::peers::{newcomer, peer};

/// The nodes and all that is on its way.
pub(super) struct World {
    pub(super) now_us: u64,
    pub(super) nodes: Vec<TestNode>,
    pub(super) random: Random,
    pub(super) link: Link,
    flights: Vec<Flight>,
    /// The time of the last arrival from a node, on a subject, at a node.
    arrivals: HashMap<(u32, Subject, u32), u64>,
    started: u32,
    log: Log,
    pub(super) lines: LogWriter,
}

/// The state of the bus.
#[derive(Default)]
pub(super) struct Link {
    pub(super) max_delay_us: u64,
    /// Messages of nodes to each other that get lost, of 1,000.
    pub(super) lost_permille: u64,
    /// Messages that come twice, of 1,000.
    pub(super) repeated_permille: u64,
    /// The second does not hear the first.
    pub(super) deaf: BTreeSet<(u8, u8)>,
}

/// A process that is a node.
pub(super) struct TestNode {
    /// Another one for each process.
    pub(super) number: u32,
    /// The part of the node's name that is a number.
    pub(super) slot: u8,
    pub(super) registry: Arc<Registry>,
    pub(super) shared: Arc<ClusterShared>,
    pub(super) engine: Engine,
    /// The notices to all peers.
    pub(super) told: Arc<Mutex<Vec<Reply<'static>>>>,
    pub(super) named: Arc<Mutex<Vec<SocketAddr>>>,
    pub(super) subjects: BTreeSet<Subject>,
    pub(super) is_connected: bool,
    /// Its thread does nothing before this time.
    pub(super) asleep_until_us: u64,
    /// The difference of its clock, in ms.
    pub(super) skew_ms: u64,
    pub(super) worker_wakes: Arc<AtomicUsize>,
    is_woken: Arc<AtomicBool>,
    next_tick_us: u64,
}

/// A worker of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    pub(super) node: usize,
    pub(super) worker: usize,
}

struct Flight {
    at_us: u64,
    to: u32,
    subject: Subject,
    bytes: Arc<[u8]>,
}

/// Calls of a node to its bus.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

enum Call {
    Publish(Subject, Arc<[u8]>),
    Subscribe(Subject),
    Unsubscribe(Subject),
}

/// Random numbers by xorshift (Marsaglia, 2003).
pub(super) struct Random(u64);

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let (log, lines) = Log::new();
        Self {
            now_us: 1_000_000,
            nodes: Vec::new(),
            random: Random::new(seed),
            link: Link {
                max_delay_us: 5_000,
                ..Link::default()
            },
            flights: Vec::new(),
            arrivals: HashMap::new(),
            started: 0,
            log,
            lines,
        }
    }

    /// Starts a node, and connects it to the bus. Returns its index.
    pub(super) fn start(&mut self, slot: u8) -> usize {
        self.start_with(slot, true, Registry::plain(WORKERS, 10_000))
    }

    pub(super) fn start_with(&mut self, slot: u8, is_connected: bool, registry: Registry) -> usize {
        self.started += 1;
        let number = self.started;
        let incarnation = incarnation(EPOCH_MS + self.now_us / 1_000, number.into());
        let is_woken = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&is_woken);
        let wake: Wake = Arc::new(move || flag.store(true, Ordering::Relaxed));
        let shared = Arc::new(ClusterShared::new(
            incarnation,
            WORKERS,
            &wake,
            Arc::clone(&wake),
        ));
        let registry = Arc::new(registry);
        registry.join_cluster(&shared.changes, Arc::clone(&shared.requests));
        let worker_wakes = Arc::<AtomicUsize>::default();
        let told = Arc::<Mutex<Vec<Reply<'static>>>>::default();
        let named = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let parts = Parts {
            cluster: "test".parse().unwrap(),
            node: id(slot),
            incarnation,
            advertise: Some(advertised(slot)),
            registry: Arc::clone(&registry),
            workers: (0..WORKERS).map(|_| worker(&worker_wakes)).collect(),
            shared: Arc::clone(&shared),
            log: self.log.clone(),
            tell_all: {
                let told = Arc::clone(&told);
                Box::new(move |reply| lock(&told).push(reply))
            },
            name_servers: {
                let named = Arc::clone(&named);
                Box::new(move |addresses| *lock(&named) = addresses)
            },
        };
        let now = Now { us: self.now_us };
        self.nodes.push(TestNode {
            number,
            slot,
            registry,
            shared,
            engine: Engine::new(parts, now),
            told,
            named,
            subjects: BTreeSet::new(),
            is_connected: false,
            asleep_until_us: 0,
            skew_ms: 0,
            worker_wakes,
            is_woken,
            next_tick_us: self.now_us + self.random.below(TICK_MS * 1_000),
        });
        let node = self.nodes.len() - 1;
        self.call(node, |engine, _, bus| engine.start(bus));
        self.set_connected(node, is_connected);
        node
    }

    /// Ends a node's process without a word.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes.remove(node);
    }

    /// Ends a node's process as a stop does.
    pub(super) fn stop(&mut self, node: usize) {
        self.call(node, |engine, _, bus| engine.stop(bus));
        self.nodes.remove(node);
    }

    pub(super) fn set_connected(&mut self, node: usize, is_connected: bool) {
        if self.nodes[node].is_connected == is_connected {
            return;
        }
        let number = self.nodes[node].number;
        self.nodes[node].is_connected = is_connected;
        self.flights.retain(|flight| flight.to != number);
        self.call(node, |engine, now, bus| {
            engine.set_connected(is_connected, now, bus);
        });
    }

    /// The index of the node with this number.
    pub(super) fn node(&self, number: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.number == number)
    }

    /// Lets the time pass.
    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now_us + ms * 1_000, |_, _, _| {});
    }

    /// Lets the time pass, and calls `on_incoming` with all that is for the peers of a node.
    pub(super) fn run_until(
        &mut self,
        end_us: u64,
        mut on_incoming: impl FnMut(&mut Self, Seat, Incoming),
    ) {
        for node in 0..self.nodes.len() {
            self.take_incoming(node, &mut on_incoming);
        }
        self.wake(&mut on_incoming);
        loop {
            let ticks = self.nodes.iter().enumerate();
            let tick = ticks
                .map(|(at, node)| (node.next_tick_us.max(node.asleep_until_us), at))
                .min();
            let flights = self.flights.iter().enumerate();
            let arrival = flights
                .map(|(at, flight)| (self.arrival(flight), flight.at_us, at))
                .min();
            match (tick, arrival) {
                (Some((tick_us, node)), arrival)
                    if tick_us <= end_us && arrival.is_none_or(|it| tick_us < it.0) =>
                {
                    self.now_us = self.now_us.max(tick_us);
                    let jitter_us = self.random.below(10_000);
                    self.nodes[node].next_tick_us = self.now_us + TICK_MS * 1_000 + jitter_us;
                    self.call(node, Engine::tick);
                    self.take_incoming(node, &mut on_incoming);
                }
                (_, Some((at_us, _, flight))) if at_us <= end_us => {
                    self.now_us = self.now_us.max(at_us);
                    // Those behind it keep their order.
                    let flight = self.flights.remove(flight);
                    if let Some(node) = self.node(flight.to) {
                        self.deliver(node, flight);
                        self.take_incoming(node, &mut on_incoming);
                    }
                }
                _ => break,
            }
            self.wake(&mut on_incoming);
        }
        self.now_us = end_us;
        self.wake(&mut on_incoming);
    }

    /// Hands a message over to a node as its bus does.
    pub(super) fn hand_over(&mut self, node: usize, subject: Subject, bytes: Vec<u8>) {
        self.call(node, |engine, now, bus| {
            engine.handle(subject, bytes, now, bus);
        });
    }

    /// Publishes a message as a node does.
    pub(super) fn publish(&mut self, node: usize, subject: Subject, bytes: &[u8]) {
        self.route(node, subject, &bytes.into());
    }

    /// Calls a node, and lets the bus do what it asks for.
    pub(super) fn call(&mut self, at: usize, call: impl FnOnce(&mut Engine, Now, &mut Calls)) {
        self.set_clock(at);
        let mut calls = Calls::default();
        let now = Now { us: self.now_us };
        call(&mut self.nodes[at].engine, now, &mut calls);
        for call in calls.0 {
            match call {
                Call::Publish(subject, bytes) => self.route(at, subject, &bytes),
                Call::Subscribe(subject) => {
                    let is_new = self.nodes[at].subjects.insert(subject);
                    assert!(is_new, "{subject:?}");
                }
                Call::Unsubscribe(subject) => {
                    let was_there = self.nodes[at].subjects.remove(&subject);
                    assert!(was_there, "{subject:?}");
                }
            }
        }
    }

    /// Sets the clock of this thread to that of a node.
    pub(super) fn set_clock(&self, node: usize) {
        let now_ms = EPOCH_MS + self.now_us / 1_000 + self.nodes[node].skew_ms;
        SET_CLOCK_MS.set(Some(now_ms));
    }

    /// Calls the nodes that were woken.
    pub(super) fn wake(&mut self, on_incoming: &mut impl FnMut(&mut Self, Seat, Incoming)) {
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            let is_awake = it.asleep_until_us <= self.now_us;
            if is_awake && it.is_woken.swap(false, Ordering::Relaxed) {
                self.call(node, Engine::wake);
                self.take_incoming(node, on_incoming);
            }
        }
    }

    fn take_incoming(
        &mut self,
        node: usize,
        on_incoming: &mut impl FnMut(&mut Self, Seat, Incoming),
    ) {
        for worker in 0..WORKERS {
            while let Some(incoming) = self.nodes[node].shared.inboxes[worker].pop() {
                on_incoming(self, Seat { node, worker }, incoming);
            }
        }
    }

    /// The time at which a message is taken, later than its arrival if the node sleeps.
    fn arrival(&self, flight: &Flight) -> u64 {
        let node = self.node(flight.to);
        node.map_or(flight.at_us, |node| {
            flight.at_us.max(self.nodes[node].asleep_until_us)
        })
    }

    fn deliver(&mut self, node: usize, flight: Flight) {
        let Flight { subject, bytes, .. } = flight;
        if self.nodes[node].hears(subject) {
            self.call(node, |engine, now, bus| {
                engine.handle(subject, bytes, now, bus);
            });
        }
    }

    fn route(&mut self, from: usize, subject: Subject, bytes: &Arc<[u8]>) {
        let (sender, sender_slot) = (self.nodes[from].number, self.nodes[from].slot);
        if !self.nodes[from].is_connected {
            return;
        }
        for to in 0..self.nodes.len() {
            let node = &self.nodes[to];
            let is_deaf = self.link.deaf.contains(&(sender_slot, node.slot));
            if !node.is_connected || is_deaf || !node.hears(subject) {
                continue;
            }
            let (number, slot) = (node.number, node.slot);
            let is_lost = slot != sender_slot && self.random.hits(self.link.lost_permille);
            if is_lost {
                continue;
            }
            let copies = 1 + usize::from(self.random.hits(self.link.repeated_permille));
            let delay_us = self.random.below(self.link.max_delay_us + 1);
            let last = self.arrivals.entry((sender, subject, number)).or_default();
            *last = (self.now_us + delay_us).max(*last);
            for _ in 0..copies {
                self.flights.push(Flight {
                    at_us: *last,
                    to: number,
                    subject,
                    bytes: Arc::clone(bytes),
                });
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        SET_CLOCK_MS.set(None);
    }
}

impl Bus for Calls {
    fn publish(&mut self, subject: Subject, message: Vec<u8>) {
        self.0.push(Call::Publish(subject, message.into()));
    }

    fn subscribe(&mut self, subject: Subject) {
        self.0.push(Call::Subscribe(subject));
    }

    fn unsubscribe(&mut self, subject: Subject) {
        self.0.push(Call::Unsubscribe(subject));
    }
}

impl TestNode {
    /// Returns true if the bus has a subscription of this node for a message.
    fn hears(&self, subject: Subject) -> bool {
        let is_of_shard = match subject {
            Subject::Room(room) => {
                let shard = super::super::super::bus::shard(&room);
                self.subjects.contains(&Subject::Shard(shard))
            }
            _ => false,
        };
        is_of_shard || self.subjects.contains(&subject)
    }
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub(super) fn hits(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }
}

pub(super) fn id(slot: u8) -> NodeId {
    format!("node-{slot}").parse().unwrap()
}

pub(super) fn advertised(slot: u8) -> SocketAddr {
    ([198, 51, 100, slot], 4_000).into()
}

fn worker(wakes: &Arc<AtomicUsize>) -> WorkerHandle {
    let wakes = Arc::clone(wakes);
    let wake = move || {
        wakes.fetch_add(1, Ordering::Relaxed);
    };
    WorkerHandle {
        info: WorkerInfo::new("worker"),
        wake: Arc::new(wake),
    }
}

pub(super) const WORKERS: usize = 2;

/// The time by the clocks of the nodes at their start.
const EPOCH_MS: u64 = 1_700_000_000_000;
