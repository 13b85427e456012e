//! Completion by the tab key: commands, and the names and rooms seen last.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bullhorn::client::Event;
use bullhorn::wire::{DisplayName, Reply, RoomName, Verb};
use lru::LruCache;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::commands::words;

/// Completes a line that is being typed.
#[derive(Clone, Default)]
pub(super) struct Completions {
    seen: Arc<Mutex<Seen>>,
}

/// The names and rooms that events have named.
#[derive(Default)]
struct Seen {
    names: Latest,
    rooms: Latest,
}

/// Words as they were written, by their lower case. The oldest are dropped.
struct Latest(LruCache<String, String>);

impl Completions {
    /// Remembers the names and rooms in an event.
    pub(super) fn learn(&self, event: &Event) {
        let mut seen = self.seen();
        match event {
            Event::Message(message) | Event::Private(message) => seen.names.see(message.from),
            Event::Room(room) => seen.rooms.see(room),
            Event::Notice { code, text } => match Reply::parse(*code, text.as_bytes()) {
                Some(Reply::Entered { room, .. }) => seen.rooms.see(room),
                Some(Reply::Members(room, page)) => {
                    seen.rooms.see(room);
                    let names = page.names::<DisplayName>();
                    names.for_each(|name| seen.names.see(name));
                }
                Some(Reply::Rooms(page)) => {
                    let rooms = page.names::<RoomName>();
                    rooms.for_each(|room| seen.rooms.see(room));
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Returns the words that the word before `end` may become, and its start.
    fn of(&self, line: &str, end: usize) -> (usize, Vec<String>) {
        let typed = line.get(..end).unwrap_or_default();
        let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
        let (before, word) = typed.split_at(start);
        let mut earlier = before.split_ascii_whitespace();
        let candidates = match (earlier.next(), earlier.next()) {
            (None, _) if start == 0 && word.starts_with('/') => commands(word),
            (Some(first), None) if first.starts_with('/') => self.arguments(&first[1..], word),
            // In a text, anything may follow a blank.
            _ if word.is_empty() => Vec::new(),
            _ => self.seen().names.starting_with(word),
        };
        (start, candidates)
    }

    fn arguments(&self, verb: &str, word: &str) -> Vec<String> {
        match Verb::parse(verb.as_bytes()) {
            Some(Verb::Msg) => self.seen().names.starting_with(word),
            Some(Verb::Join) => self.seen().rooms.starting_with(word),
            Some(Verb::Presence) => {
                let switches = ["on", "off"].into_iter();
                let switches = switches.filter(|switch| switch.starts_with(word));
                switches.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completer for Completions {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        end: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.of(line, end))
    }
}

impl Hinter for Completions {
    type Hint = String;
}

impl Highlighter for Completions {}

impl Validator for Completions {}

impl Helper for Completions {}

impl Latest {
    fn see(&mut self, word: impl ToString) {
        let word = word.to_string();
        self.0.put(word.to_ascii_lowercase(), word);
    }

    /// Returns the words that begin with `start` in any case, each with a blank after it, in
    /// alphabetical order.
    fn starting_with(&self, start: &str) -> Vec<String> {
        let start = start.to_ascii_lowercase();
        let found = self.0.iter().filter(|(lower, _)| lower.starts_with(&start));
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found
            .into_iter()
            .map(|(_, word)| format!("{word} "))
            .collect()
    }
}

impl Default for Latest {
    fn default() -> Self {
        Self(LruCache::new(MAX_SEEN))
    }
}

fn commands(word: &str) -> Vec<String> {
    let start = word[1..].to_ascii_lowercase();
    let found = words().filter(|word| word.starts_with(&start));
    let mut found: Vec<_> = found
        .map(|word| match word {
            "nick" | "join" | "msg" | "presence" | "me" => format!("/{word} "),
            word => format!("/{word}"),
        })
        .collect();
    found.sort_unstable();
    found
}

/// More than anyone looks through. They take about 200 KiB.
const MAX_SEEN: NonZeroUsize = NonZeroUsize::new(1000).expect("it is not 0");

#[cfg(test)]
mod tests {
    use super::*;
    use bullhorn::client::{Message, NoticeCode};

    fn after(notices: &[&str]) -> Completions {
        let completions = Completions::default();
        for text in notices {
            let (code, text) = (NoticeCode::Done, (*text).to_owned());
            completions.learn(&Event::Notice { code, text });
        }
        completions
    }

    /// Returns the lines that `line` may become, typed up to its end.
    fn completed(line: &str) -> Vec<String> {
        let completions = after(&[
            "4 in go: ada Adam bob 127.0.0.1:7",
            "3 rooms: chess (1) chat (1) go (4)",
        ]);
        let (start, candidates) = completions.of(line, line.len());
        let whole = |candidate: String| format!("{}{candidate}", &line[..start]);
        candidates.into_iter().map(whole).collect()
    }

    #[test]
    fn commands_are_completed_at_the_beginning_only() {
        assert_eq!(completed("/").len(), words().count());
        assert_eq!(completed("/p"), ["/ping", "/presence "]);
        assert_eq!(completed("/NI"), ["/nick "]);
        assert_eq!(completed("/qu"), ["/quit"]);
        assert_eq!(completed("/x"), [""; 0]);
        assert_eq!(completed("see /ni"), [""; 0]);
        assert_eq!(completed("/ü"), [""; 0]);
    }

    #[test]
    fn arguments_are_what_the_command_takes() {
        assert_eq!(completed("/msg A"), ["/msg ada ", "/msg Adam "]);
        assert_eq!(completed("/MSG  bo"), ["/MSG  bob "]);
        assert_eq!(completed("/msg 127"), ["/msg 127.0.0.1:7 "]);
        assert_eq!(completed("/msg ").len(), 4);
        let names = ["/msg bob hi ada ", "/msg bob hi Adam "];
        assert_eq!(completed("/msg bob hi ad"), names);
        assert_eq!(completed("/join ch"), ["/join chat ", "/join chess "]);
        assert_eq!(completed("/presence o"), ["/presence on", "/presence off"]);
        assert_eq!(completed("/nick a"), [""; 0]);
    }

    #[test]
    fn names_are_completed_in_texts() {
        assert_eq!(completed("bo"), ["bob "]);
        assert_eq!(completed("hi adam"), ["hi Adam "]);
        for nothing in ["", "hi ", "xyz", "ä"] {
            assert_eq!(completed(nothing), [""; 0], "{nothing:?}");
        }
    }

    #[test]
    fn only_the_text_before_the_cursor_counts() {
        let completions = Completions::default();
        let (start, candidates) = completions.of("/ni foo", 3);
        assert_eq!((start, &candidates[..]), (0, &["/nick ".to_owned()][..]));
        assert_eq!(completions.of("ü", 1).1, [""; 0], "not between characters");
    }

    #[test]
    fn names_and_rooms_come_from_replies_and_senders() {
        let completions = after(&[
            "10,000 in lobby, 1 to 2: ada Bob (more: /who 3)",
            "you are in go (3 here)",
        ]);
        let message = |from: &str| Message {
            room: None,
            from: from.parse().unwrap(),
            payload: b"eve".to_vec(),
            may_be_cut: false,
        };
        completions.learn(&Event::Message(message("BOB")));
        completions.learn(&Event::Private(message("cyd")));
        completions.learn(&Event::Room("chess".parse().unwrap()));
        let seen = completions.seen();
        assert_eq!(seen.names.starting_with(""), ["ada ", "BOB ", "cyd "]);
        assert_eq!(seen.rooms.starting_with(""), ["chess ", "go ", "lobby "]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut latest = Latest::default();
        for number in 0..=MAX_SEEN.get() {
            latest.see(number);
            latest.see("often");
        }
        assert_eq!(latest.starting_with("").len(), MAX_SEEN.get());
        assert_eq!(latest.starting_with("often"), ["often "]);
    }
}
