//! The thread of a session: it waits on the socket, and does what is due.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use mio::{Events, Poll, Token};

use super::link::{Link, Received, SendError};
use super::liveness::DownReason;
use super::session::{Event, Shared, State};
use super::v1;

pub(super) struct Engine {
    shared: Arc<Shared>,
    poll: Poll,
    events: Sender<Event>,
    route: Route,
    /// What the application believes, which lags behind when its channel is
    /// full.
    told_down: bool,
    /// Texts that were dropped since the last [`Event::Missed`].
    missed: u64,
    buffer: Box<[u8]>,
}

/// The addresses of the server, and which of them is in use.
struct Route {
    addresses: Vec<SocketAddr>,
    at: usize,
    /// How many of them were not tried yet.
    untried: usize,
    /// Something came from the one in use.
    is_proven: bool,
}

impl Engine {
    pub(super) fn new(
        shared: Arc<Shared>,
        poll: Poll,
        events: Sender<Event>,
        addresses: Vec<SocketAddr>,
        at: usize,
    ) -> io::Result<Self> {
        shared.lock().link.register(poll.registry(), SOCKET)?;
        let untried = addresses.len() - 1 - at;
        let mut engine = Self {
            shared,
            poll,
            events,
            route: Route {
                addresses,
                at,
                untried,
                is_proven: false,
            },
            told_down: false,
            missed: 0,
            buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
        };
        // Registers before anyone can say anything.
        engine.turn();
        Ok(engine)
    }

    pub(super) fn run(mut self) {
        let mut ready = Events::with_capacity(READY_MAX);
        while !self.shared.is_leaving.load(Ordering::Acquire) {
            let wait = self.turn();
            match self.poll.poll(&mut ready, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        // If this is lost, the server drops us by itself a little later.
        let _ = self.shared.lock().link.send(v1::LEAVE);
    }

    /// Does all that is due, and says how long nothing will be.
    fn turn(&mut self) -> Duration {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let now = Instant::now();
        if let Some(kind) = state.refused.take() {
            self.refused(&mut state, kind, now);
        }
        let is_drained = self.drain(&mut state, now);
        state.liveness.advance(now);
        // More than once only as long as there are untried addresses.
        while state.liveness.is_heartbeat_due(now) {
            self.beat(&mut state, now);
        }
        self.report(&state);
        let is_told = self.told_down == state.liveness.down().is_some() && self.missed == 0;
        let wait = state.liveness.deadline().saturating_duration_since(now);
        match (is_drained, is_told) {
            (false, _) => Duration::ZERO,
            (true, false) => wait.min(REPORT_AGAIN),
            (true, true) => wait,
        }
    }

    /// Receives what has come, up to a bound. True if that was all.
    fn drain(&mut self, state: &mut State, now: Instant) -> bool {
        let mut is_refused = false;
        for _ in 0..DRAIN_MAX {
            match state.link.receive(&mut self.buffer) {
                Received::Nothing => return true,
                Received::Again => {}
                Received::Refusal(kind) => {
                    is_refused = true;
                    self.refused(state, kind, now);
                }
                Received::Datagram(length) => {
                    // The kernel tells of a refusal before it hands out what
                    // came earlier, so that proves nothing.
                    if !is_refused {
                        self.route.is_proven = true;
                        self.route.untried = 0;
                        state.liveness.received();
                        self.report(state);
                    }
                    self.hear(length);
                }
            }
        }
        false
    }

    fn hear(&mut self, length: usize) {
        let Some(text) = v1::decode(&self.buffer[..length]) else {
            return;
        };
        let is_full = self.events.is_full() || self.missed > 0;
        if is_full
            || self
                .events
                .try_send(Event::Text(text.into_owned()))
                .is_err()
        {
            self.missed += 1;
            self.shared.texts_missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells the application what it does not know yet, as far as its channel
    /// has room.
    fn report(&mut self, state: &State) {
        if self.missed > 0 && self.events.try_send(Event::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        let event = match (state.liveness.down(), self.told_down) {
            (Some(reason), false) => Event::Down(reason.clone()),
            (None, true) => Event::Up,
            _ => return,
        };
        if self.events.try_send(event).is_ok() {
            self.told_down = !self.told_down;
        }
    }

    fn beat(&mut self, state: &mut State, now: Instant) {
        if state.liveness.down().is_some() {
            self.reroute(state);
        }
        let refused = match state.link.send(v1::HEARTBEAT) {
            Ok(sent) => sent.earlier_refused,
            Err(SendError::Unreachable(kind)) => Some(kind),
            // The next heartbeat may have more luck.
            Err(_) => None,
        };
        state.liveness.heartbeat_sent(now);
        if let Some(kind) = refused {
            self.refused(state, kind, now);
        }
    }

    fn refused(&mut self, state: &mut State, kind: io::ErrorKind, now: Instant) {
        if state.liveness.down().is_none() && self.route.untried > 0 {
            self.route.untried -= 1;
            let at = (self.route.at + 1) % self.route.addresses.len();
            if self.switch(state, at).is_ok() {
                return state.liveness.beat_at_once(now);
            }
        }
        state.liveness.refused(kind, now);
    }

    /// While the server is down, each try may go another way: to the next
    /// address, or from another one of our own if the host has moved to another
    /// network.
    fn reroute(&mut self, state: &mut State) {
        let is_refused = matches!(state.liveness.down(), Some(DownReason::Unreachable(_)));
        let step = usize::from(is_refused || !self.route.is_proven);
        let at = (self.route.at + step) % self.route.addresses.len();
        // If this one cannot be opened, the old socket serves until the next
        // try.
        let _ = self.switch(state, at);
        self.route.at = at;
    }

    /// Opens a socket to that address. The one in use stays if it is as good:
    /// the server knows us by it.
    fn switch(&mut self, state: &mut State, at: usize) -> io::Result<()> {
        let link = Link::open(self.route.addresses[at])?;
        let is_same = match (link.local_addr(), state.link.local_addr()) {
            (Ok(new), Ok(old)) => at == self.route.at && new.ip() == old.ip(),
            _ => false,
        };
        if is_same {
            return Ok(());
        }
        link.register(self.poll.registry(), SOCKET)?;
        // If the old address does reach the server, it must not send there any
        // more.
        let _ = state.link.send(v1::LEAVE);
        state.link = link;
        self.route.at = at;
        self.route.is_proven = false;
        Ok(())
    }
}

/// Wakes the thread: there is a new deadline, or the session is left.
pub(super) const WAKE: Token = Token(0);

/// Something is to be received.
const SOCKET: Token = Token(1);

/// One for each token, and two while the socket is exchanged.
const READY_MAX: usize = 4;

/// The longest datagram that UDP can carry.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// So that speakers and deadlines have their turn in a flood. At about 1 µs
/// each, they wait far less than a millisecond.
const DRAIN_MAX: usize = 256;

/// How soon to look whether a full channel has room again. Nobody notices a
/// tenth of a second who has not read for a thousand texts.
const REPORT_AGAIN: Duration = Duration::from_millis(100);
