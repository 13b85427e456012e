//! The checks of the model.

use std::collections::{BTreeMap, HashMap};

use super::super::world::{id, peer};
use super::{Model, NAMES};
use crate::server::cluster::nodes::Node;
use crate::server::registry::Registry;
use crate::wire::{DisplayName, Name, RoomName};

impl Model {
    /// Each peer has the name that it was told, and no answer is due.
    pub(super) fn check_peers(&self) {
        for it in &self.peers {
            let node = &self.world.nodes[self.world.node(it.node).unwrap()];
            if node.asleep_until_us <= self.world.now_us {
                let actual = node.registry.get(&peer(it.port)).unwrap().name();
                assert_eq!(actual, it.name, "{} of {}", it.port, it.node);
            }
            for (name, deadline_us) in &it.waiting {
                assert!(self.world.now_us <= *deadline_us, "{name} of {}", it.port);
            }
        }
    }

    /// All nodes agree.
    pub(super) fn check_nodes(&self) {
        let nodes = &self.world.nodes;
        let mut rooms = BTreeMap::<RoomName, Vec<DisplayName>>::new();
        let mut names = HashMap::<Name, u8>::new();
        for node in nodes {
            for room in node.registry.directory().some(0, usize::MAX) {
                let members = rooms.entry(room.name().folded()).or_default();
                let all = node.registry.recipients_in(&room);
                assert_eq!(all.len(), room.len());
                members.extend(all.iter().map(|to| {
                    let peer = node.registry.get(&to.address).unwrap();
                    peer.display_name(&to.address)
                }));
            }
            node.registry.visit_peers(|_, peer| {
                if let Some(name) = peer.name() {
                    let other = names.insert(name.folded(), node.slot);
                    assert_eq!(other, None, "{name} has two holders");
                }
            });
            let counted = node.registry.network_totals();
            let named = names.values().filter(|slot| **slot == node.slot).count();
            let named = if self.are_trusted { 0 } else { named };
            assert_eq!(counted[1] as usize, named, "names counted for networks");
        }
        for node in nodes {
            let mut others: Vec<_> = node.engine.nodes().iter().map(Node::id).collect();
            others.sort_unstable();
            let mut expected: Vec<_> = nodes.iter().map(|node| id(node.slot)).collect();
            expected.retain(|it| *it != id(node.slot));
            expected.sort_unstable();
            assert_eq!(others, expected, "nodes of {}", node.slot);
            check_rooms(&node.registry, &rooms);
            for (name, slot) in &names {
                let claims = node.registry.remote().claims_of(name);
                let holders: Vec<_> = claims.into_iter().map(|claim| claim.0).collect();
                let expected = Vec::from_iter((*slot != node.slot).then(|| id(*slot)));
                assert_eq!(holders, expected, "{name}");
            }
            for name in NAMES.map(|name| name.parse::<Name>().unwrap()) {
                let is_used = names.contains_key(&name.folded());
                let is_known = node.registry.remote().has_claim(&name);
                assert_eq!(is_known || node.registry.has_name(&name), is_used, "{name}");
            }
        }
    }
}

/// The rooms of a registry, as its peers see them, are these.
fn check_rooms(registry: &Registry, rooms: &BTreeMap<RoomName, Vec<DisplayName>>) {
    let mut listed = BTreeMap::new();
    registry.visit_rooms(0, |room, members| {
        listed.insert(room.folded(), members);
        true
    });
    let expected = rooms.iter().map(|(room, members)| (*room, members.len()));
    assert_eq!(listed, expected.collect());
    for (name, expected) in rooms {
        let mut members = Vec::new();
        let mut add = |member| {
            members.push(member);
            true
        };
        match registry.directory().find(*name) {
            Some(room) => {
                registry.visit_members(&room, 0, &mut add);
                assert_eq!(room.all_members(), expected.len(), "{name}");
            }
            None => {
                registry.remote().visit_members(name, 0, &mut add);
            }
        }
        let sorted = |members: &[DisplayName]| {
            let mut members: Vec<_> = members.iter().map(ToString::to_string).collect();
            members.sort_unstable();
            members
        };
        assert_eq!(sorted(&members), sorted(expected), "{name}");
    }
}
