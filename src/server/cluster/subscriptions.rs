//! The subjects of rooms that this node subscribes to.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;

use super::bus::{Bus, Subject, shard};
use crate::wire::RoomName;

/// The rooms that have local members, or had them a moment ago.
///
/// A node with few rooms subscribes to each. One with many subscribes to the shards that they are in,
/// since a subscription costs the servers of the bus memory, and time when a node connects. It
/// then also receives the texts of other rooms, and drops them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// The time at which a room ends, if it has no local members. By the name in lower case.
    rooms: HashMap<RoomName, Option<u64>>,
    /// The rooms that end, in the order of their times. Some have had members again.
    ending: VecDeque<(u64, RoomName)>,
    by_shard: bool,
    /// The subjects that the rooms need. The bus was told of them.
    subjects: BTreeSet<Subject>,
    /// Subjects that are needed no more, in the order of the times at which the bus is told.
    replaced: VecDeque<(u64, Subject)>,
}

impl Subscriptions {
    /// A room has its first local member.
    pub(super) fn enter(&mut self, room: &RoomName, now_ms: u64, bus: &mut impl Bus) {
        let key = room.folded();
        if self.rooms.insert(key, None).is_none() {
            self.by_shard |= self.rooms.len() > MAX_ROOM_SUBJECTS;
            self.add(key, now_ms, bus);
        }
    }

    /// The last local member of a room has left.
    pub(super) fn leave(&mut self, room: &RoomName, now_ms: u64) {
        let key = room.folded();
        if let Some(end_ms) = self.rooms.get_mut(&key) {
            *end_ms = Some(now_ms + KEEP_MS);
            self.ending.push_back((now_ms + KEEP_MS, key));
        }
    }

    /// Returns true if the texts for a room are taken.
    pub(super) fn has(&self, room: &RoomName) -> bool {
        self.rooms.contains_key(&room.folded())
    }

    /// Ends what has had no local members for [`KEEP_MS`], and calls `on_end` with these rooms.
    pub(super) fn expire(
        &mut self,
        now_ms: u64,
        bus: &mut impl Bus,
        mut on_end: impl FnMut(&RoomName),
    ) {
        let before = self.rooms.len();
        while let Some(&(end_ms, room)) = self.ending.front()
            && now_ms >= end_ms
        {
            self.ending.pop_front();
            if self.rooms.get(&room) == Some(&Some(end_ms)) {
                self.rooms.remove(&room);
                on_end(&room);
            }
        }
        self.by_shard &= self.rooms.len() > MAX_ROOM_SUBJECTS / 2;
        if self.rooms.len() < before {
            self.replace(now_ms, bus);
        }
        while let Some(&(end_ms, subject)) = self.replaced.front()
            && now_ms >= end_ms
        {
            self.replaced.pop_front();
            bus.unsubscribe(subject);
        }
    }

    /// Adds what a room needs.
    fn add(&mut self, room: RoomName, now_ms: u64, bus: &mut impl Bus) {
        let is_room = |subject: &Subject| matches!(subject, Subject::Room(_));
        if self.by_shard && self.subjects.first().is_some_and(is_room) {
            return self.replace(now_ms, bus);
        }
        let subject = self.subject_of(&room);
        if self.subjects.insert(subject) {
            self.subscribe(subject, bus);
        }
    }

    /// Changes the subjects to those of the rooms. The bus has old and new ones together for a while,
    /// and numbers drop a text that comes twice. If the new subscription is read before the old one, the texts
    /// between are lost, and counted as missing.
    fn replace(&mut self, now_ms: u64, bus: &mut impl Bus) {
        let rooms = self.rooms.keys();
        let subjects = rooms.map(|room| self.subject_of(room)).collect();
        let before = mem::replace(&mut self.subjects, subjects);
        let new: Vec<_> = self.subjects.difference(&before).copied().collect();
        new.into_iter().for_each(|it| self.subscribe(it, bus));
        let old = before.difference(&self.subjects);
        self.replaced
            .extend(old.map(|old| (now_ms + OVERLAP_MS, *old)));
    }

    fn subscribe(&mut self, subject: Subject, bus: &mut impl Bus) {
        let before = self.replaced.len();
        self.replaced.retain(|(_, old)| *old != subject);
        if self.replaced.len() == before {
            bus.subscribe(subject);
        }
    }

    fn subject_of(&self, room: &RoomName) -> Subject {
        match self.by_shard {
            true => Subject::Shard(shard(room)),
            false => Subject::Room(*room),
        }
    }
}

/// Time for which a subscription outlasts the last member, so that one who reconnects misses nothing and
/// one who comes and goes costs nothing.
const KEEP_MS: u64 = 5_000;

/// Time for which an old subscription outlasts the new one. Texts that the bus has sent to the old one are
/// there by then.
const OVERLAP_MS: u64 = 1_000;

/// Maximum number of rooms with a subscription each. Beyond that, shards are fewer.
const MAX_ROOM_SUBJECTS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The subjects that a bus has in the end, and its calls: true for each that subscribes.
    #[derive(Default)]
    struct Calls(BTreeSet<Subject>, Vec<bool>);

    impl Bus for Calls {
        fn publish(&mut self, _: Subject, _: Vec<u8>) {}

        fn subscribe(&mut self, subject: Subject) {
            assert!(self.0.insert(subject), "{subject:?}");
            self.1.push(true);
        }

        fn unsubscribe(&mut self, subject: Subject) {
            assert!(self.0.remove(&subject), "{subject:?}");
            self.1.push(false);
        }
    }

    fn room(number: usize) -> RoomName {
        format!("Room-{number}").parse().unwrap()
    }

    fn subject(number: usize) -> Subject {
        Subject::Room(room(number).folded())
    }

    #[test]
    fn a_subscription_outlasts_the_last_member_and_ends() {
        let (mut rooms, mut bus) = (Subscriptions::default(), Calls::default());
        rooms.enter(&room(1), 0, &mut bus);
        rooms.enter(&room(2), 0, &mut bus);
        assert_eq!(bus.0, BTreeSet::from([subject(1), subject(2)]));
        rooms.leave(&room(1), 1_000);
        rooms.expire(5_999, &mut bus, |_| panic!("it is too early"));
        rooms.enter(&room(1), 0, &mut bus);
        rooms.expire(9_000, &mut bus, |_| panic!("it has members"));
        rooms.leave(&room(1), 9_000);
        let mut ended = Vec::new();
        rooms.expire(14_000, &mut bus, |room| ended.push(*room));
        assert_eq!(ended, [room(1).folded()]);
        rooms.expire(14_000 + OVERLAP_MS, &mut bus, |_| {});
        assert_eq!(bus.0, BTreeSet::from([subject(2)]));
        assert_eq!((rooms.has(&room(1)), rooms.has(&room(2))), (false, true));
        assert_eq!(bus.1, [true, true, false]);
    }

    #[test]
    fn many_rooms_are_subscribed_to_by_shards_and_few_by_their_names() {
        let (mut rooms, mut bus) = (Subscriptions::default(), Calls::default());
        let is_room = |subject: &Subject| matches!(subject, Subject::Room(_));
        for number in 0..MAX_ROOM_SUBJECTS {
            rooms.enter(&room(number), 0, &mut bus);
        }
        assert!(bus.0.len() == MAX_ROOM_SUBJECTS && bus.0.iter().all(is_room));
        bus.1.clear();
        rooms.enter(&room(MAX_ROOM_SUBJECTS), 0, &mut bus);
        assert!(bus.1.iter().all(|is_new| *is_new), "{:?}", bus.1);
        for number in MAX_ROOM_SUBJECTS + 1..2_000 {
            rooms.enter(&room(number), 0, &mut bus);
        }
        // Both until no text can be on its way to the old ones.
        rooms.expire(OVERLAP_MS - 1, &mut bus, |_| {});
        assert_eq!(
            bus.0.iter().filter(|it| is_room(it)).count(),
            MAX_ROOM_SUBJECTS
        );
        rooms.expire(OVERLAP_MS, &mut bus, |_| {});
        assert!(!bus.0.iter().any(is_room));
        let has_shard = |bus: &Calls, number| {
            let shard = Subject::Shard(shard(&room(number).folded()));
            bus.0.contains(&shard)
        };
        assert!((0..2_000).all(|number| has_shard(&bus, number)));
        // A few rooms less are no reason to change all subjects.
        for number in 600..2_000 {
            rooms.leave(&room(number), 0);
        }
        rooms.expire(KEEP_MS, &mut bus, |_| {});
        assert!(!bus.0.iter().any(is_room));
        for number in 500..600 {
            rooms.leave(&room(number), 0);
        }
        rooms.expire(KEEP_MS, &mut bus, |_| {});
        assert!((0..500).all(|number| has_shard(&bus, number)));
        rooms.expire(KEEP_MS + OVERLAP_MS, &mut bus, |_| {});
        assert_eq!(bus.0, (0..500).map(subject).collect());
    }

    #[test]
    fn a_subject_that_is_needed_again_is_kept() {
        let (mut rooms, mut bus) = (Subscriptions::default(), Calls::default());
        rooms.enter(&room(1), 0, &mut bus);
        rooms.leave(&room(1), 0);
        rooms.expire(KEEP_MS, &mut bus, |_| {});
        rooms.enter(&room(1), KEEP_MS, &mut bus);
        rooms.expire(KEEP_MS + OVERLAP_MS, &mut bus, |_| {});
        assert_eq!((bus.0, bus.1), (BTreeSet::from([subject(1)]), vec![true]));
    }
}
