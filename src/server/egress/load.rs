//! The cost and the memory of texts, and accounts of those that wait.

use std::ops::{AddAssign, SubAssign};

use super::packets::{DATAGRAM_COST_NS, PACKET_COST_NS};
use crate::server::registry::Room;
use crate::wire::DisplayName;
use crate::wire::v2::{BUNDLE_BYTES, message_bytes};

/// The load that texts put on a worker: the approximate time to send them, and their memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) cost_ns: u64,
    pub(super) bytes: u64,
}

/// The texts that wait: those of a room, those of a sender, or all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) texts: u64,
    /// The load of the texts within the shares of their rooms and senders.
    pub(super) kept: Load,
    /// The load of the other texts, each of a sender who had none waiting.
    pub(super) reserved: Load,
}

impl Load {
    /// Returns the load of a text of `len` bytes to the members that a room has now, as one of many
    /// texts. `packet_ns` is its part of the cost of a packet to a v1 peer.
    pub(super) fn of(room: &Room, from: &DisplayName, len: usize, packet_ns: u64) -> Self {
        let (v1, v2) = room.members_by_version();
        let bundle_bytes = message_bytes(from, len) as u64;
        let v1_cost_ns = DATAGRAM_COST_NS + packet_ns;
        let v2_cost_ns = BUNDLE_COST_NS * bundle_bytes / BUNDLE_BYTES as u64;
        Self {
            cost_ns: TEXT_COST_NS + u64::from(v1) * v1_cost_ns + u64::from(v2) * v2_cost_ns,
            bytes: len as u64 + TEXT_BYTES,
        }
    }

    #[must_use]
    pub(super) fn saturating_sub(self, other: Self) -> Self {
        Self {
            cost_ns: self.cost_ns.saturating_sub(other.cost_ns),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl Account {
    /// Returns true if its share is large enough for another text. `left` is what is left for
    /// others.
    pub(super) fn may_keep(&self, load: Load, left: Load) -> bool {
        self.kept.cost_ns + load.cost_ns <= left.cost_ns
            && self.kept.bytes + load.bytes <= left.bytes
    }

    pub(super) fn add(&mut self, load: Load, is_reserved: bool) {
        self.texts += 1;
        *self.part(is_reserved) += load;
    }

    pub(super) fn remove(&mut self, load: Load, is_reserved: bool) {
        self.texts -= 1;
        *self.part(is_reserved) -= load;
    }

    /// The cost of all its texts.
    pub(super) fn cost_ns(&self) -> u64 {
        self.kept.cost_ns + self.reserved.cost_ns
    }

    fn part(&mut self, is_reserved: bool) -> &mut Load {
        if is_reserved {
            &mut self.reserved
        } else {
            &mut self.kept
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.cost_ns += other.cost_ns;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        self.cost_ns -= other.cost_ns;
        self.bytes -= other.bytes;
    }
}

/// Time to queue a text and to encode it, also if the room has no members.
const TEXT_COST_NS: u64 = 300;

/// Time to send a full bundle, as one of many in a packet.
const BUNDLE_COST_NS: u64 = DATAGRAM_COST_NS + TYPICAL_PACKET_NS;

/// The part of a packet's cost that a datagram has under load, when a packet holds about 32.
pub(super) const TYPICAL_PACKET_NS: u64 = PACKET_COST_NS / 32;

/// Memory of a text in addition to its bytes, with its part of the queues.
pub(super) const TEXT_BYTES: u64 = 128;
