//! How long texts are.

/// A distribution of lengths, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Never empty.
    choices: Vec<Choice>,
}

/// One range of lengths, all of which are equally likely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// How often this range is chosen, beside the others.
    pub weight: f64,
    /// The shortest.
    pub min_bytes: u16,
    /// The longest.
    pub max_bytes: u16,
}

impl Payload {
    /// Always this long.
    pub fn fixed(bytes: u16) -> Self {
        Self {
            choices: vec![Choice {
                weight: 1.0,
                min_bytes: bytes,
                max_bytes: bytes,
            }],
        }
    }

    /// The ranges that it chooses from.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The length that `unit`, a random number from 0 up to 1, stands for.
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

    /// The longest that it ever gives.
    pub fn max_bytes(&self) -> usize {
        let longest = self.choices.iter().map(|choice| choice.max_bytes).max();
        longest.map_or(0, usize::from)
    }
}
