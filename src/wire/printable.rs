//! Makes received bytes safe to print: valid UTF-8 that neither controls a terminal nor
//! forges a line.

/// Appends `bytes` to `out` as printable UTF-8. Stops before the first character with
/// which `out` would be longer than `max_len` bytes.
///
/// Visible text is appended unchanged. A sequence that is not UTF-8 becomes U+FFFD.
/// These are escaped, as `\x1b`, `\u{202e}` or `\u{e0001}`:
/// - control characters: C0 except tab, DEL and C1;
/// - the line and paragraph separators;
/// - characters that nobody sees: Unicode's format characters (Cf), which include those that
///   change the direction of text, its Default_Ignorable_Code_Point, and blank symbols.
///
/// Two kinds of invisible characters are kept, because people write with them:
/// - one joiner (U+200C or U+200D) between two visible characters that are not ASCII, as in
///   Persian, in the scripts of India, and in emoji of several parts;
/// - U+FE0E or U+FE0F directly after a visible character, as it chooses between text and emoji.
///   Of ASCII only digits, `#` and `*` have such forms, which are keycaps.
///
/// No character or escape is cut, and a joiner is not parted from what follows it. So the
/// result stays as it is when it is made printable again.
pub fn push_printable(bytes: &[u8], max_len: usize, out: &mut Vec<u8>) {
    let space = max_len.saturating_sub(out.len());
    if is_printable_ascii(bytes) {
        out.extend_from_slice(&bytes[..bytes.len().min(space)]);
        return;
    }
    let mut printer = Printer {
        out,
        max_len,
        base: None,
        is_varied: false,
    };
    for chunk in bytes.utf8_chunks() {
        let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        let mut chars = chunk.valid().chars();
        while let Some(char) = chars.next() {
            if printer
                .push(char, || chars.clone().next().or(invalid))
                .is_none()
            {
                return;
            }
        }
        if let Some(char) = invalid
            && printer.push(char, || None).is_none()
        {
            return;
        }
    }
}

/// Makes what `out` holds from `start` on printable, as [`push_printable`] does.
///
/// Printable ASCII stays in place. Only other bytes are copied, which allocates.
pub(super) fn make_printable(start: usize, max_len: usize, out: &mut Vec<u8>) {
    if is_printable_ascii(&out[start..]) {
        out.truncate(max_len);
        return;
    }
    let bytes = out.split_off(start);
    push_printable(&bytes, max_len, out);
}

/// The usual case. The compiler vectorizes it, as nothing ends early within a chunk.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let and_printable = |all: bool, byte: &u8| all & matches!(byte, b' '..=b'~');
    let mut chunks = chunks.iter();
    chunks.all(|chunk| chunk.iter().fold(true, and_printable))
        && rest.iter().fold(true, and_printable)
}

/// Appends characters one by one.
struct Printer<'a> {
    out: &'a mut Vec<u8>,
    max_len: usize,
    /// The visible character before the next one, if it is there directly or with a
    /// variation selector.
    base: Option<char>,
    /// Set if there is a variation selector after `base`.
    is_varied: bool,
}

impl Printer<'_> {
    /// Appends one character, escaped where it must be. `next` returns the one after it.
    /// Returns `None` if it does not fit.
    fn push(&mut self, char: char, next: impl Fn() -> Option<char>) -> Option<()> {
        let mut buffer = [0; MAX_ESCAPE_BYTES];
        if !must_escape(char) {
            self.base = (!char.is_whitespace()).then_some(char);
            self.is_varied = false;
            return self.append(char.encode_utf8(&mut buffer).as_bytes(), 0);
        }
        match (char, self.base) {
            (TEXT_STYLE | EMOJI_STYLE, Some(base)) if has_styles(base) && !self.is_varied => {
                self.is_varied = true;
                self.append(char.encode_utf8(&mut buffer).as_bytes(), 0)
            }
            (NON_JOINER | JOINER, Some(base))
                if !base.is_ascii()
                    && let Some(after) = next().filter(|after| can_be_joined(*after)) =>
            {
                self.base = None;
                self.append(char.encode_utf8(&mut buffer).as_bytes(), after.len_utf8())
            }
            _ => {
                self.base = None;
                self.append(escape(char, &mut buffer), 0)
            }
        }
    }

    /// Appends `encoded` if there is space for it and for `reserved` bytes more.
    fn append(&mut self, encoded: &[u8], reserved: usize) -> Option<()> {
        let fits = self.out.len() + encoded.len() + reserved <= self.max_len;
        fits.then(|| self.out.extend_from_slice(encoded))
    }
}

fn can_be_joined(char: char) -> bool {
    !char.is_ascii() && !char.is_whitespace() && !must_escape(char)
}

fn has_styles(base: char) -> bool {
    !base.is_ascii() || matches!(base, '0'..='9' | '#' | '*')
}

fn must_escape(char: char) -> bool {
    match char {
        ' '..='~' | '\t' => false,
        // Line and paragraph separators. Some terminals break the line at them.
        '\u{2028}' | '\u{2029}' => true,
        // C0, DEL, C1, and what nobody sees.
        _ => char.is_control() || is_invisible(char),
    }
}

/// Returns true for Cf (UnicodeData.txt) and Default_Ignorable_Code_Point
/// (DerivedCoreProperties.txt) of Unicode 16.0, and for two symbols that are blank.
fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            // Braille pattern blank.
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            // Musical symbol null notehead.
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns `\x1b` for a character below U+0100, `\u{202e}` for others.
fn escape(char: char, buffer: &mut [u8; MAX_ESCAPE_BYTES]) -> &[u8] {
    let code = u32::from(char);
    let hex = |shift: u32| HEX_DIGITS[(code >> shift & 0xF) as usize];
    if code < 0x100 {
        buffer[..4].copy_from_slice(&[b'\\', b'x', hex(4), hex(0)]);
        return &buffer[..4];
    }
    let digits = code.ilog2() / 4 + 1;
    buffer[..3].copy_from_slice(b"\\u{");
    let mut end = 3;
    for digit in (0..digits).rev() {
        buffer[end] = hex(4 * digit);
        end += 1;
    }
    buffer[end] = b'}';
    &buffer[..=end]
}

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Length of `\u{e0001}`.
const MAX_ESCAPE_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MAX_TEXT_DATAGRAM;
    use proptest::prelude::*;

    fn printable(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_printable(bytes, MAX_TEXT_DATAGRAM, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn printable_text_is_kept_byte_for_byte() {
        for text in ["hi there", "a\tb", "grüße, 世界 🎉", r"\x1b \u{202e}"] {
            assert_eq!(printable(text.as_bytes()), text);
        }
    }

    #[test]
    fn invisible_characters_that_people_write_with_are_kept() {
        for text in [
            // Emoji of several parts.
            "👩\u{200d}🚀",
            "👨🏽\u{200d}👩\u{200d}👧",
            "👩\u{200d}❤\u{fe0f}\u{200d}👨",
            "🏳\u{fe0f}\u{200d}🌈",
            // Persian, Bengali and Hindi.
            "می\u{200c}خواهم",
            "র\u{200d}্যাব",
            "क्\u{200d}ष",
            // Text and emoji, and keycaps.
            "☎\u{fe0e} ☎\u{fe0f}",
            "1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3} *\u{fe0f}\u{20e3}",
        ] {
            assert_eq!(printable(text.as_bytes()), text);
        }
    }

    #[test]
    fn joiners_and_variation_selectors_anywhere_else_are_escaped() {
        for (text, expected) in [
            ("a\u{200d}b", r"a\u{200d}b"),
            ("ü\u{200d}b", r"ü\u{200d}b"),
            ("a\u{200c}ü", r"a\u{200c}ü"),
            ("ü\u{200d}", r"ü\u{200d}"),
            ("\u{200d}ü", r"\u{200d}ü"),
            ("ü \u{200d}ü", r"ü \u{200d}ü"),
            ("ü\u{200d}\u{3000}", "ü\\u{200d}\u{3000}"),
            ("ü\u{200d}\u{200d}ü", r"ü\u{200d}\u{200d}ü"),
            ("ü\u{200d}\u{200b}ü", r"ü\u{200d}\u{200b}ü"),
            ("ü\u{200d}\u{fe0f}", r"ü\u{200d}\u{fe0f}"),
            ("1\u{fe0f}\u{200d}👩", "1\u{fe0f}\\u{200d}👩"),
            ("a\u{fe0f}", r"a\u{fe0f}"),
            (".\u{fe0e}", r".\u{fe0e}"),
            ("\u{fe0f}", r"\u{fe0f}"),
            (" \u{fe0f}", r" \u{fe0f}"),
            ("☎\u{fe0f}\u{fe0f}", "☎\u{fe0f}\\u{fe0f}"),
            ("☎\u{fe01}", r"☎\u{fe01}"),
        ] {
            assert_eq!(printable(text.as_bytes()), expected, "{text:?}");
        }
        // What is no character is visible in its place.
        assert_eq!(
            printable("ü\u{200d}\u{fffd}".as_bytes()),
            printable(b"\xc3\xbc\xe2\x80\x8d\xff")
        );
    }

    #[test]
    fn characters_that_nobody_sees_are_escaped() {
        for char in [
            '\u{200b}',
            '\u{2060}',
            '\u{feff}',
            '\u{180e}',
            '\u{34f}',
            '\u{115f}',
            '\u{1160}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{2800}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0061}',
            '\u{e0100}',
        ] {
            let escaped = format!("a\\u{{{:x}}}b", u32::from(char));
            assert_eq!(printable(format!("a{char}b").as_bytes()), escaped);
        }
        assert_eq!(printable("a\u{ad}b".as_bytes()), r"a\xadb");
    }

    #[test]
    fn controls_are_escaped() {
        assert_eq!(printable(b"\x1b[2J\0\x7f"), r"\x1b[2J\x00\x7f");
        assert_eq!(printable("a\nb\r\u{9b}".as_bytes()), r"a\x0ab\x0d\x9b");
        assert_eq!(
            printable("\u{202e}\u{61c}\u{2028}\u{2069}".as_bytes()),
            r"\u{202e}\u{61c}\u{2028}\u{2069}"
        );
    }

    #[test]
    fn characters_that_turn_or_break_a_line_are_escaped() {
        // Bidi_Control of Unicode's PropList.txt, and the two separators.
        for char in [
            '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
            '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{2028}', '\u{2029}',
        ] {
            let escaped = format!("\\u{{{:x}}}", u32::from(char));
            assert_eq!(printable(char.to_string().as_bytes()), escaped);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        assert_eq!(printable(b"a\xffb\xc3"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn neither_a_character_nor_an_escape_is_cut() {
        for (text, max_len, expected) in [
            ("abc", 2, "ab"),
            ("aü", 2, "a"),
            ("a\x1b", 4, "a"),
            ("a\x1b", 5, r"a\x1b"),
            ("a\u{202e}", 8, "a"),
            ("ü", 0, ""),
            ("\u{e0001}", 8, ""),
            ("\u{e0001}", 9, r"\u{e0001}"),
            // What joins nothing would be escaped.
            ("ü\u{200d}ü", 6, "ü"),
            ("ü\u{200d}ü", 7, "ü\u{200d}ü"),
        ] {
            let mut out = Vec::new();
            push_printable(text.as_bytes(), max_len, &mut out);
            assert_eq!(out, expected.as_bytes(), "{text:?} in {max_len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_bounded_control_free_utf8(
            bytes in prop::collection::vec(any::<u8>(), 0..2048),
            max_len in 0_usize..2048,
        ) {
            let mut out = Vec::new();
            push_printable(&bytes, max_len, &mut out);
            prop_assert!(out.len() <= max_len);
            let text = String::from_utf8(out).unwrap();
            prop_assert!(text.chars().all(|char| char == '\t' || !char.is_control()));
        }

        #[test]
        fn a_second_time_changes_nothing(
            text in "[aü1 \u{ad}\u{200b}-\u{200d}\u{fe0e}\u{fe0f}☎👩\u{e0001}]{0,20}|(?s).*",
            max_len in 0_usize..64,
        ) {
            let mut once = Vec::new();
            push_printable(text.as_bytes(), max_len, &mut once);
            prop_assert!(once.len() <= max_len);
            prop_assert_eq!(printable(&once).into_bytes(), once);
        }

        /// Another copy of Unicode's tables says so.
        #[test]
        fn every_invisible_character_is_escaped(char in "[\\p{Cf}\\p{DI}]") {
            let code = u32::from(char.chars().next().unwrap());
            let escaped = match code {
                ..0x100 => format!("\\x{code:x}"),
                _ => format!("\\u{{{code:x}}}"),
            };
            prop_assert_eq!(printable(char.as_bytes()), escaped);
        }

        #[test]
        fn every_visible_character_is_kept(text in "[^\\p{Cf}\\p{DI}\\p{Cc}\\p{Zl}\\p{Zp}\u{2800}\u{1d159}]{0,20}") {
            prop_assert_eq!(printable(text.as_bytes()), text);
        }
    }
}
