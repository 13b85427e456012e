//! What the tab key completes: commands, and the names and rooms that were seen.

use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::known::Known;
use bullhorn::wire::Verb;

/// Completes what is being typed.
pub(super) struct Completions {
    pub(super) known: Arc<Mutex<Known>>,
}

impl Completions {
    /// What the word that ends at `end` may become, and where it begins.
    pub(super) fn of(&self, line: &str, end: usize) -> (usize, Vec<String>) {
        let typed = line.get(..end).unwrap_or_default();
        let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
        let (before, word) = typed.split_at(start);
        let mut earlier = before.split_ascii_whitespace();
        let candidates = match (earlier.next(), earlier.next()) {
            (None, _) if start == 0 && word.starts_with('/') => commands(word),
            (Some(first), None) if first.starts_with('/') => self.arguments(&first[1..], word),
            // In a text, a blank is followed by anything.
            _ if word.is_empty() => Vec::new(),
            _ => self.names(word),
        };
        (start, candidates)
    }

    fn arguments(&self, verb: &str, word: &str) -> Vec<String> {
        match Verb::parse(verb.as_bytes()) {
            Some(Verb::Msg) => self.names(word),
            Some(Verb::Join) => {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                with_blanks(known.rooms.starting_with(word))
            }
            Some(Verb::Presence) => ["on", "off"]
                .into_iter()
                .filter(|switch| switch.starts_with(word))
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        }
    }

    fn names(&self, word: &str) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        with_blanks(known.speakers.starting_with(word))
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

fn commands(word: &str) -> Vec<String> {
    let begin = word[1..].to_ascii_lowercase();
    let mut found: Vec<_> = Verb::ALL
        .into_iter()
        .filter(|verb| verb.as_str().starts_with(&begin))
        .map(|verb| match verb {
            // These are whole without an argument.
            Verb::Help | Verb::Leave | Verb::Who | Verb::Rooms | Verb::Ping => {
                format!("/{}", verb.as_str())
            }
            Verb::Nick | Verb::Join | Verb::Msg | Verb::Presence => format!("/{} ", verb.as_str()),
        })
        .collect();
    found.sort_unstable();
    found
}

/// So that one can type on.
fn with_blanks(words: Vec<&str>) -> Vec<String> {
    words.into_iter().map(|word| format!("{word} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each may become, typed up to its end.
    fn completed(line: &str) -> Vec<String> {
        let mut known = Known::default();
        for speaker in ["ada", "Adam", "bob", "127.0.0.1:7"] {
            known.speakers.see(speaker);
        }
        for room in ["chess", "chat", "go"] {
            known.rooms.see(room);
        }
        let known = Arc::new(Mutex::new(known));
        let (start, candidates) = Completions { known }.of(line, line.len());
        let whole = |candidate: String| format!("{}{candidate}", &line[..start]);
        candidates.into_iter().map(whole).collect()
    }

    #[test]
    fn commands_are_completed_at_the_beginning_alone() {
        let all = completed("/");
        assert_eq!(all.len(), Verb::ALL.len());
        assert_eq!(completed("/p"), ["/ping", "/presence "]);
        assert_eq!(completed("/NI"), ["/nick "]);
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
        assert_eq!(
            completed("/msg bob hi ad"),
            ["/msg bob hi ada ", "/msg bob hi Adam "]
        );
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
    fn what_stands_behind_the_cursor_is_no_matter() {
        let known = Arc::default();
        let completions = Completions { known };
        let (start, candidates) = completions.of("/ni foo", 3);
        assert_eq!((start, &candidates[..]), (0, &["/nick ".to_owned()][..]));
        assert_eq!(completions.of("ü", 1).1, [""; 0], "not between characters");
    }
}
