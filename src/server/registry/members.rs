//! Snapshots of the members of a room.

use std::ops::Range;

use crate::net::{Endpoint, PeerAddr};
use crate::wire::Protocol;
use crate::wire::v2::SessionId;

/// The members of a room that receive, at one moment.
#[derive(Debug, Default)]
pub struct Members {
    addresses: Box<[PeerAddr]>,
    /// Parallel to the addresses.
    sessions: Sessions,
    groups: Box<[Group]>,
}

/// The sessions of members, parallel to a list of them. A room without v2 members has none.
pub(super) type Sessions = Option<Box<SessionList>>;

#[derive(Debug)]
pub(super) struct SessionList(pub(super) Vec<Option<SessionId>>);

#[derive(Debug)]
struct Group {
    group: SendGroup,
    start: u32,
    end: u32,
}

/// The properties that peers must share to be sent to in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SendGroup {
    pub endpoint: Endpoint,
    pub protocol: Protocol,
    /// False if their own messages are not sent to them.
    pub echo: bool,
}

/// Members of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub group: SendGroup,
    pub peers: &'a [PeerAddr],
    /// The session of each, or empty if they speak v1.
    pub sessions: &'a [Option<SessionId>],
}

impl<'a> Part<'a> {
    /// Returns up to `count` of these members at a time.
    pub fn chunks(self, count: usize) -> impl Iterator<Item = Part<'a>> {
        let starts = (0..self.peers.len()).step_by(count);
        starts.map(move |start| {
            let end = self.peers.len().min(start + count);
            self.slice(start..end)
        })
    }

    /// Returns the members with these indexes within the part.
    pub fn slice(self, members: Range<usize>) -> Part<'a> {
        Part {
            group: self.group,
            sessions: self.sessions.get(members.clone()).unwrap_or_default(),
            peers: &self.peers[members],
        }
    }
}

impl Members {
    /// Places the members of each group one after the other. `counts` are the numbers of members
    /// in each group, `members` has the index of the group of each, and `known` their sessions.
    pub(super) fn collect<'a>(
        counts: &[(SendGroup, u32)],
        members: impl Iterator<Item = (&'a PeerAddr, &'a u32)>,
        known: &Sessions,
    ) -> Self {
        let mut len = 0;
        let mut groups: Vec<Group> = Vec::with_capacity(counts.len());
        for &(group, count) in counts {
            groups.push(Group {
                group,
                start: len,
                end: len,
            });
            len += count;
        }
        let placeholder = PeerAddr::new(([0, 0, 0, 0], 0).into(), 0);
        let mut addresses = vec![placeholder; len as usize];
        let mut sessions = known.as_ref().map(|_| vec![None; addresses.len()]);
        for (index, (address, group)) in members.enumerate() {
            if *group == NO_GROUP {
                continue;
            }
            let group = &mut groups[*group as usize];
            let place = group.end as usize;
            addresses[place] = address.at(group.group.endpoint);
            if let (Some(sessions), Some(known)) = (&mut sessions, known) {
                sessions[place] = known.0[index];
            }
            group.end += 1;
        }
        groups.retain(|group| group.start < group.end);
        Self {
            addresses: addresses.into(),
            sessions: sessions.map(|sessions| Box::new(SessionList(sessions))),
            groups: groups.into(),
        }
    }

    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The members with these indexes, group by group.
    pub fn parts(&self, members: Range<usize>) -> impl Iterator<Item = Part<'_>> {
        let first = self
            .groups
            .partition_point(|group| group.end as usize <= members.start);
        self.groups[first..].iter().map_while(move |group| {
            let (start, end) = (group.start as usize, group.end as usize);
            let part = start.max(members.start)..end.min(members.end);
            let sessions = self.sessions.as_ref().filter(|_| is_v2(group.group));
            let sessions = sessions.and_then(|sessions| sessions.0.get(part.clone()));
            (!part.is_empty()).then(|| Part {
                group: group.group,
                sessions: sessions.unwrap_or_default(),
                peers: &self.addresses[part],
            })
        })
    }

    /// Returns true if any member is not sent its own messages.
    pub fn any_without_echo(&self) -> bool {
        self.groups.iter().any(|group| !group.group.echo)
    }

    pub fn any_speaks(&self, protocol: Protocol) -> bool {
        self.groups
            .iter()
            .any(|group| group.group.protocol == protocol)
    }
}

fn is_v2(group: SendGroup) -> bool {
    matches!(group.protocol, Protocol::Frames(_))
}

/// The index of a member that does not receive, in place of that of its group.
pub(super) const NO_GROUP: u32 = u32::MAX;
