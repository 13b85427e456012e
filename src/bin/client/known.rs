//! The names and rooms that were seen lately, for completion. No I/O.

use std::collections::{BTreeMap, HashMap};

use bullhorn::client::Event;
use bullhorn::client::program::room_in;
use bullhorn::wire::{DisplayName, NOTICE, RoomName};

/// Whom one can write to, and where one can go.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) speakers: Newest,
    pub(super) rooms: Newest,
}

impl Known {
    /// Remembers whom and what an event names.
    pub(super) fn learn(&mut self, event: &Event) {
        match event {
            Event::Message(message) | Event::Private(message) => {
                self.speakers.see(&message.from.to_string());
            }
            Event::Room(room) => self.rooms.see(room.as_str()),
            Event::Notice { text, .. } => self.learn_notice(text),
            Event::Text(line) => match line.strip_prefix(NOTICE) {
                Some(notice) => self.learn_notice(notice),
                None => self.learn_speaker(line.split(' ').next()),
            },
            _ => {}
        }
    }

    fn learn_notice(&mut self, notice: &str) {
        if let Some((speaker, _)) = notice.split_once(" to you: ") {
            self.learn_speaker(Some(speaker));
        } else if let Some(room) = room_in(notice) {
            self.rooms.see(room.as_str());
        } else if notice.starts_with(|char: char| char.is_ascii_digit())
            && let Some((head, list)) = notice.split_once(": ")
        {
            self.learn_list(head, list);
        }
    }

    /// `3 in chess` with `ada bob 127.0.0.1:7`, or `2 rooms` with `lobby (9) chess
    /// (3)`; with more than fit, `, 1 to 40` and ` (more: /who 41)` follow.
    fn learn_list(&mut self, head: &str, list: &str) {
        let (head, _) = head.split_once(", ").unwrap_or((head, ""));
        let (list, _) = list.split_once(" (more: ").unwrap_or((list, ""));
        let Some((_, what)) = head.split_once(' ') else {
            return;
        };
        if let Some(room) = what.strip_prefix("in ") {
            self.learn_room(room);
            for speaker in list.split(' ') {
                self.learn_speaker(Some(speaker));
            }
        } else if matches!(what, "room" | "rooms") {
            for room in list.split(' ') {
                self.learn_room(room);
            }
        }
    }

    fn learn_speaker(&mut self, speaker: Option<&str>) {
        if let Some(Ok(speaker)) = speaker.map(str::parse::<DisplayName>) {
            self.speakers.see(&speaker.to_string());
        }
    }

    /// A number of members in parentheses is no room.
    fn learn_room(&mut self, room: &str) {
        if RoomName::parse(room.as_bytes()).is_some() {
            self.rooms.see(room);
        }
    }
}

/// The [`SEEN_MAX`] that were seen last. Those that differ in case alone are one.
#[derive(Debug, Default)]
pub(super) struct Newest {
    last_time: u64,
    /// When each was seen last, by its lower case.
    times: HashMap<String, u64>,
    /// Each as it was written.
    by_time: BTreeMap<u64, String>,
}

impl Newest {
    pub(super) fn see(&mut self, what: &str) {
        self.last_time += 1;
        let time = self.last_time;
        if let Some(before) = self.times.insert(what.to_ascii_lowercase(), time) {
            self.by_time.remove(&before);
        } else if self.times.len() > SEEN_MAX
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.times.remove(&oldest.to_ascii_lowercase());
        }
        self.by_time.insert(time, what.to_owned());
    }

    /// Those that begin so, in any case, in alphabetical order.
    pub(super) fn starting_with(&self, start: &str) -> Vec<&str> {
        let begins = |what: &&str| {
            let begin = what.get(..start.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        };
        let all = self.by_time.values().map(String::as_str);
        let mut found: Vec<_> = all.filter(begins).collect();
        found.sort_unstable_by_key(|what| what.to_ascii_lowercase());
        found
    }
}

/// More than anyone looks through, in about 200 KiB.
const SEEN_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use bullhorn::client::Message;
    use bullhorn::wire::v2::NoticeCode;

    fn after(notices: &[&str]) -> [Vec<String>; 2] {
        let mut known = Known::default();
        for notice in notices {
            known.learn(&Event::Notice {
                code: NoticeCode::Done,
                text: (*notice).to_owned(),
            });
        }
        all(&known)
    }

    fn all(known: &Known) -> [Vec<String>; 2] {
        [&known.speakers, &known.rooms].map(|newest| {
            let all = newest.starting_with("");
            all.into_iter().map(str::to_owned).collect()
        })
    }

    #[test]
    fn answers_name_speakers_and_rooms() {
        let who = "3 in chess: ada 127.0.0.1:7 [::1]:8";
        let [speakers, rooms] = after(&[who]);
        assert_eq!(speakers, ["127.0.0.1:7", "[::1]:8", "ada"]);
        assert_eq!(rooms, ["chess"]);
        let [speakers, rooms] = after(&["10,000 in lobby, 1 to 2: ada Bob (more: /who 3)"]);
        assert_eq!(speakers, ["ada", "Bob"]);
        assert_eq!(rooms, ["lobby"]);
        for answer in [
            "2 rooms: lobby (1,000) chess (3)",
            "1,000 rooms, 1 to 2: lobby (1) chess (3) (more: /rooms 3)",
        ] {
            assert_eq!(after(&[answer])[1], ["chess", "lobby"], "{answer}");
        }
        assert_eq!(after(&["you are in go (3 here)"])[1], ["go"]);
        for other in [
            "pong 3: x",
            "to ada: 3 in chess: eve",
            "5 apples: a b",
            "3 in go, none from 9 on",
            "",
        ] {
            assert_eq!(after(&[other]), [vec![], Vec::<String>::new()], "{other}");
        }
    }

    #[test]
    fn speakers_are_known_from_what_they_say() {
        let mut known = Known::default();
        let message = |from: &str| Message {
            from: from.parse().unwrap(),
            payload: b"eve".to_vec(),
        };
        known.learn(&Event::Message(message("ada")));
        known.learn(&Event::Private(message("bob")));
        known.learn(&Event::Room(RoomName::parse(b"chess").unwrap()));
        for line in [
            "cyd hi",
            "* dan to you: psst",
            "what's this",
            "* you are in go (1 here)",
            "* 2 in go: fay x.y",
        ] {
            known.learn(&Event::Text(line.to_owned()));
        }
        let [speakers, rooms] = all(&known);
        assert_eq!(speakers, ["ada", "bob", "cyd", "dan", "fay"]);
        assert_eq!(rooms, ["chess", "go"]);
    }

    #[test]
    fn only_the_newest_are_known() {
        let mut newest = Newest::default();
        newest.see("first");
        newest.see("second");
        for number in 0..SEEN_MAX - 2 {
            newest.see(&format!("n{number}"));
        }
        newest.see("FIRST");
        newest.see("one more");
        assert_eq!(newest.starting_with("").len(), SEEN_MAX);
        assert_eq!(
            (newest.times.len(), newest.by_time.len()),
            (SEEN_MAX, SEEN_MAX)
        );
        assert_eq!(newest.starting_with("f"), ["FIRST"]);
        assert!(newest.starting_with("sec").is_empty());
    }
}
