//! Finds the echo of the text that was said last among what is received. No
//! I/O.

use bullhorn::client::escape;
use bullhorn::wire::{MAX_TEXT_DATAGRAM, NOTICE, ServerLine};

/// What is still expected in answer to what was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nothing.
    #[default]
    Nothing,
    /// The text, with someone's name or address before it, so many times.
    Echo { escaped: String, count: usize },
    /// An answer to a command, or the echo if the server knows no such command.
    Answer { escaped: String },
    /// A command was answered; there may be more, and nothing marks the end.
    More,
}

impl Awaited {
    /// A text is about to be sent.
    pub(crate) fn said(&mut self, text: &str) {
        let said = escape(text);
        match self {
            Self::Echo { escaped, count } if *escaped == said => *count += 1,
            _ if text.starts_with('/') => {
                *self = Self::Answer {
                    escaped: said.into_owned(),
                }
            }
            _ => {
                *self = Self::Echo {
                    escaped: said.into_owned(),
                    count: 1,
                }
            }
        }
    }

    /// A text was received, and has been escaped.
    pub(crate) fn heard(&mut self, received: &str) {
        match self {
            Self::Echo { escaped, count } if is_echo(received, escaped) => {
                *count -= 1;
                if *count == 0 {
                    *self = Self::Nothing;
                }
            }
            Self::Answer { .. } if received.starts_with(NOTICE) => *self = Self::More,
            Self::Answer { escaped } if is_echo(received, escaped) => *self = Self::Nothing,
            _ => {}
        }
    }
}

/// The received line is the echo of the text, both escaped. The server puts
/// `ip:port ` or `name ` before a text, and cuts what is too long.
pub(crate) fn is_echo(received: &str, said: &str) -> bool {
    let Some(ServerLine::Text { text, .. }) = ServerLine::parse(received.as_bytes()) else {
        return false;
    };
    let is_cut = received.len() >= CUT_BYTES_MIN;
    text == said.as_bytes() || (is_cut && said.as_bytes().starts_with(text))
}

/// The server delivers fewer bytes than it may where a character or an escape of up
/// to eight bytes would be cut.
const CUT_BYTES_MIN: usize = MAX_TEXT_DATAGRAM - 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Awaited {
        let mut awaited = Awaited::default();
        texts.iter().for_each(|text| awaited.said(text));
        awaited
    }

    #[test]
    fn knows_its_own_echo() {
        let mut awaited = said(&["other", "hello world"]);
        for not_it in [
            "1.2.3.4:5 hello",
            "hello world",
            "1.2.3.4:5 other",
            "* hello",
        ] {
            awaited.heard(not_it);
            assert_ne!(awaited, Awaited::Nothing, "{not_it}");
        }
        awaited.heard("[::1]:5 hello world");
        assert_eq!(awaited, Awaited::Nothing);
    }

    #[test]
    fn a_text_said_twice_is_echoed_twice() {
        let mut awaited = said(&["hi", "hi"]);
        awaited.heard("ann hi");
        assert_ne!(awaited, Awaited::Nothing);
        awaited.heard("ann hi");
        assert_eq!(awaited, Awaited::Nothing);
    }

    #[test]
    fn knows_a_long_text_by_its_beginning() {
        let long = "x".repeat(3000);
        let mut awaited = said(&[&long]);
        awaited.heard(&format!("ann {}", &long[..1020]));
        assert_eq!(awaited, Awaited::Nothing);
    }

    #[test]
    fn knows_a_text_that_the_server_escaped() {
        let mut awaited = said(&["bell \x07"]);
        awaited.heard("ann bell \\x07");
        assert_eq!(awaited, Awaited::Nothing);
    }

    #[test]
    fn a_command_has_an_answer_or_an_echo() {
        let mut awaited = said(&["/who"]);
        awaited.heard("ann hi");
        assert!(matches!(awaited, Awaited::Answer { .. }));
        awaited.heard("* ann");
        assert_eq!(awaited, Awaited::More);
        awaited = said(&["/shrug"]);
        awaited.heard("ann /shrug");
        assert_eq!(awaited, Awaited::Nothing);
    }
}
