//! The names and rooms that were seen lately, for completion. No I/O.

use std::collections::{BTreeMap, HashMap};

use bullhorn::client::Event;
use bullhorn::wire::{DisplayName, Reply, RoomName, ServerLine};

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
                self.see_speaker(message.from);
            }
            Event::Room(room) => self.rooms.see(room.as_str()),
            Event::Notice { code, text } => self.learn_reply(Reply::parse(*code, text.as_bytes())),
            Event::Text(line) => match ServerLine::parse(line.as_bytes()) {
                Some(ServerLine::Text { from, .. }) => {
                    if let Some(speaker) = DisplayName::parse(from) {
                        self.see_speaker(speaker);
                    }
                }
                Some(ServerLine::Private { from, .. }) => self.see_speaker(from),
                Some(ServerLine::Notice(sentence)) => {
                    self.learn_reply(Reply::parse_uncoded(sentence));
                }
                None => {}
            },
            _ => {}
        }
    }

    fn learn_reply(&mut self, reply: Option<Reply<'_>>) {
        match reply {
            Some(Reply::Entered { room, .. }) => self.rooms.see(room.as_str()),
            Some(Reply::Members(room, page)) => {
                self.rooms.see(room.as_str());
                page.names().for_each(|member| self.see_speaker(member));
            }
            Some(Reply::Rooms(page)) => {
                let see = |room: RoomName| self.rooms.see(room.as_str());
                page.names().for_each(see);
            }
            _ => {}
        }
    }

    fn see_speaker(&mut self, speaker: DisplayName) {
        self.speakers.see(&speaker.to_string());
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
        assert_eq!(after(&["3 in go, none from 9 on"])[1], ["go"]);
        for other in ["pong 3: x", "to ada: 3 in chess: eve", "5 apples: a b", ""] {
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
