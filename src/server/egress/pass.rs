//! The limits of the texts of one plan.

use super::bundles::max_bundles;
use super::packets::{DATAGRAM_COST_NS, PACKET_COST_NS};
use super::texts::PASS_DATAGRAMS;
use crate::server::registry::Members;
use crate::wire::v2::{BundleSize, HEADER_BYTES};
use crate::wire::{DisplayName, Protocol, v2};

/// The space that is left in a plan.
///
/// A plan holds no more than the receive buffer of each member, so all of it is sent to one
/// member before the next. The time to send it is limited, too, because a text that arrives while a
/// plan for its room is sent waits for the end of it.
#[derive(Clone)]
pub(super) struct PassLimits {
    /// `None` if no member receives texts.
    datagrams: Option<usize>,
    /// `None` if no member receives bundles of the size.
    bundles: [Option<BundleSpace>; BundleSize::ALL.len()],
    /// The time that is left.
    cost_ns: u64,
    is_empty: bool,
}

/// The space that is left in the bundles of one size.
#[derive(Clone, Copy)]
struct BundleSpace {
    bundles: usize,
    /// The bytes that are left in the last bundle.
    bytes: usize,
}

impl PassLimits {
    /// Returns the limits of an empty plan for `members`.
    pub(super) fn new(members: &Members) -> Self {
        let speaks = |protocol| members.any_speaks(protocol);
        let speaks_v1 = speaks(Protocol::Text) || speaks(Protocol::Lines);
        let bundles = |size| {
            speaks(Protocol::Frames(size)).then_some(BundleSpace {
                bundles: max_bundles(size),
                bytes: 0,
            })
        };
        Self {
            datagrams: speaks_v1.then_some(PASS_DATAGRAMS),
            bundles: BundleSize::ALL.map(bundles),
            cost_ns: (members.len() as u64 * MEMBER_COST_NS)
                .clamp(MIN_PLAN_COST_NS, MAX_PLAN_COST_NS),
            is_empty: true,
        }
    }

    /// Takes the space for a text whose cost is `cost_ns`. Returns false if there is not enough. An
    /// empty plan always has enough for one text.
    pub(super) fn take(&mut self, from: &DisplayName, len: usize, cost_ns: u64) -> bool {
        if self.datagrams == Some(0) || (self.cost_ns < cost_ns && !self.is_empty) {
            return false;
        }
        let mut left = self.bundles;
        let frame_bytes = v2::message_bytes(from, len);
        for (space, size) in left.iter_mut().zip(BundleSize::ALL) {
            if let Some(space) = space
                && !space.take(frame_bytes, size)
            {
                return false;
            }
        }
        *self = Self {
            datagrams: self.datagrams.map(|left| left - 1),
            bundles: left,
            cost_ns: self.cost_ns.saturating_sub(cost_ns),
            is_empty: false,
        };
        true
    }

    /// Returns true if the texts that were taken might not fit in another order. No order takes
    /// more than twice as many bundles as another one.
    pub(super) fn depend_on_order(&self) -> bool {
        let mut spaces = self.bundles.iter().zip(BundleSize::ALL);
        spaces.any(|(space, size)| space.is_some_and(|s| s.bundles < max_bundles(size) / 2))
    }
}

impl BundleSpace {
    /// Takes the space for a message, in another bundle if the last one has not enough. Returns
    /// false if there is none.
    fn take(&mut self, frame_bytes: usize, size: BundleSize) -> bool {
        if frame_bytes > self.bytes {
            let Some(left) = self.bundles.checked_sub(1) else {
                return false;
            };
            self.bundles = left;
            self.bytes = size.bytes() - HEADER_BYTES;
        }
        // A message that is longer than a bundle is sent alone.
        self.bytes = self.bytes.saturating_sub(frame_bytes);
        true
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
