//! Signals: SIGINT and SIGTERM stop the server, SIGHUP and SIGUSR1 request something of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, process, thread};

use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::supervise::CLONE;
use crate::net::in_call;

/// A thread that waits for signals. SIGINT and SIGTERM end the process with exit code 0 within a
/// second.
pub struct SignalWatch {
    stop: Arc<OnceLock<Stop>>,
    requests: Receiver<SignalRequest>,
}

/// A signal that requests something of a server that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: write the statistics to the log.
    Report,
}

type Stop = Box<dyn Fn() + Send + Sync>;

impl SignalWatch {
    /// Starts the thread. Until [`SignalWatch::set_stop`], SIGINT and SIGTERM end the process at
    /// once.
    ///
    /// # Errors
    /// The system cannot register the signals, or start a thread.
    pub fn start() -> io::Result<Self> {
        let (request, requests) = bounded(MAX_REQUESTS);
        let watch = Self {
            stop: Arc::default(),
            requests,
        };
        let stop = Arc::clone(&watch.stop);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?;
        let wait = move || {
            for signal in signals.forever() {
                let requested = match signal {
                    SIGHUP => SignalRequest::Reload,
                    SIGUSR1 => SignalRequest::Report,
                    _ => break,
                };
                // With a full queue, the same has been requested and is not done yet.
                let _ = request.try_send(requested);
            }
            if let Some(stop) = stop.get() {
                stop();
                thread::sleep(STOP_LIMIT);
            }
            // The server hangs, or does not run yet.
            process::exit(0);
        };
        let thread = thread::Builder::new().name("signals".into());
        thread.spawn(wait).map_err(in_call(CLONE))?;
        Ok(watch)
    }

    /// Sets the function that stops the server. Only the first call has an effect.
    pub fn set_stop(&self, stop: impl Fn() + Send + Sync + 'static) {
        let _ = self.stop.set(Box::new(stop));
    }

    /// The requests that have come, and will come. Another thread takes them, as each may wait for a
    /// disk, and the stop may not.
    pub fn requests(&self) -> Receiver<SignalRequest> {
        self.requests.clone()
    }
}

/// Maximum time for a stop. A server stops within a second.
pub const STOP_LIMIT: Duration = Duration::from_millis(900);

/// Number of requests that may wait, some of each kind.
const MAX_REQUESTS: usize = 8;
