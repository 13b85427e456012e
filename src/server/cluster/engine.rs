//! A node of a cluster, without its bus and its thread.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;

use super::bus::{Bus, Subject};
use super::claims::{Claims, is_earlier, owner};
use super::load::Load;
use super::message::{Body, Heartbeat, Message, MessageError};
use super::nodes::{DownReason, Event, HEARTBEAT_MS, MAX_SILENCE_MS, Nodes};
use super::own::OwnNode;
use super::positions::{Placed, Positions};
use super::rivals::Rivals;
use super::shared::{ClusterShared, ClusterStatus, NodeStatus, add};
use super::subscriptions::Subscriptions;
use crate::server::egress::inbox::{Incoming, IncomingBatch};
use crate::server::ops::log::Log;
use crate::server::ops::stats::WorkerId;
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::{NameAnswer, NameRequest, Recipient, Registry, Request};
use crate::wire::cluster::{Change, Claim, NodeId, parse_batch};
use crate::wire::{DisplayName, Name, Reply, RoomName};

/// The node that this server is. It is told what comes, and the time, and calls a [`Bus`].
pub struct Engine {
    parts: Parts,
    own: OwnNode,
    nodes: Nodes,
    subscriptions: Subscriptions,
    positions: Positions,
    claims: Claims,
    rivals: Rivals,
    load: Load,
    /// Shares the streams of other nodes out among the workers.
    hash: RandomState,
    is_connected: bool,
    /// The time since which the bus is away.
    away_ms: u64,
    /// There were other nodes then.
    had_others: bool,
    /// Peers were told that the cluster is split.
    is_split: bool,
    ticked_ms: u64,
    beaten_ms: Option<u64>,
    /// The ping that waits for its pong: its number and its time, in µs.
    ping: (u64, u64),
}

/// The parts of the server that a node works with.
pub struct Parts {
    pub cluster: NodeId,
    pub node: NodeId,
    /// Begins with the time of the start, see [`incarnation`].
    pub incarnation: u64,
    /// The address under which clients reach this node.
    pub advertise: Option<SocketAddr>,
    pub registry: Arc<Registry>,
    pub workers: Vec<WorkerHandle>,
    pub shared: Arc<ClusterShared>,
    pub log: Log,
    /// Tells all peers of this node something. It does not wait.
    pub tell_all: Box<dyn Fn(Reply<'static>) + Send>,
    /// Tells clients of up to [`MAX_NAMED_SERVERS`] other nodes.
    pub name_servers: Box<dyn Fn(Vec<SocketAddr>) + Send>,
}

/// The time of a call.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By a clock that is never set.
    pub us: u64,
}

impl Now {
    pub fn ms(self) -> u64 {
        self.us / 1_000
    }
}

impl Engine {
    /// Returns a node that the bus is not told of yet.
    pub fn new(parts: Parts, now: Now) -> Self {
        Self {
            own: OwnNode::new(parts.node, parts.incarnation),
            nodes: Nodes::new(Arc::clone(parts.registry.remote())),
            subscriptions: Subscriptions::default(),
            positions: Positions::default(),
            claims: Claims::default(),
            rivals: Rivals::default(),
            load: Load::default(),
            hash: RandomState::new(),
            is_connected: false,
            away_ms: now.ms(),
            had_others: false,
            is_split: false,
            ticked_ms: now.ms(),
            beaten_ms: None,
            ping: (0, 0),
            parts,
        }
    }

    /// Subscribes to what nodes tell each other. A bus keeps its subscriptions while it is away.
    pub fn start(&mut self, bus: &mut impl Bus) {
        bus.subscribe(Subject::Nodes);
        bus.subscribe(Subject::Node(self.own.id()));
        self.publish_status(Now {
            us: self.ticked_ms * 1_000,
        });
    }

    /// Takes note that the bus is there, or away.
    pub fn set_connected(&mut self, is_connected: bool, now: Now, bus: &mut impl Bus) {
        if is_connected == self.is_connected {
            return;
        }
        self.is_connected = is_connected;
        if is_connected {
            self.parts.log.info("cluster: the bus is there".into());
            self.nodes.forgive(now.ms());
        } else {
            self.away_ms = now.ms();
            self.had_others = self.nodes.iter().next().is_some();
            add(&self.parts.shared.counters.disconnects, 1_u64);
            self.parts
                .log
                .warn("cluster: the bus is away: texts reach the peers of this server only".into());
        }
        self.beaten_ms = None;
        self.tick(now, bus);
    }

    /// Takes the changes and the requests of the workers.
    pub fn wake(&mut self, now: Now, bus: &mut impl Bus) {
        self.tell_changes(now, bus);
        for request in self.parts.shared.requests.take() {
            match request {
                Request::Name(request) => self.request_name(request, now, bus),
                Request::Private {
                    node,
                    from,
                    to,
                    text,
                } => {
                    let text = Cow::Borrowed(&text[..]);
                    self.send(bus, Some(node), Body::Private { from, to, text });
                }
            }
        }
    }

    /// Takes a message from the bus.
    pub fn handle(
        &mut self,
        subject: Subject,
        message: impl AsRef<[u8]> + Send + 'static,
        now: Now,
        bus: &mut impl Bus,
    ) {
        match subject {
            Subject::Room(room) => self.take_texts(room, message),
            Subject::Nodes | Subject::Node(_) => {
                // A change of a name here may have come before one there.
                self.tell_changes(now, bus);
                self.take_message(message.as_ref(), now, bus);
            }
            Subject::Shard(_) => add(&self.parts.shared.counters.malformed, 1_u64),
        }
    }

    /// Does what is due. This is to be called every [`TICK_MS`].
    pub fn tick(&mut self, now: Now, bus: &mut impl Bus) {
        let now_ms = now.ms();
        if now_ms.saturating_sub(self.ticked_ms) > MAX_TICK_MS {
            // This node has slept, and what came meanwhile has not been read.
            self.nodes.forgive(now_ms);
        }
        self.ticked_ms = now_ms;
        self.wake(now, bus);
        let mut events = Vec::new();
        self.nodes.expire(now_ms, |event| events.push(event));
        self.take_events(events, bus);
        let positions = &mut self.positions;
        self.subscriptions
            .expire(now_ms, bus, |room| positions.end_room(room));
        self.claims.expire(now_ms);
        while let Some(request) = self.claims.late(now_ms) {
            self.settle(&request, NameAnswer::Missing);
        }
        if self
            .beaten_ms
            .is_none_or(|beaten| now_ms - beaten >= HEARTBEAT_MS)
        {
            self.beaten_ms = Some(now_ms);
            self.beat(now, bus);
        }
        self.watch_split(now_ms);
    }

    /// Tells the others that this node stops.
    pub fn stop(&mut self, bus: &mut impl Bus) {
        self.parts.shared.outbox.set_open(false);
        self.parts.shared.requests.set_open(false);
        self.send(bus, None, Body::Bye);
    }

    /// The other nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Returns true if the node takes part: the bus is there, and no other node has its name.
    fn is_active(&self, now_ms: u64) -> bool {
        self.is_connected && !self.rivals.has_older(now_ms)
    }

    /// The signs of life of this second.
    fn beat(&mut self, now: Now, bus: &mut impl Bus) {
        let is_active = self.is_active(now.ms());
        self.parts.shared.outbox.set_open(is_active);
        self.parts.shared.requests.set_open(is_active);
        if is_active {
            let facts = Heartbeat {
                peers: self.parts.registry.len() as u32,
                busy_percent: self.load.busy_percent(&self.parts.workers, now.us),
                version: version(),
                advertise: self.parts.advertise,
                ..Heartbeat::default()
            };
            let heartbeat = self.own.heartbeat(facts);
            bus.publish(Subject::Nodes, heartbeat.encode());
            self.ping_next(now, bus);
        }
        self.publish_status(now);
    }

    /// Pings one node after the other.
    fn ping_next(&mut self, now: Now, bus: &mut impl Bus) {
        let mut ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id()).collect();
        ids.sort_unstable();
        let number = self.ping.0 + 1;
        self.ping = (number, now.us);
        if !ids.is_empty() {
            let node = ids[number as usize % ids.len()];
            self.send(bus, Some(node), Body::Ping(number));
        }
    }

    fn tell_changes(&mut self, now: Now, bus: &mut impl Bus) {
        let changes = self.parts.shared.changes.take();
        if changes.is_empty() {
            return;
        }
        // The subscription comes before the word that there are members.
        let rooms = |change: &Change| match change {
            Change::Joined(room, _) | Change::Left(room, _) | Change::TimedOut(room, _) => {
                Some(*room)
            }
            _ => None,
        };
        for change in &changes {
            if let Change::Joined(room, _) = change {
                self.subscriptions.enter(room, bus);
            }
        }
        let is_active = self.is_active(now.ms());
        self.own.change(&changes, |message| {
            if is_active {
                bus.publish(Subject::Nodes, message.encode());
            }
        });
        for room in changes.iter().filter_map(rooms) {
            if self.own.members().len_of(&room) == 0 {
                self.subscriptions.leave(&room, now.ms());
            }
        }
    }

    fn take_texts(&mut self, room: RoomName, batch: impl AsRef<[u8]> + Send + 'static) {
        let (shared, bytes) = (&self.parts.shared, batch.as_ref().len());
        let counters = &shared.counters;
        let Ok((head, _)) = parse_batch(batch.as_ref()) else {
            return add(&counters.malformed, 1_u64);
        };
        // A shard has other rooms, too.
        if head.node == self.own.incarnation() || !self.subscriptions.has(&room) {
            return;
        }
        let Placed { repeated, missing } = self.positions.place(room, &head);
        add(&counters.texts_missing, missing);
        add(&counters.texts_repeated, repeated);
        let texts = head.texts - repeated;
        let Some(room) = self.parts.registry.directory().find(room) else {
            return;
        };
        if texts == 0 {
            return;
        }
        // The same worker takes all texts of a stream, and keeps their order.
        let stream = (head.node, head.stream, room.number());
        let worker = self.hash.hash_one(stream) as usize % shared.inboxes.len();
        let batch = IncomingBatch::new(room, batch, repeated);
        if self.push(worker, Incoming::Texts(batch)) {
            let counters = &self.parts.shared.counters;
            add(&counters.texts_in, texts);
            add(&counters.batches_in, 1_u64);
            add(&counters.bytes_in, bytes as u64);
        } else {
            add(&self.parts.shared.counters.texts_dropped, texts);
        }
    }

    fn take_message(&mut self, message: &[u8], now: Now, bus: &mut impl Bus) {
        let message = match Message::parse(message) {
            Ok(message) => message,
            Err(error) => {
                add(&self.parts.shared.counters.malformed, 1_u64);
                if let MessageError::OtherVersion { from, .. } = error
                    && self.rivals.is_news(from, now.ms())
                {
                    let log = &self.parts.log;
                    log.warn(format!("cluster: {error}: it is not part of the cluster"));
                }
                return;
            }
        };
        let from = message.from;
        if from == self.own.id() {
            return self.take_own_name(&message, now, bus);
        }
        let mut events = Vec::new();
        self.nodes
            .handle(&message, now.ms(), |event| events.push(event));
        self.take_events(events, bus);
        match message.body {
            Body::ListRequest if self.is_active(now.ms()) => {
                self.own.list(now.ms(), |part| {
                    bus.publish(Subject::Nodes, part.encode());
                });
            }
            Body::NameRequest { number, claim } => {
                let is_granted = self.grant(&claim.name, from, now.ms());
                self.send(bus, Some(from), Body::NameAnswer { number, is_granted });
            }
            Body::NameAnswer { number, is_granted } => {
                if let Some(request) = self.claims.answered(number) {
                    let answer = match is_granted {
                        true => NameAnswer::Granted,
                        false => NameAnswer::Taken,
                    };
                    self.settle(&request, answer);
                }
            }
            Body::Private { from, to, text } => self.take_private(from, &to, &text),
            Body::Ping(number) => self.send(bus, Some(from), Body::Pong(number)),
            Body::Pong(number) if number == self.ping.0 => {
                let round_trip_us = now.us.saturating_sub(self.ping.1);
                self.nodes.set_round_trip_us(&from, round_trip_us);
            }
            _ => {}
        }
    }

    /// Takes a message of a node with the name of this one. The older of the two stays.
    fn take_own_name(&mut self, message: &Message<'_>, now: Now, bus: &mut impl Bus) {
        if message.incarnation == self.own.incarnation() {
            return;
        }
        let Body::Heartbeat(_) = message.body else {
            return;
        };
        let was_active = self.is_active(now.ms());
        let is_older = message.incarnation < self.own.incarnation();
        self.rivals.note(is_older, now.ms());
        if self.rivals.is_news(message.from, now.ms()) {
            let text = format!(
                "cluster: another server has the name {} in this cluster: give each its own \
                 --node-id (this one {})",
                message.from,
                if is_older {
                    "does not take part"
                } else {
                    "stays"
                },
            );
            self.parts.log.warn(text);
        }
        if was_active && !self.is_active(now.ms()) {
            self.send_inactive(bus, Body::Bye);
            self.beaten_ms = None;
        }
    }

    fn take_events(&mut self, events: Vec<Event>, bus: &mut impl Bus) {
        for event in events {
            match event {
                Event::Up(node) => {
                    self.parts.log.info(format!("cluster: node {node} is here"));
                    // It shall know this node before its next heartbeat.
                    self.beaten_ms = None;
                }
                Event::Down(node, incarnation, reason) => {
                    let why = match reason {
                        DownReason::Stopped => "has stopped",
                        DownReason::Restarted => "has started again",
                        DownReason::Silent => "does not answer",
                    };
                    self.parts.log.warn(format!("cluster: node {node} {why}"));
                    self.positions.end_node(incarnation);
                    self.claims.end_node(node);
                }
                Event::Changed(node, change) => {
                    self.parts.registry.note_remote(&change);
                    if let Change::Claimed(claim) = change {
                        self.compare(&claim, &node);
                    }
                }
                Event::Request(node) => self.send(bus, Some(node), Body::ListRequest),
            }
        }
    }

    /// Takes a name away from a peer of this node if one of another node has claimed it earlier.
    fn compare(&mut self, claim: &Claim, node: &NodeId) {
        let Some(own) = self.own.members().claim(&claim.name) else {
            return;
        };
        if !is_earlier(claim, node, own, &self.own.id()) {
            return;
        }
        let name = own.name;
        if let Some(peer) = self.parts.registry.lose_name(&name) {
            add(&self.parts.shared.counters.names_lost, 1_u64);
            let address = peer.address.socket_addr();
            self.tell(peer, Reply::NameLost(name, address));
        }
    }

    fn request_name(&mut self, request: NameRequest, now: Now, bus: &mut impl Bus) {
        let ids = self.nodes.iter().map(|node| node.id());
        let name = request.name();
        let own = self.own.id();
        let node = owner(&name, ids.chain([own])).unwrap_or(own);
        if node == own {
            let answer = match self.grant(&name, own, now.ms()) {
                true => NameAnswer::Granted,
                false => NameAnswer::Taken,
            };
            return self.settle(&request, answer);
        }
        let number = self.claims.wait(request, now.ms());
        let claim = request.claim;
        self.send(bus, Some(node), Body::NameRequest { number, claim });
    }

    /// Decides about a name that a peer of a node wants.
    fn grant(&mut self, name: &Name, node: NodeId, now_ms: u64) -> bool {
        let registry = &self.parts.registry;
        let is_here = node != self.own.id() && registry.has_name(name);
        let claims = registry.remote().claims_of(name);
        let is_there = claims.iter().any(|(other, _)| *other != node);
        !is_here && !is_there && self.claims.grant(name, node, now_ms)
    }

    /// Ends a request for a name, and tells its peer.
    fn settle(&mut self, request: &NameRequest, answer: NameAnswer) {
        let (name, own) = (request.name(), self.own.id());
        let claims = self.parts.registry.remote().claims_of(&name);
        let is_later = claims
            .iter()
            .any(|(node, claim)| is_earlier(claim, node, &request.claim, &own));
        let answer = match is_later {
            true => NameAnswer::Taken,
            false => answer,
        };
        if let Some(peer) = self.parts.registry.settle_name(request, answer) {
            let reply = match answer {
                NameAnswer::Granted => Reply::Named(name),
                NameAnswer::Taken => Reply::NameTaken(name),
                NameAnswer::Missing => Reply::NamedUnconfirmed(name),
            };
            self.tell(peer, reply);
        }
    }

    fn take_private(&mut self, from: DisplayName, to: &DisplayName, text: &[u8]) {
        let Some((to, worker)) = self.parts.registry.find_local(to) else {
            return;
        };
        let text = text.into();
        self.push(worker.index(), Incoming::Private { to, from, text });
    }

    fn tell(&self, to: Recipient, reply: Reply<'static>) {
        let worker = self.parts.registry.owner(&to.address);
        let worker = worker.unwrap_or(WorkerId(0));
        self.push(worker.index(), Incoming::Reply { to, reply });
    }

    /// Hands something over to a worker, and wakes it. Returns false if the worker has no space for it.
    fn push(&self, worker: usize, incoming: Incoming) -> bool {
        match self.parts.shared.inboxes[worker].push(incoming) {
            Ok(true) => (self.parts.workers[worker].wake)(),
            Ok(false) => {}
            Err(_) => return false,
        }
        true
    }

    /// Publishes a message to a node, or to all.
    fn send(&self, bus: &mut impl Bus, to: Option<NodeId>, body: Body<'_>) {
        if self.is_active(self.ticked_ms) {
            let subject = to.map_or(Subject::Nodes, Subject::Node);
            bus.publish(subject, self.own.message(body).encode());
        }
    }

    fn send_inactive(&self, bus: &mut impl Bus, body: Body<'_>) {
        bus.publish(Subject::Nodes, self.own.message(body).encode());
    }

    /// Tells peers once when only those of this node are left, and when the others are back.
    fn watch_split(&mut self, now_ms: u64) {
        let is_away = !self.is_connected && now_ms - self.away_ms >= MAX_SILENCE_MS;
        if is_away && self.had_others && !self.is_split {
            self.is_split = true;
            (self.parts.tell_all)(Reply::Split);
        } else if self.is_connected && self.is_split && self.nodes.iter().next().is_some() {
            self.is_split = false;
            (self.parts.tell_all)(Reply::Whole);
        }
    }

    fn publish_status(&self, now: Now) {
        let mut nodes: Vec<NodeStatus> = self
            .nodes
            .iter()
            .map(|node| node.status(now.ms()))
            .collect();
        nodes.sort_unstable_by_key(|node| node.id);
        let others = nodes.iter().filter_map(|node| node.advertise);
        let rank = |address: &SocketAddr| self.hash.hash_one(address);
        let mut others: Vec<SocketAddr> = others.collect();
        others.sort_unstable_by_key(rank);
        others.truncate(MAX_NAMED_SERVERS);
        (self.parts.name_servers)(others);
        self.parts.shared.set_status(ClusterStatus {
            node: self.own.id().to_string(),
            cluster: self.parts.cluster.to_string(),
            is_connected: self.is_active(now.ms()),
            nodes,
        });
    }
}

/// Returns the incarnation of a node that starts at this time, in ms since 1970. Of two, the later one is
/// greater. `random` tells those apart that start at the same time.
pub fn incarnation(started_ms: u64, random: u64) -> u64 {
    (started_ms << RANDOM_BITS) | (random & ((1 << RANDOM_BITS) - 1))
}

/// Returns the version of this program.
fn version() -> (u16, u16, u16) {
    let number = |text: &str| text.parse().unwrap_or(0);
    (
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    )
}

/// Time between two calls of [`Engine::tick`].
pub const TICK_MS: u64 = 100;

/// Time between two ticks after which the node has slept. The others have been silent for it alone.
const MAX_TICK_MS: u64 = 1_000;

/// Maximum number of other nodes that a client is told of.
pub const MAX_NAMED_SERVERS: usize = 3;

/// Bits of an incarnation that are random. The others hold the time until the year 2527.
const RANDOM_BITS: u32 = 20;
