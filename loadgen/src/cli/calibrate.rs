//! `loadgen calibrate`: finds the generator's own limit, and keeps it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use super::exit::End;
use super::front::failed;
use super::signals;
use crate::config::word;
use crate::engine::run::{Control, RunError};
use crate::limits::calibrate::{Calibration, CalibrationError};
use crate::limits::capacity::{self, Capacity, CapacityError};
use crate::machine::Machine;
use crate::units;

/// Measures, says what it finds on standard output, and keeps it.
pub fn run(calibration: &Calibration) -> End {
    let control = Control::new();
    let to_stop = Arc::clone(&control);
    if let Err(error) = signals::watch(move |signal| to_stop.stop(signal), || {}) {
        return failed(&format!("cannot watch for signals: {error}"));
    }
    say(&format!(
        "Pings to a responder on this machine that does nothing but answer them, {} each.\n",
        units::span(calibration.duration)
    ));
    let found = calibration.find(&control, |rate, is_good| {
        let verdict = if is_good {
            "kept up"
        } else {
            "fell behind, or lost"
        };
        say(&format!("{:>10} pings: {verdict}\n", units::rate(rate)));
    });
    let rate = match found {
        Ok(rate) => rate,
        Err(CalibrationError::Run(RunError::Stopped(signal))) => return End::Signal(signal),
        Err(error) => return failed(&error.to_string()),
    };
    match keep(calibration, rate) {
        Ok(kept) => {
            say(&format!(
                "This machine's generator handles {}: {} pings, and their answers. Kept in {}.\n",
                units::rate(2.0 * rate),
                units::rate(rate),
                kept,
            ));
            End::Good
        }
        Err(error) => failed(&error.to_string()),
    }
}

/// Keeps the limit, and returns where.
fn keep(calibration: &Calibration, rate: f64) -> Result<String, CapacityError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let path = capacity::path()?;
    let capacity = Capacity {
        machine: Machine::here(),
        threads: calibration.threads,
        protocol: word(&calibration.protocol),
        // A ping is sent, and its answer received.
        handled_per_s: 2.0 * rate,
        measured_at_s: now.unwrap_or_default().as_secs(),
    };
    capacity::store(&path, &capacity)?;
    Ok(path.display().to_string())
}

/// Whoever reads no more finds the result where it is kept.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
