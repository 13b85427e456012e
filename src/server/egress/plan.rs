//! The packets that the members of a room are to receive.

use super::backlog::RoomTexts;
use super::bundles::{new_bundle_packets, plan_bundles};
use super::packets::Packets;
use super::texts::TextPlanner;
use crate::server::ops::stats::WorkerId;
use crate::server::registry::Members;
use crate::wire::Protocol;

/// The packets for the members of a room, built once for all of them. The worker that
/// built a plan sends it. In a large room it also hands the plan to the other workers,
/// and each sends it to the members that it serves.
pub struct Plan {
    origin: WorkerId,
    texts: Packets,
    lines: Packets,
    bundles: Packets,
}

impl Plan {
    pub fn new(origin: WorkerId) -> Self {
        Self {
            origin,
            texts: TextPlanner::new_packets(),
            lines: TextPlanner::new_packets(),
            bundles: new_bundle_packets(),
        }
    }

    /// Plans texts for `members`, in the protocols that they speak.
    pub fn build(&mut self, texts: RoomTexts<'_>, members: &Members, planner: &mut TextPlanner) {
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
    }

    pub(super) fn packets(&self, protocol: Protocol) -> &Packets {
        match protocol {
            Protocol::Text => &self.texts,
            Protocol::Lines => &self.lines,
            Protocol::Frames => &self.bundles,
        }
    }
}
