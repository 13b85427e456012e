//! Measurements in pairs, and their statistics.

use super::Error;

/// One measurement: its value, or why it does not count.
pub(crate) type Outcome = Result<f64, String>;

/// What pairs of measurements gave.
#[derive(Debug)]
pub(crate) struct Pairs {
    pub(crate) subject: Spread,
    pub(crate) bare: Spread,
    /// Of each pair's subject to its bare.
    pub(crate) ratio: Spread,
    pub(crate) valid: usize,
    /// Why the others do not count.
    pub(crate) invalid: Vec<String>,
}

/// The middle and the ends of some values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Measures `count` pairs, the one first and the other first in turn: what
/// drifts on the machine then meets both. A pair counts when both halves do.
/// `measure` gets whether it is the subject's turn.
pub(crate) fn interleave(
    count: usize,
    mut measure: impl FnMut(bool) -> Result<Outcome, Error>,
) -> Result<Pairs, Error> {
    let (mut subject, mut bare) = (Vec::new(), Vec::new());
    let mut invalid = Vec::new();
    for pair in 0..count {
        let subject_first = pair % 2 == 0;
        let first = measure(subject_first)?;
        let second = measure(!subject_first)?;
        let (of_subject, of_bare) = if subject_first {
            (first, second)
        } else {
            (second, first)
        };
        match (of_subject, of_bare) {
            (Ok(of_subject), Ok(of_bare)) => {
                subject.push(of_subject);
                bare.push(of_bare);
            }
            (Err(why), _) => invalid.push(format!("pair {}, subject: {why}", pair + 1)),
            (_, Err(why)) => invalid.push(format!("pair {}, bare: {why}", pair + 1)),
        }
    }
    let ratios = subject.iter().zip(&bare).map(|(a, b)| a / b).collect();
    let why = || format!("no pair is valid: {}", invalid.join("; "));
    let spread = |values| Spread::of(values).ok_or_else(why);
    Ok(Pairs {
        valid: subject.len(),
        ratio: spread(ratios)?,
        subject: spread(subject)?,
        bare: spread(bare)?,
        invalid,
    })
}

impl Spread {
    /// Of `values`, if there are any.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}
