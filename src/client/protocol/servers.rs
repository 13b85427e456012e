//! The server of the session, and the others that it may go to. No I/O, and no clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Protocol;
use super::identity::ATTEMPTS_V2;
use super::liveness::{Mode, with_jitter};
use crate::client::config::ProtocolVersion;
use crate::client::event::DownReason;
use crate::wire::HEARTBEAT;
use crate::wire::v2::{ClientFrame, MAX_OTHER_SERVERS, ServerList};

#[derive(Debug)]
pub(super) struct Servers {
    /// The server in use, by its first address, and the address in use.
    current: Option<(SocketAddr, SocketAddr)>,
    /// The server that the application believes to be in use.
    told: Option<SocketAddr>,
    /// The servers that the one in use has named.
    named: Vec<SocketAddr>,
    /// True if they have changed since they were taken.
    has_new: bool,
    /// True if there is another server to go to.
    has_others: bool,
    /// True if a server was there.
    was_up: bool,
    /// True if the operator has removed the client.
    is_removed: bool,
    /// The time to ask for the servers again.
    ask_at: Instant,
    last_sent: Instant,
}

impl Servers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            current: None,
            told: None,
            named: Vec::new(),
            has_new: false,
            has_others: false,
            was_up: false,
            is_removed: false,
            ask_at: now,
            last_sent: now,
        }
    }

    /// The server is there. Returns its address if it is another one than the application believes, and
    /// true if one was there before.
    pub(super) fn take_change(&mut self) -> Option<(SocketAddr, bool)> {
        self.is_removed = false;
        let was_up = std::mem::replace(&mut self.was_up, true);
        let (server, address) = self.current?;
        (self.told.replace(server) != Some(server)).then_some((address, was_up))
    }

    /// Returns true if the server in use is not the one that the application believes to be in use.
    pub(super) fn is_new(&self) -> bool {
        self.current.map(|(server, _)| server) != self.told
    }

    /// Notes that something was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// The operator has removed the client.
    pub(super) fn removed(&mut self) {
        self.is_removed = true;
    }

    /// The server refuses datagrams, so it does not remember that the client was removed.
    pub(super) fn refused(&mut self) {
        self.is_removed = false;
    }
}

impl Protocol {
    /// Begins with the server whose first address is `server`, at `address`. The application
    /// believes to be at `expected`.
    pub fn begin_at(
        &mut self,
        expected: Option<SocketAddr>,
        server: SocketAddr,
        address: SocketAddr,
    ) {
        self.servers.told = expected;
        self.servers.current = Some((server, address));
        self.membership.enter_server(Some(server));
    }

    /// The next attempt goes to `address` of the server whose first address is `server`. A
    /// [`Self::handle_reroute`] follows.
    pub fn change_way(&mut self, server: SocketAddr, address: SocketAddr) {
        let before = self.servers.current.replace((server, address));
        if before.is_some_and(|(before, _)| before != server) {
            self.membership.enter_server(Some(server));
            self.liveness.change_server();
            self.proof = None;
        }
    }

    /// Sets the number of addresses of all servers, if there are several.
    pub fn set_ways(&mut self, ways: usize, has_other_servers: bool) {
        self.servers.has_others = has_other_servers;
        let ways = if has_other_servers { ways } else { 1 };
        self.liveness
            .set_ways(u32::try_from(ways).unwrap_or(u32::MAX));
    }

    /// Returns the servers that the one in use has named, if they have changed.
    pub fn take_named(&mut self) -> Option<Vec<SocketAddr>> {
        let has_new = std::mem::take(&mut self.servers.has_new);
        has_new.then(|| self.servers.named.clone())
    }

    /// Returns true if the server has said that it stops.
    pub fn is_dismissed(&self) -> bool {
        self.liveness.down() == Some(&DownReason::Goodbye)
    }

    /// Returns true if the operator has removed the client, which must not go to another server
    /// of the same operator.
    pub fn is_removed(&self) -> bool {
        self.servers.is_removed
    }

    /// Takes the servers of a WELCOME. The first of them is drawn, so that the clients of a server
    /// that is gone do not all go to the same one.
    pub(super) fn take_servers(&mut self, list: ServerList<'_>, now: Instant) {
        let mut named: Vec<_> = list.iter().take(MAX_OTHER_SERVERS).collect();
        self.servers.ask_at = now + with_jitter(ASK_INTERVAL, self.liveness.random());
        let is_same = named.len() == self.servers.named.len()
            && named.iter().all(|it| self.servers.named.contains(it));
        if is_same {
            return;
        }
        if !named.is_empty() {
            let first = self.liveness.random() % named.len() as u64;
            named.rotate_left(first as usize);
        }
        self.servers.named = named;
        self.servers.has_new = true;
    }

    /// Writes a datagram that asks for the servers, or one that is refused if the server is gone. Returns
    /// false if neither is due.
    pub(super) fn push_server_probe(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.ask_timeout().is_some_and(|at| at <= now) {
            self.servers.ask_at = now + with_jitter(ASK_INTERVAL, self.liveness.random());
            // The options must not change what the path is asked for.
            if !self.path.is_asking() {
                let hello = self.hello(self.path.size(), true);
                self.push_frame(&ClientFrame::Hello(hello), out);
                return true;
            }
        }
        if self.probe_timeout().is_none_or(|at| at > now) {
            return false;
        }
        match self.liveness.mode() {
            Mode::V1 => out.extend_from_slice(HEARTBEAT),
            _ => self.push_heartbeat(out),
        }
        true
    }

    /// Requests the name at another server until the session has it, if it `had_server` before.
    pub(super) fn reclaim_name(
        &mut self,
        had_server: bool,
        version: ProtocolVersion,
        now: Instant,
    ) {
        if had_server {
            match version {
                ProtocolVersion::V1 => self.identity.reclaim(0, false, now),
                ProtocolVersion::V2 => self.identity.reclaim(ATTEMPTS_V2, true, now),
            }
        }
    }

    /// The time at which the name is due again.
    pub(super) fn name_timeout(&self) -> [Option<Instant>; 1] {
        let is_there = self.version().is_some() && !self.is_down();
        [self.identity.reclaim_timeout().filter(|_| is_there)]
    }

    /// The time at which [`Self::push_server_probe`] has something to send.
    pub(super) fn server_timeouts(&self) -> [Option<Instant>; 2] {
        [self.ask_timeout(), self.probe_timeout()]
    }

    fn ask_timeout(&self) -> Option<Instant> {
        let has_named = !self.servers.named.is_empty() && self.liveness.mode() == Mode::V2;
        has_named.then_some(self.servers.ask_at)
    }

    fn probe_timeout(&self) -> Option<Instant> {
        let is_there = self.version().is_some() && !self.is_down();
        (is_there && self.servers.has_others).then(|| self.servers.last_sent + PROBE_INTERVAL)
    }
}

/// Time between two questions for the servers. Nodes come and go seldom, and a client knows three.
const ASK_INTERVAL: Duration = Duration::from_secs(30);

/// Maximum time in which nothing is sent while there is another server to go to. If nothing listens on
/// the port of the server any more, only something that is sent shows it.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
