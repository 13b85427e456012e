//! How fast piped texts may go out: a few at a time may be on their way and back.
//! No I/O and no clock.
//!
//! A pipe gives lines far faster than a server takes them from one sender, or a
//! socket's buffer holds them on their way back.

use std::collections::VecDeque;

use super::echo::is_echo;
use bullhorn::client::escape;
use bullhorn::wire::NOTICE;

/// The texts whose echo has not come yet, in the order in which they were said: at most
/// [`WINDOW_TEXTS`], as long as no more are said than [`Self::is_open`] lets.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    waiting: VecDeque<String>,
}

impl Pace {
    /// One more text may be said.
    pub(crate) fn is_open(&self) -> bool {
        self.waiting.len() < WINDOW_TEXTS
    }

    /// A text is about to be sent.
    pub(crate) fn said(&mut self, text: &str) {
        self.waiting.push_back(escape(text).into_owned());
    }

    /// The last one was not sent after all.
    pub(crate) fn unsaid(&mut self) {
        self.waiting.pop_back();
    }

    /// A line was received. The echo of one text stands for those before it, too:
    /// the server keeps the order, so they were lost, or will come soon.
    pub(crate) fn heard(&mut self, line: &str) {
        let is_notice = line.starts_with(NOTICE);
        let is_answered = |text: &String| is_notice && text.starts_with('/');
        let mut waiting = self.waiting.iter();
        if let Some(at) = waiting.position(|text| is_echo(line, text) || is_answered(text)) {
            self.waiting.drain(..=at);
        }
    }

    /// Waits for none of them any longer.
    pub(crate) fn give_up(&mut self) {
        self.waiting.clear();
    }
}

/// A socket's buffer holds 277 small datagrams by default, and a server takes
/// hundreds of one sender at once; others need space there, too.
const WINDOW_TEXTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Pace {
        let mut pace = Pace::default();
        for number in 0..WINDOW_TEXTS {
            assert!(pace.is_open());
            pace.said(&format!("text {number}"));
        }
        assert!(!pace.is_open());
        pace
    }

    #[test]
    fn an_echo_makes_space_for_one_more() {
        let mut pace = full();
        for not_it in ["1.2.3.4:5 text", "text 0", "* text", "ann other"] {
            pace.heard(not_it);
            assert!(!pace.is_open(), "{not_it}");
        }
        pace.heard("1.2.3.4:5 text 0");
        assert!(pace.is_open());
        pace.said("one more");
        assert!(!pace.is_open());
    }

    #[test]
    fn a_later_echo_stands_for_those_before_it() {
        let mut pace = full();
        pace.heard("[::1]:5 text 9");
        assert_eq!(pace.waiting.len(), WINDOW_TEXTS - 10);
        pace.heard("[::1]:5 text 3");
        assert_eq!(pace.waiting.len(), WINDOW_TEXTS - 10, "it is late");
    }

    #[test]
    fn the_answer_to_a_command_makes_space() {
        let mut pace = Pace::default();
        pace.said("hi");
        pace.said("/who");
        pace.said("bye");
        pace.heard("* nobody");
        assert_eq!(pace.waiting, ["bye"]);
    }

    #[test]
    fn what_was_not_sent_and_what_is_given_up_makes_space() {
        let mut pace = full();
        pace.unsaid();
        assert!(pace.is_open());
        pace.give_up();
        assert!(pace.waiting.is_empty());
    }
}
