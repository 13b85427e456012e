//! What may reach a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Makes a received text safe to print: control characters other than tab,
/// line separators and the characters that reorder text come out as `\x1b` or
/// `\u{202e}`. A text without them is passed through without a copy. The server
/// does the same, but whoever prints must not rely on that.
///
/// ```
/// use bullhorn::client::escape;
///
/// assert_eq!(escape("red \x1b[31m\talert\n"), "red \\x1b[31m\talert\\x0a");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else {
        return Cow::Borrowed(text);
    };
    let mut escaped = String::with_capacity(text.len() + ESCAPE_BYTES);
    escaped.push_str(&text[..first]);
    for c in text[first..].chars() {
        let code = u32::from(c);
        // Writing to a String cannot fail.
        let _ = match is_unsafe(c) {
            true if c.is_ascii() => write!(escaped, "\\x{code:02x}"),
            true => write!(escaped, "\\u{{{code:x}}}"),
            false => escaped.write_char(c),
        };
    }
    Cow::Owned(escaped)
}

fn is_unsafe(c: char) -> bool {
    match c {
        '\t' => false,
        // C0, DEL and C1: they drive the terminal.
        _ if c.is_control() => true,
        // Line and paragraph separator: they forge a line.
        '\u{2028}' | '\u{2029}' => true,
        // Marks, embeddings, overrides and isolates: they reorder what is read.
        '\u{61c}' | '\u{200e}' | '\u{200f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// The longest escape, `\u{202e}`: one of them fits without a second
/// allocation.
const ESCAPE_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_harmless_texts_through_without_a_copy() {
        let text = "tab\there, ümlaut, 🐂, back\\slash";
        assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn escapes_every_kind_of_control() {
        let cases = [
            ("\0", r"\x00"),
            ("\x07", r"\x07"),
            ("\r\n", r"\x0d\x0a"),
            ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
            ("\x7f", r"\x7f"),
            ("\u{9b}2J", r"\u{9b}2J"),
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
