//! Receives what has come, and tells what it is: wanted, repeated, late, or stray.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use bullhorn::net::RECEIVE_BATCH;
use bullhorn::wire::v2::Room;
use bullhorn::wire::{self, push_printable};

use super::{Clients, Pause, Registration};
use crate::config::Scenario;
use crate::engine::client::Phase;
use crate::engine::codec::{self, Received};
use crate::engine::common::RunError;
use crate::engine::partition;
use crate::engine::schedule::nanoseconds;
use crate::engine::stamp::{ADMISSION_SEQUENCE, Stamp};
use crate::engine::window::Arrival;
use crate::net::MultihomedReceiver;

/// The receiver of a thread.
pub(super) struct Receiving {
    receiver: MultihomedReceiver,
    /// Sockets that may have something to read.
    pub(super) readable: Vec<u32>,
    /// Set for each target from which something came in this turn.
    heard: Box<[bool]>,
    /// Set if this turn has looked at all sockets, and read all that was there.
    has_read_all: bool,
}

impl Receiving {
    pub(super) fn new(sockets: usize, targets: usize) -> Self {
        Self {
            receiver: MultihomedReceiver::new(),
            readable: Vec::with_capacity(sockets),
            heard: vec![false; targets].into(),
            has_read_all: false,
        }
    }

    /// Reads the sockets that can be read, up to a bound; whether anything came.
    pub(super) fn turn(
        &mut self,
        clients: &mut Clients,
        registration: &mut Registration,
        pause: &mut Pause,
    ) -> Result<bool, RunError> {
        self.heard.fill(false);
        let has_looked = self.readable.is_empty();
        if has_looked {
            pause.look(&mut self.readable)?;
        }
        let mut packets = 0;
        while packets < HEARD_AT_ONCE
            && let Some(socket) = self.readable.pop()
        {
            while packets < HEARD_AT_ONCE {
                let received = self.receive(socket, clients, registration)?;
                packets += received;
                if received < RECEIVE_BATCH {
                    break;
                }
            }
            if packets >= HEARD_AT_ONCE {
                // It may have more, which has its turn after the others'.
                self.readable.insert(0, socket);
            }
        }
        self.has_read_all = has_looked && self.readable.is_empty();
        Ok(packets > 0)
    }

    /// Returns the places of the targets from which nothing was there in this turn.
    pub(super) fn unheard(&self) -> impl Iterator<Item = usize> {
        let targets = self.heard.iter().enumerate();
        let unheard = targets.filter(|(_, is_heard)| self.has_read_all && !**is_heard);
        unheard.map(|(place, _)| place)
    }

    /// Reads one batch, and returns how many packets it was.
    fn receive(
        &mut self,
        socket: u32,
        clients: &mut Clients,
        registration: &mut Registration,
    ) -> Result<usize, RunError> {
        let received = match self.receiver.receive(clients.ports.socket(socket)) {
            Ok(received) => received,
            // What is told of an earlier datagram: nobody is there, or no way leads there.
            // It shows in what is not answered. There may be more to read.
            Err(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    let target = clients.ports.target_at(socket);
                    clients.run.pulses[target].refused(clients.run.now_ns());
                }
                return Ok(RECEIVE_BATCH);
            }
        };
        if received == 0 {
            return Ok(0);
        }
        let now_ns = clients.run.now_ns();
        clients.last_received_ns = now_ns;
        clients.record_hear_lag(self.receiver.first_arrival(), received, now_ns);
        for datagram in self.receiver.datagrams() {
            clients.count_received(datagram.payload.len(), now_ns);
            let client = clients.ports.client_at(socket, datagram.to);
            let target = client.map_or(0, |client| clients.ports.target_of(client));
            match client.filter(|_| datagram.from == clients.run.targets[target]) {
                Some(client) => {
                    self.heard[target] = true;
                    clients.receive(client, datagram.payload, now_ns, registration)?;
                }
                None => clients.count_stray(now_ns),
            }
        }
        for (is_heard, pulse) in self.heard.iter().zip(&clients.run.pulses) {
            if *is_heard {
                pulse.received(now_ns);
            }
        }
        Ok(received)
    }
}

impl Clients {
    /// A datagram of the server has come to a client.
    pub(super) fn receive(
        &mut self,
        client: u32,
        datagram: &[u8],
        now_ns: u64,
        registration: &mut Registration,
    ) -> Result<(), RunError> {
        let protocol = self.run.codec();
        let mut result = Ok(());
        let is_greeting = self.run.config.scenario == Scenario::Greet;
        let receiver = self.receiver(client);
        let mut tells_room = false;
        codec::read(protocol, receiver, datagram, |received| match received {
            Received::Text(_) if is_greeting => result = Err(RunError::Chats),
            Received::Text(stamp) => self.hear_text(client, stamp, now_ns),
            Received::Answer(stamp) if stamp.sequence != ADMISSION_SEQUENCE => {
                self.hear_answer(client, stamp, now_ns);
            }
            Received::Answer(stamp) if self.checks_with(client, &stamp) => {
                if tells_room {
                    self.pulse(client).forgotten();
                }
            }
            received => {
                tells_room |= matches!(received, Received::Room(_));
                if let Err(error) = self.hear_other(client, received, now_ns, registration) {
                    result = Err(error);
                }
            }
        });
        result
    }

    /// A copy of a text has come to a client.
    fn hear_text(&mut self, client: u32, stamp: Stamp, now_ns: u64) {
        let room = self.room_of(client);
        let config = &self.run.config;
        let is_of_run = stamp.run == self.run.id && stamp.client < config.clients;
        let is_of_room = partition::room_of(config, stamp.client) == room;
        if is_of_run && !is_of_room {
            self.pulse(client).misrouted();
        }
        let is_ours = is_of_run && is_of_room && stamp.sequence < self.run.rooms.sent(room);
        let came_ns = self.came_ns(&stamp, now_ns).filter(|_| is_ours);
        let Some(came_ns) = came_ns else {
            return self.count_stray(now_ns);
        };
        let is_recorded = self.recorder.second(stamp.due_ns).is_some();
        let state = &mut self.all[client as usize];
        if !state.is_owed(stamp.sequence) {
            self.recorder.counts.not_expected += u64::from(is_recorded);
            return;
        }
        let place = client as usize;
        let arrival = self
            .texts
            .arrive(place, &mut state.received_text, stamp.sequence);
        if !is_recorded {
            return;
        }
        let counts = &mut self.recorder.counts;
        match arrival {
            Arrival::Repeated => {
                counts.repeated += 1;
                return;
            }
            Arrival::TooLate => {
                counts.too_late += 1;
                return;
            }
            Arrival::Newest | Arrival::Overtaken => counts.delivered += 1,
        }
        if arrival == Arrival::Overtaken {
            let received = self.all[place].received_text;
            let texts = &self.texts;
            let has_come = |text| text < received && texts.has(place, text);
            let rooms = &self.run.rooms;
            let was_overtaken = rooms.was_overtaken(room, stamp.sequence, has_come);
            self.recorder.counts.reordered += u64::from(was_overtaken);
        }
        if let Some(second) = self.recorder.second(stamp.due_ns) {
            second.delivered += 1;
        }
        let senders = self.ports.target_of_any(stamp.client);
        let is_same_node = senders == self.ports.target_of(client);
        let has_nodes = self.run.config.has_nodes();
        let latencies = self.recorder.latencies();
        let latency_ns = came_ns - stamp.due_ns;
        latencies.delivery.saturating_record(latency_ns);
        match is_same_node {
            _ if !has_nodes => {}
            true => latencies.delivery_same_node.saturating_record(latency_ns),
            false => latencies.delivery_other_node.saturating_record(latency_ns),
        }
        let from_send = came_ns - stamp.sent_ns();
        latencies.delivery_from_send.saturating_record(from_send);
    }

    /// An answer has come to a client.
    fn hear_answer(&mut self, client: u32, stamp: Stamp, now_ns: u64) {
        let is_ours = stamp.run == self.run.id
            && stamp.client == self.global(client)
            && stamp.sequence < self.client(client).next_ask
            && self.came_ns(&stamp, now_ns).is_some();
        if !is_ours {
            return self.count_stray(now_ns);
        }
        let state = &mut self.all[client as usize];
        let arrival = self
            .asks
            .arrive(client as usize, &mut state.received_ask, stamp.sequence);
        let is_closed = state.closed_ask == Some(stamp.sequence);
        if is_closed {
            state.closed_ask = None;
        }
        let Some(second) = self.recorder.second(stamp.due_ns) else {
            return;
        };
        match arrival {
            Arrival::Repeated => {
                self.recorder.counts.answered_again += 1;
                return;
            }
            Arrival::TooLate => {
                self.recorder.counts.too_late += 1;
                return;
            }
            Arrival::Newest | Arrival::Overtaken => {
                second.answered += 1;
                self.recorder.counts.answered += 1;
            }
        }
        self.record_answer(stamp.due_ns, stamp.sent_ns(), now_ns, is_closed);
    }

    /// Returns the time at which a datagram with this stamp arrived, since the load began, or
    /// nothing if no such datagram was sent by then. All threads have one clock, and read it when
    /// they begin a batch, before they send it, and again when they have received one.
    fn came_ns(&self, stamp: &Stamp, now_ns: u64) -> Option<u64> {
        let came_ns = self.run.since_start(now_ns)?;
        let is_sent = stamp.due_ns < self.run.end_ns && stamp.sent_ns() <= came_ns;
        is_sent.then_some(came_ns)
    }

    /// A greeting has come to a client; nothing in it says to which request.
    fn hear_greeting(&mut self, client: u32, now_ns: u64) {
        let Some(greeting) = self.all[client as usize].greeted() else {
            return self.count_stray(now_ns);
        };
        let Some(second) = self.recorder.second(greeting.due_ns) else {
            return;
        };
        if !greeting.is_recorded {
            return;
        }
        second.answered += 1;
        self.recorder.counts.answered += 1;
        if !greeting.is_matched {
            self.recorder.counts.unmatched += 1;
            return;
        }
        self.record_answer(greeting.due_ns, greeting.sent_ns, now_ns, true);
    }

    /// `is_closed`: a client that waits for each answer would have had this one.
    fn record_answer(&mut self, due_ns: u64, sent_ns: u64, now_ns: u64, is_closed: bool) {
        let now_ns = self.since_start(now_ns).unwrap_or(0);
        let from_send = now_ns.saturating_sub(sent_ns);
        let latencies = self.recorder.latencies();
        latencies
            .answer
            .saturating_record(now_ns.saturating_sub(due_ns));
        latencies.answer_from_send.saturating_record(from_send);
        if is_closed {
            latencies.answer_closed_loop.saturating_record(from_send);
        }
    }

    fn hear_other(
        &mut self,
        client: u32,
        received: Received<'_>,
        now_ns: u64,
        registration: &mut Registration,
    ) -> Result<(), RunError> {
        let is_greeting = self.run.config.scenario == Scenario::Greet;
        let is_joining = matches!(self.client(client).phase, Phase::Hello | Phase::Joining);
        match received {
            Received::Greeting if is_greeting && is_joining => {
                self.client(client).greeted_first();
                registration.joined(self, client);
            }
            Received::Greeting if is_greeting => self.hear_greeting(client, now_ns),
            Received::Echo if is_joining => return Err(RunError::NoCommands),
            Received::Greeting if is_joining => return Err(RunError::Greets),
            Received::Goodbye if self.has_recording_begun(now_ns) => {
                self.run.is_dismissed.store(true, Relaxed);
            }
            Received::Goodbye => return Err(RunError::Goodbye),
            // Once the load has begun, one who comes back asks again.
            Received::Refused(_)
                if self.client(client).phase == Phase::Joining && self.start_ns.is_some() => {}
            Received::Refused(text) if self.client(client).phase == Phase::Joining => {
                let mut printable = Vec::new();
                push_printable(text, usize::MAX, &mut printable);
                return Err(RunError::Refused(
                    String::from_utf8_lossy(&printable).into_owned(),
                ));
            }
            Received::Forgotten(session)
                if self.is_active(client) && self.client(client).session == Some(session) =>
            {
                self.pulse(client).forgotten();
            }
            Received::Limited(resource, per_second) => {
                let was_limited = std::mem::replace(&mut self.client(client).is_limited, true);
                if !was_limited {
                    self.run.note_limited(resource, per_second);
                }
            }
            Received::Challenge(token) => registration.prove(client, token),
            Received::Welcome(welcome) => registration.welcomed(self, client, welcome),
            Received::Joined(room, members) if self.checks_room(client, &room) => {
                self.note_members(client, members);
                self.hear_members(client, members);
            }
            Received::Members(room, members) => {
                if self.is_in(client, &room) {
                    self.hear_members(client, members);
                }
            }
            Received::Joined(room, _) if self.asks_for_room(client, &room) => {
                registration.joined(self, client);
            }
            Received::Room(room) => self.hear_room(client, &room, registration, now_ns),
            // Everybody begins in the lobby.
            Received::Joined(room, _) if is_joining && room.as_str() == wire::LOBBY => {}
            Received::Answer(stamp) if self.asks_with(client, &stamp) => {
                registration.joined(self, client);
            }
            _ => self.count_stray(now_ns),
        }
        Ok(())
    }

    /// The server has told a client the room that it is in.
    fn hear_room(
        &mut self,
        client: u32,
        room: &Room,
        registration: &mut Registration,
        now_ns: u64,
    ) {
        if self.asks_for_room(client, &room.name) {
            self.client(client).room = Some(room.number);
            return registration.joined(self, client);
        }
        match self.client(client).phase {
            // Everybody begins in the lobby.
            Phase::Hello | Phase::Joining if room.name.as_str() == wire::LOBBY => {}
            // The server had dropped it, and registered it again.
            Phase::Active => self.pulse(client).misrouted(),
            _ => self.count_stray(now_ns),
        }
    }

    /// Records how long the first packet of a batch had waited, as that of every one: the
    /// others had waited for less.
    fn record_hear_lag(&mut self, arrived: Option<Duration>, packets: usize, now_ns: u64) {
        if let Some(arrived) = arrived
            && self.is_recording(now_ns)
        {
            // The stamps are of the system's clock, which may be set back meanwhile.
            let waited = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + arrived);
            let waited_ns = nanoseconds(waited.unwrap_or_default());
            let receive_lag = &mut self.recorder.latencies().receive_lag;
            receive_lag.saturating_record_n(waited_ns, packets as u64);
        }
    }

    fn count_received(&mut self, bytes: usize, now_ns: u64) {
        if self.has_recording_begun(now_ns) {
            self.recorder.counts.received += 1;
            self.recorder.counts.received_bytes += bytes as u64;
        }
    }

    /// Counts a datagram by its arrival, since nothing in it says when it was due.
    fn count_stray(&mut self, now_ns: u64) {
        if self.has_recording_begun(now_ns) {
            self.recorder.counts.stray += 1;
        }
    }

    fn has_recording_begun(&self, now_ns: u64) -> bool {
        let elapsed_ns = self.run.since_start(now_ns);
        elapsed_ns.is_some_and(|elapsed_ns| self.recorder.has_begun(elapsed_ns))
    }
}

/// Packets in one turn at most, about 250 µs: what is due then does not wait for longer.
const HEARD_AT_ONCE: usize = 4 * RECEIVE_BATCH;

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
