//! The effect that a datagram should have on a server.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bullhorn::config::{Proof, Switch, Trust};
use bullhorn::net::PeerAddr;
use bullhorn::server::rate::Rate;
use bullhorn::server::registry::Network;
use bullhorn::stats::DropReason;
use bullhorn::wire::v2::{
    ClientFrame, ClientFrames, MAX_PAYLOAD_BYTES, Move, SessionId, SessionOptions, parse_client,
};
use bullhorn::wire::{
    ClientDatagram, Command, Protocol, RoomName, classify, line_protocol, parse_command,
    parse_proof,
};

use crate::model::{Address, Budget, Model, Peer, Secret, address_of, room_name};
use crate::texts::Said;

/// The counts and texts that one datagram should lead to.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// One for the datagram itself, and more for its frames.
    counts: BTreeMap<&'static str, u64>,
    /// The texts to rooms that it has, in order.
    pub(crate) said: Vec<Said>,
    /// The server may have forgotten something that it knew, as a table of fixed size is full.
    pub(crate) is_excused: bool,
}

/// A datagram in the hands of a worker.
pub(crate) struct Handling<'a> {
    pub(crate) model: &'a mut Model,
    /// The counts that the server has raised.
    seen: &'a BTreeMap<&'static str, u64>,
    expected: Expected,
    pub(crate) from: Address,
    pub(crate) header_bytes: usize,
    pub(crate) worker: usize,
}

impl Model {
    /// Handles a datagram as worker `worker` should, of which `seen` are the counts after that,
    /// less those before.
    pub(crate) fn handle(
        &mut self,
        worker: usize,
        from: &PeerAddr,
        payload: &[u8],
        seen: &BTreeMap<&'static str, u64>,
    ) -> Expected {
        let mut handling = Handling {
            model: self,
            seen,
            expected: Expected::default(),
            from: address_of(from),
            header_bytes: from.header_bytes(),
            worker,
        };
        // `None` if the rest of it is dropped.
        let _ = handling.handle(payload);
        handling.expected
    }
}

impl Expected {
    /// Returns the difference from what the server has counted.
    pub(crate) fn difference(&self, seen: &BTreeMap<&'static str, u64>) -> Option<String> {
        (self.counts != *seen).then(|| format!("expected {:?}, and not {seen:?}", self.counts))
    }
}

impl Handling<'_> {
    fn handle(&mut self, payload: &[u8]) -> Option<()> {
        let (from, now_ms) = (self.from, self.model.now_ms);
        let slot = (self.worker, from.0.port() % 64);
        let flooder = self.model.flooders.get(&slot);
        if flooder.is_some_and(|(flooder, until_ms)| *flooder == from && now_ms < *until_ms) {
            return self.drop(DropReason::ByteLimit);
        }
        match classify(payload) {
            ClientDatagram::Leave => {
                self.count("leaves", 1);
                self.leave(None);
            }
            ClientDatagram::Heartbeat => {
                self.touch(payload, None)?;
                self.count("heartbeats", 1);
            }
            ClientDatagram::Text(text) => {
                self.touch(payload, Some(text))?;
                self.line(cut(text))?;
            }
            ClientDatagram::Frames(datagram) => self.frames(datagram)?,
        }
        Some(())
    }

    /// A text or a command of version 1.
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let cost = self.cost_of_line(line);
        if let Err(reason) = self.pay(cost) {
            return self.drop(reason);
        }
        if self.execute(line) {
            self.count("commands", 1);
        } else {
            self.count("texts", 1);
            self.say(self.peer().room, line);
        }
        Some(())
    }

    fn touch(&mut self, payload: &[u8], text: Option<&[u8]>) -> Option<()> {
        let now_ms = self.model.now_ms;
        match self.model.peers.get_mut(&self.from) {
            Some(Peer {
                session: Some(_), ..
            }) => return self.drop(DropReason::WrongSession),
            Some(peer) => peer.seen_ms = now_ms,
            None => self.admit(payload, text)?,
        }
        self.pay_bytes(payload.len())
    }

    /// A newcomer of version 1.
    fn admit(&mut self, payload: &[u8], text: Option<&[u8]>) -> Option<()> {
        let is_trusted = self.judge()?;
        let proof = self.model.config.proof;
        let is_asked = proof == Proof::Always || (proof == Proof::Auto && !is_trusted);
        let says = text.and_then(parse_proof).flatten();
        let token = says.map(|token| Secret::Token(token.to_string().into_bytes()));
        let says_right = token.is_some_and(|token| self.was_given(&token));
        if is_asked && !says_right {
            let expired_ms = self.model.proven.get(&self.from).copied();
            let age_ms = expired_ms.map(|expired_ms| self.model.now_ms - expired_ms);
            if age_ms.is_none_or(|age_ms| age_ms > 602_000) {
                return self.drop(DropReason::Unproven);
            }
            if self.has_seen(DropReason::Unproven.name()) {
                self.expected.is_excused = true;
                return self.drop(DropReason::Unproven);
            }
        }
        let newcomer = Peer {
            ends_lines: line_protocol(payload) == Protocol::Lines,
            ..self.newcomer(None, is_trusted, SessionOptions::default())
        };
        self.register(newcomer, None)
    }

    /// Returns true if the sender is trusted, or drops the datagram.
    fn judge(&mut self) -> Option<bool> {
        let (ip, now_ms) = (self.from.0.ip().to_canonical(), self.model.now_ms);
        if let Some(kicked_ms) = self.model.kicked.get(&self.from.0) {
            // Counted in whole seconds.
            let age_ms = now_ms - kicked_ms;
            let is_removed = self.has_seen(DropReason::Removed.name());
            if age_ms <= 30_000 || (age_ms <= 31_000 && is_removed) {
                return self.drop(DropReason::Removed);
            }
        }
        let config = &self.model.config;
        let includes = |nets: &[_]| {
            nets.iter()
                .any(|net: &bullhorn::moderation::IpNet| net.contains(&ip))
        };
        if includes(&config.deny) {
            return self.drop(DropReason::Denied);
        }
        if self.model.banned.contains(&Network::of(ip)) {
            return self.drop(DropReason::Banned);
        }
        let is_trusted = config.trust.iter().any(|trust| match trust {
            Trust::Net(net) => net.contains(&ip),
            Trust::Nobody => false,
        });
        if !is_trusted && (ip.is_multicast() || ip.is_unspecified()) {
            return self.drop(DropReason::NotUnicast);
        }
        if !is_trusted && self.from.0.port() < 1024 {
            return self.drop(DropReason::LowPort);
        }
        Some(is_trusted)
    }

    fn newcomer(&self, session: Option<u64>, is_trusted: bool, options: SessionOptions) -> Peer {
        Peer {
            session,
            ends_lines: false,
            options,
            name: None,
            room: room_name("lobby"),
            others: Vec::new(),
            wants_presence: false,
            seen_ms: self.model.now_ms,
            owner: self.worker,
            muted_until_ms: 0,
            network: (!is_trusted).then(|| Network::of(self.from.0.ip())),
            budget: (!is_trusted).then(Rc::<Budget>::default),
        }
    }

    /// Registers a newcomer, with what another session has if there is one.
    fn register(
        &mut self,
        newcomer: Peer,
        former: Option<(Move, Option<SessionOptions>)>,
    ) -> Option<()> {
        let (from, network) = (self.from, newcomer.network);
        if let Some((former, options)) = former
            && self.model.take_over(from, &newcomer, options, &former)
        {
            self.count("moved", 1);
            return Some(());
        }
        let (used, max) = (self.model.peers.len(), self.model.config.max_peers as usize);
        let is_full_for = self.model.is_full_for(network);
        if self.model.register(from, newcomer) {
            self.count("registered", 1);
            return Some(());
        }
        self.drop(match (used >= max, is_full_for) {
            (true, _) => DropReason::PeersFull,
            (false, true) => DropReason::NetworkFull,
            (false, false) => DropReason::NetworkRate,
        })
    }

    fn frames(&mut self, datagram: &[u8]) -> Option<()> {
        let Ok((session, mut frames)) = parse_client(datagram) else {
            return self.drop(DropReason::Malformed);
        };
        let Some(session) = session.map(SessionId::get) else {
            return self.hello(&mut frames);
        };
        let now_ms = self.model.now_ms;
        let mut is_new = false;
        match self.model.peers.get_mut(&self.from) {
            Some(peer) if peer.session != Some(session) => {
                return self.drop(DropReason::WrongSession);
            }
            Some(peer) => peer.seen_ms = now_ms,
            None => {
                is_new = true;
                self.admit_session(session, &frames)?;
            }
        }
        self.pay_bytes(datagram.len())?;
        self.count("frames", 1);
        for frame in &mut frames {
            let cost = self.cost_of_frame(&frame);
            if self.pay(cost).is_err() {
                self.count("frames_limited", 1);
                return None;
            }
            self.frame(&frame, is_new)?;
        }
        Some(())
    }

    fn frame(&mut self, frame: &ClientFrame<'_>, is_new: bool) -> Option<()> {
        let from = self.from;
        match frame {
            ClientFrame::Heartbeat(_) | ClientFrame::Ping(_) => {}
            ClientFrame::Bye => {
                self.leave(self.peer().session);
                return None;
            }
            ClientFrame::Say(payload) => self.say(self.peer().room, payload),
            ClientFrame::Command(line) => {
                if !self.execute(line) {
                    self.say(self.peer().room, line);
                }
            }
            ClientFrame::SayTo(number, payload) => {
                let mut rooms = self.peer().rooms();
                let is_it = |room: &RoomName| self.model.rooms[room].number == *number;
                if let Some(room) = rooms.find(is_it) {
                    self.say(room, payload);
                }
            }
            ClientFrame::Subscribe(name) => {
                if self.model.subscribe(from, *name) {
                    self.charge_notices(&[name.folded()]);
                }
            }
            ClientFrame::Unsubscribe(number) => self.model.unsubscribe(from, *number),
            ClientFrame::Hello(hello) => self.model.peer(from).options = hello.options,
            ClientFrame::Move(_) if is_new => {}
            ClientFrame::Move(former) => {
                let is_trusted = self.peer().budget.is_none();
                let session = self.peer().session;
                let newcomer = self.newcomer(session, is_trusted, SessionOptions::default());
                if self.model.take_over(from, &newcomer, None, former) {
                    self.count("moved", 1);
                }
            }
            ClientFrame::Unknown(_) => self.count("frames_unknown", 1),
        }
        Some(())
    }

    /// A datagram of version 2 without a session.
    fn hello(&mut self, frames: &mut ClientFrames<'_>) -> Option<()> {
        let known = self.model.peers.get(&self.from);
        let known = known.map(|peer| (peer.session, peer.budget.is_none()));
        if let Some((None, _)) = known {
            return self.drop(DropReason::WrongSession);
        }
        match frames.next() {
            Some(ClientFrame::Hello(_)) => {}
            Some(ClientFrame::Unknown(_)) => return self.drop(DropReason::UnknownFrame),
            _ => return self.drop(DropReason::WrongSession),
        }
        let is_trusted = match known {
            Some((_, is_trusted)) => is_trusted,
            None => self.judge()?,
        };
        let now_ms = self.model.now_ms;
        let rate = Rate::new(std::num::NonZero::new(100), Duration::from_secs(2));
        let meter = self.model.hellos.entry(self.from.0).or_default();
        if !is_trusted && !meter.take(&rate, 1, now_ms) {
            return self.drop(DropReason::HelloLimit);
        }
        let network = (!is_trusted).then(|| Network::of(self.from.0.ip()));
        if known.is_none() && self.model.is_full_for(network) {
            let max = self.model.config.max_peers as usize;
            return self.drop(match self.model.peers.len() >= max {
                true => DropReason::PeersFull,
                false => DropReason::NetworkFull,
            });
        }
        self.count("frames", 1);
        if known.is_none() {
            self.model.ended.remove(&self.from);
        }
        Some(())
    }

    fn admit_session(&mut self, session: u64, frames: &ClientFrames<'_>) -> Option<()> {
        let is_trusted = self.judge()?;
        let is_given = self.was_given(&Secret::Session(session));
        let has_ended = self.model.ended.contains(&self.from);
        let is_refused = self.has_seen(DropReason::UnknownSession.name());
        self.expected.is_excused |= is_given && has_ended && !is_refused;
        if !is_given || (has_ended && is_refused) {
            return self.drop(DropReason::UnknownSession);
        }
        let options = frames.clone().find_map(|frame| match frame {
            ClientFrame::Hello(hello) => Some(hello.options),
            _ => None,
        });
        let former = match frames.clone().next() {
            Some(ClientFrame::Move(former)) => Some((former, options)),
            _ => None,
        };
        let newcomer = self.newcomer(Some(session), is_trusted, options.unwrap_or_default());
        self.register(newcomer, former)
    }

    /// Returns true if the server has given this to the sender in this epoch or the last one.
    fn was_given(&self, secret: &Secret) -> bool {
        let epoch = self.model.now_ms / EPOCH_MS;
        let issued = self.model.issued.get(&self.from);
        let mut issued = issued.into_iter().flatten();
        issued.any(|(given, given_ms)| given == secret && given_ms / EPOCH_MS + 1 >= epoch)
    }

    /// Executes a command. Returns false if the line is none.
    fn execute(&mut self, line: &[u8]) -> bool {
        if line.first() == Some(&b'/') && parse_proof(line).is_some() {
            return true;
        }
        let command = match self.model.config.commands {
            Switch::On => parse_command(line),
            Switch::Off => None,
        };
        let (from, peer) = (self.from, self.peer().clone());
        match command {
            None => return false,
            Some(Ok(Command::Nick(name))) => {
                self.model.rename(from, name);
                if self.peer().name == Some(name) {
                    self.charge_notices(&[peer.room]);
                }
            }
            Some(Ok(Command::Join(name))) => self.join(name),
            Some(Ok(Command::Leave)) => self.join(room_name("lobby")),
            Some(Ok(Command::Msg { .. })) if self.is_muted() => self.count("messages_muted", 1),
            Some(Ok(Command::Presence(is_on))) => self.model.set_presence(from, is_on),
            Some(_) => {}
        }
        true
    }

    fn join(&mut self, name: RoomName) {
        let before = self.peer().room;
        self.model.join(self.from, name);
        if self.peer().room != before {
            self.charge_notices(&[before, name.folded()]);
        }
    }

    fn say(&mut self, room: RoomName, payload: &[u8]) {
        if self.is_muted() {
            return self.count("messages_muted", 1);
        }
        let peer = self.peer();
        let said = Said {
            sender: self.from,
            worker: self.worker,
            room,
            number: self.model.rooms[&room].number,
            from: self.model.display_name(self.from),
            payload: payload.to_vec(),
            not_to: peer.session.filter(|_| !peer.options.echo),
        };
        self.expected.said.push(said);
    }

    fn leave(&mut self, session: Option<u64>) {
        let peer = self.model.peers.get(&self.from);
        if peer.is_some_and(|peer| peer.session == session) {
            self.model.remove(self.from, false);
        }
    }

    fn is_muted(&self) -> bool {
        self.model.now_ms < self.peer().muted_until_ms
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.model.peers[&self.from]
    }

    fn has_seen(&self, name: &str) -> bool {
        self.seen.contains_key(name)
    }

    fn count(&mut self, name: &'static str, count: u64) {
        *self.expected.counts.entry(name).or_default() += count;
    }

    pub(crate) fn drop<T>(&mut self, reason: DropReason) -> Option<T> {
        self.count(reason.name(), 1);
        None
    }
}

/// Returns what the server keeps of a text.
fn cut(text: &[u8]) -> &[u8] {
    if text.len() <= MAX_PAYLOAD_BYTES {
        return text;
    }
    let is_inside = |at: &usize| text[*at] & 0xC0 == 0x80;
    let mut ends = (MAX_PAYLOAD_BYTES - 3..=MAX_PAYLOAD_BYTES).rev();
    &text[..ends.find(|at| !is_inside(at)).unwrap_or(MAX_PAYLOAD_BYTES)]
}

/// Time in which an address is given the same session and token.
const EPOCH_MS: u64 = 64_000;
