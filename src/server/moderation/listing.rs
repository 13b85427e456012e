//! Lists of peers and rooms, a page at a time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use super::{Moderation, ModerationError};
use crate::net::PeerAddr;
use crate::server::registry::{Peer, Room};
use crate::wire::{DisplayName, MAX_ROOM_NAME_BYTES, Name, RoomName};

/// A registered peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its address.
    pub address: SocketAddr,
    /// Its name, if it has taken one.
    pub name: Option<Name>,
    /// The room in which it speaks.
    pub room: RoomName,
    /// The version of the protocol, 1 or 2.
    pub version: u8,
    /// Its address is one of those that the operator trusts.
    pub is_trusted: bool,
    /// The operator has muted it.
    pub is_muted: bool,
    /// Time in s since its last datagram.
    pub silent_s: u64,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name, as its creator wrote it.
    pub name: RoomName,
    /// Number of its members.
    pub members: usize,
    /// Number of members that receive messages in version 1.
    pub v1: u32,
    /// Number of members that receive messages in version 2.
    pub v2: u32,
}

/// Some of the registered peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerList {
    /// The peers of the page, in the order of their addresses.
    pub peers: Vec<PeerInfo>,
    /// Number of peers of the whole list.
    pub total: usize,
}

/// Some of the rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomList {
    /// The rooms of the page, those with the most members first.
    pub rooms: Vec<RoomInfo>,
    /// Number of rooms of the whole list.
    pub total: usize,
}

/// A part of a list: up to `max` entries, after the first `first` ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    first: usize,
    max: usize,
}

impl Page {
    /// The beginning of a list, with [`MAX_LISTED_PEERS`] entries.
    pub const FIRST: Self = Self {
        first: 0,
        max: MAX_LISTED_PEERS,
    };

    /// A page of `max` entries, after the first `first` ones.
    ///
    /// # Errors
    /// `first` is more than [`MAX_FIRST`], or `max` is not 1 to [`MAX_PAGE`].
    pub fn new(first: usize, max: usize) -> Result<Self, ModerationError> {
        match first <= MAX_FIRST && (1..=MAX_PAGE).contains(&max) {
            true => Ok(Self { first, max }),
            false => Err(ModerationError::Page),
        }
    }

    /// The number of entries up to its end.
    fn end(self) -> usize {
        self.first + self.max
    }
}

impl Moderation {
    /// Returns a page of the peers whose address, name or room contains `part`, in any case. This
    /// visits all peers, and keeps the addresses of those up to the end of the page.
    pub fn peers(&self, part: &str, page: Page) -> PeerList {
        let (mut filter, mut first) = (Filter::new(part), Smallest::new(page.end()));
        self.registry.visit_peers(|address, peer| {
            if filter.is_met(|text| push_labels(address.socket_addr(), peer, text)) {
                let key = (address.socket_addr(), address.endpoint().bind());
                first.push(key, address);
            }
        });
        let (peers, total) = first.page(page);
        let now_ms = self.clock.now_ms();
        let info = |address: PeerAddr| {
            // It may have left since.
            let peer = self.registry.get(&address)?;
            Some(PeerInfo::of(address.socket_addr(), &peer, now_ms))
        };
        PeerList {
            peers: peers.filter_map(info).collect(),
            total,
        }
    }

    /// Returns a page of the rooms whose name contains `part`, in any case.
    pub fn rooms(&self, part: &str, page: Page) -> RoomList {
        let (mut filter, mut first) = (Filter::new(part), Smallest::new(page.end()));
        // The lock of the directory is taken for some rooms at a time. A room that takes the place
        // of one that vanishes meanwhile may be missing.
        for start in (0..).step_by(ROOMS_AT_ONCE) {
            let rooms = self.registry.directory().some(start, ROOMS_AT_ONCE);
            for room in &rooms {
                if filter.is_met(|text| text.extend_from_slice(room.name().as_bytes())) {
                    let info = RoomInfo::of(room);
                    first.push((Reverse(info.members), info.key()), info);
                }
            }
            if rooms.len() < ROOMS_AT_ONCE {
                break;
            }
        }
        let (rooms, total) = first.page(page);
        RoomList {
            rooms: rooms.collect(),
            total,
        }
    }
}

impl PeerInfo {
    fn of(address: SocketAddr, peer: &Peer, now_ms: u64) -> Self {
        Self {
            address,
            name: peer.name(),
            room: *peer.room().name(),
            version: if peer.session().is_some() { 2 } else { 1 },
            is_trusted: peer.is_trusted(),
            is_muted: peer.is_muted_at(now_ms),
            silent_s: now_ms.saturating_sub(peer.last_seen_ms()) / 1000,
        }
    }
}

impl RoomInfo {
    fn of(room: &Room) -> Self {
        let (v1, v2) = room.members_by_version();
        Self {
            name: *room.name(),
            members: room.len(),
            v1,
            v2,
        }
    }

    /// The name as the list is ordered.
    fn key(&self) -> [u8; MAX_ROOM_NAME_BYTES] {
        let (mut key, name) = ([0; MAX_ROOM_NAME_BYTES], self.name.folded());
        key[..name.as_bytes().len()].copy_from_slice(name.as_bytes());
        key
    }
}

/// A part that entries must contain, in any case.
struct Filter {
    part: Vec<u8>,
    text: Vec<u8>,
}

impl Filter {
    fn new(part: &str) -> Self {
        Self {
            part: part.to_ascii_lowercase().into_bytes(),
            text: Vec::new(),
        }
    }

    /// Returns true if what `push` appends contains the part.
    fn is_met(&mut self, push: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Self { part, text } = self;
        if part.is_empty() {
            return true;
        }
        text.clear();
        push(text);
        text.make_ascii_lowercase();
        text.windows(part.len()).any(|window| window == part)
    }
}

/// The entries with the smallest keys of many, in bounded memory.
struct Smallest<K, T> {
    heap: BinaryHeap<Keyed<K, T>>,
    max: usize,
    total: usize,
}

/// An entry, which is compared by its key alone.
struct Keyed<K, T>(K, T);

impl<K: Ord, T> Smallest<K, T> {
    fn new(max: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            max,
            total: 0,
        }
    }

    fn push(&mut self, key: K, entry: T) {
        self.total += 1;
        let entry = Keyed(key, entry);
        if self.heap.len() < self.max {
            self.heap.push(entry);
        } else if let Some(mut largest) = self.heap.peek_mut()
            && entry < *largest
        {
            *largest = entry;
        }
    }

    /// Returns the entries of `page` in order, and the number of all.
    fn page(self, page: Page) -> (impl Iterator<Item = T>, usize) {
        let entries = self.heap.into_sorted_vec().into_iter().skip(page.first);
        (entries.map(|Keyed(_, entry)| entry), self.total)
    }
}

impl<K: Ord, T> Ord for Keyed<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K: Ord, T> PartialOrd for Keyed<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> PartialEq for Keyed<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord, T> Eq for Keyed<K, T> {}

fn push_labels(address: SocketAddr, peer: &Peer, text: &mut Vec<u8>) {
    DisplayName::Address(address).push(text);
    let (name, room) = (peer.name(), peer.room());
    for label in [
        name.as_ref().map(Name::as_bytes),
        Some(room.name().as_bytes()),
    ] {
        text.push(b' ');
        text.extend_from_slice(label.unwrap_or_default());
    }
}

/// Number of peers that are listed unless another one is given, a few screens.
pub const MAX_LISTED_PEERS: usize = 100;

/// Maximum number of entries of a page. As JSON they take less than 200 KB.
pub const MAX_PAGE: usize = 1_000;

/// Maximum number of entries before a page. Their addresses take less than a megabyte
/// while a page is made. Nobody turns a hundred pages: a longer part finds the peer.
pub const MAX_FIRST: usize = 10_000;

/// Number of rooms for which the lock of the directory is held: some microseconds.
const ROOMS_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_smallest_entries_after_its_first() {
        let page = |first, max, entries: &[u32]| {
            let page = Page::new(first, max).unwrap();
            let mut smallest = Smallest::new(page.end());
            for entry in entries {
                smallest.push(*entry, *entry);
                assert!(smallest.heap.len() <= page.end());
            }
            let (entries, total) = smallest.page(page);
            (entries.collect::<Vec<_>>(), total)
        };
        let entries = [7, 3, 9, 1, 5, 8];
        assert_eq!(page(0, 2, &entries), (vec![1, 3], 6));
        assert_eq!(page(2, 3, &entries), (vec![5, 7, 8], 6));
        assert_eq!(page(5, 3, &entries), (vec![9], 6));
        assert_eq!(page(6, 3, &entries), (vec![], 6));
        assert_eq!(page(9, 3, &[]), (vec![], 0));
        for (first, max) in [(MAX_FIRST + 1, 1), (0, 0), (0, MAX_PAGE + 1)] {
            assert_eq!(Page::new(first, max), Err(ModerationError::Page));
        }
    }

    #[test]
    fn a_filter_ignores_case() {
        let is_met = |part: &str, text: &str| {
            Filter::new(part).is_met(|out| out.extend_from_slice(text.as_bytes()))
        };
        assert!(is_met("", "") && is_met("DEN", "garden") && is_met("den", "DEN"));
        assert!(!is_met("den", "de") && !is_met("x", ""));
    }
}
