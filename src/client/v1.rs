//! The text protocol as bytes, and back. No I/O.

use std::borrow::Cow;

use crate::wire::{HEARTBEAT, MAX_TEXT_DATAGRAM, QUIT};

/// The datagram that says this text.
pub fn encode(text: &str) -> Result<&[u8], NotAText> {
    // The server drops one line end before it looks.
    let seen = without_line_end(text);
    if seen.is_empty() {
        Err(NotAText::Blank)
    } else if seen.as_bytes().eq_ignore_ascii_case(HEARTBEAT) {
        Err(NotAText::Heartbeat)
    } else if seen.as_bytes().eq_ignore_ascii_case(QUIT) {
        Err(NotAText::Leave)
    } else {
        Ok(text.as_bytes())
    }
}

/// The text in a datagram from the server; an empty one has none. Bytes that
/// are not UTF-8 become `U+FFFD`. A server sends no more than
/// [`MAX_TEXT_DATAGRAM`] bytes: what is behind them is not looked at.
pub fn decode(datagram: &[u8]) -> Option<Cow<'_, str>> {
    let datagram = &datagram[..datagram.len().min(MAX_TEXT_DATAGRAM)];
    match String::from_utf8_lossy(datagram) {
        Cow::Borrowed(text) => Some(Cow::Borrowed(without_line_end(text))),
        Cow::Owned(text) => Some(Cow::Owned(without_line_end(&text).to_owned())),
    }
    .filter(|text| !text.is_empty())
}

/// Why the text protocol cannot say something: to the server these bytes mean
/// something else, and nobody would hear them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAText {
    /// Nothing, or only a line end: leave, or a heartbeat.
    #[error("a text must not be empty")]
    Blank,
    /// `@im@` in any case.
    #[error("@im@ is the heartbeat of the protocol, so nobody would hear it")]
    Heartbeat,
    /// `quit` in any case.
    #[error("quit is how the protocol leaves, so nobody would hear it")]
    Leave,
}

/// The server drops one line end at the end of a text.
pub(crate) fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_texts_as_they_are() {
        for text in ["hi", " quit", "quit it", "/who", "line\n", "@im@ not"] {
            assert_eq!(encode(text), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn refuses_what_means_something_else() {
        assert_eq!(encode(""), Err(NotAText::Blank));
        assert_eq!(encode("\r\n"), Err(NotAText::Blank));
        assert_eq!(encode("@IM@\n"), Err(NotAText::Heartbeat));
        assert_eq!(encode("Quit"), Err(NotAText::Leave));
    }

    #[test]
    fn reads_anything() {
        assert_eq!(decode(b""), None);
        assert_eq!(decode(b"\n"), None);
        assert_eq!(decode(b"a text\n").as_deref(), Some("a text"));
        assert_eq!(
            decode(b"a \xff\xfe b").as_deref(),
            Some("a \u{fffd}\u{fffd} b")
        );
    }
}
