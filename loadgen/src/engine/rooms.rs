//! The rooms of a run, as all threads see them: who should receive the next text, and which
//! text of a speaker follows which.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// All rooms of a run.
///
/// Every access is relaxed: that a text was sent is known to a thread before the text
/// reaches it by way of two sockets and another process.
#[derive(Debug)]
pub(crate) struct Rooms {
    rooms: Box<[Room]>,
    /// The next text of the same sender, for each of a room's last texts.
    followers: Box<[AtomicU32]>,
    /// Texts that are remembered per room, a power of two.
    remembered: u32,
}

#[derive(Debug, Default)]
struct Room {
    /// Members in the upper half, texts sent in the lower one: read and changed as one,
    /// so that each text has its number and its receivers at once.
    state: AtomicU64,
}

/// A text that is about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewText {
    /// Its number in its room.
    pub(crate) sequence: u32,
    /// Clients that should receive it.
    pub(crate) expected: u32,
}

impl Rooms {
    /// Rooms without members, of each of which `remembered` texts are remembered: a
    /// power of two.
    pub(crate) fn new(count: usize, remembered: u32) -> Self {
        assert!(remembered.is_power_of_two());
        let room = |_| Room::default();
        let places = count * remembered as usize;
        Self {
            rooms: (0..count).map(room).collect(),
            followers: (0..places).map(|_| AtomicU32::new(NONE)).collect(),
            remembered,
        }
    }

    /// A member more; returns the number of the first text that it should receive.
    pub(crate) fn join(&self, room: u32) -> u32 {
        self.room(room).state.fetch_add(MEMBER, Relaxed) as u32
    }

    /// A member less; returns the number of the first text that it need not receive.
    pub(crate) fn leave(&self, room: u32) -> u32 {
        self.room(room).state.fetch_sub(MEMBER, Relaxed) as u32
    }

    /// Takes the next number of a room, for a speaker whose text before was `last`.
    pub(crate) fn speak(&self, room: u32, last: Option<u32>) -> NewText {
        let state = self.room(room).state.fetch_add(1, Relaxed);
        let (sequence, expected) = (state as u32, (state / MEMBER) as u32);
        self.follower(room, sequence).store(NONE, Relaxed);
        if let Some(last) = last.filter(|last| sequence - last < self.remembered) {
            self.follower(room, last).store(sequence, Relaxed);
        }
        NewText { sequence, expected }
    }

    /// Returns the number of texts sent to a room.
    pub(crate) fn sent(&self, room: u32) -> u32 {
        self.room(room).state.load(Relaxed) as u32
    }

    /// Returns true if a later text of the same sender has arrived, according to `has_come`.
    pub(crate) fn was_overtaken(
        &self,
        room: u32,
        sequence: u32,
        has_come: impl Fn(u32) -> bool,
    ) -> bool {
        let mut last = sequence;
        loop {
            let next = self.follower(room, last).load(Relaxed);
            // Else it is none, or of a text that took this one's place.
            if next == NONE || next <= last || next - sequence >= self.remembered {
                return false;
            }
            if has_come(next) {
                return true;
            }
            last = next;
        }
    }

    /// Returns its size in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.rooms) + size_of_val(&*self.followers)
    }

    fn room(&self, room: u32) -> &Room {
        &self.rooms[room as usize]
    }

    fn follower(&self, room: u32, sequence: u32) -> &AtomicU32 {
        let place = sequence & (self.remembered - 1);
        &self.followers[room as usize * self.remembered as usize + place as usize]
    }
}

const MEMBER: u64 = 1 << 32;

/// A number that no text has: a room would need 2³² of them.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_owed_to_those_who_are_there_when_it_is_sent() {
        let rooms = Rooms::new(2, 64);
        assert_eq!((rooms.join(1), rooms.join(1)), (0, 0));
        let text = rooms.speak(1, None);
        assert_eq!((text.sequence, text.expected), (0, 2));
        assert_eq!(
            rooms.join(1),
            1,
            "the next one is the first that it should receive"
        );
        assert_eq!(rooms.speak(1, None).expected, 3);
        assert_eq!(rooms.leave(1), 2, "it need not receive the next one");
        assert_eq!(rooms.speak(1, None).expected, 2);
        assert_eq!((rooms.sent(1), rooms.sent(0)), (3, 0));
    }

    #[test]
    fn only_a_later_text_of_the_same_speaker_overtakes() {
        let rooms = Rooms::new(1, 64);
        let ann = rooms.speak(0, None).sequence;
        let bob = rooms.speak(0, None).sequence;
        let bob_again = rooms.speak(0, Some(bob)).sequence;
        let bob_at_last = rooms.speak(0, Some(bob_again)).sequence;
        assert!(!rooms.was_overtaken(0, ann, |_| true));
        assert!(rooms.was_overtaken(0, bob, |text| text == bob_again));
        assert!(rooms.was_overtaken(0, bob, |text| text == bob_at_last));
        assert!(!rooms.was_overtaken(0, bob, |text| text == ann));
        assert!(!rooms.was_overtaken(0, bob_at_last, |_| true));
    }

    #[test]
    fn texts_that_are_forgotten_overtake_nothing() {
        let rooms = Rooms::new(1, 64);
        let first = rooms.speak(0, None).sequence;
        for _ in 0..63 {
            rooms.speak(0, None);
        }
        // It takes the first one's place, and follows on it.
        let next = rooms.speak(0, Some(first)).sequence;
        assert_eq!(next, 64);
        assert!(!rooms.was_overtaken(0, first, |_| true));
        rooms.speak(0, Some(next));
        assert!(!rooms.was_overtaken(0, first, |_| true));
        assert!(rooms.was_overtaken(0, next, |_| true));
    }
}
