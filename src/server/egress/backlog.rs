//! The texts that wait for fan-out. They are bounded, and their senders share the space
//! fairly.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use crate::net::PeerAddr;
use crate::server::registry::Room;
use crate::wire::{DisplayName, Name};

/// Texts in one buffer, in the order of arrival, and a list of them for each room.
pub(super) struct Backlog {
    bytes: Vec<u8>,
    texts: Vec<Text>,
    senders: HashMap<PeerAddr, Share>,
    rooms: Vec<RoomList>,
    /// The index of a room in `rooms`, by its address in memory. `rooms` holds the room, so no
    /// other room can have this address.
    room_indexes: HashMap<usize, usize>,
}

/// The texts in a [`Backlog`] for one room.
#[derive(Clone, Copy)]
pub struct RoomTexts<'a> {
    backlog: &'a Backlog,
    room: &'a Arc<Room>,
    first: usize,
    count: usize,
}

/// The sender has used up its share of the backlog. The text is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogFull;

#[derive(Debug, Clone)]
struct Text {
    /// The sender's name or address when the text arrived.
    display_name: DisplayName,
    /// The sender's number in this backlog.
    sender: u16,
    bytes: Range<usize>,
    next_in_room: Option<usize>,
}

/// The texts for one room, a list linked by `next_in_room`.
struct RoomList {
    room: Arc<Room>,
    first: usize,
    last: usize,
    count: usize,
}

/// The texts of one sender in the backlog.
#[derive(Debug, Clone, Copy)]
struct Share {
    number: u16,
    texts: usize,
    bytes: usize,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MAX_BYTES),
            texts: Vec::with_capacity(MAX_TEXTS),
            senders: HashMap::with_capacity(MAX_TEXTS),
            rooms: Vec::with_capacity(MAX_TEXTS),
            room_indexes: HashMap::with_capacity(MAX_TEXTS),
        }
    }

    /// Adds a text of `sender`, whose name is `name`, for `room`.
    ///
    /// The share of a sender is as large as the space that is left for others. One flooder
    /// leaves half of the backlog, two leave a third, so senders of few texts have space
    /// (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
    /// switches", 1998, with a factor of 1).
    pub(super) fn push(
        &mut self,
        room: &Arc<Room>,
        sender: PeerAddr,
        name: Option<Name>,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        let free_texts = MAX_TEXTS - self.texts.len();
        let free_bytes = MAX_BYTES - self.bytes.len();
        let number = self.senders.len() as u16;
        let entry = self.senders.entry(sender);
        let share = match &entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(_) => Share {
                number,
                texts: 0,
                bytes: 0,
            },
        };
        if share.texts >= free_texts || share.bytes + text.len() > free_bytes {
            return Err(BacklogFull);
        }
        entry.insert_entry(Share {
            texts: share.texts + 1,
            bytes: share.bytes + text.len(),
            ..share
        });
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.add_to_room(room);
        self.texts.push(Text {
            display_name: DisplayName::of(sender.socket_addr(), name),
            sender: share.number,
            bytes: start..self.bytes.len(),
            next_in_room: None,
        });
        Ok(())
    }

    /// Appends the next text to the list of its room.
    fn add_to_room(&mut self, room: &Arc<Room>) {
        let text = self.texts.len();
        let new_index = self.rooms.len();
        let index = *self
            .room_indexes
            .entry(Arc::as_ptr(room).addr())
            .or_insert(new_index);
        match self.rooms.get_mut(index) {
            Some(list) => {
                self.texts[list.last].next_in_room = Some(text);
                list.last = text;
                list.count += 1;
            }
            None => self.rooms.push(RoomList {
                room: Arc::clone(room),
                first: text,
                last: text,
                count: 1,
            }),
        }
    }

    /// The number of rooms that have, or had, texts.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Returns the texts for a room by its index, in the order in which the rooms' first
    /// texts arrived. Returns `None` after the last room, and when all texts of the room
    /// have been taken.
    pub(super) fn room(&self, index: usize) -> Option<RoomTexts<'_>> {
        let list = self.rooms.get(index).filter(|list| list.count > 0)?;
        Some(RoomTexts {
            backlog: self,
            room: &list.room,
            first: list.first,
            count: list.count,
        })
    }

    /// Removes the first `count` texts of a room.
    pub(super) fn take(&mut self, index: usize, count: usize) {
        let list = &mut self.rooms[index];
        for _ in 0..count {
            if let Some(next) = self.texts[list.first].next_in_room {
                list.first = next;
            }
        }
        list.count -= count;
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.texts.clear();
        self.senders.clear();
        self.rooms.clear();
        self.room_indexes.clear();
    }
}

impl<'a> RoomTexts<'a> {
    pub fn room(&self) -> &'a Arc<Room> {
        self.room
    }

    /// Returns the first `count` texts, but at least one.
    pub fn up_to(self, count: usize) -> Self {
        Self {
            count: self.count.min(count.max(1)),
            ..self
        }
    }

    /// The number of texts, at least one.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The upper bound of the senders' numbers.
    pub fn senders(&self) -> usize {
        self.backlog.senders.len()
    }

    /// The texts, each with its sender, and the sender's number.
    pub fn iter(&self) -> impl Iterator<Item = (DisplayName, u16, &'a [u8])> {
        let backlog = self.backlog;
        let first = Some(&backlog.texts[self.first]);
        let texts = std::iter::successors(first, |text| Some(&backlog.texts[text.next_in_room?]));
        texts.take(self.count).map(|text| {
            (
                text.display_name,
                text.sender,
                &backlog.bytes[text.bytes.clone()],
            )
        })
    }
}

/// Maximum number of texts that wait in a worker while as many are sent. With 1000 peers and
/// a million deliveries per second that is one second of work. A longer backlog would only
/// delay texts. This one is enough to fill the largest packets of bundles.
pub(super) const MAX_TEXTS: usize = 1024;

/// Space for [`MAX_TEXTS`] texts of a quarter of the maximum length.
pub(super) const MAX_BYTES: usize = MAX_TEXTS * crate::wire::MAX_TEXT_DATAGRAM / 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(port: u16) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
    }

    fn from(port: u16) -> DisplayName {
        DisplayName::Address(sender(port).socket_addr())
    }

    fn port(display_name: DisplayName) -> u16 {
        match display_name {
            DisplayName::Address(address) => address.port(),
            DisplayName::Name(name) => panic!("{name}"),
        }
    }

    fn room(number: u32) -> Arc<Room> {
        Room::plain(number, 1)
    }

    /// Pushes `count` texts of one sender, and returns how many are taken.
    fn push_many(backlog: &mut Backlog, port: u16, count: usize, text: &[u8]) -> usize {
        let room = room(0);
        let push = |_: &usize| backlog.push(&room, sender(port), None, text).is_ok();
        (0..count).filter(push).count()
    }

    #[test]
    fn texts_are_listed_by_room_with_the_numbers_of_their_senders() {
        let mut backlog = Backlog::new();
        let rooms = [room(5), room(3)];
        for (at, port, text) in [
            (0, 7, "a"),
            (1, 9, "bb"),
            (0, 7, ""),
            (0, 8, "c"),
            (1, 7, "d"),
        ] {
            backlog
                .push(&rooms[at], sender(port), None, text.as_bytes())
                .unwrap();
        }
        let texts = |backlog: &Backlog, index| {
            let texts = backlog.room(index).unwrap();
            assert_eq!((texts.len(), texts.senders()), (texts.iter().count(), 3));
            let iter = texts
                .iter()
                .map(|(author, sender, text)| (port(author), sender, text.to_vec()));
            (texts.room().number(), iter.collect::<Vec<_>>())
        };
        let first = vec![
            (7, 0, b"a".to_vec()),
            (7, 0, b"".to_vec()),
            (8, 2, b"c".to_vec()),
        ];
        assert_eq!(texts(&backlog, 0), (5, first));
        assert_eq!(
            texts(&backlog, 1),
            (3, vec![(9, 1, b"bb".to_vec()), (7, 0, b"d".to_vec())])
        );
        assert!(backlog.room(2).is_none());

        backlog.take(0, 2);
        let left = backlog.room(0).unwrap();
        assert_eq!(left.iter().collect::<Vec<_>>(), [(from(8), 2, &b"c"[..])]);
        backlog.take(0, 1);
        assert!(backlog.room(0).is_none());
        let first = backlog.room(1).unwrap().up_to(1);
        assert_eq!((first.len(), first.iter().count()), (1, 1));

        backlog.clear();
        assert!(backlog.texts.is_empty() && backlog.room(0).is_none());
        backlog.push(&rooms[1], sender(8), None, b"e").unwrap();
        let texts = backlog.room(0).unwrap();
        assert_eq!(texts.iter().collect::<Vec<_>>(), [(from(8), 0, &b"e"[..])]);
    }

    #[test]
    fn one_flooder_leaves_half_for_the_others() {
        let mut backlog = Backlog::new();
        assert_eq!(push_many(&mut backlog, 1, 5000, b"x"), MAX_TEXTS / 2);
        assert_eq!(push_many(&mut backlog, 2, 5000, b"x"), MAX_TEXTS / 4);
        let quiet: usize = (10..110)
            .map(|port| push_many(&mut backlog, port, 2, b"hi"))
            .sum();
        assert_eq!(quiet, 200, "senders of few texts");
    }

    #[test]
    fn flooders_at_the_same_time_get_equal_shares() {
        let mut backlog = Backlog::new();
        let mut taken = [0; 3];
        for _ in 0..5000 {
            for (taken, port) in taken.iter_mut().zip(1..) {
                *taken += push_many(&mut backlog, port, 1, b"x");
            }
        }
        assert_eq!(taken, [MAX_TEXTS / 4; 3]);
    }

    #[test]
    fn bytes_are_shared_like_texts() {
        let mut backlog = Backlog::new();
        let long = [b'x'; 1024];
        assert_eq!(
            push_many(&mut backlog, 1, 5000, &long),
            MAX_BYTES / 1024 / 2
        );
        assert!(backlog.push(&room(0), sender(2), None, &long).is_ok());
    }

    #[test]
    fn a_sender_may_use_the_last_free_byte() {
        let mut backlog = Backlog::new();
        let text = vec![b'x'; MAX_BYTES + 1];
        assert_eq!(push_many(&mut backlog, 1, 1, &text), 0);
        assert_eq!(push_many(&mut backlog, 1, 1, &text[1..]), 1);
        assert_eq!(push_many(&mut backlog, 2, 1, b"x"), 0);
        assert_eq!(push_many(&mut backlog, 2, 1, b""), 1);
    }

    #[test]
    fn the_limit_is_never_exceeded() {
        let mut backlog = Backlog::new();
        for port in 1..=5000 {
            push_many(&mut backlog, port, 1, b"x");
        }
        assert_eq!(backlog.texts.len(), MAX_TEXTS);
    }
}
