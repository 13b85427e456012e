//! SIGINT and SIGTERM stop the server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::supervise::CLONE;
use crate::net::in_call;

/// A thread that waits for SIGINT or SIGTERM, and then ends the process with exit code 0
/// within a second.
pub struct SignalWatch {
    stop: Arc<OnceLock<Stop>>,
}

type Stop = Box<dyn Fn() + Send + Sync>;

impl SignalWatch {
    /// Starts the thread. Until [`SignalWatch::set_stop`] a signal ends the process at
    /// once.
    ///
    /// # Errors
    /// The system cannot register the signals, or start a thread.
    pub fn start() -> io::Result<Self> {
        let watch = Self {
            stop: Arc::default(),
        };
        let stop = Arc::clone(&watch.stop);
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let wait = move || {
            if signals.forever().next().is_some() {
                if let Some(stop) = stop.get() {
                    stop();
                    thread::sleep(STOP_LIMIT);
                }
                // The server hangs, or does not run yet.
                process::exit(0);
            }
        };
        let thread = thread::Builder::new().name("signals".into());
        thread.spawn(wait).map_err(in_call(CLONE))?;
        Ok(watch)
    }

    /// Sets the function that stops the server. Only the first call has an effect.
    pub fn set_stop(&self, stop: impl Fn() + Send + Sync + 'static) {
        let _ = self.stop.set(Box::new(stop));
    }
}

/// Maximum time for a stop. A server stops within a second.
pub const STOP_LIMIT: Duration = Duration::from_millis(900);
