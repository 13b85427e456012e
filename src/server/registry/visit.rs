//! Lists of the members and the rooms of all nodes.

use super::{Registry, Room};
use crate::wire::{DisplayName, RoomName};

impl Registry {
    /// Calls `visit` with the members of `room` from index `first` on, those of other nodes last, up to
    /// [`MAX_PAGE_MEMBERS`] local ones or until it returns false. Returns the number of members.
    pub fn visit_members(
        &self,
        room: &Room,
        first: usize,
        mut visit: impl FnMut(DisplayName) -> bool,
    ) -> usize {
        let (page, members) = room.page(first, MAX_PAGE_MEMBERS);
        let is_end = first + page.len() >= members;
        for address in page {
            let name = self
                .peers
                .get(&self.hash.hash(&address))
                .and_then(|peer| peer.name());
            if !visit(DisplayName::of(address.socket_addr(), name)) {
                return members + self.remote.len_of(room.name());
            }
        }
        let skipped = match is_end {
            true => first.saturating_sub(members),
            false => usize::MAX,
        };
        members + self.remote.visit_members(room.name(), skipped, visit)
    }

    /// Calls `visit` with the rooms from index `first` on until it returns false: the lobby, which has
    /// the index 0, the others with local members, and those with members on other nodes only. Returns
    /// the number of rooms.
    pub fn visit_rooms(&self, first: usize, visit: impl FnMut(RoomName, usize) -> bool) -> usize {
        let local = |room: &Room| (*room.name(), room.all_members());
        self.directory.visit_all(first, local, visit)
    }
}

/// Maximum number of members in one visit: more than fit into a reply of 900 bytes.
const MAX_PAGE_MEMBERS: usize = 512;
