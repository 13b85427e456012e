//! The bus of a cluster, which carries messages from one node to all others that have subscribed to their
//! subject.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::wire::RoomName;
use crate::wire::cluster::{ClusterName, NodeId};

/// A bus. None of its calls waits.
pub trait Bus {
    /// Publishes a message of this node. One that the bus has no space for is lost.
    fn publish(&mut self, subject: Subject, message: Vec<u8>);

    /// Subscribes to a subject. Later messages of this node follow the subscription.
    fn subscribe(&mut self, subject: Subject);

    fn unsubscribe(&mut self, subject: Subject);
}

/// The subject of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Messages of a node to all others.
    Nodes,
    /// Messages to one node.
    Node(NodeId),
    /// Texts for a room, by its name in lower case.
    Room(RoomName),
    /// Texts for all rooms of a shard. A node subscribes to this, and publishes to rooms only.
    Shard(u16),
}

/// A subject of a cluster, as NATS writes it.
#[derive(Debug, Clone, Copy)]
pub struct SubjectOf<'a> {
    pub cluster: &'a ClusterName,
    pub subject: Subject,
}

impl Subject {
    /// Returns the subject that is written like this, if it is one of the cluster.
    pub fn parse(cluster: &ClusterName, written: &str) -> Option<Self> {
        let mut tokens = written.split('.');
        if tokens.next() != Some(PREFIX) || tokens.next() != Some(cluster.as_str()) {
            return None;
        }
        let subject = match (tokens.next()?, tokens.next(), tokens.next()) {
            ("nodes", None, None) => Self::Nodes,
            ("node", Some(id), None) => Self::Node(id.parse().ok()?),
            ("room", Some(_), Some(room)) => Self::Room(room.parse().ok()?),
            _ => return None,
        };
        tokens.next().is_none().then_some(subject)
    }
}

impl Display for SubjectOf<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.", self.cluster)?;
        match &self.subject {
            Subject::Nodes => f.write_str("nodes"),
            Subject::Node(id) => write!(f, "node.{id}"),
            Subject::Room(room) => write!(f, "room.{}.{room}", shard(room)),
            Subject::Shard(shard) => write!(f, "room.{shard}.*"),
        }
    }
}

/// Returns the shard of a room, which is the same on all nodes. `room` is in lower case.
pub fn shard(room: &RoomName) -> u16 {
    let mut hash = SipHasher13::new_with_keys(0, 0);
    room.as_str().hash(&mut hash);
    (hash.finish() % SHARDS) as u16
}

/// The first token of all subjects.
const PREFIX: &str = "bh";

/// Number of shards. A node with 2,000 rooms needs 880 of them.
const SHARDS: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_parsed_as_it_is_written() {
        let cluster: ClusterName = "Prod-1".parse().unwrap();
        let room: RoomName = "den".parse().unwrap();
        for (subject, written) in [
            (Subject::Nodes, "bh.Prod-1.nodes".to_owned()),
            (
                Subject::Node("n_1".parse().unwrap()),
                "bh.Prod-1.node.n_1".to_owned(),
            ),
            (
                Subject::Room(room),
                format!("bh.Prod-1.room.{}.den", shard(&room)),
            ),
        ] {
            let cluster = &cluster;
            assert_eq!(SubjectOf { cluster, subject }.to_string(), written);
            assert_eq!(Subject::parse(cluster, &written), Some(subject));
            let other = written.replace("Prod-1", "prod-1");
            assert_eq!(Subject::parse(cluster, &other), None);
            assert_eq!(Subject::parse(cluster, &format!("{written}.x")), None);
        }
        for written in ["", "bh.Prod-1", "bh.Prod-1.node", "bh.Prod-1.room.1.a b"] {
            assert_eq!(Subject::parse(&cluster, written), None, "{written}");
        }
    }

    #[test]
    fn a_shard_is_the_same_in_all_programs() {
        let shard = |name: &str| shard(&name.parse().unwrap());
        assert_eq!([shard("lobby"), shard("den")], [241, 157]);
        let subject = Subject::Shard(7);
        let cluster = &"c".parse().unwrap();
        assert_eq!(SubjectOf { cluster, subject }.to_string(), "bh.c.room.7.*");
    }
}
