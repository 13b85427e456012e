//! The token with which a v1 peer proves its address: `/in 4K7PQ2MX`.

use std::fmt::{self, Display, Formatter};

/// 40 bits, written as 8 characters in the base 32 of Crockford. Letters that look like digits are
/// read as those, and the case does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofToken(u64);

/// Returns the token of a line `/in TOKEN` without its line end. `Some(None)` is such a line
/// without a token, and `None` any other line.
pub fn parse_proof(line: &[u8]) -> Option<Option<ProofToken>> {
    let line = line.trim_ascii_end();
    let (verb, rest) = line.split_at_checked(PROOF_VERB.len())?;
    if !verb.eq_ignore_ascii_case(PROOF_VERB) {
        return None;
    }
    match rest {
        [] => Some(None),
        [b' ' | b'\t', token @ ..] => Some(ProofToken::parse(token.trim_ascii_start())),
        _ => None,
    }
}

impl ProofToken {
    /// Returns the token that consists of the lower 40 bits of `number`.
    pub const fn of(number: u64) -> Self {
        Self(number & MASK)
    }

    /// Returns the token with these characters.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != CHARACTERS {
            return None;
        }
        let value = |number: u64, byte: &u8| Some(number << BITS | digit(*byte)?);
        text.iter().try_fold(0, value).map(Self)
    }
}

impl Display for ProofToken {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let digits = (0..CHARACTERS)
            .rev()
            .map(|at| self.0 >> (at as u32 * BITS) & 31);
        let mut text = [0; CHARACTERS];
        for (byte, digit) in text.iter_mut().zip(digits) {
            *byte = DIGITS[digit as usize];
        }
        out.write_str(str::from_utf8(&text).expect("only ASCII is written"))
    }
}

fn digit(byte: u8) -> Option<u64> {
    let byte = match byte.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        byte => byte,
    };
    let at = DIGITS.iter().position(|digit| *digit == byte)?;
    Some(at as u64)
}

/// The verb of the line, in any case.
pub const PROOF_VERB: &[u8] = b"/in";

/// Without I, L, O and U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Bits of a character.
const BITS: u32 = 5;

const CHARACTERS: usize = 8;

const MASK: u64 = (1 << (CHARACTERS as u32 * BITS)) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_read_as_people_write_it() {
        let token = ProofToken::of(0xFF_0123_4567);
        assert_eq!(token.to_string(), "ZW0J6HB7");
        assert_eq!(ProofToken::of(0).to_string(), "00000000");
        for text in ["ZW0J6HB7", "zw0j6hb7", "ZWOJ6HB7", "zwoj6hb7"] {
            assert_eq!(ProofToken::parse(text.as_bytes()), Some(token), "{text}");
        }
        let one = ProofToken::of(1 << 35 | 1);
        assert_eq!(ProofToken::parse(b"I000000l"), Some(one));
        for text in [
            "",
            "ZW0J6H5",
            "ZW0J6HB77",
            "ZW0J6HBU",
            "ZW0J 6H5",
            "ZW0J6H5\u{e9}",
        ] {
            assert_eq!(ProofToken::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_a_proof_by_its_verb() {
        let token = ProofToken::of(5);
        for line in ["/in 00000005", "/IN\t 00000005 ", "/In   00000005\r"] {
            assert_eq!(parse_proof(line.as_bytes()), Some(Some(token)), "{line:?}");
        }
        for line in [
            "/in",
            "/in ",
            "/IN 5",
            "/in 00000005 and more",
            "/in \u{fffd}",
        ] {
            assert_eq!(parse_proof(line.as_bytes()), Some(None), "{line:?}");
        }
        for line in [
            "",
            "/",
            "/i",
            "/into",
            "/inn 00000005",
            " /in 00000005",
            "in 00000005",
        ] {
            assert_eq!(parse_proof(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn every_token_is_parsed_as_it_was_written(number: u64) {
            let token = ProofToken::of(number);
            let line = format!("/in {token}");
            prop_assert_eq!(parse_proof(line.as_bytes()), Some(Some(token)));
        }
    }
}
