//! The delivery of a plan in slices.

use super::packets::Packets;
use super::plan::SharedPlan;
use crate::net::{Endpoint, Packet, PeerAddr};
use crate::server::ops::stats::WorkerId;

/// The delivery of a plan, group by group, pass by pass, and in slices of the members.
pub(super) struct Job {
    plan: SharedPlan,
    /// The worker to whose members the plan is sent, or `None` for all members.
    owner: Option<WorkerId>,
    next: Position,
}

/// A part of a plan: some peers of one group, and the packets that each receives.
pub(super) struct Slice<'a> {
    pub endpoint: Endpoint,
    peers: &'a [PeerAddr],
    packets: &'a Packets,
    pass: usize,
}

#[derive(Clone, Copy, Default)]
struct Position {
    group: usize,
    pass: usize,
    member: usize,
}

impl Job {
    pub(super) fn new(plan: SharedPlan, owner: Option<WorkerId>) -> Self {
        Self {
            plan,
            owner,
            next: Position::default(),
        }
    }

    pub(super) fn deliveries(&self) -> u64 {
        let members = self.plan.members();
        let groups = (0..members.groups()).map(|index| members.group(index));
        let own = groups.filter(|(group, _)| self.is_own(group.owner));
        own.map(|(group, peers)| peers.len() * self.plan.packets(group.protocol).messages())
            .sum::<usize>() as u64
    }

    pub(super) fn next_slice(&mut self) -> Option<Slice<'_>> {
        let (plan, members) = (&*self.plan, self.plan.members());
        while self.next.group < members.groups() {
            let (group, peers) = members.group(self.next.group);
            let packets = plan.packets(group.protocol);
            let Position { pass, member, .. } = self.next;
            if !self.is_own(group.owner) || pass == packets.passes() {
                self.next = Position {
                    group: self.next.group + 1,
                    ..Position::default()
                };
            } else if member == peers.len() {
                self.next.pass += 1;
                self.next.member = 0;
            } else {
                let count = (SLICE_COST_US / packets.pass_cost_us(pass)).max(1);
                let end = peers.len().min(member + count);
                self.next.member = end;
                return Some(Slice {
                    endpoint: group.endpoint,
                    peers: &peers[member..end],
                    packets,
                    pass,
                });
            }
        }
        None
    }

    fn is_own(&self, owner: WorkerId) -> bool {
        self.owner.is_none_or(|own| own == owner)
    }
}

impl<'a> Slice<'a> {
    pub(super) fn packets(&self) -> impl Iterator<Item = Packet<'a>> {
        let Self { packets, pass, .. } = *self;
        let peers = self.peers.iter();
        peers.flat_map(move |peer| packets.pass(pass, peer))
    }
}

/// Approximate time to send one slice, after which the worker receives again. In that
/// time 10,000 peers send no more heartbeats than one receive batch holds.
const SLICE_COST_US: usize = 5_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::egress::backlog::Backlog;
    use crate::server::egress::plan::PlanPool;
    use crate::server::egress::texts::TextPlanner;
    use crate::server::registry::Registry;
    use crate::wire::Protocol;

    /// Sends `texts` texts of `len` bytes to 10,000 peers, and returns the number of
    /// datagrams in each slice.
    fn slices(texts: usize, len: usize) -> Vec<usize> {
        let peer = |number: u16| PeerAddr::new(([127, 0, 0, 1], number).into(), 0);
        let peers = Registry::plain(1, 10_000);
        for number in 1..=10_000 {
            peers.touch(&peer(number), Protocol::Text, WorkerId(0), 0);
        }
        let mut backlog = Backlog::new();
        for number in 0..texts {
            let text = vec![b'x'; len];
            let sender = peer(10_000 + number as u16);
            backlog.push(peers.lobby(), sender, None, &text).unwrap();
        }
        let mut pool = PlanPool::new(WorkerId(0), Arc::new(|| {}));
        let members = peers.lobby().members();
        let texts = backlog.room(0).unwrap();
        let mut planner = TextPlanner::new(64);
        let plan = pool.build(members, |plan, members| {
            plan.build(texts, members, &mut planner);
        });
        let mut job = Job::new(plan.unwrap(), None);
        let mut slices = Vec::new();
        while let Some(slice) = job.next_slice() {
            let datagrams = |packet: Packet<'_>| packet.datagrams().len();
            slices.push(slice.packets().map(datagrams).sum());
        }
        slices
    }

    #[test]
    fn slices_are_short() {
        // A packet holds many texts of one length, and each of them costs less.
        for (texts, len, most) in [
            (1, 2, 2000),
            (1, 1000, 2000),
            (10, 100, 5000),
            (100, 2, 5000),
        ] {
            let slices = slices(texts, len);
            assert_eq!(slices.iter().sum::<usize>(), 10_000 * texts);
            let longest = slices.iter().max().copied().unwrap_or_default();
            assert!((500..=most).contains(&longest), "{texts} texts: {longest}");
        }
    }
}
