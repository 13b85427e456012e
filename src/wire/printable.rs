//! Makes received bytes safe to print: valid UTF-8 that neither controls a terminal nor
//! forges a line.

/// Appends `bytes` to `out` as printable UTF-8. Stops before the first character with
/// which `out` would be longer than `max_len` bytes.
///
/// Printable text is appended unchanged. A sequence that is not UTF-8 becomes U+FFFD.
/// These are escaped, as `\x1b` or `\u{202e}`: control characters (C0 except tab, DEL, C1),
/// the line and paragraph separators, and characters that change the direction of text.
/// No character or escape is cut.
pub fn push_printable(bytes: &[u8], max_len: usize, out: &mut Vec<u8>) {
    let space = max_len.saturating_sub(out.len());
    if is_printable_ascii(bytes) {
        out.extend_from_slice(&bytes[..bytes.len().min(space)]);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if push_char(char, max_len, out).is_none() {
                return;
            }
        }
        let is_valid = chunk.invalid().is_empty();
        if !is_valid && push_char(char::REPLACEMENT_CHARACTER, max_len, out).is_none() {
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

/// The usual case. The compiler vectorizes it.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Appends one character, escaped where it must be. Returns `None` if it does not fit.
fn push_char(char: char, max_len: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; MAX_ESCAPE_BYTES];
    let encoded = if must_escape(char) {
        escape(char, &mut buffer)
    } else {
        char.encode_utf8(&mut buffer).as_bytes()
    };
    let fits = out.len() + encoded.len() <= max_len;
    fits.then(|| out.extend_from_slice(encoded))
}

fn must_escape(char: char) -> bool {
    match char {
        '\t' => false,
        // Line and paragraph separators. Some terminals break the line at them.
        '\u{2028}' | '\u{2029}' => true,
        // Bidi_Control in Unicode's PropList.txt.
        '\u{061C}' | '\u{200E}' | '\u{200F}' => true,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => true,
        // C0, DEL and C1.
        _ => char.is_control(),
    }
}

/// Returns `\x1b` for a character below U+0100, `\u{202e}` for others.
fn escape(char: char, buffer: &mut [u8; MAX_ESCAPE_BYTES]) -> &[u8] {
    let code = u32::from(char);
    let hex = |shift: u32| HEX_DIGITS[(code >> shift & 0xF) as usize];
    if code < 0x100 {
        buffer[..4].copy_from_slice(&[b'\\', b'x', hex(4), hex(0)]);
        &buffer[..4]
    } else {
        let digits = [hex(12), hex(8), hex(4), hex(0)];
        buffer[..3].copy_from_slice(b"\\u{");
        // All escaped characters are below U+10000. U+061C becomes `\u{61c}`.
        let digits = &digits[usize::from(digits[0] == b'0')..];
        let end = 3 + digits.len();
        buffer[3..end].copy_from_slice(digits);
        buffer[end] = b'}';
        &buffer[..=end]
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Length of `\u{202e}`.
const MAX_ESCAPE_BYTES: usize = 8;

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
        for text in ["hi there", "a\tb", "grüße, 世界 🎉", r"\x1b \u{202e}", "👩‍🚀"] {
            assert_eq!(printable(text.as_bytes()), text);
        }
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
            prop_assert!(text.chars().all(|char| char == '\t' || !must_escape(char)));
        }

        #[test]
        fn any_characters_become_bounded_control_free_utf8(text in "\\PC*|(?s).*", max_len in 0_usize..64) {
            let mut out = Vec::new();
            push_printable(text.as_bytes(), max_len, &mut out);
            prop_assert!(out.len() <= max_len);
            let text = String::from_utf8(out).unwrap();
            prop_assert!(text.chars().all(|char| char == '\t' || !char.is_control()));
        }
    }
}
