//! The loop that every worker runs: receive what is there, send a part of what
//! is due, and sleep only when there is neither.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::net::{
    Datagram, MAX_ENDPOINTS, PeerAddr, RECEIVE_BATCH, Receiver, Transmit, WorkerSockets,
    receive_drops,
};
use crate::server::clock::Clock;
use crate::server::ops::stats::{DropReason, WorkerInfo};
use crate::server::ops::supervise::StopSignal;

/// What a worker does with datagrams.
pub trait Service {
    /// Takes in one datagram; what it causes is sent later, in
    /// [`Service::send_some`].
    fn take(&mut self, datagram: Datagram<'_>, now_ms: u64);

    /// Sends a bounded part of what is due. True: there is more.
    fn send_some(&mut self, outlet: &mut impl Transmit) -> bool;

    /// Sends the last that is to be sent, when the server stops.
    fn stop(&mut self, outlet: &mut impl Transmit);
}

/// One worker: its sockets, its buffers, and its service.
pub struct Worker<S> {
    poll: Poll,
    events: Events,
    outbox: WorkerSockets,
    receiver: Receiver,
    service: S,
    clock: Clock,
    spin: Duration,
    info: Arc<WorkerInfo>,
    /// For each socket how many drops of the kernel are counted already.
    known_drops: Vec<u32>,
    /// Whether such a lot came since they were looked at, full batches or
    /// datagrams longer than any of use, that there may be more.
    may_have_dropped: bool,
    looked_for_drops_ms: u64,
    /// The server's own addresses: who claims to come from one is dropped.
    own_addresses: Arc<[PeerAddr]>,
}

impl<S: Service> Worker<S> {
    /// A worker over `outbox`'s sockets, which are registered with `poll`.
    ///
    /// # Errors
    /// When the sockets cannot be registered.
    pub fn new(
        poll: Poll,
        mut outbox: WorkerSockets,
        service: S,
        shared: &WorkerShared,
        info: Arc<WorkerInfo>,
    ) -> io::Result<Self> {
        for (endpoint, socket) in outbox.sockets_mut().iter_mut().enumerate() {
            poll.registry()
                .register(socket, Token(endpoint), Interest::READABLE)?;
        }
        let known_drops = vec![0; outbox.sockets().len()];
        Ok(Self {
            poll,
            events: Events::with_capacity(MAX_ENDPOINTS + 1),
            outbox,
            receiver: Receiver::new(),
            service,
            known_drops,
            may_have_dropped: false,
            looked_for_drops_ms: 0,
            clock: shared.clock.clone(),
            spin: shared.spin,
            info,
            own_addresses: Arc::clone(&shared.own_addresses),
        })
    }

    /// Its name, core and counters.
    pub fn info(&self) -> &Arc<WorkerInfo> {
        &self.info
    }

    /// Runs until the stop.
    ///
    /// # Errors
    /// When the worker cannot go on: its sockets or its poll are broken.
    pub fn run(mut self, stop: &StopSignal) -> io::Result<()> {
        while !stop.is_stopping() {
            let emptied = self.receive()?;
            let more_to_send = self.service.send_some(&mut self.outbox);
            if emptied && !more_to_send {
                self.count_kernel_drops();
                self.sleep()?;
            }
        }
        self.service.stop(&mut self.outbox);
        Ok(())
    }

    /// Takes in what the sockets hold, bounded, so that sending has its turn.
    /// True: every socket was found empty. What comes after that raises a new
    /// event, as the sockets are registered edge-triggered.
    fn receive(&mut self) -> io::Result<bool> {
        let now_ms = self.clock.now_ms();
        if now_ms > self.looked_for_drops_ms + DROPS_INTERVAL_MS {
            self.looked_for_drops_ms = now_ms;
            self.count_kernel_drops();
        }
        let mut emptied = true;
        for endpoint in 0..self.outbox.sockets().len() {
            emptied &= self.receive_from(endpoint, now_ms)?;
        }
        Ok(emptied)
    }

    fn receive_from(&mut self, endpoint: usize, now_ms: u64) -> io::Result<bool> {
        let socket = &self.outbox.sockets()[endpoint];
        let until = Instant::now() + MAX_RECEIVE_TIME;
        for _ in 0..MAX_RECEIVES {
            let received = match self.receiver.receive(socket, endpoint as u8) {
                Ok(received) => received,
                Err(error) if is_fatal(&error) => return Err(error),
                Err(_) => {
                    // An error of the network that some send brought about
                    // (ICMP): reading it has cleared it.
                    self.info.counters.receive_errors.add(1);
                    continue;
                }
            };
            self.info.counters.datagrams_in.add(received as u64);
            for datagram in self.receiver.datagrams() {
                if datagram.is_truncated {
                    self.info.counters.truncated.add(1);
                    // A few of these fill a socket's buffer.
                    self.may_have_dropped = true;
                }
                match self.refusal(&datagram.from) {
                    Some(reason) => self.info.counters.drop_datagram(reason),
                    None => self.service.take(datagram, now_ms),
                }
            }
            if received < RECEIVE_BATCH {
                return Ok(true);
            }
            self.may_have_dropped = true;
            if Instant::now() > until {
                break;
            }
        }
        Ok(false)
    }

    /// Asks each socket what the kernel dropped, if it may have since.
    fn count_kernel_drops(&mut self) {
        if !std::mem::take(&mut self.may_have_dropped) {
            return;
        }
        for (socket, known) in self.outbox.sockets().iter().zip(&mut self.known_drops) {
            if let Ok(drops) = receive_drops(socket) {
                let new = drops.wrapping_sub(*known);
                self.info.counters.kernel_drops.add(new.into());
                *known = drops;
            }
        }
    }

    /// Why nothing from this sender may be taken in, if so.
    fn refusal(&self, from: &PeerAddr) -> Option<DropReason> {
        if from.port() == 0 {
            Some(DropReason::PortZero)
        } else if self.own_addresses.iter().any(|own| own.same_socket(from)) {
            Some(DropReason::OwnAddress)
        } else {
            None
        }
    }

    /// Returns when there is something to receive, or the stop was asked for.
    fn sleep(&mut self) -> io::Result<()> {
        if !self.spin.is_zero() {
            let spin_until = Instant::now() + self.spin;
            while Instant::now() < spin_until {
                self.poll_events(Some(Duration::ZERO))?;
                if !self.events.is_empty() {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
        self.poll_events(None)
    }

    fn poll_events(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}

/// What all workers of a server have in common.
#[derive(Debug, Clone)]
pub struct WorkerShared {
    /// Where they read the time.
    pub clock: Clock,
    /// How long they look for datagrams before they sleep.
    pub spin: Duration,
    /// The addresses of the server's sockets.
    pub own_addresses: Arc<[PeerAddr]>,
}

/// What a worker sleeps on, and what wakes it at the stop.
///
/// # Errors
/// When the system has no more file descriptors.
pub fn poll_and_waker() -> io::Result<(Poll, Waker)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok((poll, waker))
}

/// Errors that say that the program, not the network, is at fault: they would
/// come again and again.
fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL)
    )
}

/// Receive batches of one socket before sending has its turn: 1024 datagrams,
/// about 2 ms of work.
const MAX_RECEIVES: usize = 16;

/// Datagrams full of the shortest frames are 50 times the work. Sending has its turn
/// after as long as a slice of it takes, and a batch.
const MAX_RECEIVE_TIME: Duration = Duration::from_millis(5);

/// How often a worker that never sleeps asks for the kernel's drops.
const DROPS_INTERVAL_MS: u64 = 100;

const WAKER: Token = Token(usize::MAX);

#[cfg(test)]
mod tests;
