//! The loop of a worker: receive, send a part of what is due, and sleep when idle.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::net::{
    Datagram, MAX_ENDPOINTS, OwnAddresses, PathNews, PeerAddr, RECEIVE_BATCH, Receiver, Transmit,
    WorkerSockets, in_call, is_call_refusal, receive_drops,
};
use crate::server::clock::Clock;
use crate::server::egress::{CHECK_INTERVAL_MS, Progress};
use crate::server::ops::log::Log;
use crate::server::ops::stats::{DropReason, WorkerInfo};
use crate::server::ops::supervise::{StopSignal, Wake};

/// A service that a worker drives: it handles what the worker receives, and sends.
pub trait Service {
    /// Begins a turn of the worker's loop, at this time.
    fn begin_turn(&mut self, _now: Instant) {}

    /// Handles a datagram. [`Service::poll_transmit`] sends the replies and messages.
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now_ms: u64);

    /// Sends a bounded part of what is due.
    fn poll_transmit(&mut self, transmit: &mut impl Transmit, now_ms: u64) -> Progress;

    /// Sends the last datagrams when the server stops.
    fn stop(&mut self, transmit: &mut impl Transmit);
}

/// One worker: its sockets, and the service that it drives.
pub struct Worker<S> {
    poll: Poll,
    events: Events,
    sockets: WorkerSockets,
    receiver: Receiver,
    service: S,
    clock: Clock,
    spin: Duration,
    info: Arc<WorkerInfo>,
    drops: KernelDrops,
    own_addresses: Arc<OwnAddresses>,
    /// One per socket.
    errors: Vec<ReceiveErrors>,
    log: Log,
}

/// The properties that all workers of a server share.
#[derive(Clone)]
pub struct WorkerShared {
    pub clock: Clock,
    /// The time for which a worker polls its sockets before it sleeps.
    pub spin: Duration,
    /// The addresses of the server's sockets. Datagrams from them are dropped.
    pub own_addresses: Arc<OwnAddresses>,
    pub log: Log,
}

/// The receive calls at one socket that failed since the last one that did not.
#[derive(Clone, Default)]
struct ReceiveErrors {
    in_a_row: u32,
    /// The current row has been logged.
    is_logged: bool,
}

/// The datagrams that the kernel dropped at each socket.
struct KernelDrops {
    /// The counts of the kernel that have been added to the counters.
    counted: Vec<u32>,
    /// True after a full batch, or after a datagram so long that a few fill the socket's
    /// buffer. Only then may the kernel have dropped datagrams.
    may_have_grown: bool,
    checked_ms: u64,
}

impl<S: Service> Worker<S> {
    /// Returns a worker that sleeps in `poll`, where it registers `sockets`.
    ///
    /// # Errors
    /// The sockets cannot be registered.
    pub fn new(
        poll: Poll,
        mut sockets: WorkerSockets,
        service: S,
        shared: &WorkerShared,
        info: Arc<WorkerInfo>,
    ) -> io::Result<Self> {
        for (number, socket) in sockets.sockets_mut().iter_mut().enumerate() {
            poll.registry()
                .register(socket, Token(number), Interest::READABLE)
                .map_err(in_call("epoll_ctl"))?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(MAX_ENDPOINTS + 1),
            drops: KernelDrops::new(sockets.sockets().len()),
            errors: vec![ReceiveErrors::default(); sockets.sockets().len()],
            receiver: sockets.receiver(),
            sockets,
            service,
            clock: shared.clock.clone(),
            spin: shared.spin,
            info,
            own_addresses: Arc::clone(&shared.own_addresses),
            log: shared.log.clone(),
        })
    }

    pub fn info(&self) -> &Arc<WorkerInfo> {
        &self.info
    }

    /// Runs until the stop.
    ///
    /// # Errors
    /// The sockets or the poll are broken.
    pub fn run(mut self, stop: &StopSignal) -> io::Result<()> {
        let mut start = Instant::now();
        while !stop.is_stopping() {
            let now_ms = self.clock.now_ms();
            self.service.begin_turn(start);
            let received = self.receive(now_ms)?;
            self.info.counters.turns.add(1);
            let end = Instant::now();
            let sent = self.send(end + (end - start).min(MAX_SEND_TIME), now_ms);
            let is_idle = received == Progress::Idle && sent != Progress::More;
            if is_idle {
                self.drops.count(&self.sockets, &self.info);
                self.report_news();
            }
            let next_start = Instant::now();
            let busy = next_start - start;
            self.info.counters.busy_ns.add(busy.as_nanos() as u64);
            start = next_start;
            if is_idle {
                self.sleep((sent == Progress::Waiting).then_some(MAX_WAIT))?;
                start = Instant::now();
            }
        }
        self.service.stop(&mut self.sockets);
        Ok(())
    }

    /// Receives a bounded number of datagrams. Returns `Idle` if every socket is empty. The
    /// sockets are registered edge-triggered, so a later datagram raises a new event.
    fn receive(&mut self, now_ms: u64) -> io::Result<Progress> {
        if now_ms > self.drops.checked_ms + DROPS_INTERVAL_MS {
            self.drops.checked_ms = now_ms;
            self.drops.count(&self.sockets, &self.info);
            self.report_news();
        }
        let mut progress = Progress::Idle;
        for number in 0..self.sockets.sockets().len() {
            if self.receive_from(number, now_ms)? == Progress::More {
                progress = Progress::More;
            }
        }
        Ok(progress)
    }

    /// Sends one part of what is due, and more until the deadline, which leaves as much time as
    /// receiving took. A part may be much shorter than that. With one part per round, peers that
    /// always send would keep the worker from sending.
    fn send(&mut self, deadline: Instant, now_ms: u64) -> Progress {
        loop {
            let progress = self.service.poll_transmit(&mut self.sockets, now_ms);
            if progress != Progress::More || Instant::now() >= deadline {
                return progress;
            }
        }
    }

    /// Logs and counts the peers whose packets do not leave, and logs that nothing is segmented.
    fn report_news(&mut self) {
        let PathNews {
            suspects,
            gso_stops,
        } = self.sockets.take_news();
        if suspects > 0 {
            self.info.counters.peers_set_apart.add(suspects);
            self.log.warn(format!(
                "{}: packets to {suspects} peers do not leave this machine (a neighbor that does \
                 not answer, or a slow interface): these peers are sent to apart from the others",
                self.info.name
            ));
        }
        if gso_stops > 0 {
            self.log.warn(format!(
                "{}: this machine segments no packets: for a minute, datagrams are sent one by one",
                self.info.name
            ));
        }
    }

    /// Counts a failed receive call at one socket, and waits if it is one of many. The next call
    /// may succeed.
    fn count_error(&mut self, number: usize, error: &io::Error) {
        self.info.counters.receive_errors.add(1);
        let errors = &mut self.errors[number];
        errors.in_a_row += 1;
        if errors.in_a_row < MANY_ERRORS {
            return;
        }
        let doublings = (errors.in_a_row - MANY_ERRORS).min(6);
        if !std::mem::replace(&mut errors.is_logged, true) {
            self.log.warn(format!(
                "{}: recvmmsg fails again and again, recvmsg is tried: {error}",
                self.info.name
            ));
            self.receiver.receive_one_by_one();
        }
        std::thread::sleep(MIN_BACKOFF * (1 << doublings));
    }

    fn receive_from(&mut self, number: usize, now_ms: u64) -> io::Result<Progress> {
        let deadline = Instant::now() + MAX_RECEIVE_TIME;
        for _ in 0..MAX_RECEIVES {
            let socket = &self.sockets.sockets()[number];
            let received = match self.receiver.receive(socket, number as u8) {
                Ok(received) => received,
                Err(error) if is_fatal(&error) => return Err(in_call("recvmsg")(error)),
                Err(error) => {
                    // A network error that an earlier send caused (ICMP). It is cleared now.
                    self.count_error(number, &error);
                    if Instant::now() > deadline {
                        break;
                    }
                    continue;
                }
            };
            self.errors[number] = ReceiveErrors::default();
            let counters = &self.info.counters;
            counters.datagrams_in.add(received as u64);
            for datagram in self.receiver.datagrams() {
                if datagram.is_truncated {
                    counters.truncated.add(1);
                    self.drops.may_have_grown = true;
                }
                match refuse(&datagram.from, &self.own_addresses) {
                    Some(reason) => counters.drop_datagram(reason),
                    None => self.service.handle_datagram(datagram, now_ms),
                }
            }
            if received < RECEIVE_BATCH {
                return Ok(Progress::Idle);
            }
            self.drops.may_have_grown = true;
            if Instant::now() > deadline {
                break;
            }
        }
        Ok(Progress::More)
    }

    /// Sleeps until there is something to receive, until it is woken, or for `timeout`.
    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.spin.is_zero() {
            let deadline = Instant::now() + self.spin;
            while Instant::now() < deadline {
                self.poll_events(Some(Duration::ZERO))?;
                if !self.events.is_empty() {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
        self.poll_events(timeout)
    }

    fn poll_events(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result.map_err(in_call("epoll_wait")),
        }
    }
}

impl KernelDrops {
    fn new(sockets: usize) -> Self {
        Self {
            counted: vec![0; sockets],
            may_have_grown: false,
            checked_ms: 0,
        }
    }

    /// Asks the kernel for the drops of each socket, if there may be new ones.
    fn count(&mut self, sockets: &WorkerSockets, info: &WorkerInfo) {
        if !std::mem::take(&mut self.may_have_grown) {
            return;
        }
        for (socket, counted) in sockets.sockets().iter().zip(&mut self.counted) {
            if let Ok(drops) = receive_drops(socket) {
                let new = drops.wrapping_sub(*counted);
                info.counters.kernel_drops.add(new.into());
                *counted = drops;
            }
        }
    }
}

/// Returns a poll for a worker to sleep in, and the function that wakes it.
///
/// # Errors
/// The system has no more file descriptors.
pub fn poll_and_wake() -> io::Result<(Poll, Wake)> {
    let poll = Poll::new().map_err(in_call("epoll_create1"))?;
    let waker = Waker::new(poll.registry(), WAKER).map_err(in_call("eventfd or epoll_ctl"))?;
    // Waking fails only when the poll has been dropped. Then nobody sleeps in it.
    Ok((poll, Arc::new(move || drop(waker.wake()))))
}

/// Returns the reason to drop all datagrams from this source, if there is one.
fn refuse(from: &PeerAddr, own_addresses: &OwnAddresses) -> Option<DropReason> {
    if from.port() == 0 {
        Some(DropReason::PortZero)
    } else if own_addresses.contains(from) {
        Some(DropReason::OwnAddress)
    } else {
        None
    }
}

/// Returns true for errors of the program itself, and of a system that does not permit the
/// call. They would occur in every call.
fn is_fatal(error: &io::Error) -> bool {
    let is_own = |error| {
        matches!(
            error,
            libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL
        )
    };
    let error = error.raw_os_error();
    error.is_some_and(|error| is_own(error) || is_call_refusal(error))
}

/// Maximum number of batches received from one socket before the worker sends. These 1024
/// datagrams take about 2 ms.
const MAX_RECEIVES: usize = 16;

/// Maximum time, plus one batch, for which a worker receives from one socket before it
/// sends. It is as long as a slice. A datagram full of the shortest frames takes 50 times as
/// long as another one, and a call that fails again and again may wait.
const MAX_RECEIVE_TIME: Duration = Duration::from_millis(5);

/// Maximum time, plus one part of what is due, for which a worker sends before it receives.
const MAX_SEND_TIME: Duration = MAX_RECEIVE_TIME;

/// Maximum sleep of a worker that waits for others.
const MAX_WAIT: Duration = Duration::from_millis(CHECK_INTERVAL_MS);

/// Time between two checks for kernel drops by a worker that never sleeps.
const DROPS_INTERVAL_MS: u64 = 100;

/// Errors in a row after which a worker waits before the next call. A network error is cleared
/// by the call that reports it, so these are of another kind, such as a lack of memory.
const MANY_ERRORS: u32 = 16;

/// The first wait. The longest is 64 times as long.
const MIN_BACKOFF: Duration = Duration::from_millis(1);

const WAKER: Token = Token(usize::MAX);

#[cfg(test)]
mod tests;
