//! A plan, which is what a room is to get, and its way over the members.

use std::sync::Arc;

use super::backlog::RoomTexts;
use super::bundles::{bundle_packets, plan_bundles};
use super::packets::Packets;
use super::texts::TextPlanner;
use crate::net::{Packet, PeerAddr};
use crate::server::registry::{Members, Protocol};

/// What is sent to the members of a room, built once for all of them. The
/// worker that made it sends it, and in a large room hands it to the others,
/// each for the members that it serves.
pub struct Plan {
    /// The worker that made it.
    pub origin: u8,
    members: Arc<Members>,
    texts: Packets,
    lines: Packets,
    bundles: Packets,
}

/// A plan on its way, lane by lane, in each pass by pass, in each over the
/// members in slices.
pub struct Job {
    plan: Arc<Plan>,
    /// Whose members to send to; `None`: to all.
    owner: Option<u8>,
    next: Position,
}

/// A part of a plan: some peers of one lane, each to get some packets.
pub struct Slice<'a> {
    /// The endpoint through which the peers are reached.
    pub endpoint: u8,
    peers: &'a [PeerAddr],
    packets: &'a Packets,
    pass: usize,
}

#[derive(Clone, Copy, Default)]
struct Position {
    lane: usize,
    pass: usize,
    member: usize,
}

impl Plan {
    /// An empty plan of worker `origin`, with space for the longest backlog.
    pub fn new(origin: u8) -> Self {
        Self {
            origin,
            members: Arc::default(),
            texts: TextPlanner::packets(),
            lines: TextPlanner::packets(),
            bundles: bundle_packets(),
        }
    }

    /// Plans the texts of a room for `members`, in the forms that they speak.
    pub fn build(
        &mut self,
        texts: RoomTexts<'_>,
        members: Arc<Members>,
        planner: &mut TextPlanner,
    ) {
        self.texts.clear();
        self.lines.clear();
        self.bundles.clear();
        for (protocol, packets) in [
            (Protocol::Text, &mut self.texts),
            (Protocol::Lines, &mut self.lines),
        ] {
            if members.any_speaks(protocol) {
                planner.plan(texts, protocol.line_end(), packets);
            }
        }
        if members.any_speaks(Protocol::Frames) {
            plan_bundles(texts, self.origin, &mut self.bundles);
        }
        self.members = members;
    }

    /// Forgets the members: a plan that is not in use keeps no snapshot alive.
    pub fn release(&mut self, nobody: &Arc<Members>) {
        if !self.members.is_empty() {
            self.members = Arc::clone(nobody);
        }
    }

    fn packets(&self, protocol: Protocol) -> &Packets {
        match protocol {
            Protocol::Text => &self.texts,
            Protocol::Lines => &self.lines,
            Protocol::Frames => &self.bundles,
        }
    }
}

impl Job {
    /// The way of `plan` over the members that `owner` serves, or over all.
    pub fn new(plan: Arc<Plan>, owner: Option<u8>) -> Self {
        Self {
            plan,
            owner,
            next: Position::default(),
        }
    }

    /// How many deliveries it is, from its beginning to its end.
    pub fn deliveries(&self) -> u64 {
        let members = &self.plan.members;
        let lanes = (0..members.lanes()).map(|index| members.lane(index));
        let own = lanes.filter(|(lane, _)| self.is_own(lane.owner));
        own.map(|(lane, peers)| peers.len() * self.plan.packets(lane.protocol).messages())
            .sum::<usize>() as u64
    }

    /// Moves on, and returns what to send, or `None` when all is sent.
    pub fn next_slice(&mut self) -> Option<Slice<'_>> {
        let plan = &*self.plan;
        while self.next.lane < plan.members.lanes() {
            let (lane, peers) = plan.members.lane(self.next.lane);
            let packets = plan.packets(lane.protocol);
            let Position { pass, member, .. } = self.next;
            if !self.is_own(lane.owner) || pass == packets.passes() {
                self.next = Position {
                    lane: self.next.lane + 1,
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
                    endpoint: lane.endpoint,
                    peers: &peers[member..end],
                    packets,
                    pass,
                });
            }
        }
        None
    }

    /// The plan, when it is done with.
    pub fn into_plan(self) -> Arc<Plan> {
        self.plan
    }

    fn is_own(&self, owner: u8) -> bool {
        self.owner.is_none_or(|own| own == owner)
    }
}

impl<'a> Slice<'a> {
    /// Every packet of this slice, peer by peer.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'a>> {
        let Self { packets, pass, .. } = *self;
        let peers = self.peers.iter();
        peers.flat_map(move |peer| packets.pass(pass, peer))
    }
}

/// How long to send before the socket is looked at again, about: 10,000 peers
/// send no more heartbeats in that time than one receive batch holds.
const SLICE_COST_US: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::egress::Backlog;
    use crate::server::registry::Peers;

    /// The datagrams of every slice in which `texts` texts of `len` bytes go to
    /// 10,000 peers.
    fn slices(texts: usize, len: usize) -> Vec<usize> {
        let peer = |number: u16| PeerAddr::new(([127, 0, 0, 1], number).into(), 0);
        let peers = Peers::plain(1, 10_000);
        for number in 1..=10_000 {
            peers.touch(&peer(number), Protocol::Text, 0, 0);
        }
        let mut backlog = Backlog::new();
        for number in 0..texts {
            let text = vec![b'x'; len];
            let speaker = peer(10_000 + number as u16);
            backlog.push(peers.lobby(), speaker, None, &text).unwrap();
        }
        let mut plan = Plan::new(0);
        let members = peers.lobby().members();
        let texts = backlog.room(0).unwrap();
        plan.build(texts, members, &mut TextPlanner::new(64));
        let mut job = Job::new(Arc::new(plan), None);
        let mut slices = Vec::new();
        while let Some(slice) = job.next_slice() {
            let datagrams = |packet: Packet<'_>| packet.datagrams().len();
            slices.push(slice.packets().map(datagrams).sum());
        }
        slices
    }

    #[test]
    fn a_slice_is_so_short_that_the_socket_is_soon_looked_at() {
        // Of many texts of one length a packet holds many, which cost less each.
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
