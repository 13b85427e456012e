//! Rooms: who hears whom. The lobby, in which everyone starts, and those that
//! peers make by joining and that vanish with their last member.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wire::{LOBBY, RoomName};

use super::presence::News;
use super::room::Room;

/// All rooms of a server.
///
/// Making, entering and leaving rooms other than the lobby goes through one lock,
/// which is held for a look-up. Sending does not: a peer knows its room.
pub struct Rooms {
    lobby: Arc<Room>,
    directory: Mutex<Directory>,
    limits: RoomLimits,
    workers: usize,
    /// Where something has happened that someone wants to hear of.
    pub news: News,
}

/// How much the rooms may grow.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Rooms beside the lobby.
    pub max_rooms: usize,
    /// Members of each of them; the lobby takes everyone.
    pub max_members: u32,
}

/// Why a peer cannot enter a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The room has all the members that it may have.
    #[error("the room {name} has its maximum of {max} members")]
    Full {
        /// The room.
        name: RoomName,
        /// How many there may be.
        max: u32,
    },
    /// The room would be a new one, and there may be no more.
    #[error("the room {name} does not exist, and the limit of {max} rooms is reached")]
    TooMany {
        /// What it would have been called.
        name: RoomName,
        /// How many there may be.
        max: usize,
    },
}

struct Directory {
    by_name: HashSet<ByName>,
    /// The same, to look at some of them.
    list: Vec<Arc<Room>>,
    last_number: u32,
}

/// A room, found by its name in lower case.
struct ByName(Arc<Room>);

impl Rooms {
    /// The lobby alone, on a server with `workers` workers.
    pub fn new(workers: usize, limits: RoomLimits, news: News) -> Self {
        Self {
            lobby: Arc::new(Room::new(lobby(), LOBBY_NUMBER, workers)),
            directory: Mutex::new(Directory {
                by_name: HashSet::new(),
                list: Vec::new(),
                last_number: LOBBY_NUMBER,
            }),
            limits,
            workers,
            news,
        }
    }

    /// The room in which everyone starts.
    pub fn lobby(&self) -> &Arc<Room> {
        &self.lobby
    }

    /// How many rooms there are, with the lobby.
    #[expect(clippy::len_without_is_empty, reason = "there is always the lobby")]
    pub fn len(&self) -> usize {
        1 + self.lock().list.len()
    }

    /// Calls `visit` with the rooms from number `from` on, of which the lobby is 0,
    /// until it returns false. Returns how many rooms there are.
    pub fn visit(&self, from: usize, mut visit: impl FnMut(&Room) -> bool) -> usize {
        let directory = self.lock();
        let rooms = std::iter::once(&self.lobby).chain(&directory.list);
        for room in rooms.skip(from) {
            if !visit(room) {
                break;
            }
        }
        1 + directory.list.len()
    }

    /// Takes a place in the room called `name`, which is made if there is none. The
    /// peer that it is for must enter, and give the place back when it has left.
    ///
    /// # Errors
    /// [`RoomError`]: there is no place, or no room.
    pub fn take_place(&self, name: RoomName) -> Result<Arc<Room>, RoomError> {
        let key = name.folded();
        if key == lobby() {
            return Ok(Arc::clone(&self.lobby));
        }
        let mut directory = self.lock();
        if let Some(ByName(room)) = directory.by_name.get(&key) {
            let places = room.places.load(Ordering::Relaxed);
            if places >= self.limits.max_members {
                let (name, max) = (*room.name(), self.limits.max_members);
                return Err(RoomError::Full { name, max });
            }
            room.places.store(places + 1, Ordering::Relaxed);
            return Ok(Arc::clone(room));
        }
        let max = self.limits.max_rooms;
        if directory.list.len() >= max {
            return Err(RoomError::TooMany { name, max });
        }
        directory.last_number = directory.last_number.wrapping_add(1).max(LOBBY_NUMBER + 1);
        let room = Arc::new(Room::new(name, directory.last_number, self.workers));
        room.places.store(1, Ordering::Relaxed);
        room.index_in_list
            .store(directory.list.len() as u32, Ordering::Relaxed);
        directory.list.push(Arc::clone(&room));
        directory.by_name.insert(ByName(Arc::clone(&room)));
        Ok(room)
    }

    /// Gives a place back. With the last one the room vanishes.
    pub fn give_place_back(&self, room: &Arc<Room>) {
        if Arc::ptr_eq(room, &self.lobby) {
            return;
        }
        let mut directory = self.lock();
        let places = room.places.load(Ordering::Relaxed) - 1;
        room.places.store(places, Ordering::Relaxed);
        if places > 0 {
            return;
        }
        directory.by_name.remove(room.key());
        let index = room.index_in_list.load(Ordering::Relaxed);
        directory.list.swap_remove(index as usize);
        if let Some(moved) = directory.list.get(index as usize) {
            moved.index_in_list.store(index, Ordering::Relaxed);
        }
        // What a storm of rooms took is not kept for ever.
        if directory.list.len() < directory.list.capacity() / 4 {
            let keep = directory.list.len() * 2;
            directory.list.shrink_to(keep);
            directory.by_name.shrink_to(keep);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Directory> {
        // A panic under this lock ends the process (see `supervise`).
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrow<RoomName> for ByName {
    fn borrow(&self) -> &RoomName {
        self.0.key()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for ByName {}

fn lobby() -> RoomName {
    RoomName::parse(LOBBY.as_bytes()).expect("a label")
}

/// By which v2 peers know the lobby. The others are numbered in the order in
/// which they are made.
const LOBBY_NUMBER: u32 = 0;

#[cfg(test)]
mod tests;
