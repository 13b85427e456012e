//! What may reach a terminal.

use std::borrow::Cow;

use crate::wire::push_printable;

/// Makes a received text safe to print: control characters other than tab,
/// line separators and the characters that reorder text come out as `\x1b` or
/// `\u{202e}`. Plain ASCII is passed through without a copy. The server does the
/// same, but whoever prints must not rely on that.
///
/// ```
/// use bullhorn::client::escape;
///
/// assert_eq!(escape("red \x1b[31m\talert\n"), "red \\x1b[31m\talert\\x0a");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut escaped = Vec::with_capacity(text.len());
    push_printable(text.as_bytes(), usize::MAX, &mut escaped);
    Cow::Owned(into_text(escaped))
}

/// The same bytes as a text, without a copy if they are one. What is not UTF-8 becomes
/// `U+FFFD`.
pub fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_harmless_texts_through() {
        let text = "tab\there, back\\slash";
        assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        assert_eq!(escape("ümlaut, 🐂"), "ümlaut, 🐂");
    }

    #[test]
    fn escapes_every_kind_of_control() {
        let cases = [
            ("\0", r"\x00"),
            ("\x07", r"\x07"),
            ("\r\n", r"\x0d\x0a"),
            ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
            ("\x7f", r"\x7f"),
            ("\u{9b}2J", r"\x9b2J"),
            ("a\u{202e}b", r"a\u{202e}b"),
            ("\u{2028}", r"\u{2028}"),
            ("\u{2069}", r"\u{2069}"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn escaping_twice_changes_nothing() {
        let once = escape("\x1b\u{202e}").into_owned();
        assert_eq!(escape(&once), once);
    }
}
