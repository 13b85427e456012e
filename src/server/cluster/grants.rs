//! The names that this node decides about.
//!
//! One node decides about each name: the one with the highest hash of itself and the name (rendezvous
//! hashing, Thaler and Ravishankar, 1998). As nodes may see different nodes for a moment, two of them may
//! have a name. Then the earlier claim holds, and the same one on all nodes.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::wire::Name;
use crate::wire::cluster::{Claim, NodeId};

/// The names that are about to be claimed.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// By the name in lower case.
    granted: HashMap<Name, Grant>,
}

#[derive(Debug)]
struct Grant {
    node: NodeId,
    end_ms: u64,
}

impl Grants {
    /// Grants a name that nobody has to a node. Returns false if another node is about to claim it.
    pub(super) fn add(&mut self, name: &Name, node: NodeId, now_ms: u64) -> bool {
        let granted = self.granted.entry(name.folded()).or_insert(Grant {
            node,
            end_ms: now_ms,
        });
        if granted.node != node && now_ms < granted.end_ms {
            return false;
        }
        let end_ms = now_ms + GRANT_MS;
        *granted = Grant { node, end_ms };
        true
    }

    /// Forgets the grant of a name to a node, which has claimed it.
    pub(super) fn end(&mut self, name: &Name, node: &NodeId) {
        let key = name.folded();
        if self.granted.get(&key).is_some_and(|it| it.node == *node) {
            self.granted.remove(&key);
        }
    }

    /// Forgets the grants that are over.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.granted.retain(|_, grant| now_ms < grant.end_ms);
    }

    /// Forgets the grants to a node.
    pub(super) fn end_node(&mut self, node: NodeId) {
        self.granted.retain(|_, grant| grant.node != node);
    }
}

/// Returns the one of these nodes that decides about a name.
pub(super) fn deciding_node(name: &Name, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    let weight = |node: &NodeId| {
        let mut hash = SipHasher13::new_with_keys(0, 0);
        (node.as_str(), name.folded().as_str()).hash(&mut hash);
        hash.finish()
    };
    nodes.max_by_key(weight)
}

/// Returns true if the claim of `node` comes before that of `other`. It is the same on all nodes.
pub(super) fn is_earlier(claim: &Claim, node: &NodeId, other: &Claim, other_node: &NodeId) -> bool {
    (claim.claimed_ms, node) < (other.claimed_ms, other_node)
}

/// Time within which the claim of a granted name has come. Without one, nobody has the name.
const GRANT_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn node(number: u8) -> NodeId {
        format!("node-{number}").parse().unwrap()
    }

    #[test]
    fn a_granted_name_is_kept_for_its_node_for_a_while() {
        let mut grants = Grants::default();
        assert!(grants.add(&name("Ada"), node(1), 0));
        assert!(!grants.add(&name("ada"), node(2), 1_999));
        assert!(grants.add(&name("ada"), node(1), 1_999));
        grants.expire(3_998);
        assert!(!grants.add(&name("ada"), node(2), 3_998));
        grants.expire(3_999);
        assert!(grants.add(&name("ada"), node(2), 3_999));
        grants.end_node(node(2));
        assert!(grants.add(&name("ada"), node(1), 4_000));
        grants.end(&name("ADA"), &node(2));
        assert!(!grants.add(&name("ada"), node(2), 4_000));
        grants.end(&name("ADA"), &node(1));
        assert!(grants.add(&name("ada"), node(2), 4_000));
        assert!(grants.add(&name("ada"), node(1), 6_000), "it is over");
    }

    #[test]
    fn all_nodes_agree_on_the_deciding_node_and_share_the_names() {
        let nodes = || (0..4).map(node);
        let mut deciding = HashSet::new();
        for number in 0..100 {
            let name = name(&format!("Peer-{number}"));
            let by_this = deciding_node(&name, nodes());
            let by_that = deciding_node(&name.folded(), nodes().rev());
            assert_eq!(by_this, by_that);
            // The others keep their names when a node is gone.
            let without = deciding_node(&name, nodes().filter(|node| Some(*node) != by_this));
            assert_ne!(without, by_this);
            deciding.insert(by_this);
        }
        assert_eq!(deciding.len(), 4);
        assert_eq!(deciding_node(&name("ada"), [].into_iter()), None);
    }

    #[test]
    fn of_two_claims_exactly_one_is_earlier() {
        let claim = |claimed_ms| Claim {
            name: name("ada"),
            claimed_ms,
        };
        assert!(is_earlier(&claim(1), &node(2), &claim(2), &node(1)));
        assert!(!is_earlier(&claim(2), &node(1), &claim(1), &node(2)));
        assert!(is_earlier(&claim(1), &node(1), &claim(1), &node(2)));
        assert!(!is_earlier(&claim(1), &node(2), &claim(1), &node(1)));
    }
}
