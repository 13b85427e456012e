//! Lists of cores, such as `0-3,6`.

use std::fmt::{self, Display};
use std::str::FromStr;

use super::WORKERS;

/// Numbers of cores, in the order in which they were written. There is at least one, and none is
/// there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreList(Vec<usize>);

impl CoreList {
    /// Returns the numbers.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// Returns a list of these numbers, or `None` if there are none.
    pub(in crate::server) fn new(cores: Vec<usize>) -> Option<Self> {
        (!cores.is_empty()).then_some(Self(cores))
    }
}

impl FromStr for CoreList {
    type Err = String;

    /// Parses numbers and ranges, with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (parse_core(first), parse_core(last)) else {
                return Err(format!("must be cores from 0 to {MAX_CORE}, such as 0-3,6"));
            };
            if first > last {
                return Err(format!("the range {part} ends before it begins"));
            }
            for core in first..=last {
                if cores.contains(&core) {
                    return Err(format!("has core {core} twice"));
                }
                cores.push(core);
            }
        }
        let (count, max) = (cores.len(), usize::from(*WORKERS.end()));
        if count > max {
            return Err(format!(
                "has {count} cores, and there are at most {max} workers"
            ));
        }
        Ok(Self(cores))
    }
}

impl Display for CoreList {
    /// Writes ranges where numbers follow each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let ranges = self.0.chunk_by(|core, next| core + 1 == *next);
        for range in ranges {
            match range {
                [core] => write!(f, "{separator}{core}")?,
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                [] => {}
            }
            separator = ",";
        }
        Ok(())
    }
}

fn parse_core(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let core = is_number.then(|| text.parse().ok()).flatten()?;
    (core <= MAX_CORE).then_some(core)
}

/// The set of cores that the C library gives the kernel has 1,024.
const MAX_CORE: usize = 1_023;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_numbers_and_ranges() {
        for (text, cores, written) in [
            ("0", &[0][..], "0"),
            ("0-3,6", &[0, 1, 2, 3, 6], "0-3,6"),
            ("7,0,1", &[7, 0, 1], "7,0-1"),
            ("5-5,1023", &[5, 1023], "5,1023"),
        ] {
            let list: CoreList = text.parse().unwrap();
            assert_eq!(list.as_slice(), cores);
            assert_eq!(list.to_string(), written);
        }
    }

    #[test]
    fn other_lists_are_refused_with_a_reason() {
        for (text, reason) in [
            ("", "such as 0-3,6"),
            ("1,", "such as 0-3,6"),
            ("-1", "such as 0-3,6"),
            ("+1", "such as 0-3,6"),
            ("1 2", "such as 0-3,6"),
            ("1024", "from 0 to 1023"),
            ("0-99999999999999999999", "from 0 to 1023"),
            ("3-1", "the range 3-1 ends before it begins"),
            ("0-3,2", "has core 2 twice"),
        ] {
            let error = text.parse::<CoreList>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
