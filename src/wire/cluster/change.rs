//! The changes of a node's members.

use crate::wire::reply::PresenceEvent;
use crate::wire::{DisplayName, Name, RoomName};

/// The name of a cluster: 1 to 32 of `A-Z a-z 0-9 _ -`.
pub type ClusterName = RoomName;

/// The name of a node: 1 to 32 of `A-Z a-z 0-9 _ -`, unique in its cluster.
pub type NodeId = RoomName;

/// A change of the members of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cluster", derive(serde::Serialize, serde::Deserialize))]
pub enum Change {
    /// A peer came to a room.
    Joined(RoomName, DisplayName),
    /// A peer left a room, or the server.
    Left(RoomName, DisplayName),
    /// The server dropped a peer that was silent for too long.
    TimedOut(RoomName, DisplayName),
    /// A member of a room took another name, or has lost one.
    Renamed(RoomName, DisplayName, DisplayName),
    /// A member of a room has another address, or has lost its name with it. This is no event.
    Moved(RoomName, DisplayName, DisplayName),
    /// A peer has claimed a name.
    Claimed(Claim),
    /// A name is free.
    Freed(Name),
}

/// A name, and the time at which a peer has claimed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cluster", derive(serde::Serialize, serde::Deserialize))]
pub struct Claim {
    /// The name.
    pub name: Name,
    /// In ms since 1970, by the clock of the node.
    pub claimed_ms: u64,
}

impl Change {
    /// Returns the change that an event in a room is.
    pub fn of(room: RoomName, event: PresenceEvent) -> Self {
        match event {
            PresenceEvent::Joined(who) => Self::Joined(room, who),
            PresenceEvent::Left(who) => Self::Left(room, who),
            PresenceEvent::TimedOut(who) => Self::TimedOut(room, who),
            PresenceEvent::Renamed(before, now) => Self::Renamed(room, before, now),
        }
    }

    /// Returns the room and the event in it, if this is one.
    pub fn event(&self) -> Option<(RoomName, PresenceEvent)> {
        Some(match *self {
            Self::Joined(room, who) => (room, PresenceEvent::Joined(who)),
            Self::Left(room, who) => (room, PresenceEvent::Left(who)),
            Self::TimedOut(room, who) => (room, PresenceEvent::TimedOut(who)),
            Self::Renamed(room, before, now) => (room, PresenceEvent::Renamed(before, now)),
            Self::Moved(..) | Self::Claimed(_) | Self::Freed(_) => return None,
        })
    }
}
