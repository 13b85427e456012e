//! The client's session at a server of version 2: its number, its room, and what a datagram must
//! carry to be believed. No I/O.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::wire::v2::{Move, Room, SessionId, Welcome};

#[derive(Debug)]
pub(super) struct Membership {
    /// The source of the nonces.
    random: fn() -> u64,
    /// The nonces of the last HELLOs without a session.
    nonces: VecDeque<u64>,
    /// The last session that the server gave, which it may still know, and its address.
    current: Option<Move>,
    /// The server in use, by its first address.
    server: Option<SocketAddr>,
    /// The last session in which the client was in a room, and its server.
    registered: Option<(Option<SocketAddr>, Move)>,
    /// The room that the client believes to be in.
    room: Option<Room>,
    /// The time at which the server is asked for the room, if it is.
    ask_at: Option<Instant>,
    /// The earliest time to ask again.
    next_ask: Instant,
}

/// Number in the header of a datagram that only the server and the client know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// The session of the client.
    Session,
    /// The nonce of one of the last HELLOs.
    Nonce,
}

impl Membership {
    pub(super) fn new(random: fn() -> u64, now: Instant) -> Self {
        Self {
            random,
            nonces: VecDeque::with_capacity(MAX_NONCES),
            current: None,
            server: None,
            registered: None,
            room: None,
            ask_at: None,
            next_ask: now,
        }
    }

    /// The last session that the server gave, which it may still know.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.current.map(|current| current.session)
    }

    /// The room that the client believes to be in.
    pub(super) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    /// Returns true if the client was in a room of the server before.
    pub(super) fn was_registered(&self) -> bool {
        self.registered_here().is_some()
    }

    /// The session whose name and rooms the current one is to take over.
    pub(super) fn former(&self) -> Option<Move> {
        let is_former = |former: &Move| self.session() != Some(former.session);
        self.registered_here().filter(is_former)
    }

    /// The last session in which the client was in a room of the server. Other servers do not know it.
    fn registered_here(&self) -> Option<Move> {
        let (server, registered) = self.registered?;
        (server == self.server).then_some(registered)
    }

    /// The client goes to this server. The answers to earlier HELLOs come from another one.
    pub(super) fn enter_server(&mut self, server: Option<SocketAddr>) {
        self.server = server;
        self.nonces.clear();
    }

    /// Returns the nonce of the next HELLO. One that belongs to no session is answered with it.
    pub(super) fn take_nonce(&mut self, has_session: bool) -> u64 {
        let nonce = (self.random)();
        if !has_session {
            self.nonces.truncate(MAX_NONCES - 1);
            self.nonces.push_front(nonce);
        }
        nonce
    }

    /// Returns what the number in the header of a datagram of the server is. `None` stands for a
    /// datagram that anybody can have sent.
    pub(super) fn credential(&self, receiver: u64) -> Option<Credential> {
        if self.session().is_some_and(|own| own.get() == receiver) {
            return Some(Credential::Session);
        }
        let is_nonce = self.nonces.contains(&receiver);
        is_nonce.then_some(Credential::Nonce)
    }

    /// The server has given a session. Returns true if it is another one than before.
    pub(super) fn welcomed(&mut self, welcome: &Welcome<'_>) -> bool {
        let is_new = self.session() != Some(welcome.session);
        self.current = Some(Move {
            session: welcome.session,
            address: welcome.address,
        });
        is_new
    }

    /// The client is in this room. Returns true if the room has begun again since the client was
    /// in it.
    pub(super) fn entered(&mut self, room: Room) -> bool {
        self.registered = self.current.map(|current| (self.server, current));
        let has_begun_again =
            |last: &Room| last.number == room.number && last.incarnation != room.incarnation;
        self.ask_at = None;
        self.room
            .replace(room)
            .is_some_and(|last| has_begun_again(&last))
    }

    /// The server does not know the session any more.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.room = None;
        self.ask_at = None;
    }

    /// The server stops, and the next one knows nothing of it.
    pub(super) fn stopped(&mut self) {
        self.forget();
        self.registered = None;
    }

    /// A message of a room came in which the client does not believe to be.
    pub(super) fn foreign_message(&mut self, now: Instant) {
        self.ask_at.get_or_insert(self.next_ask.max(now));
    }

    /// Returns true if the server is to be asked for the room now.
    pub(super) fn take_ask(&mut self, now: Instant) -> bool {
        let is_due = self.ask_at.is_some_and(|at| at <= now);
        if is_due {
            self.ask_at = None;
            self.next_ask = now + ASK_INTERVAL;
        }
        is_due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ask_at
    }
}

/// The HELLOs of more than a round trip across the world.
const MAX_NONCES: usize = 8;

/// Minimum time between two questions for the room.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
