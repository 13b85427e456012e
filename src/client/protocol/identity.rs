//! The session's name, room and subscription, which are requested again from a server that does
//! not know the session any more. No I/O, and no clock.
//!
//! The name and the room of the configuration are requested in every new session, until the
//! server has confirmed others. From then on, those are. A request that is not confirmed is
//! repeated with the next heartbeats: it may be lost, and the name may still belong to the
//! previous session of this client, which expires soon.

use std::fmt::Display;
use std::net::SocketAddr;

use crate::wire::{DisplayName, LOBBY, Name, RoomName};

/// A session's name and room.
#[derive(Debug)]
pub(crate) struct Identity {
    name: Wish<Name>,
    room: Wish<RoomName>,
    /// `on`, or nothing.
    presence: Wish<&'static str>,
    /// The sentences of refusals that the application has received.
    refusals: Vec<String>,
    /// The address that the session sends from, as far as this host knows.
    address: Option<SocketAddr>,
    /// True if the server has shown that it knows the session by this address.
    is_address_shown: bool,
}

#[derive(Debug)]
struct Wish<T> {
    /// The value that every new session requests.
    standing: Option<T>,
    /// The value that the application has requested, and the server has not confirmed.
    requested: Option<T>,
    /// The value that the server has confirmed in this session.
    confirmed: Option<T>,
    /// The number of times that `standing` may still be requested in this session.
    attempts: u32,
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

    /// The session sends from this address, as far as this host knows.
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
            DisplayName::Name(from) => {
                let may_be_own = [self.name.requested, self.name.standing].contains(&Some(from));
                return if may_be_own {
                    Origin::Unclear
                } else {
                    Origin::Other
                };
            }
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

    /// Makes what was confirmed due once more, because the server may have forgotten it.
    pub(super) fn check(&mut self) {
        self.name.is_due |= self.name.check();
        self.room.is_due |= self.room.check();
    }

    /// A heartbeat was sent. What is not confirmed is due again.
    pub(super) fn beat(&mut self) {
        self.name.is_due = self.name.attempts > 0;
        self.room.is_due = self.room.attempts > 0;
        self.presence.is_due = self.presence.attempts > 0;
    }

    /// Returns the next command that is due, and counts it as sent.
    pub(super) fn take_due(&mut self) -> Option<String> {
        let name = self.name.take_due(NICK);
        let room = || self.room.take_due(JOIN);
        name.or_else(room)
            .or_else(|| self.presence.take_due(PRESENCE))
    }

    /// The application requests a name, which counts more than that of the configuration.
    pub(super) fn request_name(&mut self, name: Name) {
        self.refusals.clear();
        self.name.request(Some(name));
    }

    pub(super) fn request_room(&mut self, room: RoomName) {
        self.refusals.clear();
        self.room.request(Some(room));
    }

    /// Someone said this text. If it is a command of this session, the server knows no
    /// commands, and must not be asked again.
    pub(super) fn text_received(&mut self, text: &[u8]) {
        self.name.text_received(NICK, text);
        self.room.text_received(JOIN, text);
        self.presence.text_received(PRESENCE, text);
    }

    pub(super) fn named(&mut self, name: Name) -> Confirmation {
        if self.name.requested != Some(name) && self.name.standing != Some(name) {
            return Confirmation::Unrequested;
        }
        self.name.confirm(name)
    }

    pub(super) fn entered(&mut self, room: RoomName) -> Confirmation {
        let confirmation = self.room.confirm(room);
        // Every session begins there.
        if room.as_str().eq_ignore_ascii_case(LOBBY) {
            self.room.standing = None;
        }
        confirmation
    }

    pub(super) fn subscribed(&mut self, is_on: bool) -> Confirmation {
        let confirmation = self.presence.confirm(if is_on { "on" } else { "off" });
        if !is_on {
            self.presence.standing = None;
        }
        confirmation
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
}

impl<T: Copy + Display + PartialEq> Wish<T> {
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
        self.is_due = self.attempts > 0;
    }

    fn check(&self) -> bool {
        self.confirmed.is_some() && self.confirmed == self.standing
    }

    fn take_due(&mut self, verb: &str) -> Option<String> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        self.attempts = self.attempts.saturating_sub(1);
        self.standing.map(|standing| format!("{verb}{standing}"))
    }

    fn request(&mut self, requested: Option<T>) {
        self.requested = requested;
        self.stop();
    }

    fn confirm(&mut self, confirmed: T) -> Confirmation {
        let before = self.confirmed.replace(confirmed);
        self.requested = None;
        self.standing = Some(confirmed);
        self.stop();
        match before == Some(confirmed) {
            true => Confirmation::Known,
            false => Confirmation::Changed,
        }
    }

    fn text_received(&mut self, verb: &str, text: &[u8]) {
        // This is called for each message, and seldom needed.
        if self.attempts > 0
            && let Some(standing) = self.standing
            && text == format!("{verb}{standing}").as_bytes()
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

const NICK: &str = "/nick ";
const JOIN: &str = "/join ";
const PRESENCE: &str = "/presence ";

#[cfg(test)]
mod tests;
