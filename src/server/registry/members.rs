//! The members of a room at one moment, sorted by how they are sent to.

use std::ops::Range;

use super::room::Member;
use crate::net::PeerAddr;
pub use crate::wire::Protocol;

/// How a peer is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// Through which address of the server.
    pub endpoint: u8,
    /// In which form.
    pub protocol: Protocol,
    /// By which worker, where the workers share the work: that which hears it.
    pub owner: u8,
}

/// The members of a room at one moment.
#[derive(Debug, Default)]
pub struct Members {
    addresses: Box<[PeerAddr]>,
    lanes: Box<[(Lane, Range<usize>)]>,
    is_split: bool,
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Whether the workers share the work of sending to these.
    pub fn is_split(&self) -> bool {
        self.is_split
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// A lane, by its index, and the members on it.
    pub fn lane(&self, index: usize) -> (Lane, &[PeerAddr]) {
        let (lane, range) = &self.lanes[index];
        (*lane, &self.addresses[range.clone()])
    }

    /// Whether someone among them speaks `protocol`.
    pub fn any_speaks(&self, protocol: Protocol) -> bool {
        self.lanes.iter().any(|(lane, _)| lane.protocol == protocol)
    }

    /// Sorts members by their lanes: counts, then places.
    pub(super) fn of(members: &[Member]) -> Self {
        let is_split = members.len() >= SPLIT_MEMBERS;
        let lane_of = |member: &Member| Lane {
            owner: if is_split { member.lane.owner } else { 0 },
            ..member.lane
        };
        // Few: those of one lane are found at the front.
        let mut lanes: Vec<(Lane, Range<usize>)> = Vec::new();
        let find = |lanes: &[(Lane, Range<usize>)], lane| lanes.iter().position(|at| at.0 == lane);
        for lane in members.iter().map(lane_of) {
            match find(&lanes, lane) {
                Some(at) => lanes[at].1.end += 1,
                None => lanes.push((lane, 0..1)),
            }
        }
        let mut start = 0;
        for (_, range) in &mut lanes {
            let end = start + range.end;
            *range = start..start;
            start = end;
        }
        let nobody = PeerAddr::new(([0, 0, 0, 0], 0).into(), 0);
        let mut addresses = vec![nobody; members.len()];
        for member in members {
            if let Some(at) = find(&lanes, lane_of(member)) {
                let end = &mut lanes[at].1.end;
                addresses[*end] = member.address;
                *end += 1;
            }
        }
        Self {
            addresses: addresses.into(),
            lanes: lanes.into(),
            is_split,
        }
    }
}

/// From how many members on the workers share the sending. Measured with two
/// workers on two cores (results/README.md): to wake the other one costs more than
/// it saves up to 32 members, as much at 48, and at 64 the last of them hears a
/// message in three quarters of the time.
pub const SPLIT_MEMBERS: usize = 64;
