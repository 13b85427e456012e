//! The thread of a session. It owns the socket, and waits for datagrams, commands and
//! timeouts.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use mio::{Events, Poll, Token};

use super::event_queue::EventQueue;
use super::protocol::{Output, Protocol};
use super::route::{Choice, Route};
use super::shared::{Shared, ToEngine};
use super::socket::Socket;
use crate::net::{Coalesced, datagrams};

pub(super) struct Engine {
    shared: Arc<Shared>,
    poll: Poll,
    socket: Socket,
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

impl Engine {
    pub(super) fn new(
        shared: Arc<Shared>,
        poll: Poll,
        socket: Socket,
        route: Route,
        protocol: Protocol,
        messages: Receiver<ToEngine>,
        events: EventQueue,
    ) -> io::Result<Self> {
        socket.register(poll.registry(), SOCKET)?;
        let mut engine = Self {
            shared,
            poll,
            socket,
            route,
            protocol,
            messages,
            events,
            buffer: vec![0; MAX_DATAGRAM_BYTES].into(),
            out: Vec::new(),
            leave_by: None,
        };
        engine.set_ways();
        let local_addr = engine.socket.local_addr();
        engine.protocol.set_local_addr(local_addr.ok());
        // The first HELLO or heartbeat goes before anything that the application says.
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
                _ => self.shared.sleep.wake_up(),
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
        self.take_named_servers();
        // Once more for each address that nobody answers at.
        for _ in 0..=self.route.len() {
            if self.protocol.may_reroute(now) {
                self.reroute(now);
            }
            if !self.protocol.handle_timeout(now, self.route.has_untried()) {
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
            let Coalesced {
                bytes,
                segment_bytes,
            } = match self.socket.receive(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    is_refused = true;
                    self.refused(error.kind(), now);
                    continue;
                }
            };
            // The kernel reports a refusal before it hands over what came earlier, so that
            // proves nothing.
            let is_proof = !is_refused;
            received_bytes += bytes;
            for datagram in datagrams(&self.buffer[..bytes], segment_bytes) {
                if self.protocol.handle_datagram(datagram, is_proof, now) && is_proof {
                    self.route.answered();
                }
            }
            self.report();
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
                Ok(ToEngine::Leave) => self.leave_by = Some(Instant::now() + MAX_LEAVE_TIME),
                Err(_) => {
                    self.shared.sleep.announce();
                    return self.messages.is_empty();
                }
            }
        }
        self.shared.sleep.announce();
        false
    }

    fn transmit(&mut self, now: Instant) {
        while self.is_blocked() || self.protocol.poll_transmit(now, &mut self.out) {
            match self.socket.send(&self.out) {
                Ok(()) => self.out.clear(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.out.clear();
                    self.refused(error.kind(), now);
                }
            }
            self.take_messages();
        }
    }

    fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }

    fn refused(&mut self, kind: io::ErrorKind, now: Instant) {
        if self.route.has_untried() && !self.protocol.is_down() {
            self.try_next_address(now);
        } else {
            self.protocol.handle_refusal(kind, now);
        }
    }

    fn try_next_address(&mut self, now: Instant) {
        for index in self.route.take_untried() {
            if self.switch(index, true, now).is_ok() {
                return;
            }
        }
    }

    /// Takes the way of the next attempt. If no address can be opened, the old socket serves until the
    /// one after it.
    fn reroute(&mut self, now: Instant) {
        let choice = match () {
            () if self.protocol.is_removed() => Choice::SameServer,
            () if self.protocol.is_dismissed() => Choice::OtherServerFirst,
            () => Choice::Any,
        };
        let next = self.route.next(choice);
        let _ = next
            .into_iter()
            .any(|index| self.switch(index, false, now).is_ok());
    }

    /// Takes the servers that the one in use has named.
    fn take_named_servers(&mut self) {
        if let Some(named) = self.protocol.take_named() {
            self.route.set_named(&named);
            self.set_ways();
        }
    }

    fn set_ways(&mut self) {
        let has_others = self.route.has_other_servers();
        self.protocol.set_ways(self.route.len(), has_others);
    }

    /// Takes the way with this index, which may be the one in use from another address of this host, if
    /// it has moved to another network. The socket in use stays if it is as good, because the server
    /// knows the session by it.
    fn switch(&mut self, index: usize, is_first_round: bool, now: Instant) -> io::Result<()> {
        let way = self.route.way(index);
        let is_same = way == self.route.current();
        let socket = Socket::open(way.address)?;
        self.route.take(index, is_first_round);
        let ip = |socket: &Socket| socket.local_addr().ok().map(|address| address.ip());
        if is_same && ip(&socket) == ip(&self.socket) {
            return Ok(());
        }
        socket.register(self.poll.registry(), SOCKET)?;
        // If the old address does reach the server, it must not send there any more. A session of
        // version 2 that goes on at the same server moves.
        if !(is_same && self.protocol.can_move()) {
            self.send_leave();
        }
        self.protocol.set_local_addr(socket.local_addr().ok());
        self.socket = socket;
        self.out.clear();
        self.protocol.change_way(way.server, way.address);
        self.protocol.handle_reroute(now);
        Ok(())
    }

    /// If this is lost, the server drops the session by itself a little later.
    fn send_leave(&mut self) {
        let mut leave = Vec::new();
        if self.protocol.push_leave(&mut leave) {
            let _ = self.socket.send(&leave);
        }
    }

    /// Updates the state that the application can read, and hands it the events and results
    /// that led to it. Returns false if the channel is full.
    fn report(&mut self) -> bool {
        let mut status = self.protocol.status();
        status.stats.missed = self.events.total_missed();
        *self.shared.status() = status;
        self.events.flush();
        while let Some(output) = self.protocol.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Result(responder, result) => responder.respond(result),
            }
        }
        self.events.has_told_all()
    }
}

const SOCKET: Token = Token(1);

/// One per token, and two while the socket is exchanged.
const MAX_READY: usize = 4;

/// Space for the longest UDP datagram.
const MAX_DATAGRAM_BYTES: usize = 65_536;

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
