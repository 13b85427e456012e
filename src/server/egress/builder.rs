//! The packets of a plan, and the building of them from texts.

use super::backlog::Picked;
use super::bundles::{Bundler, TO_BE_TAGGED, new_bundle_packets};
use super::own::OwnMessages;
use super::packets::{DATAGRAM_COST_NS, PACKET_COST_NS, Packets};
use super::texts::{MAX_DATAGRAMS, TextPlanner};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{Members, Room, SendGroup};
use crate::wire::Protocol;
use crate::wire::v2::{BundleSize, Message, ServerFrame, message_bytes};

/// The packets for the members of a room, by their protocols.
pub(super) struct PlanPackets {
    texts: Packets,
    lines: Packets,
    /// By their [`BundleSize`].
    bundles: [Packets; BundleSize::ALL.len()],
    /// The messages that are not sent to their senders.
    own: OwnMessages,
}

/// Builds the packets of a plan, text by text.
///
/// A plan holds no more than the receive buffer of each member, so all of it is sent to one
/// member before the next. The time to send it is limited, too, because a text that arrives while a
/// plan for its room is sent waits for the end of it.
pub(super) struct PlanBuilder<'a> {
    room: &'a Room,
    /// The worker whose stream the messages belong to.
    worker: WorkerId,
    planner: &'a mut TextPlanner,
    /// `None` if no member speaks the protocol.
    texts: Option<&'a mut Packets>,
    lines: Option<&'a mut Packets>,
    bundlers: [Option<Bundler<'a>>; BundleSize::ALL.len()],
    /// `None` if all members are sent their own messages.
    own: Option<&'a mut OwnMessages>,
    /// The number of texts so far.
    len: u16,
    /// The time that is left.
    cost_ns: u64,
}

/// The plan has no space for a text.
#[derive(Debug)]
pub(super) struct Full;

impl PlanPackets {
    pub(super) fn new() -> Self {
        Self {
            texts: TextPlanner::new_packets(),
            lines: TextPlanner::new_packets(),
            bundles: BundleSize::ALL.map(new_bundle_packets),
            own: OwnMessages::default(),
        }
    }

    /// The packets for members that speak `protocol`.
    pub(super) fn of(&self, protocol: Protocol) -> &Packets {
        match protocol {
            Protocol::Text => &self.texts,
            Protocol::Lines => &self.lines,
            Protocol::Frames(size) => &self.bundles[size as usize],
        }
    }

    /// The messages that some members of `group` may not be sent.
    pub(super) fn own(&self, group: SendGroup) -> Option<&OwnMessages> {
        (!group.echo && !self.own.is_empty()).then_some(&self.own)
    }

    /// Begins the packets of other texts, for `members` of `room`. The texts become messages of the
    /// stream of `worker`.
    pub(super) fn build<'a>(
        &'a mut self,
        room: &'a Room,
        members: &Members,
        worker: WorkerId,
        planner: &'a mut TextPlanner,
    ) -> PlanBuilder<'a> {
        planner.clear();
        self.own.clear();
        self.texts.clear();
        self.lines.clear();
        let mut sizes = BundleSize::ALL.into_iter();
        let bundlers = self.bundles.each_mut().map(|packets| {
            packets.clear_template();
            let size = sizes.next()?;
            let is_spoken = members.any_speaks(Protocol::Frames(size));
            is_spoken.then(|| Bundler::new(size, TO_BE_TAGGED, packets))
        });
        let speaks = |protocol| members.any_speaks(protocol);
        PlanBuilder {
            room,
            worker,
            planner,
            texts: speaks(Protocol::Text).then_some(&mut self.texts),
            lines: speaks(Protocol::Lines).then_some(&mut self.lines),
            bundlers,
            own: members.any_without_echo().then_some(&mut self.own),
            len: 0,
            cost_ns: (members.len() as u64 * MEMBER_COST_NS)
                .clamp(MIN_PLAN_COST_NS, MAX_PLAN_COST_NS),
        }
    }
}

impl PlanBuilder<'_> {
    /// Adds a text, if there is space for it. An empty plan always has enough for one.
    #[inline(always)]
    pub(super) fn try_push(&mut self, picked: &Picked<'_>) -> Result<(), Full> {
        let frame_bytes = message_bytes(&picked.from, picked.text.len());
        let speaks_v1 = self.texts.is_some() || self.lines.is_some();
        let mut bundlers = self.bundlers.iter_mut().flatten();
        let fits = self.cost_ns >= picked.cost_ns
            && (!speaks_v1 || self.planner.len() < MAX_DATAGRAMS)
            && bundlers.all(|bundler| bundler.fits(frame_bytes));
        if !fits && self.len > 0 {
            return Err(Full);
        }
        if let (Some(own), Some(session)) = (&mut self.own, picked.not_to) {
            own.push(session, self.len);
        }
        self.len += 1;
        self.cost_ns = self.cost_ns.saturating_sub(picked.cost_ns);
        if speaks_v1 {
            self.planner.push(picked);
        }
        let mut sequence = None;
        for bundler in self.bundlers.iter_mut().flatten() {
            // The message has the same number in bundles of all sizes.
            let take = || self.room.take_sequence(self.worker, 1);
            bundler.push(&ServerFrame::Message(Message {
                room: self.room.number(),
                stream: self.worker.0,
                sequence: *sequence.get_or_insert_with(take),
                from: picked.from,
                payload: picked.text,
            }));
        }
        Ok(())
    }

    /// Ends the packets.
    pub(super) fn finish(self) {
        if let Some(own) = self.own {
            own.sort();
        }
        for bundler in self.bundlers.into_iter().flatten() {
            bundler.finish();
        }
        for (protocol, packets) in [(Protocol::Text, self.texts), (Protocol::Lines, self.lines)] {
            if let Some(packets) = packets {
                self.planner.plan(protocol.line_end(), packets);
            }
        }
    }
}

/// Time per member in the limit of a plan: that of a packet of 64 datagrams. In the largest
/// packets, of 128, a datagram costs 4 % less.
const MEMBER_COST_NS: u64 = PACKET_COST_NS + 64 * DATAGRAM_COST_NS;

/// The limit for up to 1,000 members, 69 ms.
const MIN_PLAN_COST_NS: u64 = 1_000 * MEMBER_COST_NS;

/// The limit for very many members. A plan is sent to all who were members when it was built, so
/// this is how long a peer may still receive after it has left. A single text to more than 166,000
/// members takes longer.
const MAX_PLAN_COST_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::registry::Registry;
    use crate::wire::DisplayName;

    #[test]
    fn a_text_that_costs_more_than_a_plan_may_is_taken_alone() {
        let registry = Registry::plain(1, 1);
        let (mut packets, mut planner) = (PlanPackets::new(), TextPlanner::new(64));
        let (room, members) = (registry.lobby(), registry.lobby().members());
        let mut builder = packets.build(room, &members, WorkerId(0), &mut planner);
        let text = |cost_ns| Picked {
            share: 0,
            not_to: None,
            is_local: true,
            from: DisplayName::Address(([127, 0, 0, 1], 9).into()),
            cost_ns,
            age_us: 0,
            text: b"x",
        };
        assert!(builder.try_push(&text(u64::MAX)).is_ok());
        assert!(builder.try_push(&text(1)).is_err());
    }
}
