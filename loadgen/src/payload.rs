//! The lengths of texts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units;

/// A distribution of lengths, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload {
    /// Never empty.
    choices: Vec<Choice>,
}

/// One range of lengths, all of which are equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The weight of this range among the others.
    pub weight: f64,
    /// The shortest.
    pub min_bytes: u16,
    /// The longest.
    pub max_bytes: u16,
}

impl Payload {
    /// Returns a distribution of one length.
    pub fn fixed(bytes: u16) -> Self {
        Self {
            choices: vec![Choice {
                weight: 1.0,
                min_bytes: bytes,
                max_bytes: bytes,
            }],
        }
    }

    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Returns the length that `unit`, a random number from 0 up to 1, stands for.
    pub fn draw(&self, unit: f64) -> usize {
        let total: f64 = self.choices.iter().map(|choice| choice.weight).sum();
        let mut rest = unit * total;
        for choice in &self.choices {
            if rest < choice.weight {
                let lengths = f64::from(choice.max_bytes - choice.min_bytes) + 1.0;
                let above = (rest / choice.weight * lengths) as usize;
                return usize::from(choice.min_bytes) + above;
            }
            rest -= choice.weight;
        }
        self.max_bytes()
    }

    pub fn mean_bytes(&self) -> f64 {
        let total: f64 = self.choices.iter().map(|choice| choice.weight).sum();
        let share = |choice: &Choice| {
            let middle = f64::from(choice.min_bytes).midpoint(f64::from(choice.max_bytes));
            choice.weight * middle
        };
        self.choices.iter().map(share).sum::<f64>() / total
    }

    pub fn max_bytes(&self) -> usize {
        let longest = self.choices.iter().map(|choice| choice.max_bytes).max();
        longest.map_or(0, usize::from)
    }
}

/// One length `48`, a range `32..512`, of which every length is equally likely, its end
/// included, or several of these, each with its weight: `48:70,100..200:25,900:5`.
/// Lengths are [`MIN_BYTES`] to [`MAX_BYTES`].
impl FromStr for Payload {
    type Err = PayloadError;

    fn from_str(text: &str) -> Result<Self, PayloadError> {
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > CHOICES_MAX {
            return Err(PayloadError::TooMany);
        }
        let mut choices = Vec::new();
        for part in &parts {
            let (lengths, weight) = match part.split_once(':') {
                Some((lengths, weight)) => (lengths, parse_weight(weight)?),
                None if parts.len() == 1 => (*part, 1.0),
                None => return Err(PayloadError::Weight),
            };
            let (min, max) = lengths.split_once("..").unwrap_or((lengths, lengths));
            let (min_bytes, max_bytes) = (parse_bytes(min)?, parse_bytes(max)?);
            if min_bytes > max_bytes {
                return Err(PayloadError::Backwards(min_bytes, max_bytes));
            }
            choices.push(Choice {
                weight,
                min_bytes,
                max_bytes,
            });
        }
        Ok(Self { choices })
    }
}

/// Prints the form that is parsed.
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, choice) in self.choices.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", choice.min_bytes)?;
            if choice.min_bytes != choice.max_bytes {
                write!(f, "..{}", choice.max_bytes)?;
            }
            if self.choices.len() > 1 {
                write!(f, ":{}", choice.weight)?;
            }
        }
        Ok(())
    }
}

/// The reason why something is not a [`Payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error(
        "a length is {MIN_BYTES} to {MAX_BYTES} bytes: write one as 48, a range as 32..512, \
         or several with weights as 48:70,100..200:25"
    )]
    Length,
    #[error("the range {0}..{1} ends before it begins")]
    Backwards(u16, u16),
    #[error("each of several lengths needs a weight above 0: 48:70,100..200:25")]
    Weight,
    #[error("at most {CHOICES_MAX} lengths or ranges")]
    TooMany,
}

fn parse_bytes(text: &str) -> Result<u16, PayloadError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = text.parse().ok().filter(|_| is_plain);
    bytes
        .filter(|bytes| (MIN_BYTES..=MAX_BYTES).contains(bytes))
        .ok_or(PayloadError::Length)
}

fn parse_weight(text: &str) -> Result<f64, PayloadError> {
    units::parse_decimal(text)
        .filter(|weight| *weight > 0.0)
        .ok_or(PayloadError::Weight)
}

/// The length of the stamp in each text, by which it is recognised. It is also the longest token of
/// a ping, since requests carry the same stamp.
pub const MIN_BYTES: u16 = 32;

/// The longest payload of a frame.
pub const MAX_BYTES: u16 = bullhorn::wire::v2::MAX_PAYLOAD_BYTES as u16;

/// The longest text of v1. A v1 datagram is cut at 1024 bytes with the sender in front, and a text
/// that is cut looks damaged.
pub const MAX_V1_BYTES: u16 = 900;

/// The most ranges, far more than real traffic needs.
const CHOICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_shortest_text_has_room_for_its_stamp_and_no_more() {
        assert_eq!(usize::from(MIN_BYTES), crate::engine::stamp::STAMP_BYTES);
    }

    #[test]
    fn lengths_ranges_and_weights_are_parsed() {
        let parsed = |text: &str| text.parse::<Payload>().unwrap();
        assert_eq!(parsed("48"), Payload::fixed(48));
        assert_eq!(parsed("48:7").mean_bytes(), 48.0);
        let range = parsed("32..512");
        assert_eq!((range.draw(0.0), range.draw(0.9999)), (32, 512));
        assert_eq!(range.mean_bytes(), 272.0);
        let mixture = parsed("48:70,100..200:25,900:5");
        assert_eq!(mixture.draw(0.69), 48);
        assert_eq!((mixture.draw(0.7), mixture.draw(0.96)), (100, 900));
        assert_eq!(mixture.max_bytes(), 900);
        assert!((mixture.mean_bytes() - 116.1).abs() < 1e-9);
        assert_eq!(parsed("1152").max_bytes(), 1152);
    }

    #[test]
    fn what_is_wrong_is_told_what_is_right() {
        let wrong = |text: &str| text.parse::<Payload>().unwrap_err();
        for text in [
            "", "31", "1153", "65536", "-48", "+48", "48.5", "48..", "..48", "4k", "48..1153",
        ] {
            assert_eq!(wrong(text), PayloadError::Length, "{text}");
        }
        for text in [
            "48,100", "48:1,100", "48:", "48:0", "48:-1", "48:x", "48:inf",
        ] {
            assert_eq!(wrong(text), PayloadError::Weight, "{text}");
        }
        assert_eq!(wrong("64..32"), PayloadError::Backwards(64, 32));
        assert_eq!(wrong(&vec!["48:1"; 65].join(",")), PayloadError::TooMany);
        let message = wrong("7").to_string();
        assert!(
            message.starts_with("a length is 32 to 1152 bytes"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn what_is_drawn_was_asked_for_and_printing_gives_it_back(
            choices in proptest::collection::vec((1_u16..100, 32_u16..=600, 0_u16..=552), 1..5),
            unit in 0.0..1.0,
        ) {
            let written: Vec<String> = choices
                .iter()
                .map(|(weight, min, more)| format!("{min}..{}:{weight}", min + more))
                .collect();
            let payload: Payload = written.join(",").parse().unwrap();
            let drawn = payload.draw(unit);
            let is_within = |(_, min, more): &(u16, u16, u16)| {
                (usize::from(*min)..=usize::from(min + more)).contains(&drawn)
            };
            prop_assert!(choices.iter().any(is_within));
            let printed: Payload = payload.to_string().parse().unwrap();
            prop_assert_eq!(printed.draw(unit), drawn);
        }
    }
}
