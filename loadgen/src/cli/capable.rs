//! The calibrated capacity of the generator, for one load.

use crate::config::{RunConfig, word};
use crate::limits::capacity::{self, Capacity, CapacityError};
use crate::limits::machine::Machine;

/// Returns the calibrated capacity for the threads and the protocol of `config`, if there is one.
pub(super) fn look_up(config: &RunConfig) -> Result<Option<Capacity>, CapacityError> {
    let path = capacity::path()?;
    capacity::find(&path, &Machine::here(), config.threads, config.protocol)
}

/// Returns the capacity that was looked up for `config`, or a note that none is known.
pub(super) fn known(
    found: Result<Option<Capacity>, CapacityError>,
    config: &RunConfig,
) -> Result<Capacity, String> {
    match found {
        Ok(Some(capacity)) => Ok(capacity),
        Ok(None) => Err(format!(
            "not calibrated (--threads {}, --protocol {}): see `loadgen calibrate`",
            config.threads,
            word(&config.protocol)
        )),
        Err(error) => Err(format!("what it is capable of is not known: {error}")),
    }
}

/// The note on a load that is offered with `--force`.
pub(super) const FORCED: &str = "forced to offer more than it was calibrated to";
