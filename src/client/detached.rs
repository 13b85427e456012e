//! A session without a socket, a thread and a clock, for the simulator. `engine` is the same with them.

use std::time::Instant;

use super::config::SessionConfig;
use super::protocol::requests::Request;
use super::protocol::{Outgoing, Output, Protocol};
use super::ticket::{Responder, Ticket};
use crate::wire::{Name, RoomName};

/// The protocol of a session. The caller says what came and what time it is, and sends.
#[derive(Debug)]
pub struct Detached {
    protocol: Protocol,
    tickets: u64,
}

impl Detached {
    /// Returns a session that has sent nothing. `random` draws its random numbers.
    pub fn new(config: &SessionConfig, random: fn() -> u64, now: Instant) -> Self {
        Self {
            protocol: Protocol::new(config, random, now),
            tickets: 0,
        }
    }

    /// Takes a datagram from the server.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        self.protocol.handle_datagram(datagram, true, now);
    }

    /// Takes note that the session now sends from another address.
    pub fn handle_reroute(&mut self, now: Instant) {
        self.protocol.handle_reroute(now);
    }

    /// Writes the next datagram that is due to `out`. Returns false if there is none.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
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
    pub fn push_leave(&self, out: &mut Vec<u8>) -> bool {
        self.protocol.push_leave(out)
    }

    /// Says a text in its room.
    pub fn say(&mut self, text: &str) {
        self.send(Outgoing::Say {
            room: None,
            payload: text.into(),
            is_text: true,
        });
    }

    /// Takes a name.
    pub fn nick(&mut self, name: Name) {
        self.send(Outgoing::Request(Request::Name(name)));
    }

    /// Goes to a room.
    pub fn join(&mut self, room: RoomName) {
        self.send(Outgoing::Request(Request::Room(room)));
    }

    /// Receives another room, too.
    pub fn subscribe(&mut self, room: RoomName) {
        self.send(Outgoing::Request(Request::Subscribe(room)));
    }

    /// Asks for presence notices, or for their end.
    pub fn presence(&mut self, is_on: bool) {
        self.send(Outgoing::Request(Request::Presence(is_on)));
    }

    /// Returns true if the server is there.
    pub fn is_up(&self) -> bool {
        self.protocol.status().is_up
    }

    fn send(&mut self, command: Outgoing) {
        if self.protocol.has_space() {
            self.tickets += 1;
            let (responder, _ticket): (_, Ticket<()>) = Responder::new(self.tickets);
            self.protocol.handle_command(command, responder);
        }
    }
}
