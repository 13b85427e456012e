//! Ctrl-C: every loop looks here, so that what was started is stopped on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::harness::Error;

/// From now on SIGINT and SIGTERM make [`check`] fail.
pub(crate) fn watch() -> Result<(), Error> {
    let flag = STOPPING.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// An error once somebody wants an end.
pub(crate) fn check() -> Result<(), Error> {
    if is_wanted() {
        return Err("interrupted".into());
    }
    Ok(())
}

pub(crate) fn is_wanted() -> bool {
    let flag = STOPPING.get();
    flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
}

static STOPPING: OnceLock<Arc<AtomicBool>> = OnceLock::new();
