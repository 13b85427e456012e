//! Printable text, as people see the bytes of strangers.

use bullhorn::wire::push_printable;
use unicode_general_category::{GeneralCategory, get_general_category};

/// Asserts that `bytes` are text that neither controls a terminal nor hides anything, and that
/// making them printable again changes nothing. Returns the text.
pub(crate) fn assert_printable(bytes: &[u8]) -> &str {
    let text = str::from_utf8(bytes).expect("UTF-8");
    for (at, char) in text.char_indices() {
        let is_hidden = match get_general_category(char) {
            GeneralCategory::Control => char != '\t',
            GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => true,
            GeneralCategory::Format => !is_joiner(char, &text[..at], &text[at..]),
            _ => false,
        };
        assert!(!is_hidden, "U+{:04X} in {text:?}", u32::from(char));
    }
    let mut again = Vec::new();
    push_printable(bytes, usize::MAX, &mut again);
    assert_eq!(again, bytes, "{text:?}");
    text
}

/// Returns true for U+200C and U+200D between two characters that are not ASCII, with which people
/// write some scripts and emoji.
fn is_joiner(char: char, before: &str, from: &str) -> bool {
    let base = before
        .trim_end_matches(['\u{fe0e}', '\u{fe0f}'])
        .chars()
        .next_back();
    let after = from.chars().nth(1);
    matches!(char, '\u{200c}' | '\u{200d}')
        && base.is_some_and(|base| !base.is_ascii())
        && after.is_some_and(|after| !after.is_ascii())
}
