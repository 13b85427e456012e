//! The world of one seed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::time::{Duration, Instant};

use bullhorn::ServerConfig;
use bullhorn::config::{LimitsConfig, PerSecond, Proof, Switch, Trust};
use bullhorn::net::PeerAddr;
use bullhorn::server::egress::Progress;
use bullhorn::stats::Counts;
use fastrand::Rng;

use crate::host::{Host, Ruling};
use crate::peers::{Actor, Outbox};

/// The settings of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// All that happens follows from it.
    pub seed: u64,
    /// Number of peers, or what the seed says.
    pub peers: Option<usize>,
    /// Time in simulated seconds, or what the seed says.
    pub seconds: Option<u64>,
    /// Every datagram is printed.
    pub is_traced: bool,
}

/// The result of a run without a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// A hash of all datagrams.
    pub hash: u64,
    /// The counts of all workers.
    pub counts: Counts,
    /// Number of peers.
    pub peers: usize,
}

/// A server, its peers, and the network between them.
struct World {
    host: Host,
    rng: Rng,
    workers: usize,
    /// The true time, from the start. The server's clock may be slower.
    now_ms: u64,
    /// The part of a millisecond of the server's clock that is left, in percent.
    rest: u64,
    clock_percent: u64,
    start: Instant,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    actors: Vec<Actor>,
    faults: Faults,
    /// Workers have their peers by a hash with it.
    salt: u64,
    /// The time up to which each worker is stuck.
    stuck_ms: Vec<u64>,
    is_turning: Vec<bool>,
    reap_ms: u64,
    is_calm: bool,
    has_operator: bool,
}

enum Event {
    ToServer(PeerAddr, Vec<u8>),
    ToPeer(PeerAddr, Vec<u8>),
    Act(usize),
    Turn(usize),
    Reap,
    Notify,
    Fault,
}

/// The faults of a network, in each direction. Probabilities are in 1/256.
#[derive(Clone, Copy)]
struct Faults {
    loss: u8,
    repeats: u8,
    max_delay_ms: u64,
}

/// Runs a world to its end.
///
/// # Panics
/// If the server does something wrong.
pub fn run(options: &Options) -> Report {
    let mut rng = Rng::with_seed(options.seed);
    // Most faults show in small worlds. In a room of a hundred, workers share their plans.
    let kind = rng.u8(0..32);
    let is_crowded = kind == 0;
    let peers = match kind {
        0 => rng.usize(300..1_500),
        1..6 => rng.usize(60..140),
        _ => rng.usize(2..16),
    };
    let peers = options.peers.unwrap_or(peers);
    let seconds = options
        .seconds
        .unwrap_or(if is_crowded { 8 } else { rng.u64(10..50) });
    let mut world = World::new(options, rng, peers);
    world.run_until(1_000 * seconds);
    // Everybody comes back when the faults are over.
    world.is_calm = true;
    world.host.congest(0);
    world.faults = Faults {
        loss: 0,
        repeats: 0,
        max_delay_ms: 5,
    };
    world.run_until(1_000 * seconds + CALM_MS);
    world.check_sessions();
    let mut outbox = Outbox::new();
    for actor in &mut world.actors {
        actor.leave(&mut outbox);
    }
    for (from, datagram) in outbox {
        let worker = world.worker_of(&from);
        world.host.arrive(worker, from, datagram);
    }
    let (hash, counts) = world.host.finish();
    Report {
        hash,
        counts,
        peers,
    }
}

impl World {
    fn new(options: &Options, mut rng: Rng, peers: usize) -> Self {
        let config = config(&mut rng, peers);
        let start = Instant::now();
        let is_hostile = rng.bool();
        let attackers = if is_hostile { peers / 5 + 1 } else { 0 };
        let mut actors: Vec<Actor> = (0..peers)
            .map(|index| Actor::new(address(&mut rng), rng.fork(), index < attackers, start))
            .collect();
        if peers >= 300 {
            actors.iter_mut().skip(30).for_each(Actor::join_crowd);
            // Each has its own address.
            for (index, actor) in actors.iter_mut().enumerate().skip(30) {
                let ip = Ipv4Addr::from_bits(0x0A01_0000 + index as u32);
                actor.address = PeerAddr::new((ip, 5_000).into(), 0);
            }
        }
        let workers = usize::from(config.workers);
        let faults = Faults {
            loss: rng.choice([0, 4, 40]).expect("one"),
            repeats: rng.choice([0, 4, 40]).expect("one"),
            max_delay_ms: rng.choice([1, 20, 400]).expect("one"),
        };
        let mut world = Self {
            host: Host::new(&config, rng.u64(..), options.is_traced),
            workers,
            now_ms: 0,
            rest: 0,
            clock_percent: rng.choice([100, 100, 90, 60]).expect("one"),
            start,
            events: BTreeMap::new(),
            number: 0,
            faults,
            salt: rng.u64(..),
            stuck_ms: vec![0; workers],
            is_turning: vec![false; workers],
            reap_ms: config.reap_interval.as_millis() as u64,
            is_calm: false,
            has_operator: rng.u8(0..3) == 0,
            actors,
            rng,
        };
        for actor in 0..peers {
            let ms = world.rng.u64(..2_000);
            world.after(ms, Event::Act(actor));
        }
        world.after(0, Event::Reap);
        world.after(50, Event::Notify);
        world.after(500, Event::Fault);
        world
    }

    fn run_until(&mut self, end_ms: u64) {
        while let Some(event) = self.events.first_entry()
            && event.key().0 <= end_ms
        {
            let ((ms, _), event) = event.remove_entry();
            let passed = (ms.max(self.now_ms) - self.now_ms) * self.clock_percent + self.rest;
            self.rest = passed % 100;
            self.now_ms = self.now_ms.max(ms);
            self.host.advance(passed / 100);
            self.handle(event);
            self.carry_sent();
            for worker in 0..self.workers {
                if !self.is_turning[worker] && self.host.is_due(worker) {
                    self.is_turning[worker] = true;
                    let ms = self.rng.u64(..3);
                    self.after(ms, Event::Turn(worker));
                }
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::ToServer(from, datagram) => {
                let worker = self.worker_of(&from);
                for actor in self.actors.iter_mut().filter(|actor| actor.is_attacker()) {
                    actor.overhear(from, &datagram);
                }
                self.host.arrive(worker, from, datagram);
            }
            Event::ToPeer(to, datagram) => {
                let mut outbox = Outbox::new();
                for actor in self.actors.iter_mut().filter(|actor| actor.address == to) {
                    actor.receive(&datagram, now, &mut outbox);
                }
                self.carry(outbox);
            }
            Event::Act(index) => self.act(index),
            Event::Turn(worker) => self.turn(worker),
            Event::Reap => {
                self.host.reap();
                self.after(self.reap_ms, Event::Reap);
            }
            Event::Notify => {
                self.host.notify();
                self.after(100, Event::Notify);
            }
            Event::Fault => {
                if !self.is_calm {
                    self.fault();
                }
                let ms = self.rng.u64(100..3_000);
                self.after(ms, Event::Fault);
            }
        }
    }

    fn act(&mut self, index: usize) {
        let others: Vec<_> = self
            .actors
            .iter()
            .take(64)
            .map(|actor| actor.address)
            .collect();
        let (now, mut outbox, is_calm) = (self.now(), Outbox::new(), self.is_calm);
        let (is_new, may_relocate) = (
            self.rng.u8(0..60) == 0,
            !is_calm && self.actors.len() <= 100,
        );
        let pace_ms = self.actors[index].pace_ms;
        if is_new && may_relocate {
            let address = match self.rng.bool() {
                true => address(&mut self.rng),
                // Reused, perhaps while its peer is still there.
                false => *self.rng.choice(&others).expect("itself"),
            };
            self.actors[index].relocate(address, now);
        }
        let actor = &mut self.actors[index];
        actor.run_session(now, &mut outbox);
        if !(is_calm && actor.is_attacker()) {
            actor.act(is_calm, &others, now, &mut outbox);
        }
        // Now and then it is silent for longer than the timeout.
        let is_silent = !is_calm && self.rng.u8(0..80) == 0;
        let ms = if is_silent {
            15_000
        } else {
            self.rng.u64(1..=2 * pace_ms)
        };
        self.after(
            ms.min(5_000.max(ms * u64::from(is_silent))),
            Event::Act(index),
        );
        self.carry(outbox);
    }

    fn turn(&mut self, worker: usize) {
        if self.now_ms < self.stuck_ms[worker] {
            let ms = self.stuck_ms[worker] - self.now_ms;
            return self.after(ms, Event::Turn(worker));
        }
        let sends = self.rng.u32(1..6);
        let ms = match self.host.turn(worker, sends) {
            Progress::Idle => {
                self.is_turning[worker] = false;
                return;
            }
            Progress::Waiting => 25,
            Progress::More => self.rng.u64(..2),
        };
        self.after(ms, Event::Turn(worker));
    }

    fn fault(&mut self) {
        let worker = self.rng.usize(..self.workers);
        let victim = self
            .rng
            .choice(&self.actors)
            .expect("a peer")
            .address
            .socket_addr();
        match self.rng.u8(0..16) {
            0 => self.stuck_ms[worker] = self.now_ms + self.rng.u64(50..8_000),
            1..4 => self.host.stall(self.rng.u64(50..600)),
            4 => self.host.congest(self.rng.u32(1..20)),
            5 => self.salt = self.rng.u64(..),
            // The whole process pauses, or its machine.
            6 => {
                let end_ms = self.now_ms + self.rng.u64(1_000..30_000);
                self.pause(end_ms);
            }
            7.. if self.rng.u8(0..8) == 0 => self.clock_percent = self.rng.u64(50..=100),
            8 if self.has_operator => self.host.rule(Ruling::Kick(victim)),
            9 if self.has_operator => self.host.rule(Ruling::Mute(victim, self.rng.u64(1..60))),
            10 if self.has_operator => self.host.rule(Ruling::Unmute(victim)),
            11 if self.has_operator => self.host.rule(Ruling::Ban(victim)),
            12 if self.has_operator => self.host.rule(Ruling::Unban(victim)),
            _ => self.burst(),
        }
    }

    /// Lets a peer act often at once.
    fn burst(&mut self) {
        let (now, others) = (self.now(), Vec::new());
        let (mut outbox, index) = (Outbox::new(), self.rng.usize(..self.actors.len()));
        for _ in 0..self.rng.u32(5..60) {
            self.actors[index].act(false, &others, now, &mut outbox);
        }
        self.carry(outbox);
    }

    /// Delays all that the server does. The datagrams of its peers wait in its sockets.
    fn pause(&mut self, end_ms: u64) {
        let is_its = |event: &Event| matches!(event, Event::Turn(_) | Event::Reap | Event::Notify);
        let (delayed, others) = std::mem::take(&mut self.events)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, event)| is_its(event));
        self.events = others;
        for ((ms, number), event) in delayed {
            self.events.insert((ms.max(end_ms), number), event);
        }
    }

    fn carry_sent(&mut self) {
        for (to, datagram) in std::mem::take(&mut self.host.sent) {
            for ms in self.delays() {
                self.after(ms, Event::ToPeer(to, datagram.clone()));
            }
        }
    }

    fn carry(&mut self, outbox: Outbox) {
        for (from, datagram) in outbox {
            for ms in self.delays() {
                self.after(ms, Event::ToServer(from, datagram.clone()));
            }
        }
    }

    /// The time that each copy of a datagram takes.
    fn delays(&mut self) -> Vec<u64> {
        let (rng, faults) = (&mut self.rng, self.faults);
        let copies = if rng.u8(..) < faults.repeats { 2 } else { 1 };
        let arrives = (0..copies).filter(|_| rng.u8(..) >= faults.loss).count();
        (0..arrives)
            .map(|_| 1 + rng.u64(..faults.max_delay_ms))
            .collect()
    }

    /// Checks that every session of the client library is up which nothing keeps from it.
    fn check_sessions(&self) {
        let down = self.actors.iter().filter(|actor| actor.is_down());
        for actor in down.filter(|actor| self.host.admits(&actor.address)) {
            let here = self
                .actors
                .iter()
                .filter(|other| other.address == actor.address);
            assert!(
                here.count() > 1,
                "the session at {:?} is down",
                actor.address
            );
        }
    }

    fn worker_of(&self, address: &PeerAddr) -> usize {
        let mut rng = Rng::with_seed(self.salt ^ u64::from(address.port()));
        let octets = match address.socket_addr().ip() {
            std::net::IpAddr::V4(ip) => u64::from(ip.to_bits()),
            std::net::IpAddr::V6(ip) => ip.to_bits() as u64,
        };
        (rng.u64(..) ^ octets.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as usize % self.workers
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now_ms + ms, self.number), event);
    }
}

/// A configuration, with small limits so that they are reached.
fn config(rng: &mut Rng, peers: usize) -> ServerConfig {
    let has_limits = rng.bool();
    let is_small = rng.bool() && peers < 60;
    let mut small = |max: u32, default: u32| if is_small { rng.u32(1..=max) } else { default };
    let (max_peers, max_rooms) = (small(12, 1_000_000), small(4, 100_000));
    let (max_names, max_room_members) = (small(4, 100_000), small(4, 100_000));
    let per_second = |count| PerSecond(NonZero::new(count));
    let limits = match has_limits {
        true => LimitsConfig {
            names_per_network: per_second(1),
            rooms_per_network: per_second(1),
            registrations_per_network: per_second(2),
            bytes_per_peer: per_second(2_000),
            texts_per_peer: per_second(2),
            work_per_peer: per_second(20),
            ..LimitsConfig::default()
        },
        false => LimitsConfig::off(),
    };
    let net = |text: &str| text.parse().expect("a network");
    ServerConfig {
        workers: rng.u16(1..=4),
        max_peers,
        max_rooms,
        max_names,
        max_room_members,
        proof: *rng
            .choice(&[Proof::Auto, Proof::Always, Proof::Never])
            .expect("one"),
        trust: match rng.u8(0..4) {
            0 => vec![Trust::Nobody],
            _ => vec![Trust::Net(net("10.0.0.0/8"))],
        },
        deny: if rng.u8(0..4) == 0 {
            vec![net("203.0.113.0/24")]
        } else {
            Vec::new()
        },
        commands: if rng.u8(0..16) == 0 {
            Switch::Off
        } else {
            Switch::On
        },
        timeout: Duration::from_millis(*rng.choice(&[2_000, 10_000]).expect("one")),
        reap_interval: Duration::from_millis(*rng.choice(&[200, 1_000]).expect("one")),
        backlog: Duration::from_millis(*rng.choice(&[1, 100]).expect("one")),
        limits,
        ..ServerConfig::default()
    }
}

/// An address in one of a few networks. Two in a hundred are odd.
fn address(rng: &mut Rng) -> PeerAddr {
    let last = rng.u8(1..5);
    let port = 5_000 + rng.u16(..4) + 64 * rng.u16(..2);
    let address: SocketAddr = match rng.u8(0..50) {
        0 => (Ipv4Addr::new(224, 0, 0, last), port).into(),
        1 => (Ipv4Addr::new(192, 0, 2, last), 53).into(),
        2..6 => (
            Ipv6Addr::new(0x2001, 0xdb8, 0, last.into(), 0, 0, 0, 9),
            port,
        )
            .into(),
        6..12 => (Ipv4Addr::new(203, 0, 113, last), port).into(),
        12..24 => (Ipv4Addr::new(192, 0, 2, last), port).into(),
        24..34 => (Ipv4Addr::new(198, 51, 100, last), port).into(),
        _ => (Ipv4Addr::new(10, 0, 0, last), port).into(),
    };
    PeerAddr::new(address, u8::from(rng.u8(0..8) == 0))
}

/// Time without faults at the end.
const CALM_MS: u64 = 40_000;
