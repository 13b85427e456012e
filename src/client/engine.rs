//! The thread of a session: it waits on the socket, and does what is due.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use mio::{Events, Poll, Token};

use super::event::Event;
use super::heard::Heard;
use super::link::{DATAGRAM_BYTES_MAX, Link, Received, SendError};
use super::liveness::DownReason;
use super::session::{Shared, State};
use crate::net::{Coalesced, datagrams};

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
    /// What a datagram said, until it is told.
    heard: Vec<Event>,
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
            heard: Vec::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
        };
        // Registers before anyone can say anything.
        engine.turn();
        Ok(engine)
    }

    pub(super) fn run(mut self) {
        let mut ready = Events::with_capacity(READY_MAX);
        // What was said must not be lost because the server has not answered yet;
        // it does within the time for the greeting, or counts as down.
        while !self.shared.is_leaving.load(Ordering::Acquire) || self.is_holding() {
            let wait = self.turn();
            match self.poll.poll(&mut ready, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        send_farewell(&mut self.shared.lock());
    }

    fn is_holding(&self) -> bool {
        self.shared.lock().conversation.is_holding()
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
        state.conversation.advance(now);
        // More than once only as long as there are untried addresses, or what is
        // due is that the server counts as gone.
        while state.conversation.is_due(now) {
            self.beat(&mut state, now);
        }
        self.send_held(&mut state, now);
        self.report(&state);
        let is_told = self.told_down == state.conversation.down().is_some() && self.missed == 0;
        let deadline = state.conversation.deadline();
        let wait = deadline.saturating_duration_since(now);
        match (is_drained, is_told) {
            (false, _) => Duration::ZERO,
            (true, false) => wait.min(REPORT_AGAIN),
            (true, true) => wait,
        }
    }

    /// Receives what has come, up to a bound. True if that was all.
    fn drain(&mut self, state: &mut State, now: Instant) -> bool {
        let mut is_refused = false;
        let mut drained_bytes = 0;
        for _ in 0..DRAIN_MAX {
            if drained_bytes >= DRAIN_BYTES_MAX {
                break;
            }
            match state.link.receive(&mut self.buffer) {
                Received::Nothing => return true,
                Received::Again => {}
                Received::Refusal(kind) => {
                    is_refused = true;
                    self.refused(state, kind, now);
                }
                Received::Datagrams(Coalesced {
                    bytes,
                    segment_bytes,
                }) => {
                    // The kernel tells of a refusal before it hands out what
                    // came earlier, so that proves nothing.
                    let is_proof = !is_refused;
                    drained_bytes += bytes;
                    if is_proof {
                        self.route.is_proven = true;
                        self.route.untried = 0;
                    }
                    let buffer = std::mem::take(&mut self.buffer);
                    for datagram in datagrams(&buffer[..bytes], segment_bytes) {
                        self.hear(state, datagram, is_proof, now);
                    }
                    self.buffer = buffer;
                }
            }
        }
        false
    }

    fn hear(&mut self, state: &mut State, datagram: &[u8], is_proof: bool, now: Instant) {
        let heard = &mut self.heard;
        let mut hear = |what: Heard<'_>| heard.push(what.into_event());
        let conversation = &mut state.conversation;
        conversation.received(datagram, is_proof, now, &mut hear);
        // Someone is heard after the server is back, and before it is gone.
        if conversation.down().is_none() {
            self.report(state);
        }
        let mut heard = std::mem::take(&mut self.heard);
        for event in heard.drain(..) {
            let is_full = self.events.is_full() || self.missed > 0;
            if is_full || self.events.try_send(event).is_err() {
                self.missed += 1;
                self.shared.texts_missed.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.heard = heard;
        self.report(state);
    }

    /// Tells the application what it does not know yet, as far as its channel
    /// has room.
    fn report(&mut self, state: &State) {
        if self.missed > 0 && self.events.try_send(Event::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        let event = match (state.conversation.down(), self.told_down) {
            (Some(reason), false) => Event::Down(reason.clone()),
            (None, true) => Event::Up,
            _ => return,
        };
        if self.events.try_send(event).is_ok() {
            self.told_down = !self.told_down;
        }
    }

    fn beat(&mut self, state: &mut State, now: Instant) {
        if state.conversation.down().is_some() && state.conversation.may_reroute() {
            self.reroute(state, now);
        }
        state.conversation.push_due(now, &mut state.out);
        self.send(state, now);
    }

    /// Sends what has waited for the server's answer to the greeting, and before it
    /// what the server must know of us.
    fn send_held(&mut self, state: &mut State, now: Instant) {
        while state.conversation.push_held(now, &mut state.out) {
            state.conversation.said(now);
            self.send(state, now);
        }
    }

    fn send(&mut self, state: &mut State, now: Instant) {
        let refused = match state.link.send(&state.out) {
            Ok(sent) => sent.earlier_refused,
            Err(SendError::Unreachable(kind)) => Some(kind),
            // The next one may have more luck.
            Err(_) => None,
        };
        if let Some(kind) = refused {
            self.refused(state, kind, now);
        }
    }

    fn refused(&mut self, state: &mut State, kind: io::ErrorKind, now: Instant) {
        if state.conversation.down().is_none() && self.route.untried > 0 {
            self.route.untried -= 1;
            let at = (self.route.at + 1) % self.route.addresses.len();
            if self.switch(state, at, now).is_ok() {
                return;
            }
        }
        state.conversation.refused(kind, now);
    }

    /// While the server is down, each try may go another way: to the next
    /// address, or from another one of our own if the host has moved to another
    /// network.
    fn reroute(&mut self, state: &mut State, now: Instant) {
        let is_refused = matches!(state.conversation.down(), Some(DownReason::Unreachable(_)));
        let step = usize::from(is_refused || !self.route.is_proven);
        let at = (self.route.at + step) % self.route.addresses.len();
        // If this one cannot be opened, the old socket serves until the next
        // try.
        let _ = self.switch(state, at, now);
        self.route.at = at;
    }

    /// Opens a socket to that address. The one in use stays if it is as good:
    /// the server knows us by it.
    fn switch(&mut self, state: &mut State, at: usize, now: Instant) -> io::Result<()> {
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
        send_farewell(state);
        state.link = link;
        state.conversation.rerouted(now);
        self.route.at = at;
        self.route.is_proven = false;
        Ok(())
    }
}

/// If this is lost, the server drops us by itself a little later.
fn send_farewell(state: &mut State) {
    if state.conversation.push_farewell(&mut state.out) {
        let _ = state.link.send(&state.out);
    }
}

/// Wakes the thread: there is a new deadline, or the session is left.
pub(super) const WAKE: Token = Token(0);

/// Something is to be received.
const SOCKET: Token = Token(1);

/// One for each token, and two while the socket is exchanged.
const READY_MAX: usize = 4;

/// So that speakers and deadlines have their turn in a flood. At about 1 µs
/// each, they wait far less than a millisecond.
const DRAIN_MAX: usize = 256;

/// The same for bundles: as many bytes as the default buffer of a socket holds
/// are a few thousand short messages, which take about a millisecond.
const DRAIN_BYTES_MAX: usize = 212_992;

/// How soon to look whether a full channel has room again. Nobody notices a
/// tenth of a second who has not read for a thousand texts.
const REPORT_AGAIN: Duration = Duration::from_millis(100);
