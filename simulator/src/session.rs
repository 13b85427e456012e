//! A session of the client library, without a socket, a thread and a clock.

use std::time::Instant;

use bullhorn::client::SessionConfig;
use bullhorn::client::protocol::{Outgoing, Output, Protocol, Request, Responder};
use bullhorn::wire::{Name, RoomName};

/// The protocol of a session. The caller says what came and what time it is, and sends.
#[derive(Debug)]
pub(crate) struct Session {
    protocol: Protocol,
    tickets: u64,
}

impl Session {
    /// Returns a session that has sent nothing. `random` draws its random numbers.
    pub(crate) fn new(config: &SessionConfig, random: fn() -> u64, now: Instant) -> Self {
        Self {
            protocol: Protocol::new(config, random, now),
            tickets: 0,
        }
    }

    /// Takes a datagram from the server.
    pub(crate) fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        self.protocol.handle_datagram(datagram, true, now);
    }

    /// Takes note that the session now sends from another address.
    pub(crate) fn handle_reroute(&mut self, now: Instant) {
        self.protocol.handle_reroute(now);
    }

    /// Writes the next datagram that is due to `out`. Returns false if there is none.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.protocol.handle_timeout(now, false);
        let is_due = self.protocol.poll_transmit(now, out);
        while let Some(output) = self.protocol.poll_output() {
            if let Output::Result(responder, result) = output {
                responder.respond(result);
            }
        }
        is_due
    }

    /// Writes the datagram that leaves the server to `out`. Returns false if there is none.
    pub(crate) fn push_leave(&self, out: &mut Vec<u8>) -> bool {
        self.protocol.push_leave(out)
    }

    /// Says a text in its room.
    pub(crate) fn say(&mut self, text: &str) {
        self.send(Outgoing::Say {
            room: None,
            payload: text.into(),
            is_text: true,
        });
    }

    /// Takes a name.
    pub(crate) fn nick(&mut self, name: Name) {
        self.send(Outgoing::Request(Request::Name(name)));
    }

    /// Goes to a room.
    pub(crate) fn join(&mut self, room: RoomName) {
        self.send(Outgoing::Request(Request::Room(room)));
    }

    /// Receives another room, too.
    pub(crate) fn subscribe(&mut self, room: RoomName) {
        self.send(Outgoing::Request(Request::Subscribe(room)));
    }

    /// Asks for presence notices, or for their end.
    pub(crate) fn presence(&mut self, is_on: bool) {
        self.send(Outgoing::Request(Request::Presence(is_on)));
    }

    /// Returns true if the server is there.
    pub(crate) fn is_up(&self) -> bool {
        self.protocol.status().is_up
    }

    fn send(&mut self, command: Outgoing) {
        if self.protocol.has_space() {
            self.tickets += 1;
            let (responder, _) = Responder::new::<()>(self.tickets);
            self.protocol.handle_command(command, responder);
        }
    }
}
