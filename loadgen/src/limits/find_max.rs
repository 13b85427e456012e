//! Searches for the highest rate at which objectives are met, and keeps what every rate
//! on the way brought to light: the curve of latency over load.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Rate, RunConfig};
use crate::engine::run::{Control, RunError, run};
use crate::limits::search::{Found, Search};
use crate::outcome::Outcome;
pub use crate::percentiles::Quantiles;
use crate::slo::Slo;
use crate::units;
use crate::verdict::{self, SloResult, Verdict};

/// The settings of a search.
#[derive(Debug, Clone)]
pub struct FindMax {
    /// The settings of each try but for its rate.
    pub config: RunConfig,
    pub slo: Slo,
    pub search: Search,
    /// The reason for the highest rate of the search.
    pub ceiling: Ceiling,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// Datagrams per second that were due.
    pub rate_per_s: f64,
    /// Datagrams per second that were sent.
    pub sent_per_s: f64,
    /// Deliveries per second.
    pub deliveries_per_s: f64,
    /// Answers per second.
    pub answers_per_s: f64,
    /// The share of expected copies and requested answers that did not arrive.
    pub missing_ratio: f64,
    /// The latencies of deliveries, if there were any.
    pub delivery: Option<Quantiles>,
    /// The latencies of answers, if there were any.
    pub answer: Option<Quantiles>,
    /// Set if the objectives were met and the try is valid.
    pub is_good: bool,
    /// The faults of the server that no objective allows: it was silent, or much was stray.
    pub faults: Vec<String>,
    /// The reasons why the generator fell short. Then it is not the server's limit.
    pub invalid: Vec<String>,
    /// The objectives that were missed, and what was measured.
    pub missed: Vec<SloResult>,
}

/// The reason for the highest rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceiling {
    /// The user asked for no more.
    Asked,
    /// The generator was calibrated to no more.
    Calibrated,
    /// No rate is higher.
    Any,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundMax {
    /// The highest good rate in datagrams per second, if a rate was good.
    pub rate_per_s: Option<f64>,
    /// The lowest bad rate above it, if a rate was bad.
    pub bad_rate_per_s: Option<f64>,
    /// Set if it was the generator that fell short at the bad rate.
    pub is_generators_limit: bool,
    /// The same as a sentence.
    pub sentence: String,
    /// All tries, in their order.
    #[serde(skip)]
    pub tries: Vec<Try>,
}

impl FindMax {
    /// Searches. `tried` is told of every try.
    pub fn find(
        &self,
        control: &Arc<Control>,
        mut tried: impl FnMut(&Try),
    ) -> Result<FoundMax, RunError> {
        let mut tries = Vec::new();
        let Found { good, bad } = self.search.run(|rate| -> Result<bool, RunError> {
            // A try that the generator spoiled says nothing of the server: another one.
            for _ in 0..SPOILED_TRIES {
                let result = self.try_once(rate, control)?;
                tried(&result);
                let is_spoiled = !result.invalid.is_empty();
                tries.push(result);
                if !is_spoiled {
                    break;
                }
            }
            Ok(tries.last().is_some_and(|last| last.is_good))
        })?;
        let found = FoundMax {
            rate_per_s: good,
            bad_rate_per_s: bad,
            is_generators_limit: is_generators_limit(&tries, bad),
            sentence: String::new(),
            tries,
        };
        Ok(FoundMax {
            sentence: found.answer(self.ceiling),
            ..found
        })
    }

    fn try_once(&self, rate: f64, control: &Arc<Control>) -> Result<Try, RunError> {
        let config = RunConfig {
            rate: Rate::constant(rate),
            ..self.config.clone()
        };
        let outcome = run(&config, control, |_| {})?;
        match control.signal() {
            // What is left of it says nothing of this rate, and there will be no other try.
            _ if outcome.server_said_goodbye => Err(RunError::Goodbye),
            Some(signal) => Err(RunError::Stopped(signal)),
            None if outcome.is_server_gone() => Err(RunError::ServerFailed(
                verdict::faults(&config, &outcome).join(" "),
            )),
            None => match outcome.limited {
                // What else is wrong follows from it.
                Some(limited) => Err(RunError::Limited(limited)),
                None => Ok(Try::of(rate, &config, &outcome, &self.slo)),
            },
        }
    }
}

/// Returns true if at the lowest bad rate the generator spoiled every try that was not good.
fn is_generators_limit(tries: &[Try], bad: Option<f64>) -> bool {
    let mut limits = tries
        .iter()
        .filter(|one| Some(one.rate_per_s) == bad && !one.is_good);
    limits.clone().count() > 0 && limits.all(|one| !one.invalid.is_empty())
}

impl FoundMax {
    /// Returns what the generator failed at where it was the limit.
    pub fn generators_reason(&self) -> Option<&str> {
        let at_limit = |one: &&Try| Some(one.rate_per_s) == self.bad_rate_per_s;
        let mut limits = self.tries.iter().filter(at_limit);
        let reason = limits.find_map(|one| one.invalid.first());
        reason
            .filter(|_| self.is_generators_limit)
            .map(String::as_str)
    }

    /// Returns the answer as a sentence.
    pub fn answer(&self, ceiling: Ceiling) -> String {
        let bad = self.bad_rate_per_s.map(units::rate);
        match (self.rate_per_s.map(units::rate), bad) {
            (Some(good), Some(bad)) if self.is_generators_limit => format!(
                "The highest good rate is {good}. The lowest bad one is {bad}, where the \
                 generator itself fell short: the server may be capable of more."
            ),
            (Some(good), Some(bad)) => format!(
                "The highest good rate is {good}. The lowest bad one is {bad}, where \
                 objectives were missed."
            ),
            (Some(good), None) => format!("Every rate up to {good} is good{}.", ceiling.why()),
            (None, Some(bad)) if self.is_generators_limit => format!(
                "No rate is good: the generator itself fell short even at {bad}, the lowest \
                 that was tried."
            ),
            (None, Some(bad)) => format!(
                "No rate is good: objectives were missed even at {bad}, the lowest that was \
                 tried."
            ),
            (None, None) => "No rate was tried.".to_owned(),
        }
    }
}

impl Ceiling {
    fn why(self) -> &'static str {
        match self {
            Self::Asked => ", and --to allowed no more",
            Self::Calibrated => {
                ", and the generator was calibrated to no more: --force goes further"
            }
            Self::Any => ", and no higher one can be asked for",
        }
    }
}

impl Try {
    /// Returns the greater latency of both kinds, quantile by quantile, if something arrived.
    pub fn slowest(&self) -> Option<Quantiles> {
        let (Some(one), Some(other)) = (self.delivery, self.answer) else {
            return self.delivery.or(self.answer);
        };
        Some(one.max(other))
    }

    fn of(rate: f64, config: &RunConfig, outcome: &Outcome, slo: &Slo) -> Self {
        let counts = &outcome.counts;
        let per_s = |count: u64| units::per_s(count, outcome.recorded);
        let wanted = counts.expected + counts.asked;
        let mut missed = slo.check(outcome);
        let faults = verdict::faults(config, outcome);
        let invalid = Verdict::of_generator(config, outcome, &missed).invalid;
        missed.retain(|result| !result.is_met);
        Self {
            rate_per_s: rate,
            sent_per_s: per_s(counts.sent),
            deliveries_per_s: per_s(counts.delivered),
            answers_per_s: per_s(counts.answered),
            missing_ratio: (counts.lost + counts.unanswered) as f64 / wanted.max(1) as f64,
            delivery: Quantiles::of(&outcome.latencies.delivery),
            answer: Quantiles::of(&outcome.latencies.answer),
            is_good: missed.is_empty() && invalid.is_empty() && faults.is_empty(),
            faults,
            invalid,
            missed,
        }
    }
}

/// A machine on which three tries in a row are spoiled is too busy, or too slow.
const SPOILED_TRIES: u32 = 3;

#[cfg(test)]
#[path = "find_max_tests.rs"]
mod tests;
