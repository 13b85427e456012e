//! The other nodes, as this one sees them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::message::{Body, Heartbeat, Message};
use super::shared::NodeStatus;
use crate::server::registry::{NodeMembers, RemoteNodes};
use crate::wire::cluster::{Change, NodeId};

/// The other nodes and their members. A node owns its members: they are what it has told, and they are
/// gone when it is silent for too long. So nobody stays for ever.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: HashMap<NodeId, Node>,
    /// Their members.
    remote: Arc<RemoteNodes>,
}

/// Another node.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    /// It begins with the time of the start.
    incarnation: u64,
    heard_ms: u64,
    heartbeat: Heartbeat,
    /// Number of the next change.
    number: u64,
    /// The members may be others than the node has told, as something was lost.
    is_stale: bool,
    /// The time at which its list was requested last.
    requested_ms: Option<u64>,
    /// The parts of a list that have come.
    list: Vec<Change>,
    next_part: ListPart,
    round_trip_us: Option<u64>,
}

/// A part of a list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct ListPart {
    index: u32,
    /// Number of the next change after the list, which tells it from others.
    list: u64,
}

/// The effect of a message, or of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node is here.
    Up(NodeId),
    /// A node with this incarnation has stopped, or was silent for too long.
    Down(NodeId, u64, DownReason),
    /// A member of a node has changed. `Down` precedes the changes of a node that is down.
    Changed(NodeId, Change),
    /// This node has to be asked for a list of its members.
    Request(NodeId),
}

/// The reason why a node is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    Stopped,
    /// It was silent for longer than [`MAX_SILENCE_MS`].
    Silent,
    /// A later process has its name.
    Restarted,
}

impl Nodes {
    /// Returns no nodes. Their members will be in `remote`.
    pub fn new(remote: Arc<RemoteNodes>) -> Self {
        Self {
            nodes: HashMap::new(),
            remote,
        }
    }

    /// Takes a message of another node, and calls `on_event` with its effects.
    pub fn handle(&mut self, message: &Message<'_>, now_ms: u64, mut on_event: impl FnMut(Event)) {
        let id = message.from;
        let known = self.nodes.get(&id).map(|node| node.incarnation);
        let is_heartbeat = matches!(message.body, Body::Heartbeat(_));
        match known.map(|known| message.incarnation.cmp(&known)) {
            Some(Ordering::Equal) | None => {}
            Some(Ordering::Greater) if is_heartbeat => {
                self.remove(&id, DownReason::Restarted, &mut on_event);
            }
            // A message of the process before, or of a second one with this name.
            Some(_) => return,
        }
        if let Body::Bye = message.body {
            return self.remove(&id, DownReason::Stopped, &mut on_event);
        }
        let is_for_all = matches!(
            message.body,
            Body::Heartbeat(_) | Body::Changes { .. } | Body::List { .. }
        );
        if !is_for_all && !self.nodes.contains_key(&id) {
            // It may be late, as another subject has no order with that of the last word of a node.
            return;
        }
        let mut is_new = false;
        let node = self.nodes.entry(id).or_insert_with(|| {
            is_new = true;
            Node::new(id, message.incarnation)
        });
        node.heard_ms = now_ms;
        let remote = &*self.remote;
        if is_new {
            remote.add(id);
            on_event(Event::Up(id));
        }
        let mut changed = |change| on_event(Event::Changed(id, change));
        match &message.body {
            Body::Heartbeat(heartbeat) => node.check(heartbeat, remote),
            Body::Changes { number, changes } => {
                node.change(*number, changes, remote, &mut changed);
            }
            Body::List {
                number,
                part,
                is_last,
                changes,
            } => {
                let part = ListPart {
                    index: *part,
                    list: *number,
                };
                if let Some(members) = node.take_list(part, *is_last, changes) {
                    node.replace(*number, &members, remote, &mut changed);
                }
            }
            // A sign of life.
            _ => {}
        }
        if node.is_due(now_ms) {
            node.requested_ms = Some(now_ms);
            on_event(Event::Request(id));
        }
    }

    /// Removes the nodes that are silent for too long.
    pub fn expire(&mut self, now_ms: u64, mut on_event: impl FnMut(Event)) {
        let is_silent = |node: &Node| now_ms.saturating_sub(node.heard_ms) > MAX_SILENCE_MS;
        let nodes = self.nodes.iter().filter(|(_, node)| is_silent(node));
        let silent: Vec<NodeId> = nodes.map(|(id, _)| *id).collect();
        for id in silent {
            self.remove(&id, DownReason::Silent, &mut on_event);
        }
    }

    /// Gives all nodes the time of silence again, because this node has slept, or was without its bus.
    pub fn forgive(&mut self, now_ms: u64) {
        for node in self.nodes.values_mut() {
            node.heard_ms = now_ms;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn get(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Returns true if a node with this incarnation answers.
    pub fn is_alive(&self, incarnation: u64) -> bool {
        self.iter().any(|node| node.incarnation == incarnation)
    }

    /// Takes note of the time of a round trip to a node.
    pub fn set_round_trip_us(&mut self, id: &NodeId, round_trip_us: u64) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.round_trip_us = Some(round_trip_us);
        }
    }

    fn remove(&mut self, id: &NodeId, reason: DownReason, on_event: &mut impl FnMut(Event)) {
        if let Some(node) = self.nodes.remove(id) {
            on_event(Event::Down(*id, node.incarnation, reason));
            let mut changed = |change| on_event(Event::Changed(*id, change));
            let members = self.remote.remove(&node.id);
            leave_all(&members, reason == DownReason::Stopped, &mut changed);
        }
    }
}

impl Node {
    fn new(id: NodeId, incarnation: u64) -> Self {
        Self {
            id,
            incarnation,
            heard_ms: 0,
            heartbeat: Heartbeat::default(),
            number: 0,
            is_stale: false,
            requested_ms: None,
            list: Vec::new(),
            next_part: ListPart::default(),
            round_trip_us: None,
        }
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The node as operators see it.
    pub fn status(&self, now_ms: u64) -> NodeStatus {
        let heartbeat = &self.heartbeat;
        NodeStatus {
            id: self.id,
            peers: heartbeat.peers,
            rooms: heartbeat.rooms,
            busy_percent: heartbeat.busy_percent,
            version: heartbeat.version,
            advertise: heartbeat.advertise,
            silent_ms: now_ms.saturating_sub(self.heard_ms),
            round_trip_us: self.round_trip_us,
            is_current: self.is_current(),
        }
    }

    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// Returns true if its members are what it has told, as far as is known.
    pub fn is_current(&self) -> bool {
        !self.is_stale
    }

    fn check(&mut self, heartbeat: &Heartbeat, remote: &RemoteNodes) {
        self.heartbeat = *heartbeat;
        if heartbeat.number != self.number || heartbeat.digest != remote.digest(&self.id) {
            self.is_stale = true;
        }
    }

    fn change(
        &mut self,
        number: u64,
        changes: &[Change],
        remote: &RemoteNodes,
        changed: &mut impl FnMut(Change),
    ) {
        if number != self.number {
            // Earlier ones have come already.
            self.is_stale |= number > self.number;
            return;
        }
        for change in changes {
            match remote.apply(&self.id, change) {
                Ok(()) => changed(*change),
                Err(_) => self.is_stale = true,
            }
        }
        self.number = self.number.wrapping_add(changes.len() as u64);
    }

    /// Takes a part of a list. Returns the members if it is the last one.
    fn take_list(
        &mut self,
        part: ListPart,
        is_last: bool,
        changes: &[Change],
    ) -> Option<NodeMembers> {
        if part.index == 0 {
            self.list.clear();
            self.next_part = part;
        }
        // It may be the answer to another node's request, or the rest of another list.
        if !self.is_stale || part != self.next_part {
            self.list = Vec::new();
            self.next_part = ListPart::default();
            return None;
        }
        self.next_part.index += 1;
        self.list.extend_from_slice(changes);
        if !is_last {
            return None;
        }
        self.next_part = ListPart::default();
        let mut members = NodeMembers::default();
        let list = mem::take(&mut self.list);
        let applied = list.iter().try_for_each(|change| members.apply(change));
        applied.ok().map(|()| members)
    }

    /// Makes these the members, step by step. `number` is that of the next change.
    fn replace(
        &mut self,
        number: u64,
        members: &NodeMembers,
        remote: &RemoteNodes,
        changed: &mut impl FnMut(Change),
    ) {
        let differences = remote.read(&self.id, |before| differences(before, members));
        self.number = number;
        self.is_stale = false;
        for change in differences {
            match remote.apply(&self.id, &change) {
                Ok(()) => changed(change),
                Err(_) => self.is_stale = true,
            }
        }
    }

    /// Returns true if its list has to be requested now.
    fn is_due(&self, now_ms: u64) -> bool {
        let is_over = |requested: u64| now_ms.saturating_sub(requested) >= REQUEST_INTERVAL_MS;
        self.is_stale && self.requested_ms.is_none_or(is_over)
    }
}

/// Calls `changed` with the changes of a node whose members are gone.
fn leave_all(members: &NodeMembers, have_left: bool, changed: &mut impl FnMut(Change)) {
    for (room, _) in members.rooms() {
        for who in members.members_of(&room) {
            changed(match have_left {
                true => Change::Left(room, who),
                false => Change::TimedOut(room, who),
            });
        }
    }
    for claim in members.claims() {
        changed(Change::Freed(claim.name));
    }
}

/// Returns the changes from `before` to `after`.
fn differences(before: &NodeMembers, after: &NodeMembers) -> Vec<Change> {
    let mut changes = Vec::new();
    let count = |members: &NodeMembers| {
        let mut counts = HashMap::<_, i64>::new();
        for (room, _) in members.rooms() {
            for who in members.members_of(&room) {
                *counts.entry((room.folded(), who)).or_default() += 1;
            }
        }
        counts
    };
    let (old, new) = (count(before), count(after));
    for ((room, who), count) in &old {
        let left = count - new.get(&(*room, *who)).unwrap_or(&0);
        (0..left).for_each(|_| changes.push(Change::Left(*room, *who)));
    }
    for ((room, who), count) in &new {
        let joined = count - old.get(&(*room, *who)).unwrap_or(&0);
        (0..joined).for_each(|_| changes.push(Change::Joined(*room, *who)));
    }
    let is_kept = |members: &NodeMembers, name| members.claim(name).is_some();
    for claim in before.claims() {
        if !is_kept(after, &claim.name) {
            changes.push(Change::Freed(claim.name));
        }
    }
    for claim in after.claims() {
        if before.claim(&claim.name) != Some(claim) {
            changes.push(Change::Claimed(*claim));
        }
    }
    changes
}

/// Time of silence after which a node is down. Two heartbeats may be lost, and the third late by half a
/// second.
pub const MAX_SILENCE_MS: u64 = 3_500;

/// Time between two heartbeats.
pub const HEARTBEAT_MS: u64 = 1_000;

/// Time between two requests for the list of a node, which each of its heartbeats may lead to. A long list
/// has come by then.
const REQUEST_INTERVAL_MS: u64 = HEARTBEAT_MS - 100;

#[cfg(test)]
mod tests;
