//! Signals: SIGINT and SIGTERM stop the server, SIGHUP and SIGUSR1 request something of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, process, thread};

use crossbeam::channel::{Receiver, Sender, bounded, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::supervise::CLONE;
use crate::net::in_call;

/// SIGHUP and SIGUSR1, which would end the process, from now on until they are handled.
pub struct HeldSignals(Signals);

/// A thread that waits for signals. SIGINT and SIGTERM end the process with exit code 0 within a
/// second.
pub struct SignalWatch {
    stop: Arc<OnceLock<Stop>>,
    requests: SignalRequests,
}

/// A signal that requests something of a server that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: write the statistics to the log.
    Report,
}

/// The requests that have come, and will come. At most one of each kind waits.
#[derive(Clone)]
pub struct SignalRequests {
    reload: Receiver<()>,
    report: Receiver<()>,
}

/// The sending half of [`SignalRequests`].
struct RequestSender {
    reload: Sender<()>,
    report: Sender<()>,
}

type Stop = Box<dyn Fn() + Send + Sync>;

impl HeldSignals {
    /// Holds the signals back. This starts no thread.
    ///
    /// # Errors
    /// The system cannot register the signals.
    pub fn hold() -> io::Result<Self> {
        Signals::new([SIGHUP, SIGUSR1]).map(Self)
    }
}

impl SignalWatch {
    /// Starts the thread, which handles signals that are held first. Until [`SignalWatch::set_stop`], SIGINT and SIGTERM end the process at
    /// once.
    ///
    /// # Errors
    /// The system cannot register the signals, or start a thread.
    pub fn start(held: HeldSignals) -> io::Result<Self> {
        let (sender, requests) = requests();
        let watch = Self {
            stop: Arc::default(),
            requests,
        };
        let stop = Arc::clone(&watch.stop);
        let HeldSignals(mut signals) = held;
        signals.add_signal(SIGINT)?;
        signals.add_signal(SIGTERM)?;
        let wait = move || {
            for signal in signals.forever() {
                let requested = match signal {
                    SIGHUP => SignalRequest::Reload,
                    SIGUSR1 => SignalRequest::Report,
                    _ => break,
                };
                sender.request(requested);
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

    /// The requests. Another thread takes them, as each may wait for a disk, and the stop may not.
    pub fn requests(&self) -> SignalRequests {
        self.requests.clone()
    }
}

impl RequestSender {
    fn request(&self, request: SignalRequest) {
        let queue = match request {
            SignalRequest::Reload => &self.reload,
            SignalRequest::Report => &self.report,
        };
        // If it is full, the same has been requested and has not begun.
        let _ = queue.try_send(());
    }
}

impl Iterator for SignalRequests {
    type Item = SignalRequest;

    /// Waits for the next request. Returns `None` when the signals are no longer watched.
    fn next(&mut self) -> Option<SignalRequest> {
        let (request, received) = select! {
            recv(self.reload) -> received => (SignalRequest::Reload, received),
            recv(self.report) -> received => (SignalRequest::Report, received),
        };
        received.ok().map(|()| request)
    }
}

fn requests() -> (RequestSender, SignalRequests) {
    let ((reload, reload_queue), (report, report_queue)) = (bounded(1), bounded(1));
    let sender = RequestSender { reload, report };
    let requests = SignalRequests {
        reload: reload_queue,
        report: report_queue,
    };
    (sender, requests)
}

/// Maximum time for a stop. A server stops within a second.
pub const STOP_LIMIT: Duration = Duration::from_millis(900);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_requests_of_one_kind_takes_the_place_of_the_other() {
        let (sender, mut requests) = requests();
        for _ in 0..20 {
            sender.request(SignalRequest::Report);
        }
        sender.request(SignalRequest::Reload);
        let mut taken = [(); 2].map(|()| requests.next().unwrap());
        taken.sort_by_key(|request| *request == SignalRequest::Report);
        assert_eq!(taken, [SignalRequest::Reload, SignalRequest::Report]);
        // One that comes while another is carried out is not lost.
        sender.request(SignalRequest::Reload);
        assert_eq!(requests.next(), Some(SignalRequest::Reload));
        drop(sender);
        assert_eq!(requests.next(), None);
    }
}
