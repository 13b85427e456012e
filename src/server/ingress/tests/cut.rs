//! Long texts.

use super::super::*;

#[test]
fn a_long_text_is_cut_at_a_character_if_there_is_one() {
    let ascii = [b'x'; 5000];
    assert_eq!(cut(&ascii).len(), MAX_PAYLOAD_BYTES);
    assert_eq!(cut(b"short"), b"short");
    for offset in 0..4 {
        let text = "x".repeat(offset) + &"🎉".repeat(1000);
        let cut = cut(text.as_bytes());
        assert!(str::from_utf8(cut).is_ok());
        assert!(cut.len() > MAX_PAYLOAD_BYTES - 4);
    }
    let broken = [0x80; 5000];
    assert_eq!(cut(&broken).len(), MAX_PAYLOAD_BYTES, "no characters");
}
