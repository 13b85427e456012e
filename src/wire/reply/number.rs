//! Numbers in sentences.

use std::fmt::{self, Display, Formatter};

/// A number with a comma between groups of three digits: `10,300`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thousands(pub u64);

impl Thousands {
    /// Parses a number as it is displayed.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut groups = text.split(|byte| *byte == b',');
        let first = groups.next()?;
        let mut number = u64::try_from(parse_number(first)?).ok()?;
        if number > 999 || (number == 0 && text != b"0") {
            return None;
        }
        for group in groups {
            let digits = parse_digits(group).filter(|_| group.len() == 3)?;
            number = number.checked_mul(1000)?.checked_add(digits as u64)?;
        }
        Some(Self(number))
    }
}

impl Display for Thousands {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number < 1000 {
            return number.fmt(out);
        }
        write!(out, "{},{:03}", Self(number / 1000), number % 1000)
    }
}

/// Parses a number without commas, sign and leading zeros.
pub(super) fn parse_number(text: &[u8]) -> Option<usize> {
    let is_canonical = text == b"0" || !text.starts_with(b"0");
    parse_digits(text).filter(|_| is_canonical)
}

fn parse_digits(text: &[u8]) -> Option<usize> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_between_each_three_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_002_030, "1,002,030"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(Thousands(number).to_string(), text);
            assert_eq!(Thousands::parse(text.as_bytes()), Some(Thousands(number)));
        }
        for text in [
            "",
            ",",
            "1,",
            ",000",
            "0,001",
            "01",
            "1000",
            "1,0000",
            "1,00",
            "+1",
            "18,446,744,073,709,551,616",
        ] {
            assert_eq!(Thousands::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
