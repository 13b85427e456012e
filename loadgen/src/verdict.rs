//! placeholder until merge
use crate::{config::RunConfig, outcome::Outcome};
/// x
#[derive(Debug)]
pub struct Verdict {
    /// x
    pub invalid: Vec<String>,
}
impl Verdict {
    /// x
    pub fn of(_c: &RunConfig, o: &Outcome) -> Self {
        let mut invalid = vec![];
        if o.latencies.send_lag.value_at_quantile(0.99) > 1_000_000 {
            invalid.push("lag".into())
        }
        if (o.counts.sent as f64) < 0.99 * o.counts.due as f64 {
            invalid.push("rate".into())
        }
        if o.counts.own_drops > 0 {
            invalid.push("drops".into())
        }
        Self { invalid }
    }
    /// x
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}
