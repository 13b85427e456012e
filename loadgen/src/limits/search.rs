//! Finds the highest rate that is good: upwards until one is not, then between the two.
//! No I/O.

use serde::{Deserialize, Serialize};

/// The range of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The first rate that is tried.
    #[serde(rename = "first_rate_per_s")]
    pub from: f64,
    /// No rate below it is tried. `None` stands for a thousandth of the first.
    #[serde(rename = "lowest_rate_per_s")]
    pub lowest: Option<f64>,
    /// No rate above it is tried. `None` sets no bound.
    #[serde(rename = "highest_rate_per_s")]
    pub highest: Option<f64>,
    /// The search ends when the lowest bad rate is no more than this factor above the highest
    /// good one.
    #[serde(rename = "precision_ratio")]
    pub precision: f64,
}

/// The end of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The highest good rate; none: not even the lowest that was tried.
    pub good: Option<f64>,
    /// The lowest bad rate above it; none: all rates up to the highest were good.
    pub bad: Option<f64>,
}

impl Search {
    /// Searches with `is_good`, which tries a rate. Two tries that agree decide on a
    /// rate, so a machine that stumbles once does not.
    pub fn run<E>(&self, mut is_good: impl FnMut(f64) -> Result<bool, E>) -> Result<Found, E> {
        let mut confirmed = |rate: f64| -> Result<bool, E> {
            let first = is_good(rate)?;
            if is_good(rate)? == first {
                return Ok(first);
            }
            is_good(rate)
        };
        let mut good = None;
        let mut bad = None;
        let mut rate = self.from;
        loop {
            match confirmed(rate)? {
                true => good = Some(rate),
                false => bad = Some(rate),
            }
            let next = self.next_rate(good, bad);
            match next {
                Some(next) => rate = next,
                None => return Ok(Found { good, bad }),
            }
        }
    }

    fn next_rate(&self, good: Option<f64>, bad: Option<f64>) -> Option<f64> {
        match (good, bad) {
            (Some(good), Some(bad)) if bad / good <= self.precision => None,
            (Some(good), Some(bad)) => Some(between(good, bad)),
            (Some(good), None) => {
                let highest = self.highest.unwrap_or(f64::INFINITY);
                (good < highest).then_some((good * STEP).min(highest))
            }
            (None, Some(bad)) => {
                let lowest = self.lowest.unwrap_or(self.from / LOWEST);
                (bad > lowest).then_some((bad / STEP).max(lowest))
            }
            (None, None) => Some(self.from),
        }
    }
}

/// Returns the geometric mean as a round number, if there is one between.
fn between(good: f64, bad: f64) -> f64 {
    let middle = (good * bad).sqrt();
    let unit = 10_f64.powf(middle.log10().floor() - DIGITS);
    let round = (middle / unit).round() * unit;
    match good < round && round < bad {
        true => round,
        false => middle,
    }
}

/// Upwards, and downwards, from the first rate.
const STEP: f64 = 2.0;

/// Behind the first one: 11,900 rather than 11,892.07, which no run could tell apart.
const DIGITS: f64 = 2.0;

/// Below a thousandth of the rate with which the user began, something else is wrong.
const LOWEST: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn search(from: f64, highest: Option<f64>) -> Search {
        Search {
            from,
            lowest: None,
            highest,
            precision: 1.05,
        }
    }

    fn found(search: Search, limit: f64) -> Found {
        let result: Result<Found, Infallible> = search.run(|rate| Ok(rate <= limit));
        result.unwrap()
    }

    #[test]
    fn it_closes_in_on_the_limit_from_either_side() {
        for from in [1.0, 900.0, 1000.0, 300_000.0] {
            let found = found(search(from, None), 1000.0);
            let (good, bad) = (found.good.unwrap(), found.bad.unwrap());
            assert!(
                good <= 1000.0 && bad > 1000.0 && bad / good <= 1.05,
                "{found:?}"
            );
        }
    }

    #[test]
    fn rates_are_round_where_there_is_room_for_it() {
        assert_eq!(between(8_000.0, 16_000.0), 11_300.0);
        assert_eq!(between(1.0, 2.0), 1.41);
        let close = between(1_000.0, 1_000.5);
        assert!(1_000.0 < close && close < 1_000.5, "{close}");
        let narrow = Search {
            precision: 1.000_01,
            ..search(1.0, None)
        };
        assert!(found(narrow, 777.7).bad.unwrap() <= 777.71);
    }

    #[test]
    fn two_rates_at_the_precision_end_it() {
        let search = Search {
            precision: STEP,
            ..search(100.0, None)
        };
        assert_eq!(found(search, 250.0).bad, Some(400.0));
    }

    #[test]
    fn it_goes_no_higher_than_it_may() {
        let found = found(search(100.0, Some(750.0)), 1e9);
        assert_eq!((found.good, found.bad), (Some(750.0), None));
    }

    #[test]
    fn it_goes_no_lower_than_it_may() {
        let search = Search {
            lowest: Some(300.0),
            ..search(1000.0, None)
        };
        assert_eq!(found(search, 100.0).bad, Some(300.0));
        assert_eq!(found(search, 301.0).good, Some(300.0));
    }

    #[test]
    fn where_nothing_is_good_it_gives_up() {
        let found = found(search(1000.0, None), 0.0);
        assert_eq!(found.good, None);
        assert!(found.bad.unwrap() <= 1.0);
    }

    #[test]
    fn one_bad_try_of_a_good_rate_does_not_decide() {
        let mut tries = 0;
        let result: Result<Found, Infallible> = search(100.0, Some(100.0)).run(|_| {
            tries += 1;
            Ok(tries != 1)
        });
        assert_eq!(result.unwrap().good, Some(100.0));
        assert_eq!(tries, 3);
    }

    #[test]
    fn one_good_try_of_a_bad_rate_does_not_decide_either() {
        let mut tries = 0;
        let result: Result<Found, &str> = search(100.0, Some(100.0)).run(|rate| {
            tries += 1;
            if rate < 100.0 {
                return Err("it went on to the next rate");
            }
            Ok(tries == 2)
        });
        assert_eq!(result.unwrap_err(), "it went on to the next rate");
    }
}
