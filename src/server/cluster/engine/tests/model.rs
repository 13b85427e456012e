//! A model test of presence and names: whatever happens to the bus and the nodes, all nodes agree a few
//! seconds after it is over.

mod checks;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::thread::{self, available_parallelism};

use super::world::{Random, World, newcomer, peer};
use crate::net::PeerAddr;
use crate::server::egress::inbox::Incoming;
use crate::server::registry::{NameError, Registry, Renamed, Touch};
use crate::wire::v2::{Move, SessionId};
use crate::wire::{Name, Reply, RoomName};

/// Peers of several nodes, and what they were told.
struct Model {
    world: World,
    random: Random,
    peers: Vec<ModelPeer>,
    last_port: u16,
    /// The time by which nodes that are dead are forgotten.
    dead_us: u64,
    tally: BTreeMap<&'static str, u64>,
    has_sessions: bool,
    are_trusted: bool,
}

struct ModelPeer {
    /// The number of its node.
    node: u32,
    port: u16,
    session: Option<SessionId>,
    /// The name that it was told last.
    name: Option<Name>,
    /// The names that it waits for, and the time by which it has the answer.
    waiting: Vec<(Name, u64)>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let mut world = World::new(seed);
        world.link.max_delay_us = [1_000, 20_000, 100_000][random.below(3) as usize];
        for slot in 0..2 + random.below(2) as u8 {
            let node = world.start(slot);
            world.nodes[node].skew_ms = random.below(400);
        }
        // Tables of sessions and networks take far longer to make than all else.
        let has_sessions = random.below(8) == 0;
        Self {
            dead_us: 0,
            world,
            peers: Vec::new(),
            last_port: 0,
            tally: BTreeMap::new(),
            has_sessions,
            are_trusted: !has_sessions,
            random,
        }
    }

    /// Does something at random.
    fn act(&mut self) {
        match self.random.below(40) {
            0..6 => self.register(),
            6..12 => self.with_peer(|model, registry, peer| {
                let room = model.any_room();
                model.count("join");
                drop(registry.join(&peer, room));
            }),
            12..14 => self.with_peer(|model, registry, peer| {
                model.count("subscribe");
                drop(registry.subscribe(&peer, model.any_room()));
            }),
            14 => self.with_peer(|model, registry, peer| {
                if let Some(room) = registry.directory().find(model.any_room()) {
                    registry.unsubscribe(&peer, room.number());
                }
            }),
            15..25 => self.rename(),
            25..27 => self.leave(),
            27 => self.expire(),
            28 => self.move_peer(),
            29 => self.register(),
            _ => self.fault(),
        }
    }

    fn fault(&mut self) {
        let nodes = self.world.nodes.len() as u64;
        if nodes == 0 {
            return self.start();
        }
        let node = self.random.below(nodes) as usize;
        let slot = self.world.nodes[node].slot;
        match self.random.below(14) {
            0 | 1 => {
                // It does not hear the others, or they do not hear it, or both.
                let kind = self.random.below(3);
                for other in (0..SLOTS).filter(|other| *other != slot) {
                    if kind != 0 {
                        self.world.link.deaf.insert((slot, other));
                    }
                    if kind != 1 {
                        self.world.link.deaf.insert((other, slot));
                    }
                }
                self.count("partition");
            }
            2 | 3 => self.world.link.deaf.clear(),
            4 | 5 => {
                let kind = self.random.below(3) as usize;
                self.world.link.lost_permille = [0, 100, 500][kind];
                self.world.link.repeated_permille = [0, 50, 200][kind];
            }
            6..8 if self.world.nodes[node].asleep_until_us <= self.world.now_us => {
                let is_connected = self.world.nodes[node].is_connected;
                self.world.set_connected(node, !is_connected);
                self.note_patience();
                self.count("bus away");
            }
            8 => {
                self.forget_peers(node);
                self.world.stop(node);
                // Its last word may get lost.
                self.note_death();
                self.count("stop");
            }
            9 => {
                self.forget_peers(node);
                self.world.kill(node);
                self.note_death();
                self.count("kill");
            }
            10 => {
                self.forget_peers(node);
                self.world.kill(node);
                self.note_death();
                self.world.start(slot);
                self.count("restart");
            }
            11 => {
                let until_us = self.world.now_us + self.random.below(5_000_000);
                self.world.nodes[node].asleep_until_us = until_us;
                let number = self.world.nodes[node].number;
                for peer in self.peers.iter_mut().filter(|peer| peer.node == number) {
                    for (_, deadline_us) in &mut peer.waiting {
                        *deadline_us = (*deadline_us).max(until_us + TICK_US + ANSWER_US);
                    }
                }
                self.note_patience();
                self.count("sleep");
            }
            _ => self.start(),
        }
    }

    fn start(&mut self) {
        let is_free = |slot: &u8| self.world.nodes.iter().all(|node| node.slot != *slot);
        if let Some(slot) = (0..SLOTS).find(is_free) {
            self.world.start(slot);
        }
    }

    fn end_faults(&mut self) {
        self.world.link.deaf.clear();
        self.world.link.lost_permille = 0;
        self.world.link.repeated_permille = 0;
        for node in 0..self.world.nodes.len() {
            let node_ref = &mut self.world.nodes[node];
            node_ref.asleep_until_us = node_ref.asleep_until_us.min(self.world.now_us);
            self.world.set_connected(node, true);
        }
        if self.world.nodes.is_empty() {
            self.start();
        }
        self.note_patience();
    }

    /// A node has died, without a word that all nodes hear.
    fn note_death(&mut self) {
        self.dead_us = self.patient_until_us() + DEAD_US;
    }

    /// A node that was away gives the others the time of silence again.
    fn note_patience(&mut self) {
        if self.dead_us > self.world.now_us {
            self.dead_us = self.dead_us.max(self.patient_until_us() + DEAD_US);
        }
    }

    /// The time at which the last node wakes up.
    fn patient_until_us(&self) -> u64 {
        let asleep_us = self.world.nodes.iter().map(|node| node.asleep_until_us);
        asleep_us.max().unwrap_or(0).max(self.world.now_us)
    }

    fn register(&mut self) {
        let Some(node) = self.any_node() else {
            return;
        };
        self.last_port += 1;
        let port = self.last_port;
        let session = self
            .has_sessions
            .then(|| SessionId::new(port.into()).unwrap());
        let now_ms = self.world.now_us / 1_000;
        self.world.set_clock(node);
        let newcomer = newcomer(port, session, self.are_trusted);
        self.world.nodes[node].registry.register(&newcomer, now_ms);
        self.peers.push(ModelPeer {
            node: self.world.nodes[node].number,
            port,
            session,
            name: None,
            waiting: Vec::new(),
        });
    }

    fn rename(&mut self) {
        let name = self.any_name();
        let Some((at, node)) = self.any_peer() else {
            return;
        };
        self.world.set_clock(node);
        let registry = &self.world.nodes[node].registry;
        let renamed = registry.rename(&peer(self.peers[at].port), name).unwrap();
        let it = &mut self.peers[at];
        match renamed {
            Ok(Renamed::Yes) => it.name = Some(name),
            Ok(Renamed::Unconfirmed) => {
                it.name = Some(name);
                self.count("not asked");
            }
            Ok(Renamed::Pending) => {
                let asleep_us = self.world.nodes[node].asleep_until_us;
                let is_asleep = asleep_us > self.world.now_us;
                let wakes_us = if is_asleep { asleep_us + TICK_US } else { 0 };
                let deadline_us = self.world.now_us.max(wakes_us) + ANSWER_US;
                let is_it = |waiting: &(Name, u64)| waiting.0.folded() == name.folded();
                // One answer is for both requests.
                if !it.waiting.iter().any(is_it) {
                    it.waiting.push((name, deadline_us));
                }
            }
            Err(NameError::Taken(taken)) => {
                assert_eq!(taken, name);
                self.count("taken here");
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn leave(&mut self) {
        if let Some((at, node)) = self.any_peer() {
            self.world.set_clock(node);
            let left = self.peers.swap_remove(at);
            let registry = &self.world.nodes[node].registry;
            registry.leave(&peer(left.port), left.session).unwrap();
        }
    }

    /// Removes the peers of a node that have done nothing for a second.
    fn expire(&mut self) {
        let Some(node) = self.any_node() else {
            return;
        };
        self.world.set_clock(node);
        let oldest_ms = (self.world.now_us / 1_000).saturating_sub(1_000);
        let mut expired = Vec::new();
        let registry = &self.world.nodes[node].registry;
        registry.expire(&[oldest_ms; super::world::WORKERS], |address| {
            expired.push(address.socket_addr().port());
        });
        let number = self.world.nodes[node].number;
        self.peers
            .retain(|peer| peer.node != number || !expired.contains(&peer.port));
        self.count("expire");
    }

    fn move_peer(&mut self) {
        let Some((at, node)) = self.any_peer() else {
            return;
        };
        let Some(session) = self.peers[at].session else {
            return;
        };
        self.world.set_clock(node);
        self.last_port += 1;
        let former = Move {
            session,
            address: peer(self.peers[at].port).socket_addr(),
        };
        let newcomer = newcomer(self.last_port, Some(session), self.are_trusted);
        let now_ms = self.world.now_us / 1_000;
        let moved = self.world.nodes[node]
            .registry
            .take_over(&newcomer, &former, now_ms);
        assert!(matches!(moved, Touch::Moved(_)));
        let it = &mut self.peers[at];
        it.port = self.last_port;
        // Nobody knows where it is when the answer comes.
        it.waiting.clear();
        self.count("move");
    }

    fn with_peer(&mut self, act: impl FnOnce(&mut Self, &Registry, PeerAddr)) {
        if let Some((at, node)) = self.any_peer() {
            self.world.set_clock(node);
            let registry = std::sync::Arc::clone(&self.world.nodes[node].registry);
            let address = peer(self.peers[at].port);
            act(self, &registry, address);
        }
    }

    fn forget_peers(&mut self, node: usize) {
        let number = self.world.nodes[node].number;
        self.peers.retain(|peer| peer.node != number);
    }

    fn run(&mut self, us: u64) {
        let end_us = self.world.now_us + us;
        let Self {
            world,
            peers,
            tally,
            ..
        } = self;
        world.run_until(end_us, |world, at, incoming| {
            let Incoming::Reply { to, reply } = incoming else {
                panic!("nobody sends anything");
            };
            let number = world.nodes[at.node].number;
            let port = to.address.socket_addr().port();
            let is_it = |peer: &&mut ModelPeer| peer.node == number && peer.port == port;
            let Some(peer) = peers.iter_mut().find(is_it) else {
                return;
            };
            let (name, kind) = match reply {
                Reply::Named(name) => (name, "named"),
                Reply::NamedUnconfirmed(name) => (name, "not confirmed"),
                Reply::NameTaken(name) => (name, "taken"),
                Reply::NameLost(name, address) => {
                    assert_eq!(address, to.address.socket_addr());
                    assert_eq!(peer.name.take(), Some(name));
                    *tally.entry("lost").or_default() += 1;
                    return;
                }
                reply => panic!("{reply:?}"),
            };
            *tally.entry(kind).or_default() += 1;
            let at = peer.waiting.iter().position(|it| it.0 == name);
            let (_, deadline_us) = peer.waiting.remove(at.expect("it has asked for that"));
            assert!(
                world.now_us <= deadline_us,
                "late by {}",
                world.now_us - deadline_us
            );
            if kind != "taken" {
                peer.name = Some(name);
            }
        });
        self.check_peers();
    }

    fn any_node(&mut self) -> Option<usize> {
        let nodes = self.world.nodes.len() as u64;
        (nodes > 0).then(|| self.random.below(nodes) as usize)
    }

    /// The indices of a peer and of its node.
    fn any_peer(&mut self) -> Option<(usize, usize)> {
        if self.peers.is_empty() {
            return None;
        }
        let peer = self.random.below(self.peers.len() as u64) as usize;
        Some((peer, self.world.node(self.peers[peer].node)?))
    }

    fn any_name(&mut self) -> Name {
        NAMES[self.random.below(NAMES.len() as u64) as usize]
            .parse()
            .unwrap()
    }

    fn any_room(&mut self) -> RoomName {
        ROOMS[self.random.below(ROOMS.len() as u64) as usize]
            .parse()
            .unwrap()
    }

    fn count(&mut self, kind: &'static str) {
        *self.tally.entry(kind).or_default() += 1;
    }
}

/// Runs the model with a seed, and returns what has happened how often.
fn run(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut model = Model::new(seed);
    for _ in 0..10 + model.random.below(25) {
        model.act();
        let pause_us = match model.random.below(4) {
            0 => 0,
            1 => 10_000,
            2 => 100_000,
            _ => 1_500_000,
        };
        let us = model.random.below(pause_us + 1);
        model.run(us);
    }
    model.end_faults();
    let dead_us = model.dead_us.saturating_sub(model.world.now_us);
    model.run(SETTLED_US.max(dead_us));
    model.check_nodes();
    model.tally
}

#[test]
fn all_nodes_agree_after_any_faults() {
    let seeds: u64 = match std::env::var("BULLHORN_CLUSTER_SEEDS") {
        Ok(seeds) => seeds.parse().unwrap(),
        Err(_) => SEEDS,
    };
    let first: u64 = std::env::var("BULLHORN_CLUSTER_SEED").map_or(0, |seed| seed.parse().unwrap());
    let threads = available_parallelism().map_or(1, NonZero::get);
    let tally = Mutex::new(BTreeMap::new());
    let run_each = |start| {
        for seed in (first..first + seeds).skip(start).step_by(threads) {
            let counts = catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
                eprintln!("seed {seed} of the cluster's model fails");
                resume_unwind(panic);
            });
            let mut tally = tally.lock().unwrap();
            for (kind, count) in counts {
                *tally.entry(kind).or_insert(0) += count;
            }
        }
    };
    thread::scope(|scope| {
        for start in 0..threads {
            let run_each = &run_each;
            scope.spawn(move || run_each(start));
        }
    });
    println!("{:?}", tally.into_inner().unwrap());
}

/// Number of seeds, which take ten seconds without optimization. The variable above runs more.
const SEEDS: u64 = 800;

/// Maximum number of nodes.
const SLOTS: u8 = 4;

const NAMES: [&str; 5] = ["ada", "Ada", "bob", "eve", "BOB"];
const ROOMS: [&str; 4] = ["den", "Den", "hall", "lobby"];

/// A tick, with its jitter.
const TICK_US: u64 = 111_000;

/// An answer comes within 500 ms and a tick.
const ANSWER_US: u64 = 400_000 + TICK_US;

/// All nodes agree within two digests, which are heartbeats, after the last fault.
const SETTLED_US: u64 = 3_000_000;

/// A node that is dead is gone within 3.5 s, the time that its last messages take, and two ticks.
const DEAD_US: u64 = 3_500_000 + 2 * TICK_US + 100_000;
