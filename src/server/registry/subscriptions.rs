//! The rooms of a v2 peer besides its own.

use std::sync::Arc;

use super::directory::RoomError;
use super::room::{LeaveReason, Room};
use super::{Registry, enter_room};
use crate::net::PeerAddr;
use crate::wire::RoomName;

/// The reason why a peer cannot subscribe to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The peer is in the maximum number of rooms.
    #[error("the peer is in the maximum number of rooms")]
    TooMany,
}

impl Registry {
    /// Makes a peer a member of another room, besides its own. The room is created if it does not
    /// exist. A peer that is a member already stays one. Returns `None` if the peer is not
    /// registered.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changes.
    pub fn subscribe(
        &self,
        address: &PeerAddr,
        name: RoomName,
    ) -> Option<Result<Arc<Room>, SubscribeError>> {
        let key = self.hash.hash(address);
        let peer = self.peers.get_mut(&key)?;
        let mut rooms = peer.memberships.iter();
        if let Some(room) = rooms.find(|room| room.name().folded() == name.folded()) {
            return Some(Ok(room));
        }
        let mut others = peer.memberships.others();
        if 1 + others.len() >= MAX_SESSION_ROOMS {
            return Some(Err(SubscribeError::TooMany));
        }
        let room = match self.reserve_place(&peer, name) {
            Ok(room) => room,
            Err(error) => return Some(Err(error.into())),
        };
        others.push(Arc::clone(&room));
        peer.memberships.replace_others(others);
        enter_room(&room, &key, &peer, None);
        Some(Ok(room))
    }

    /// Ends the membership of a peer in a room that is not its own. Returns `None` if the peer is
    /// not registered, and `Some(false)` if the room is its own.
    pub fn unsubscribe(&self, address: &PeerAddr, number: u32) -> Option<bool> {
        let key = self.hash.hash(address);
        let peer = self.peers.get_mut(&key)?;
        let mut others = peer.memberships.others();
        if let Some(at) = others.iter().position(|room| room.number() == number) {
            let room = others.remove(at);
            peer.memberships.replace_others(others);
            self.leave_room(&room, &key, &peer, LeaveReason::Left);
        }
        Some(!peer.is_in(number))
    }
}

/// Maximum number of rooms of a peer, its own included. A peer that leaves has to leave all.
pub const MAX_SESSION_ROOMS: usize = 64;
