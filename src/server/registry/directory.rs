//! The rooms of a server: the lobby, in which every peer starts, and the rooms that
//! peers create by joining. Those vanish with their last member.

use std::hash::BuildHasher;
use std::sync::Arc;

use indexmap::IndexMap;

use super::hash::AddressHash;
use super::limits::SharedLimits;
use super::memory::capacity_after_flood;
use super::network_limits::{NetworkShares, NetworkSlot};
use super::nodes::RemoteNodes;
use super::presence::EventQueue;
use super::room::Room;
use crate::server::ops::supervise::lock;
use crate::sync::{Mutex, MutexGuard};
use crate::wire::{LOBBY, Limit, RoomName, v2};

/// Joining and leaving rooms other than the lobby takes one lock, for a look-up. Sending
/// takes none, because a peer holds its room.
pub struct Directory {
    lobby: Arc<Room>,
    rooms: Mutex<Rooms>,
    limits: Arc<SharedLimits>,
    pub(super) shares: NetworkShares,
    workers: usize,
    /// The members of other nodes.
    remote: Arc<RemoteNodes>,
    events: Arc<EventQueue>,
    incarnations: AddressHash,
}

/// The reason why a peer cannot join a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The room has the maximum number of members.
    #[error("the room {name} has its maximum of {max} members")]
    Full { name: RoomName, max: u32 },
    /// The room does not exist, and may not be created.
    #[error("there is no room {name}, and the maximum is reached: {limit}")]
    LimitReached { name: RoomName, limit: Limit },
}

struct Rooms {
    /// By name in lower case, in the order of creation, but the last room takes the place of
    /// one that vanishes.
    by_name: IndexMap<RoomName, Entry>,
    last_number: u32,
}

struct Entry {
    room: Arc<Room>,
    /// The number of members, and of peers that are about to become one.
    places: u32,
    /// The network that the room is counted for, or `None` if a trusted peer has created it.
    creator: Option<NetworkSlot>,
}

impl Directory {
    /// `incarnations` is the hash that gives rooms their incarnations, of their numbers.
    pub(super) fn new(
        workers: usize,
        limits: Arc<SharedLimits>,
        remote: Arc<RemoteNodes>,
        events: EventQueue,
        incarnations: AddressHash,
    ) -> Self {
        let events = Arc::new(events);
        let lobby = v2::Room {
            number: LOBBY_NUMBER,
            incarnation: incarnations.hash_one(LOBBY_NUMBER),
            name: lobby(),
        };
        Self {
            lobby: Arc::new(Room::new(lobby, workers, Arc::clone(&events))),
            rooms: Mutex::new(Rooms {
                by_name: IndexMap::new(),
                last_number: LOBBY_NUMBER,
            }),
            limits,
            shares: NetworkShares::default(),
            workers,
            remote,
            events,
            incarnations,
        }
    }

    pub fn lobby(&self) -> &Arc<Room> {
        &self.lobby
    }

    pub fn events(&self) -> &EventQueue {
        &self.events
    }

    /// The number of rooms, including the lobby.
    #[expect(clippy::len_without_is_empty, reason = "the lobby always exists")]
    pub fn len(&self) -> usize {
        1 + self.lock().by_name.len()
    }

    /// Calls `visit` with the name and the members of each room from index `first` on until it returns
    /// false. The lobby has the index 0, and rooms with members on other nodes only are last. `local`
    /// returns the name and the members of a room that is here. Returns the number of rooms.
    pub(super) fn visit_all(
        &self,
        first: usize,
        local: impl Fn(&Room) -> (RoomName, usize),
        mut visit: impl FnMut(RoomName, usize) -> bool,
    ) -> usize {
        let rooms = self.lock();
        let others = rooms.by_name.values().map(|entry| &entry.room);
        let mut goes_on = true;
        for room in std::iter::once(&self.lobby).chain(others).skip(first) {
            let (name, members) = local(room);
            goes_on = visit(name, members);
            if !goes_on {
                break;
            }
        }
        let mut count = 1 + rooms.by_name.len();
        let lobby = lobby();
        self.remote.visit_rooms(|name, members| {
            let key = name.folded();
            if key != lobby && !rooms.by_name.contains_key(&key) {
                goes_on = goes_on && (count < first || visit(name, members));
                count += 1;
            }
        });
        count
    }

    /// Returns the room called `name`.
    pub fn find(&self, name: RoomName) -> Option<Arc<Room>> {
        let key = name.folded();
        if key == lobby() {
            return Some(Arc::clone(&self.lobby));
        }
        let rooms = self.lock();
        rooms.by_name.get(&key).map(|entry| Arc::clone(&entry.room))
    }

    /// Returns up to `count` rooms from index `first` on. The lobby has the index 0.
    pub fn some(&self, first: usize, count: usize) -> Vec<Arc<Room>> {
        let rooms = self.lock();
        let others = rooms.by_name.values().map(|entry| &entry.room);
        let all = std::iter::once(&self.lobby).chain(others);
        all.skip(first).take(count).map(Arc::clone).collect()
    }

    /// Reserves a place in the room called `name`, and creates the room if it does not
    /// exist. The caller makes a peer a member, and releases the place when the peer
    /// leaves. `network` is that of the peer, or `None` if the peer is trusted.
    ///
    /// # Errors
    /// [`RoomError`]; no place is reserved.
    pub(super) fn reserve_place(
        &self,
        name: RoomName,
        network: Option<NetworkSlot>,
        now_ms: u64,
    ) -> Result<Arc<Room>, RoomError> {
        let key = name.folded();
        if key == lobby() {
            return Ok(Arc::clone(&self.lobby));
        }
        let max_members = self.limits.max_room_members();
        let mut rooms = self.lock();
        if let Some(Entry { room, places, .. }) = rooms.by_name.get_mut(&key) {
            if *places >= max_members {
                let name = *room.name();
                return Err(RoomError::Full {
                    name,
                    max: max_members,
                });
            }
            *places += 1;
            return Ok(Arc::clone(room));
        }
        let used = rooms.by_name.len();
        self.shares
            .enter(network, used, self.limits.max_rooms(), now_ms)
            .map_err(|limit| RoomError::LimitReached { name, limit })?;
        let number = rooms.last_number.wrapping_add(1).max(LOBBY_NUMBER + 1);
        rooms.last_number = number;
        let events = Arc::clone(&self.events);
        let room = v2::Room {
            number,
            incarnation: self.incarnations.hash_one(number),
            name,
        };
        let room = Arc::new(Room::new(room, self.workers, events));
        // Under the lock of the directory, which `Registry::note_remote` takes after a change.
        room.set_remote_members(self.remote.len_of(&name) as u32);
        let entry = Entry {
            room: Arc::clone(&room),
            places: 1,
            creator: network,
        };
        rooms.by_name.insert(key, entry);
        Ok(room)
    }

    /// Releases a place. The room vanishes with its last place.
    pub(super) fn release_place(&self, room: &Arc<Room>) {
        if Arc::ptr_eq(room, &self.lobby) {
            return;
        }
        let mut rooms = self.lock();
        let by_name = &mut rooms.by_name;
        let key = room.name().folded();
        let Some(entry) = by_name.get_mut(&key) else {
            debug_assert!(false, "a room with places is in the directory");
            return;
        };
        entry.places -= 1;
        if entry.places > 0 {
            return;
        }
        self.shares.leave(entry.creator);
        by_name.swap_remove(&key);
        if let Some(keep) = capacity_after_flood(by_name.len(), by_name.capacity()) {
            by_name.shrink_to(keep);
        }
    }

    /// Every room but the lobby, with its number of places, and the capacity for more.
    #[cfg(test)]
    pub(super) fn snapshot(&self) -> (Vec<(Arc<Room>, u32)>, usize) {
        let rooms = self.lock();
        let entries = rooms.by_name.values();
        let entries = entries.map(|entry| (Arc::clone(&entry.room), entry.places));
        (entries.collect(), rooms.by_name.capacity())
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        lock(&self.rooms)
    }
}

fn lobby() -> RoomName {
    RoomName::parse(LOBBY.as_bytes()).expect("a valid name")
}

/// The lobby's number in protocol v2. Other rooms are numbered in the order of creation.
const LOBBY_NUMBER: u32 = 0;

#[cfg(test)]
mod tests;
