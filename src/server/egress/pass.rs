//! The limits of the texts that go into one plan.

use super::bundles::PASS_BUNDLES;
use super::texts::PASS_DATAGRAMS;
use crate::server::registry::Members;
use crate::wire::v2::{BUNDLE_BYTES, SERVER_HEADER_BYTES};
use crate::wire::{DisplayName, Protocol, v2};

/// The space that is left in a plan.
///
/// A plan holds no more than the receive buffer of each member, so all of it is sent to one
/// member before the next. For 1,000 members it takes no longer than [`MIN_PLAN_COST_NS`], because
/// a text that arrives while a plan for its room is sent waits for the end of it.
pub(super) struct PassLimits {
    /// `None` if no member receives texts.
    datagrams: Option<usize>,
    /// `None` if no member receives bundles.
    bundles: Option<usize>,
    /// The bytes that are left in the last bundle.
    bundle_bytes: usize,
    cost_ns: u64,
    is_empty: bool,
}

impl PassLimits {
    /// Returns the limits of an empty plan for `members`.
    pub(super) fn new(members: &Members) -> Self {
        let speaks = |protocol| members.any_speaks(protocol);
        let speaks_v1 = speaks(Protocol::Text) || speaks(Protocol::Lines);
        Self {
            datagrams: speaks_v1.then_some(PASS_DATAGRAMS),
            bundles: speaks(Protocol::Frames).then_some(PASS_BUNDLES),
            bundle_bytes: 0,
            cost_ns: (members.len() as u64 * MEMBER_COST_NS)
                .clamp(MIN_PLAN_COST_NS, MAX_PLAN_COST_NS),
            is_empty: true,
        }
    }

    /// Takes the space for a text, whose cost is `cost_ns`. Returns false if there is not
    /// enough. There is always enough for one text.
    pub(super) fn take(&mut self, from: &DisplayName, len: usize, cost_ns: u64) -> bool {
        let (mut bundles, mut bundle_bytes) = (self.bundles, self.bundle_bytes);
        if let Some(bundles) = &mut bundles {
            let frame_bytes = v2::message_bytes(from, len);
            if frame_bytes > bundle_bytes {
                let Some(left) = bundles.checked_sub(1) else {
                    return false;
                };
                *bundles = left;
                bundle_bytes = BUNDLE_BYTES - SERVER_HEADER_BYTES;
            }
            bundle_bytes -= frame_bytes;
        }
        if self.datagrams == Some(0) || (self.cost_ns < cost_ns && !self.is_empty) {
            return false;
        }
        *self = Self {
            datagrams: self.datagrams.map(|left| left - 1),
            bundles,
            bundle_bytes,
            cost_ns: self.cost_ns.saturating_sub(cost_ns),
            is_empty: false,
        };
        true
    }
}

/// Time to send a plan to one member, which is enough for 54 bundles or 55 texts. Packets of so
/// many texts cost 5 % more than the largest possible.
const MEMBER_COST_NS: u64 = 64_000;

/// Minimum time for a plan of many texts to few members.
const MIN_PLAN_COST_NS: u64 = 64_000_000;

/// Maximum time for a plan of several texts to very many members. A plan is sent to everyone who
/// was a member when it began, so this limits the time for which a peer that left may still
/// receive.
const MAX_PLAN_COST_NS: u64 = 1_000_000_000;
