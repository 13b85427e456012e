//! A snapshot of a room's members, grouped by the way they are sent to.

use std::ops::Range;

use crate::net::PeerAddr;
use crate::server::ops::stats::WorkerId;

use crate::wire::Protocol;

/// The properties that peers must share to be sent to in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SendGroup {
    pub endpoint: u8,
    pub protocol: Protocol,
    /// The worker that receives from the peer. In a shared room it also sends to the peer.
    pub owner: WorkerId,
}

/// The members of a room at one moment.
#[derive(Debug, Default)]
pub struct Members {
    addresses: Box<[PeerAddr]>,
    groups: Box<[(SendGroup, Range<usize>)]>,
    /// True if the workers share the sending.
    is_shared: bool,
}

impl Members {
    /// Counts the members of each group, and then places them.
    pub(super) fn collect<'a>(
        members: impl ExactSizeIterator<Item = (&'a PeerAddr, &'a SendGroup)> + Clone,
    ) -> Self {
        let is_shared = members.len() >= MIN_SHARED_MEMBERS;
        let group_of = |group: &SendGroup| match is_shared {
            true => *group,
            false => SendGroup {
                owner: WorkerId::default(),
                ..*group
            },
        };
        // There are few groups, so a linear search is fast.
        let mut groups: Vec<(SendGroup, Range<usize>)> = Vec::new();
        let find = |groups: &[(SendGroup, Range<usize>)], group| {
            groups.iter().position(|known| known.0 == group)
        };
        for (_, group) in members.clone() {
            let group = group_of(group);
            match find(&groups, group) {
                Some(index) => groups[index].1.end += 1,
                None => groups.push((group, 0..1)),
            }
        }
        let mut start = 0;
        for (_, range) in &mut groups {
            let end = start + range.end;
            *range = start..start;
            start = end;
        }
        let placeholder = PeerAddr::new(([0, 0, 0, 0], 0).into(), 0);
        let mut addresses = vec![placeholder; members.len()];
        for (address, group) in members {
            let index = match groups.len() {
                1 => Some(0),
                _ => find(&groups, group_of(group)),
            };
            if let Some(index) = index {
                let end = &mut groups[index].1.end;
                addresses[*end] = *address;
                *end += 1;
            }
        }
        Self {
            addresses: addresses.into(),
            groups: groups.into(),
            is_shared,
        }
    }

    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    pub fn group(&self, index: usize) -> (SendGroup, &[PeerAddr]) {
        let (group, range) = &self.groups[index];
        (*group, &self.addresses[range.clone()])
    }

    pub fn any_speaks(&self, protocol: Protocol) -> bool {
        self.groups
            .iter()
            .any(|(group, _)| group.protocol == protocol)
    }
}

/// Minimum number of members for which the workers share the sending. Measured with
/// two workers on two cores (results/README.md): waking the other worker costs more
/// than it saves up to 32 members, and as much at 48. At 64 members the last one
/// receives a message in three quarters of the time.
pub const MIN_SHARED_MEMBERS: usize = 64;
