//! A node of a cluster, without its bus and its thread.

mod deliveries;
mod names;
mod status;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use self::status::version;
use super::bus::{Bus, Subject};
use super::grants::Grants;
use super::load::Load;
use super::message::{Body, Heartbeat, Message, MessageError};
use super::nodes::{DownReason, Event, HEARTBEAT_MS, MAX_SILENCE_MS, Node, Nodes};
use super::own::OwnNode;
use super::positions::Positions;
use super::rivals::Rivals;
use super::shared::{ClusterShared, add};
use super::subscriptions::Subscriptions;
use super::waiting::WaitingNames;
use crate::server::ops::log::Log;
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::{NameAnswer, Recipient, Registry, Request};
use crate::wire::cluster::{Change, ClusterName, NodeId};
use crate::wire::{Name, Reply};

pub use self::status::MAX_NAMED_SERVERS;

/// The node that this server is. It is told what comes, and the time, and calls a [`Bus`].
pub struct Engine {
    parts: Parts,
    own: OwnNode,
    nodes: Nodes,
    subscriptions: Subscriptions,
    positions: Positions,
    grants: Grants,
    waiting: WaitingNames,
    rivals: Rivals,
    /// Names that another node has claimed earlier, and that could not be taken away yet.
    contested: Vec<Name>,
    /// Replies to peers whose workers had no space for them.
    untold: Vec<(Recipient, Reply<'static>)>,
    load: Load,
    /// Shares the streams of other nodes out among the workers.
    hash: RandomState,
    is_connected: bool,
    /// The time since which the bus is away.
    away_ms: u64,
    /// The last time at which there was another node.
    others_ms: Option<u64>,
    /// Peers were told that the cluster is split.
    is_split: bool,
    last_tick_ms: u64,
    last_heartbeat_ms: Option<u64>,
    /// The ping that waits for its pong: its number and its time, in µs.
    ping: (u64, u64),
}

/// The parts of the server that a node works with.
pub struct Parts {
    pub cluster: ClusterName,
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
    /// By a monotonic clock.
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
            grants: Grants::default(),
            waiting: WaitingNames::new(parts.incarnation),
            rivals: Rivals::default(),
            contested: Vec::new(),
            untold: Vec::new(),
            load: Load::default(),
            hash: RandomState::new(),
            is_connected: false,
            away_ms: now.ms(),
            others_ms: None,
            is_split: false,
            last_tick_ms: now.ms(),
            last_heartbeat_ms: None,
            ping: (0, 0),
            parts,
        }
    }

    /// Subscribes to what nodes tell each other. A bus keeps its subscriptions while it is away.
    pub fn start(&mut self, bus: &mut impl Bus) {
        bus.subscribe(Subject::Nodes);
        bus.subscribe(Subject::Node(self.own.id()));
        self.publish_status(Now {
            us: self.last_tick_ms * 1_000,
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
            add(&self.parts.shared.counters.disconnects, 1_u64);
            self.parts
                .log
                .warn("cluster: the bus is away: texts reach the peers of this server only".into());
        }
        self.last_heartbeat_ms = None;
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
            Subject::Nodes | Subject::Node(_) => self.take_message(message.as_ref(), now, bus),
            Subject::Shard(_) => add(&self.parts.shared.counters.malformed, 1_u64),
        }
    }

    /// Does what is due. This is to be called every [`TICK_MS`].
    pub fn tick(&mut self, now: Now, bus: &mut impl Bus) {
        let now_ms = now.ms();
        if now_ms.saturating_sub(self.last_tick_ms) > MAX_TICK_MS {
            // This node has slept, and what came meanwhile has not been read.
            self.nodes.forgive(now_ms);
        }
        self.last_tick_ms = now_ms;
        self.wake(now, bus);
        self.tell_late();
        for name in mem::take(&mut self.contested) {
            self.compare(&name);
        }
        let mut events = Vec::new();
        self.nodes.expire(now_ms, |event| events.push(event));
        self.take_events(events, bus);
        let (positions, nodes) = (&mut self.positions, &self.nodes);
        positions.expire(now_ms, |incarnation| nodes.is_alive(incarnation));
        self.subscriptions
            .expire(now_ms, bus, |room| positions.end_room(room));
        self.grants.expire(now_ms);
        if self.rivals.is_free_again(now_ms) {
            let id = self.own.id();
            let text = format!("cluster: the name {id} is free, and this node takes part");
            self.parts.log.info(text);
        }
        while let Some(request) = self.waiting.take_late(now_ms) {
            self.settle(&request, NameAnswer::Missing);
        }
        if self
            .last_heartbeat_ms
            .is_none_or(|beaten| now_ms - beaten >= HEARTBEAT_MS)
        {
            self.last_heartbeat_ms = Some(now_ms);
            self.beat(now, bus);
        }
        self.watch_split(now_ms);
    }

    /// Tells the others that this node stops.
    pub fn stop(&mut self, bus: &mut impl Bus) {
        self.parts.shared.outbox.close();
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
        let mut ids: Vec<NodeId> = self.nodes.iter().map(Node::id).collect();
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
                self.subscriptions.enter(room, now.ms(), bus);
            }
        }
        let is_active = self.is_active(now.ms());
        self.own.change(&changes, |message| {
            if is_active {
                bus.publish(Subject::Nodes, message.encode());
            }
        });
        for change in &changes {
            if let Change::Claimed(claim) = change {
                // That of another node may have come just before it.
                self.note_claim(&claim.name, &self.own.id());
            }
        }
        for room in changes.iter().filter_map(rooms).collect::<BTreeSet<_>>() {
            if self.own.members().len_of(&room) == 0 {
                self.subscriptions.leave(&room, now.ms());
            }
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
        if !self.is_active(now.ms()) {
            // What goes to its name is for the older server with it.
            return;
        }
        match message.body {
            Body::ListRequest => {
                self.own.list(now.ms(), |part| {
                    bus.publish(Subject::Nodes, part.encode());
                });
            }
            Body::NameRequest { number, claim } => {
                let is_granted = self.grant(&claim.name, from, now.ms());
                self.send(bus, Some(from), Body::NameAnswer { number, is_granted });
            }
            Body::NameAnswer { number, is_granted } => {
                if let Some(request) = self.waiting.take(number) {
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
            self.last_heartbeat_ms = None;
        }
    }

    fn take_events(&mut self, events: Vec<Event>, bus: &mut impl Bus) {
        for event in events {
            match event {
                Event::Up(node) => {
                    self.parts.log.info(format!("cluster: node {node} is here"));
                    // It has to know this node before its next heartbeat.
                    self.last_heartbeat_ms = None;
                }
                Event::Down(node, incarnation, reason) => {
                    let why = match reason {
                        DownReason::Stopped => "has stopped",
                        DownReason::Restarted => "has started again",
                        DownReason::Silent => "does not answer",
                    };
                    self.parts.log.warn(format!("cluster: node {node} {why}"));
                    self.positions.end_node(incarnation, self.last_tick_ms);
                    self.grants.end_node(node);
                }
                Event::Changed(node, change) => {
                    self.parts.registry.note_remote(&change);
                    if let Change::Claimed(claim) = change {
                        self.note_claim(&claim.name, &node);
                    }
                }
                Event::Request(node) => self.send(bus, Some(node), Body::ListRequest),
            }
        }
    }

    /// Publishes a message to a node, or to all.
    fn send(&self, bus: &mut impl Bus, to: Option<NodeId>, body: Body<'_>) {
        if self.is_active(self.last_tick_ms) {
            let subject = to.map_or(Subject::Nodes, Subject::Node);
            bus.publish(subject, self.own.message(body).encode());
        }
    }

    fn send_inactive(&self, bus: &mut impl Bus, body: Body<'_>) {
        bus.publish(Subject::Nodes, self.own.message(body).encode());
    }

    /// Tells peers once when only those of this node are left, and when the others are back.
    fn watch_split(&mut self, now_ms: u64) {
        let has_others = self.nodes.iter().next().is_some();
        if has_others {
            self.others_ms = Some(now_ms);
        }
        // The other nodes may have been silent for a while before the bus was known to be away.
        let had_others = |others_ms: u64| others_ms + 2 * MAX_SILENCE_MS >= self.away_ms;
        let is_away = !self.is_connected && now_ms - self.away_ms >= MAX_SILENCE_MS;
        if is_away && self.others_ms.is_some_and(had_others) && !self.is_split {
            self.is_split = true;
            (self.parts.tell_all)(Reply::Split);
        } else if self.is_connected && self.is_split && has_others {
            self.is_split = false;
            (self.parts.tell_all)(Reply::Whole);
        }
    }
}

/// Returns the incarnation of a node that starts at this time, in ms since 1970. Of two, the later one is
/// greater. `random` tells those apart that start at the same time.
pub fn incarnation(started_ms: u64, random: u64) -> u64 {
    (started_ms << RANDOM_BITS) | (random & ((1 << RANDOM_BITS) - 1))
}

/// Time between two calls of [`Engine::tick`].
pub const TICK_MS: u64 = 100;

/// Time between two ticks after which the node has slept. The others have been silent for it alone.
const MAX_TICK_MS: u64 = 1_000;

/// Bits of an incarnation that are random. The others hold the time until the year 2527.
const RANDOM_BITS: u32 = 20;

#[cfg(test)]
mod tests;
