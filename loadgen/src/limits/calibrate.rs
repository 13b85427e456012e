//! The generator's own limit: the highest rate of pings that it keeps up with, and whose
//! answers it takes without loss, against a responder that does nothing else.
//!
//! To keep up is less than to be valid: a machine that stands still for 20 ms makes one
//! second of a run invalid at any rate, and says nothing of how much it can do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Arrival, Mix, Payload, Protocol, Rate, RunConfig, Scenario, Sockets};
use crate::engine::run::{Control, RunError, run};
use crate::limits::null::{NullError, NullResponder};
use crate::limits::search::Search;
use crate::outcome::Outcome;

/// The settings of a calibration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    /// Threads that send and receive.
    pub threads: u16,
    /// The processors that these are pinned to.
    pub cores: Vec<usize>,
    /// The version of the protocol.
    pub protocol: Protocol,
    /// The processor of the responder; none: the system's choice.
    pub responder_core: Option<usize>,
    /// The length of a try.
    pub duration: Duration,
}

/// The reason why it was not found.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error(transparent)]
    Responder(#[from] NullError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(
        "this machine does not keep up with {0} datagrams a second: is it busy with something else?"
    )]
    TooSlow(f64),
}

impl Calibration {
    /// Returns the highest rate of pings, a second. `tried` is told of every try: the
    /// rate, and whether it was good.
    pub fn find(
        &self,
        control: &Arc<Control>,
        mut tried: impl FnMut(f64, bool),
    ) -> Result<f64, CalibrationError> {
        let responder = NullResponder::start(self.responder_core)?;
        let search = Search {
            from: FIRST_RATE,
            lowest: None,
            highest: None,
            precision: PRECISION,
        };
        let found = search.run(|rate| -> Result<bool, CalibrationError> {
            let config = self.config(responder.local_addr(), rate);
            let outcome = run(&config, control, |_| {})?;
            if let Some(signal) = control.signal() {
                return Err(RunError::Stopped(signal).into());
            }
            let is_good = keeps_up(&outcome);
            tried(rate, is_good);
            Ok(is_good)
        })?;
        found
            .good
            .ok_or(CalibrationError::TooSlow(found.bad.unwrap_or(FIRST_RATE)))
    }

    /// A run of pings to `target`.
    pub fn config(&self, target: SocketAddr, rate: f64) -> RunConfig {
        RunConfig {
            target,
            clients: CLIENTS,
            rate: Rate::constant(rate),
            arrival: Arrival::Uniform,
            scenario: Scenario::Ping,
            mix: Mix {
                ping: 1.0,
                text: 0.0,
                heartbeat: 0.0,
            },
            room_size: 1,
            payload: Payload::fixed(48),
            protocol: self.protocol,
            churn_per_s: 0.0,
            warmup: WARMUP,
            duration: self.duration,
            drain: DRAIN,
            seed: 1,
            heartbeat: Duration::from_secs(4),
            sockets: Sockets::Shared,
            gro: true,
            threads: self.threads,
            cores: self.cores.clone(),
            spin: false,
            server_pid: None,
        }
    }
}

fn keeps_up(outcome: &Outcome) -> bool {
    let counts = outcome.counts;
    let is_lossless = counts.unanswered as f64 <= counts.asked as f64 * MAX_LOSS;
    let is_sent = counts.sent as f64 >= counts.due as f64 * MIN_SENT;
    let lag_ns = outcome.latencies.send_lag.value_at_quantile(LAG_QUANTILE);
    is_lossless && is_sent && lag_ns <= MAX_LAG_NS
}

/// A rate that any machine reaches.
const FIRST_RATE: f64 = 20_000.0;

/// Finer than one run repeats another.
const PRECISION: f64 = 1.05;

/// The loss that the default run allows.
const MAX_LOSS: f64 = 0.001;

/// The share that a valid run must send.
const MIN_SENT: f64 = 0.99;

/// The lag of a valid run, but of nine datagrams in ten: who cannot keep up is late with
/// more and more of them.
const MAX_LAG_NS: u64 = 1_000_000;
const LAG_QUANTILE: f64 = 0.9;

/// The clients of a full chat, each with an address of its own.
const CLIENTS: u32 = 10_000;

/// Until caches and queues are as they stay.
const WARMUP: Duration = Duration::from_millis(200);

/// Far longer than what is under way on loopback takes.
const DRAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Returns true if a run keeps up that is good but for `change`.
    fn keeps_up_but_for(change: impl FnOnce(&mut Outcome)) -> bool {
        let mut outcome = testing::outcome();
        let counts = &mut outcome.counts;
        (counts.due, counts.sent, counts.asked) = (10_000, 9_900, 9_900);
        counts.unanswered = 9;
        outcome.latencies.send_lag = lags(999);
        change(&mut outcome);
        keeps_up(&outcome)
    }

    /// So many of a thousand are less than 1 ms late.
    fn lags(few: u64) -> hdrhistogram::Histogram<u64> {
        let mut lags = testing::recorded(&[]);
        lags.record_n(990_000, few).unwrap();
        lags.record_n(2_000_000, 1_000 - few).unwrap();
        lags
    }

    #[test]
    fn who_sends_nearly_all_in_time_and_hears_nearly_all_keeps_up() {
        assert!(keeps_up_but_for(|_| {}));
        assert!(keeps_up_but_for(|it| it.latencies.send_lag = lags(900)));
        assert!(!keeps_up_but_for(|it| it.latencies.send_lag = lags(899)));
        assert!(!keeps_up_but_for(|it| it.counts.sent = 9_899));
        assert!(!keeps_up_but_for(|it| it.counts.unanswered = 10));
    }
}
