//! The session's name, room and subscription, which are requested again from a server that does
//! not know the session any more. No I/O, and no clock.
//!
//! The name and the room of the configuration are requested in every new session, until the
//! server has confirmed others. From then on, those are. A request that is not confirmed is
//! repeated with the next heartbeats: it may be lost, and the name may still belong to the
//! previous session of this client, which expires soon.

use std::net::SocketAddr;
use std::time::Instant;

use super::reclaim::Reclaim;
use super::requests::Request;
use crate::wire::{DisplayName, LOBBY, Name, Reply, RoomName};

/// A session's name and room.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) name: Wish<Name>,
    room: Wish<RoomName>,
    presence: Wish<bool>,
    /// The requests for the name at another server than before.
    pub(super) reclaim: Option<Reclaim>,
    /// The sentences of refusals that the application has received.
    refusals: Vec<String>,
    /// The address that the session sends from, as far as this host knows.
    address: Option<SocketAddr>,
    /// True if the server has shown that it knows the session by this address.
    is_address_shown: bool,
}

#[derive(Debug)]
pub(super) struct Wish<T> {
    /// The value that every new session requests.
    pub(super) standing: Option<T>,
    /// The value that the application has requested, and the server has not confirmed.
    requested: Option<T>,
    /// The value that the server has confirmed in this session.
    confirmed: Option<T>,
    /// The number of times that `standing` may still be requested in this session.
    pub(super) attempts: u32,
    is_due: bool,
}

/// Result of a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// The value is another one than before.
    Changed,
    /// The server has confirmed this before.
    Known,
    /// The session did not request it.
    Unrequested,
}

/// Origin of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Own,
    /// This session or another peer.
    Unclear,
    Other,
}

impl Identity {
    pub(crate) fn new(name: Option<Name>, room: Option<RoomName>) -> Self {
        Self {
            name: Wish::new(name),
            room: Wish::new(room),
            presence: Wish::new(None),
            reclaim: None,
            refusals: Vec::new(),
            address: None,
            is_address_shown: false,
        }
    }

    /// The name that the server has confirmed in this session.
    pub(crate) fn name(&self) -> Option<Name> {
        self.name.confirmed
    }

    /// The room that the server has confirmed in this session.
    pub(crate) fn room(&self) -> Option<RoomName> {
        self.room.confirmed
    }

    /// Returns true if the server confirmed last that the session is in this room.
    pub(super) fn is_in(&self, room: &RoomName) -> bool {
        match self.room.confirmed {
            Some(confirmed) => confirmed.folded() == room.folded(),
            None => room.as_str().eq_ignore_ascii_case(LOBBY),
        }
    }

    /// The room of the session if the server does what it was asked for last. `None` for the lobby.
    pub(super) fn expected_room(&self) -> Option<RoomName> {
        let room = self.room.requested.or(self.room.standing);
        let room = room.or(self.room.confirmed);
        room.filter(|room| !room.as_str().eq_ignore_ascii_case(LOBBY))
    }

    /// The address that the session sends from, as far as this host knows.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(super) fn set_address(&mut self, address: Option<SocketAddr>) {
        self.address = address;
        self.is_address_shown = false;
    }

    /// Returns the origin of a message from this sender. The reply that confirms a name may
    /// have been lost, or come later. An address may be translated on the way to the server.
    pub(super) fn origin(&mut self, from: DisplayName) -> Origin {
        let from = match from {
            DisplayName::Address(from) => from,
            DisplayName::Name(from) if self.name.confirmed == Some(from) => return Origin::Own,
            DisplayName::Name(from) if self.is_wanted(from) => return Origin::Unclear,
            DisplayName::Name(_) => return Origin::Other,
        };
        // The scope of an address is only known on its own host.
        let parts = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        if self.address.map(parts) == Some(parts(from)) {
            self.is_address_shown = true;
            return Origin::Own;
        }
        match self.is_address_shown {
            true => Origin::Other,
            false => Origin::Unclear,
        }
    }

    /// The server does not know the session. Each value may be requested `attempts` times.
    pub(super) fn renew(&mut self, attempts: u32) {
        self.name.renew(attempts);
        self.room.renew(attempts);
        self.presence.renew(attempts);
        self.refusals.clear();
    }

    /// The session has another number or address. The server may have taken over its name, which is
    /// requested up to `attempts` times to make sure. The room is told by the server.
    pub(super) fn recheck(&mut self, attempts: u32) {
        self.name.recheck(attempts);
        self.presence.recheck(attempts);
        self.room.recheck(0);
        self.refusals.clear();
    }

    /// Makes what was confirmed due once more, because the server may have forgotten it.
    pub(super) fn check(&mut self) {
        self.name.check();
        self.room.check();
    }

    /// A heartbeat was sent. What is not confirmed is due again.
    pub(super) fn beat(&mut self) {
        if self.reclaim.is_none() {
            self.name.beat();
        }
        self.room.beat();
        self.presence.beat();
    }

    /// Returns the next request that is due, and counts it as sent.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Request> {
        self.reclaim_due(now);
        let name = self.name.take_due().map(Request::Name);
        if name.is_some() {
            self.reclaim_sent(now);
        }
        let room = || self.room.take_due().map(Request::Room);
        let presence = || self.presence.take_due().map(Request::Presence);
        name.or_else(room).or_else(presence)
    }

    /// The application requests a name or a room, which counts more than those of the
    /// configuration.
    pub(super) fn requested(&mut self, request: &Request) {
        match request {
            Request::Name(name) => {
                self.end_reclaim();
                self.name.request(*name);
            }
            Request::Room(room) => self.room.request(*room),
            _ => return,
        }
        self.refusals.clear();
    }

    /// Someone said this text. If it is a command of this session, the server knows no
    /// commands, and must not be asked again.
    pub(super) fn text_received(&mut self, text: &[u8]) {
        self.name.text_received(Request::Name, text);
        self.room.text_received(Request::Room, text);
        self.presence.text_received(Request::Presence, text);
    }

    /// Takes a reply of the server. It answers a request of the application if `is_answer`.
    pub(super) fn replied(&mut self, reply: &Reply<'_>, is_answer: bool) -> Confirmation {
        match *reply {
            Reply::Named(name) | Reply::NamedUnconfirmed(name)
                if is_answer || self.is_wanted(name) =>
            {
                self.end_reclaim();
                self.name.confirm(name)
            }
            Reply::Entered { room, .. } => self.entered(room),
            Reply::Subscribed(is_on) => {
                let confirmation = self.presence.confirm(is_on);
                self.presence.standing = is_on.then_some(true);
                confirmation
            }
            _ => Confirmation::Unrequested,
        }
    }

    /// The server refuses a name. If the session had it, it was not taken over.
    pub(super) fn name_taken(&mut self, name: Name) {
        self.name.confirmed = self.name.confirmed.filter(|own| *own != name);
    }

    /// Another peer of the cluster has the name. It is not requested again. Returns true if the
    /// session had it.
    pub(super) fn name_lost(&mut self, name: Name) -> bool {
        let had_it = self.name.confirmed == Some(name);
        if self.name.standing == Some(name) {
            self.end_reclaim();
            self.name.standing = None;
            self.name.stop();
        }
        self.name.confirmed = self.name.confirmed.filter(|own| *own != name);
        had_it
    }

    /// The server says that the session is in this room. Every session begins in the lobby, so
    /// another room is requested again, and the lobby is no change at the beginning.
    pub(super) fn entered(&mut self, room: RoomName) -> Confirmation {
        let is_lobby = |room: &RoomName| room.as_str().eq_ignore_ascii_case(LOBBY);
        if !is_lobby(&room) {
            return self.room.confirm(room);
        }
        let is_requested = self.room.requested.as_ref().is_some_and(is_lobby);
        if self.room.standing.is_some() && !is_requested {
            if self.room.attempts == 0 {
                self.room.renew(ATTEMPTS_V2);
            }
            return Confirmation::Unrequested;
        }
        let is_first = self.room.confirmed.is_none() && !is_requested;
        let confirmation = self.room.confirm(room);
        self.room.standing = None;
        match is_first {
            true => Confirmation::Known,
            false => confirmation,
        }
    }

    /// Returns true if the server refused the same before, and the session only repeats its
    /// request.
    pub(super) fn is_repeated_refusal(&mut self, sentence: &str) -> bool {
        if self.name.confirmed.is_some() && self.room.confirmed.is_some() {
            return false;
        }
        if self.refusals.iter().any(|refusal| refusal == sentence) {
            return true;
        }
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push(sentence.to_owned());
        }
        false
    }

    fn is_wanted(&self, name: Name) -> bool {
        [self.name.requested, self.name.standing].contains(&Some(name))
    }
}

impl<T: Copy + PartialEq> Wish<T> {
    fn new(standing: Option<T>) -> Self {
        Self {
            standing,
            requested: None,
            confirmed: None,
            attempts: 0,
            is_due: false,
        }
    }

    fn renew(&mut self, attempts: u32) {
        self.requested = None;
        self.confirmed = None;
        self.attempts = if self.standing.is_some() { attempts } else { 0 };
        self.beat();
    }

    fn recheck(&mut self, attempts: u32) {
        let confirmed = self.confirmed;
        self.renew(attempts);
        self.confirmed = confirmed;
    }

    fn beat(&mut self) {
        self.is_due = self.attempts > 0;
    }

    fn check(&mut self) {
        self.is_due |= self.confirmed.is_some() && self.confirmed == self.standing;
    }

    /// Makes the value due, up to `attempts` times.
    pub(super) fn make_due(&mut self, attempts: u32) {
        self.attempts = attempts;
        self.beat();
    }

    fn take_due(&mut self) -> Option<T> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        self.attempts = self.attempts.saturating_sub(1);
        self.standing
    }

    fn request(&mut self, requested: T) {
        self.requested = Some(requested);
        self.stop();
    }

    fn confirm(&mut self, confirmed: T) -> Confirmation {
        let before = self.confirmed.replace(confirmed);
        if self.requested == Some(confirmed) {
            self.requested = None;
        }
        self.standing = Some(confirmed);
        self.stop();
        match before == Some(confirmed) {
            true => Confirmation::Known,
            false => Confirmation::Changed,
        }
    }

    fn text_received(&mut self, request: fn(T) -> Request, text: &[u8]) {
        // This is called for each message, and seldom needed.
        if self.attempts > 0
            && let Some(standing) = self.standing
            && request(standing).is_command(text)
        {
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.attempts = 0;
        self.is_due = false;
    }
}

/// Number of requests in version 2. With heartbeats every 5 s they take longer than a server
/// remembers a session that ended without a word, which is 10 s.
pub(super) const ATTEMPTS_V2: u32 = 4;

/// Number of requests in version 1. A server that knows no commands tells them to everyone.
pub(super) const ATTEMPTS_V1: u32 = 1;

/// One for the name, and one for the room.
const MAX_REFUSALS: usize = 2;

#[cfg(test)]
mod tests;
