//! The thread of a session. It owns the socket, and waits for datagrams, commands and
//! timeouts.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use mio::{Events, Poll, Token};

use super::event::Event;
use super::protocol::Protocol;
use super::shared::{SessionStats, Shared, State, StreamStats, ToEngine};
use super::socket::{MAX_DATAGRAM_BYTES, Received, Sent, Socket};
use crate::net::{Coalesced, datagrams};

pub(super) struct Engine {
    shared: Arc<Shared>,
    poll: Poll,
    socket: Socket,
    local_addr: Option<SocketAddr>,
    /// The state that the application can read.
    published: State,
    route: Route,
    protocol: Protocol,
    messages: Receiver<ToEngine>,
    events: EventQueue,
    buffer: Box<[u8]>,
    /// The datagram to be sent. It is not empty while the socket has no space for it.
    out: Vec<u8>,
    /// The latest time to end, once the session is left.
    leave_by: Option<Instant>,
}

/// The addresses of the server, and the one in use.
struct Route {
    addresses: Vec<SocketAddr>,
    index: usize,
    /// Number of addresses that have not been tried.
    untried: usize,
    /// True if something came from the address in use.
    is_proven: bool,
}

/// The way of events to the application.
struct EventQueue {
    events: Sender<Event>,
    /// Events that must not be dropped, while the channel is full.
    waiting: VecDeque<Event>,
    /// Number of events dropped since the last [`Event::Missed`].
    missed: u64,
    total_missed: u64,
}

impl Engine {
    pub(super) fn new(
        shared: Arc<Shared>,
        poll: Poll,
        (socket, index): (Socket, usize),
        addresses: Vec<SocketAddr>,
        protocol: Protocol,
        messages: Receiver<ToEngine>,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        socket.register(poll.registry(), SOCKET)?;
        let mut engine = Self {
            shared,
            poll,
            local_addr: socket.local_addr().ok(),
            socket,
            published: State::default(),
            route: Route {
                untried: addresses.len() - 1 - index,
                addresses,
                index,
                is_proven: false,
            },
            protocol,
            messages,
            events: EventQueue {
                events,
                waiting: VecDeque::new(),
                missed: 0,
                total_missed: 0,
            },
            buffer: vec![0; MAX_DATAGRAM_BYTES].into(),
            out: Vec::new(),
            leave_by: None,
        };
        engine.protocol.set_local_addr(engine.local_addr);
        // The server hears of the session before anything that the application says.
        engine.turn();
        Ok(engine)
    }

    /// Runs until the session is left, and what was said before has been sent.
    pub(super) fn run(mut self) {
        let mut ready = Events::with_capacity(MAX_READY);
        loop {
            let wait = self.turn();
            let has_sent_all = !self.protocol.is_holding() && !self.is_blocked();
            let is_over = |by: Instant| has_sent_all || Instant::now() > by;
            if self.leave_by.is_some_and(is_over) {
                break;
            }
            match self.poll.poll(&mut ready, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => self.shared.is_asleep.store(false, Ordering::SeqCst),
            }
        }
        self.send_leave();
        self.protocol.end();
        self.report();
    }

    /// Does all that is due, and returns the time for which nothing will be.
    fn turn(&mut self) -> Duration {
        let now = Instant::now();
        let is_drained = self.receive(now);
        // Once more for each address that nobody answers at.
        for _ in 0..=self.route.addresses.len() {
            self.reroute_if_due(now);
            let has_other = self.route.untried > 0;
            if !self.protocol.handle_timeout(now, has_other) {
                break;
            }
            self.try_next_address(now);
        }
        let has_all = self.take_messages();
        self.transmit(now);
        let is_told = self.report();
        if !is_drained || !(has_all || self.is_blocked() || !self.protocol.has_space()) {
            return Duration::ZERO;
        }
        let timeout = self.protocol.poll_timeout();
        let wait = timeout.saturating_duration_since(now);
        match (self.is_blocked(), is_told) {
            // A beat that is overdue must wait, too.
            (true, _) => RETRY_INTERVAL,
            (false, true) => wait,
            (false, false) => wait.min(RETRY_INTERVAL),
        }
    }

    /// Receives a bounded number of datagrams. Returns true if there are no more.
    fn receive(&mut self, now: Instant) -> bool {
        let mut is_refused = false;
        let mut received_bytes = 0;
        for _ in 0..MAX_RECEIVES {
            if received_bytes >= MAX_RECEIVE_BYTES {
                break;
            }
            match self.socket.receive(&mut self.buffer) {
                Received::Nothing => return true,
                Received::Again => {}
                Received::Refusal(kind) => {
                    is_refused = true;
                    self.refused(kind, now);
                }
                Received::Datagrams(Coalesced {
                    bytes,
                    segment_bytes,
                }) => {
                    // The kernel reports a refusal before it hands over what came earlier,
                    // so that proves nothing.
                    let is_proof = !is_refused;
                    received_bytes += bytes;
                    if is_proof {
                        self.route.is_proven = true;
                        self.route.untried = 0;
                    }
                    for datagram in datagrams(&self.buffer[..bytes], segment_bytes) {
                        self.protocol.handle_datagram(datagram, is_proof, now);
                        let state = (self.protocol.status(), self.local_addr);
                        publish(&self.shared, &mut self.published, state);
                        self.events.take_events(&mut self.protocol);
                    }
                }
            }
        }
        false
    }

    /// Takes what the application wants to send. Returns true if there is no more.
    fn take_messages(&mut self) -> bool {
        while self.protocol.has_space() {
            match self.messages.try_recv() {
                Ok(ToEngine::Command(command, responder)) => {
                    self.protocol.handle_command(command, responder);
                }
                Ok(ToEngine::Stats(reply)) => {
                    // Fails when nobody waits any more.
                    let _ = reply.send(self.stats());
                }
                Ok(ToEngine::Leave) => self.leave_by = Some(Instant::now() + MAX_LEAVE_TIME),
                Err(_) => {
                    // A sender that sees this flag wakes the thread. One that does not has
                    // sent before this look at the channel.
                    self.shared.is_asleep.store(true, Ordering::SeqCst);
                    return self.messages.is_empty();
                }
            }
        }
        self.shared.is_asleep.store(true, Ordering::SeqCst);
        false
    }

    fn transmit(&mut self, now: Instant) {
        while self.is_blocked() || self.protocol.poll_transmit(now, &mut self.out) {
            match self.socket.send(&self.out) {
                Sent::Blocked => return,
                Sent::Taken | Sent::Failed => {}
                Sent::TakenAfterRefusal(kind) | Sent::Refused(kind) => {
                    self.out.clear();
                    self.refused(kind, now);
                }
            }
            self.out.clear();
            self.take_messages();
        }
    }

    fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }

    fn refused(&mut self, kind: io::ErrorKind, now: Instant) {
        let is_down = self.protocol.status().down.is_some();
        if !is_down && self.route.untried > 0 {
            return self.try_next_address(now);
        }
        self.protocol.handle_refusal(kind, now);
    }

    fn try_next_address(&mut self, now: Instant) {
        while self.route.untried > 0 {
            self.route.untried -= 1;
            let index = (self.route.index + 1) % self.route.addresses.len();
            if self.switch(index, now).is_ok() {
                return;
            }
            self.route.index = index;
        }
    }

    /// While the server is down, each attempt may take another way: to the next address, or
    /// from another address of this host if it has moved to another network.
    fn reroute_if_due(&mut self, now: Instant) {
        if !(self.protocol.is_beat_due(now) && self.protocol.may_reroute()) {
            return;
        }
        let step = usize::from(!self.route.is_proven);
        let index = (self.route.index + step) % self.route.addresses.len();
        // If this one cannot be opened, the old socket serves until the next attempt.
        let _ = self.switch(index, now);
        self.route.index = index;
        self.route.is_proven = false;
    }

    /// Opens a socket to an address. The one in use stays if it is as good, because the server
    /// knows the session by it.
    fn switch(&mut self, index: usize, now: Instant) -> io::Result<()> {
        let socket = Socket::open(self.route.addresses[index])?;
        let is_same = match (socket.local_addr(), self.socket.local_addr()) {
            (Ok(new), Ok(old)) => index == self.route.index && new.ip() == old.ip(),
            _ => false,
        };
        if is_same {
            return Ok(());
        }
        socket.register(self.poll.registry(), SOCKET)?;
        // If the old address does reach the server, it must not send there any more.
        self.send_leave();
        self.local_addr = socket.local_addr().ok();
        self.socket = socket;
        self.out.clear();
        self.protocol.set_local_addr(self.local_addr);
        self.protocol.handle_reroute(now);
        self.route.index = index;
        self.route.is_proven = false;
        Ok(())
    }

    /// If this is lost, the server drops the session by itself a little later.
    fn send_leave(&mut self) {
        let mut leave = Vec::new();
        if self.protocol.push_leave(&mut leave) {
            self.socket.send(&leave);
        }
    }

    /// Hands events to the application, and updates the state that it can read. Returns false
    /// if the channel is full.
    fn report(&mut self) -> bool {
        let state = (self.protocol.status(), self.local_addr);
        publish(&self.shared, &mut self.published, state);
        self.events.take_events(&mut self.protocol);
        let is_told = self.events.flush();
        for (responder, result) in self.protocol.take_results() {
            responder.respond(result);
        }
        is_told
    }

    fn stats(&self) -> SessionStats {
        let losses = &self.protocol.losses;
        let stats = |(room, stream, counts)| StreamStats {
            room,
            stream,
            counts,
        };
        let mut streams: Vec<_> = losses.streams().map(stats).collect();
        streams.sort_by_key(|stream| (stream.room, stream.stream));
        SessionStats {
            messages: losses.total(),
            streams,
            malformed: self.protocol.counts.malformed,
            sessions: self.protocol.counts.sessions,
            unsent: self.protocol.counts.unsent,
            missed: self.events.total_missed,
        }
    }
}

impl EventQueue {
    fn take_events(&mut self, protocol: &mut Protocol) {
        while let Some(event) = protocol.poll_event() {
            self.push(event);
        }
    }

    fn push(&mut self, event: Event) {
        let may_drop = matches!(
            event,
            Event::Message(_) | Event::Private(_) | Event::Notice { .. } | Event::Presence { .. }
        );
        if self.flush() {
            if let Err(error) = self.events.try_send(event) {
                self.keep(error.into_inner(), may_drop);
            }
        } else {
            self.keep(event, may_drop);
        }
    }

    fn keep(&mut self, event: Event, may_drop: bool) {
        if may_drop || self.waiting.len() >= MAX_WAITING {
            self.missed += 1;
            self.total_missed += 1;
        } else {
            self.waiting.push_back(event);
        }
    }

    /// Returns true if nothing waits any more.
    fn flush(&mut self) -> bool {
        if self.missed > 0 {
            if self.events.try_send(Event::Missed(self.missed)).is_err() {
                return false;
            }
            self.missed = 0;
        }
        while let Some(event) = self.waiting.pop_front() {
            if let Err(error) = self.events.try_send(event) {
                self.waiting.push_front(error.into_inner());
                return false;
            }
        }
        true
    }
}

/// Shows the application the state, if it has changed.
fn publish(shared: &Shared, published: &mut State, state: State) {
    if *published != state {
        published.clone_from(&state);
        shared.update(state);
    }
}

const SOCKET: Token = Token(1);

/// One per token, and two while the socket is exchanged.
const MAX_READY: usize = 4;

/// Maximum number of receives before the thread sends. At about 1 µs each they take far less
/// than a millisecond.
const MAX_RECEIVES: usize = 256;

/// The same for bundles. The default buffer of a socket holds this many bytes: some thousand
/// short messages, which take about a millisecond.
const MAX_RECEIVE_BYTES: usize = 212_992;

/// Time between two looks at a full channel, or at a network interface without space.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum time for which a session that is left still sends: longer than a server takes to
/// answer for the first time, or to count as down.
const MAX_LEAVE_TIME: Duration = Duration::from_secs(10);

/// Maximum number of events that wait for space in the channel.
const MAX_WAITING: usize = 1024;
