//! A client's side of the protocol, in both versions. No I/O, and no clock: the caller says
//! what came and what time it is.
//!
//! ```text
//!  handle_command ──▶ queue ──▶ poll_transmit      liveness  is the server there
//!  handle_datagram ─▶ ... ────▶ poll_output        identity  name and room
//!  handle_timeout ◀── poll_timeout                 requests, echoes  what is unanswered
//!                                                  path  how long datagrams may be
//!                                                  membership  session and room of version 2
//!                                                  servers, reclaim  another server, and the name there
//!                                                  subscriptions  more rooms
//!                                                  proof  of the address, in version 1
//!                                                  limits  of texts, bytes and work
//! ```
//!
//! With [`ProtocolChoice::Auto`] the server is greeted in version 2. A server that knows only
//! version 1 does not answer, and is then spoken to in version 1. When it was down it may be
//! another server, and is greeted again. Texts wait until the version is known.

mod echoes;
mod frames;
mod identity;
mod limits;
mod lines;
mod liveness;
mod membership;
mod path;
mod proof;
mod receive;
mod reclaim;
pub(crate) mod requests;
mod servers;
mod subscriptions;
mod transmit;
mod unanswered;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use self::echoes::Said;
use self::identity::{ATTEMPTS_V1, Identity};
use self::limits::Limits;
use self::liveness::{Liveness, Mode};
use self::membership::Membership;
use self::path::Path;
use self::proof::Proof;
use self::requests::Asked;
use self::servers::Servers;
use self::subscriptions::Subscriptions;
use self::unanswered::Unanswered;
use super::config::{ProtocolChoice, ProtocolVersion, SessionConfig};
use super::event::{Answer, DownReason, Event, RequestError};
use super::loss::Sequences;
use super::shared::SessionStats;
use crate::wire::{Name, RoomName};

pub use self::requests::Request;
pub use super::ticket::Responder;

#[derive(Debug)]
pub struct Protocol {
    config: SessionConfig,
    liveness: Liveness,
    path: Path,
    identity: Identity,
    /// The texts and requests that have not been sent.
    queue: VecDeque<(Outgoing, Responder)>,
    /// The datagrams that go out before anything from the queue: those of one beat, and of one
    /// step of `path`.
    due: VecDeque<Vec<u8>>,
    requests: Unanswered<Asked>,
    texts: Unanswered<Said>,
    outputs: VecDeque<Output>,
    /// The last [`Event::Up`] or [`Event::Down`].
    told: Option<Event>,
    membership: Membership,
    subscriptions: Subscriptions,
    limits: Limits,
    servers: Servers,
    /// The last proof of the address to a server of version 1.
    proof: Option<Proof>,
    /// The number of HELLOs that still go with heartbeats of version 1, as only a line has told
    /// that the server speaks it.
    hellos_left: u32,
    /// The time at which a v1 server last confirmed the name and the room.
    identity_checked_at: Instant,
    losses: Sequences,
    /// The number of pings of the session itself.
    pings: u64,
    stats: SessionStats,
}

/// The state of a session, which its application can read at any time.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub is_up: bool,
    pub down: Option<DownReason>,
    pub version: Option<ProtocolVersion>,
    pub name: Option<Name>,
    pub room: Option<RoomName>,
    pub local_addr: Option<SocketAddr>,
    pub texts_per_second: Option<u32>,
    pub stats: SessionStats,
}

/// Something that the application wants to send.
#[derive(Debug)]
pub enum Outgoing {
    /// A payload to a room, or to the session's own. Version 1 can say it if it `is_text`.
    Say {
        room: Option<RoomName>,
        payload: Vec<u8>,
        is_text: bool,
    },
    Request(Request),
}

/// Something for the application.
#[derive(Debug)]
pub enum Output {
    Event(Event),
    /// The result that a ticket waits for.
    Result(Responder, Result<Answer, RequestError>),
}

impl Protocol {
    /// Returns a protocol that has sent nothing. `random` is the source of the jitter.
    pub fn new(config: &SessionConfig, random: fn() -> u64, now: Instant) -> Self {
        let config = config.clamped();
        let mode = match config.protocol {
            ProtocolChoice::V1 => Mode::V1,
            ProtocolChoice::Auto | ProtocolChoice::V2 => Mode::Greeting { hellos: 0 },
        };
        let mut identity = Identity::new(config.nick, config.room);
        if mode == Mode::V1 {
            identity.renew(ATTEMPTS_V1);
        }
        Self {
            liveness: Liveness::new(mode, config.clone(), random, now),
            path: Path::new(random, now),
            config,
            identity,
            queue: VecDeque::new(),
            due: VecDeque::new(),
            requests: Unanswered::default(),
            texts: Unanswered::default(),
            outputs: VecDeque::new(),
            told: None,
            membership: Membership::new(random, now),
            subscriptions: Subscriptions::default(),
            limits: Limits::default(),
            servers: Servers::new(now),
            proof: None,
            hellos_left: 0,
            identity_checked_at: now,
            losses: Sequences::default(),
            pings: 0,
            stats: SessionStats::default(),
        }
    }

    pub fn status(&self) -> Status {
        let mut stats = self.stats;
        stats.messages = self.losses.total();
        Status {
            is_up: self.liveness.is_up(),
            down: self.liveness.down().cloned(),
            version: self.version(),
            name: self.identity.name(),
            room: self.identity.room(),
            local_addr: self.identity.address(),
            texts_per_second: self.limits.texts_per_second(),
            stats,
        }
    }

    /// Returns true if another command may be handed over.
    pub fn has_space(&self) -> bool {
        self.queue.len() < MAX_QUEUED
            && self.texts.len() < MAX_UNECHOED
            && self.requests.len() < MAX_UNANSWERED
    }

    /// Returns true if something waits to be sent.
    pub fn is_holding(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes a text or a request, to be sent when the version is known.
    pub fn handle_command(&mut self, command: Outgoing, responder: Responder) {
        match self.liveness.down() {
            Some(reason) if self.version().is_none() => {
                let error = RequestError::Down(reason.clone());
                self.refuse(command, responder, error);
            }
            _ => self.queue.push_back((command, responder)),
        }
    }

    /// Puts commands before those that wait.
    fn queue_first(&mut self, commands: Vec<(Outgoing, Responder)>) {
        for command in commands.into_iter().rev() {
            self.queue.push_front(command);
        }
    }

    /// Takes a datagram. It proves that the server is there if `is_proof`. Returns false if it was
    /// dropped, as somebody else may have sent it.
    pub fn handle_datagram(&mut self, datagram: &[u8], is_proof: bool, now: Instant) -> bool {
        let is_taken = match self.is_line(datagram) {
            true => self.handle_line(datagram, is_proof, now),
            false => self.handle_frames(datagram, now),
        };
        self.update(now);
        is_taken
    }

    /// Notes that the network refused something that was sent.
    pub fn handle_refusal(&mut self, kind: io::ErrorKind, now: Instant) {
        self.liveness.refused(kind, now);
        self.servers.refused();
        self.update(now);
    }

    /// Sets the address that the session sends from. By it, the session knows its own texts.
    pub fn set_local_addr(&mut self, address: Option<SocketAddr>) {
        self.identity.set_address(address);
    }

    /// Begins anew, as the session now sends from another address, or to another one, and the
    /// server does not know it.
    pub fn handle_reroute(&mut self, now: Instant) {
        self.path.replace(now);
        match self.liveness.mode() {
            // With each attempt, the server is greeted as well.
            Mode::V1 => self.fall_back(now),
            Mode::V2 | Mode::Joining { .. } | Mode::Greeting { .. } => self.greet(now),
        }
    }

    /// Returns true if the server lets the session take its name and rooms to another address.
    pub fn can_move(&self) -> bool {
        self.membership.was_registered() && self.liveness.mode() != Mode::V1
    }

    /// Draws the conclusions from the time that has passed. Returns true if nobody answered
    /// at this address, and the session should go on to `has_other_address`.
    pub fn handle_timeout(&mut self, now: Instant, has_other_address: bool) -> bool {
        self.liveness.handle_timeout(now);
        if self.liveness.is_greeted_in_vain(now) {
            if has_other_address {
                return true;
            }
            // A server that has given a session speaks version 2, until it was down.
            let may_be_v1 = self.is_down() || self.stats.sessions == 0;
            if self.config.protocol == ProtocolChoice::Auto && may_be_v1 {
                self.liveness.presume_started();
                self.fall_back(now);
            } else if !self.is_down() {
                self.liveness.not_greeted(now);
            }
        }
        // The application is told that the server is down before it is told of the texts.
        self.update(now);
        for asked in self.requests.expire(now) {
            self.answer(asked.responder, Err(RequestError::NoAnswer));
        }
        let texts = self.texts.expire(now);
        let (lost, delivered): (_, Vec<_>) = texts.into_iter().partition(|said| said.is_echoed);
        let lost = self.repeat(lost);
        self.fail_texts(lost, true, &RequestError::NoAnswer);
        let delivered = delivered
            .into_iter()
            .map(|said| (said.responder, Ok(Answer::Done)));
        self.outputs
            .extend(delivered.map(|(responder, result)| Output::Result(responder, result)));
        false
    }

    /// The time at which [`Self::handle_timeout`] or [`Self::poll_transmit`] has something to
    /// do.
    pub fn poll_timeout(&self) -> Instant {
        let expiries = [
            self.requests.poll_timeout(),
            self.texts.poll_timeout(),
            self.limits.poll_timeout(),
        ];
        let of_v2 = match self.liveness.mode() {
            Mode::V2 => [
                Some(self.path.poll_timeout()),
                self.membership.poll_timeout(),
                self.subscriptions.poll_timeout(),
            ],
            _ => [None; 3],
        };
        let timeout = self.liveness.poll_timeout();
        let others = expiries.into_iter().chain(of_v2);
        let others = others
            .chain(self.server_timeouts())
            .chain(self.name_timeout());
        let others = others.flatten();
        others.fold(timeout, Instant::min)
    }

    /// Returns what the application is to receive next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn is_down(&self) -> bool {
        self.liveness.down().is_some()
    }

    /// Returns true if the next attempt is due, and may take another way. It may not as long as
    /// the last one seems to have reached a server.
    pub fn may_reroute(&self, now: Instant) -> bool {
        let is_joining = matches!(self.liveness.mode(), Mode::Joining { .. });
        let is_hopeful = is_joining || self.liveness.is_hopeful();
        self.is_down() && !is_hopeful && self.liveness.is_beat_due(now)
    }

    /// Fails everything that waits, at the end of the session.
    pub fn end(&mut self) {
        self.fail_queue(&RequestError::Ended);
        self.fail_sent(&RequestError::Ended);
    }

    fn version(&self) -> Option<ProtocolVersion> {
        match self.liveness.mode() {
            Mode::V1 => Some(ProtocolVersion::V1),
            Mode::V2 => Some(ProtocolVersion::V2),
            Mode::Greeting { .. } | Mode::Joining { .. } => None,
        }
    }

    /// Begins to speak version 1.
    fn fall_back(&mut self, now: Instant) {
        self.liveness.speak_v1(now);
        self.identity.renew(ATTEMPTS_V1);
    }

    fn greet(&mut self, now: Instant) {
        self.liveness.greet(now);
        self.membership.forget();
    }

    /// Tells the application what has changed, and drops what cannot be delivered any more.
    fn update(&mut self, now: Instant) {
        let was_down = matches!(self.told, Some(Event::Down(_)));
        if let Some(reason) = self.liveness.down().cloned() {
            let error = RequestError::Down(reason.clone());
            if !was_down {
                self.tell(Event::Down(reason));
                self.fail_sent(&error);
            }
            // Nobody knows when the server will be back, and if they still make sense then. In
            // version 1 a text may bring the news that it is.
            if self.liveness.mode() != Mode::V1 {
                self.fail_queue(&error);
            }
        } else if let Some(version) = self.version()
            && self.liveness.is_up()
            && self.told != Some(Event::Up(version))
        {
            if was_down && version == ProtocolVersion::V1 {
                self.identity.renew(ATTEMPTS_V1);
                self.limits = Limits::default();
            }
            if let Some((address, was_up)) = self.servers.take_change() {
                self.push_event(Event::ServerChanged(address));
                self.reclaim_name(was_up, version, now);
            }
            self.tell(Event::Up(version));
        }
    }

    fn tell(&mut self, event: Event) {
        self.told = Some(event.clone());
        self.push_event(event);
    }

    fn push_event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Gives a request its result. Nobody waits for that of a ping of the session itself.
    fn answer(&mut self, responder: Option<Responder>, result: Result<Answer, RequestError>) {
        if let Some(responder) = responder {
            self.push_event(Event::Answer {
                ticket: responder.id,
                result: result.clone(),
            });
            self.outputs.push_back(Output::Result(responder, result));
        }
    }

    fn fail_texts(&mut self, texts: Vec<Said>, were_sent: bool, error: &RequestError) {
        if texts.is_empty() {
            return;
        }
        let texts = texts.into_iter().map(|said| (said.payload, said.responder));
        let (payloads, responders): (_, Vec<_>) = texts.unzip();
        self.push_event(Event::Undelivered {
            payloads,
            were_sent,
        });
        let failed = |responder| Output::Result(responder, Err(error.clone()));
        self.outputs.extend(responders.into_iter().map(failed));
    }

    /// Fails what was sent and is not answered.
    fn fail_sent(&mut self, error: &RequestError) {
        let texts = self.texts.take_all();
        self.fail_texts(texts, true, error);
        for asked in self.requests.take_all() {
            self.answer(asked.responder, Err(error.clone()));
        }
    }

    /// Fails what was not sent.
    fn fail_queue(&mut self, error: &RequestError) {
        while let Some((command, responder)) = self.queue.pop_front() {
            self.refuse(command, responder, error.clone());
        }
    }

    fn refuse(&mut self, command: Outgoing, responder: Responder, error: RequestError) {
        self.stats.unsent += 1;
        match command {
            Outgoing::Say { payload, .. } => {
                self.fail_texts(vec![Said::new(None, payload, responder)], false, &error);
            }
            Outgoing::Request(_) => self.answer(Some(responder), Err(error)),
        }
    }
}

/// Number of commands that wait in the protocol. More wait in the channel of the session.
const MAX_QUEUED: usize = 64;

/// Maximum number of requests without a reply. More wait until replies come, or do not come
/// in time.
const MAX_UNANSWERED: usize = 1024;

/// Maximum number of texts without an echo. More wait until echoes come, which is a bound of
/// the rate: one round trip across the world for this many texts.
const MAX_UNECHOED: usize = 4096;

#[cfg(test)]
mod tests;
