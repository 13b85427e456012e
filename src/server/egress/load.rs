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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PeerAddr;
    use crate::server::ops::stats::WorkerId;
    use crate::server::registry::Registry;
    use crate::wire::Protocol;
    use crate::wire::v2::{BundleSize, SessionId};

    #[test]
    fn a_text_costs_a_datagram_per_v1_member_and_its_part_of_a_bundle_per_v2_member() {
        let peer = |port| PeerAddr::new(([127, 0, 0, 1], port).into(), 0);
        let from = DisplayName::Address(peer(9).socket_addr());
        let session = SessionId::new(7).unwrap();
        // 19 bytes of a frame are not the text.
        for (v1, v2, len, expected_ns) in [
            (0, 0, 581, 300),
            (2, 0, 581, 300 + 2 * 1_005),
            (0, 2, 581, 300 + 2 * 1_156 / 2),
            (2, 2, 281, 300 + 2 * 1_005 + 2 * 1_156 / 4),
        ] {
            let registry = Registry::plain(1, 10);
            for port in 0..v1 {
                registry.touch(&peer(10 + port), Protocol::Text, WorkerId(0), 0);
            }
            for port in 0..v2 {
                registry.open_session(&peer(20 + port), WorkerId(0), BundleSize::Full, session, 0);
            }
            let load = Load::of(registry.lobby(), &from, len, 5);
            assert_eq!((load.cost_ns, load.bytes), (expected_ns, len as u64 + 128));
        }
    }
}
