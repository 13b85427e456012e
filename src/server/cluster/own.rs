//! Messages of this node about itself and its members.

use super::message::{Body, Heartbeat, MAX_CHANGES, Message};
use crate::server::registry::NodeMembers;
use crate::wire::cluster::{Change, NodeId, VERSION};

/// This node, as the others see it.
#[derive(Debug)]
pub struct OwnNode {
    id: NodeId,
    /// Begins with the time of the start.
    incarnation: u64,
    /// The members that it has told of.
    members: NodeMembers,
    /// Number of the next change.
    number: u64,
    listed_ms: Option<u64>,
}

impl OwnNode {
    pub fn new(id: NodeId, incarnation: u64) -> Self {
        Self {
            id,
            incarnation,
            members: NodeMembers::default(),
            number: 0,
            listed_ms: None,
        }
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Tells of changes, in the order in which they happened.
    pub fn change(&mut self, changes: &[Change], mut tell: impl FnMut(Message<'_>)) {
        let follows = |change: &&Change| self.members.apply(change).is_ok();
        let changes: Vec<Change> = changes.iter().filter(follows).copied().collect();
        for changes in changes.chunks(MAX_CHANGES) {
            let number = self.number;
            self.number += changes.len() as u64;
            tell(self.message(Body::Changes {
                number,
                changes: changes.into(),
            }));
        }
    }

    /// Returns a heartbeat, with the members as they are, and all else as it is given.
    pub fn heartbeat(&self, facts: Heartbeat) -> Message<'static> {
        self.message(Body::Heartbeat(Heartbeat {
            number: self.number,
            digest: self.members.digest(),
            rooms: self.members.rooms().len() as u32,
            ..facts
        }))
    }

    /// Tells all nodes of all members, as one of them has requested. Others take the list, too, if they
    /// need it, so requests shortly after it are left unanswered.
    pub fn list(&mut self, now_ms: u64, mut tell: impl FnMut(Message<'_>)) {
        let is_recent = |listed: u64| now_ms.saturating_sub(listed) < LIST_INTERVAL_MS;
        if self.listed_ms.is_some_and(is_recent) {
            return;
        }
        self.listed_ms = Some(now_ms);
        let changes: Vec<Change> = self.members.as_changes().collect();
        let parts = changes.len().div_ceil(MAX_CHANGES).max(1);
        for part in 0..parts {
            let start = part * MAX_CHANGES;
            let end = changes.len().min(start + MAX_CHANGES);
            tell(self.message(Body::List {
                number: self.number,
                part: part as u32,
                is_last: part + 1 == parts,
                changes: changes[start..end].into(),
            }));
        }
    }

    /// The members that it has told of.
    pub fn members(&self) -> &NodeMembers {
        &self.members
    }

    pub fn message<'a>(&self, body: Body<'a>) -> Message<'a> {
        Message {
            version: VERSION,
            from: self.id,
            incarnation: self.incarnation,
            body,
        }
    }
}

/// Time between two lists, less than that between two requests of one node.
const LIST_INTERVAL_MS: u64 = 500;
