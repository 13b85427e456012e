//! The chat service: who sends is a peer, and every text goes to everyone in its room.

mod command;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::command::Commands;
use crate::net::{Datagram, Outlet, Packet, PeerAddr, SEND_BATCH};
use crate::server::egress::exchange::Handover;
use crate::server::egress::replies::Answers;
use crate::server::egress::{FanOut, Next};
use crate::server::ops::log::Journal;
use crate::server::ops::stats::{DropReason, WorkerInfo};
use crate::server::registry::{Peers, Touch};
use crate::server::worker::Service;
use crate::wire::v2::{
    self, BUNDLE_BYTES, ClientFrame, MAX_PAYLOAD_BYTES, ServerFrame, SessionId, Welcome,
    parse_client,
};
use crate::wire::{ClientDatagram, LINE_END, Protocol, classify, parse_command};

/// The chat service of one worker.
pub struct Chat {
    worker: u8,
    shared: ChatShared,
    fanout: FanOut,
    answers: Answers,
    info: Arc<WorkerInfo>,
}

/// What the chat services of all workers have in common.
#[derive(Clone)]
pub struct ChatShared {
    /// The table of peers.
    pub peers: Arc<Peers>,
    /// Where workers hand each other work.
    pub handover: Arc<Handover>,
    /// Where they report.
    pub journal: Journal,
    /// What new sessions are told.
    pub timeout_ms: u32,
    /// How many datagrams the kernel takes as one packet.
    pub max_segments: usize,
    /// Whether commands are carried out; if not, they are texts.
    pub commands: bool,
    /// Starts of texts that other servers make of the messages of this one. A text with
    /// one of them is dropped.
    pub echo_prefixes: Arc<[Vec<u8>]>,
}

impl Chat {
    /// The service of worker number `worker`.
    pub fn new(worker: u8, shared: ChatShared, info: Arc<WorkerInfo>) -> Self {
        Self {
            worker,
            fanout: FanOut::new(worker, shared.handover.workers(), shared.max_segments),
            shared,
            answers: Answers::default(),
            info,
        }
    }

    /// Registers or refreshes a text peer. False: it is not one, and cannot
    /// become one.
    fn touch(&self, peer: &PeerAddr, protocol: Protocol, now_ms: u64) -> bool {
        let peers = &self.shared.peers;
        let touch = peers.touch(peer, protocol, self.worker, now_ms);
        self.note(peer, touch)
    }

    /// Counts and reports what a sign of life did. False: it was dropped.
    fn note(&self, peer: &PeerAddr, touch: Touch) -> bool {
        let counters = &self.info.counters;
        match touch {
            Touch::Refreshed => return true,
            Touch::Registered => {
                counters.registered.add(1);
                self.shared.journal.registered(*peer);
                return true;
            }
            Touch::Full => counters.drop_datagram(DropReason::PeersFull),
            Touch::WrongSession => counters.drop_datagram(DropReason::WrongSession),
        }
        false
    }

    fn is_own_echo(&self, text: &[u8]) -> bool {
        let mut prefixes = self.shared.echo_prefixes.iter();
        prefixes.any(|prefix| text.starts_with(prefix))
    }

    fn leave(&self, peer: PeerAddr, session: Option<SessionId>) {
        if self.shared.peers.leave(&peer, session) {
            self.shared.journal.left(peer);
        }
    }

    /// Carries out the command that `line` is. False: it is none.
    fn perform(&mut self, from: PeerAddr, line: &[u8]) -> bool {
        if !self.shared.commands {
            return false;
        }
        let Some(command) = parse_command(line) else {
            return false;
        };
        // The reaper may have been quicker than a peer at its time limit.
        if let Some(protocol) = self.shared.peers.protocol(&from) {
            let mut commands = Commands {
                peers: &self.shared.peers,
                answers: &mut self.answers,
                asker: (from, protocol),
            };
            commands.perform(command);
        }
        true
    }

    fn say(&mut self, sender: PeerAddr, text: &[u8]) {
        let counters = &self.info.counters;
        // The reaper may have been quicker than a speaker at its time limit.
        let Some((room, name)) = self.shared.peers.room_and_name(&sender) else {
            return counters.messages_shed.add(1);
        };
        match self.fanout.push(&room, sender, name, text) {
            Ok(()) => {
                counters.messages.add(1);
                self.shared.journal.text(sender, text);
            }
            Err(_) => counters.messages_shed.add(1),
        }
    }

    fn take_frames(&mut self, peer: PeerAddr, datagram: &[u8], now_ms: u64) {
        let counters = &self.info.counters;
        let Ok((session, mut frames)) = parse_client(datagram) else {
            return counters.drop_datagram(DropReason::Malformed);
        };
        let Some(session) = session else {
            return match frames.next() {
                Some(ClientFrame::Hello) => self.welcome(peer, now_ms),
                _ => counters.drop_datagram(DropReason::WrongSession),
            };
        };
        let touch = self.shared.peers.touch_session(&peer, session, now_ms);
        if !self.note(&peer, touch) {
            return;
        }
        counters.frames.add(1);
        for frame in frames {
            match frame {
                ClientFrame::Hello | ClientFrame::Heartbeat => {}
                // Nobody has said what follows it.
                ClientFrame::Bye => return self.leave(peer, Some(session)),
                ClientFrame::Say(payload) => self.say(peer, payload),
                ClientFrame::Ping(token) => self.answers.answer_frame(&ServerFrame::Pong(token)),
                ClientFrame::Command(line) => {
                    if !self.perform(peer, line) {
                        self.say(peer, line);
                    }
                }
            }
        }
    }

    fn welcome(&mut self, peer: PeerAddr, now_ms: u64) {
        let counters = &self.info.counters;
        let Some(new_session) = getrandom::u64().ok().and_then(SessionId::new) else {
            return counters.drop_datagram(DropReason::NoRandomness);
        };
        let peers = &self.shared.peers;
        let Some((session, touch)) = peers.open_session(&peer, self.worker, new_session, now_ms)
        else {
            return counters.drop_datagram(DropReason::PeersFull);
        };
        self.note(&peer, touch);
        counters.frames.add(1);
        let room = peers.room_and_name(&peer).map(|(room, _)| room.number());
        let welcome = Welcome {
            session,
            timeout_ms: self.shared.timeout_ms,
            bundle_bytes: BUNDLE_BYTES as u16,
            room: room.unwrap_or(peers.lobby().number()),
        };
        self.answers.answer_frame(&ServerFrame::Welcome(welcome));
    }
}

impl Service for Chat {
    fn take(&mut self, datagram: Datagram<'_>, now_ms: u64) {
        let Datagram { from, payload, .. } = datagram;
        self.answers.begin(from);
        // Of a newcomer: who is known goes on as it began.
        let protocol = if payload.ends_with(LINE_END.as_bytes()) {
            Protocol::Lines
        } else {
            Protocol::Text
        };
        match classify(payload) {
            ClientDatagram::Leave => {
                self.info.counters.leaves.add(1);
                self.leave(from, None);
            }
            ClientDatagram::Heartbeat => {
                if self.touch(&from, protocol, now_ms) {
                    self.info.counters.heartbeats.add(1);
                }
            }
            ClientDatagram::Text(text) if self.is_own_echo(text) => {
                self.info.counters.drop_datagram(DropReason::OwnEcho);
            }
            ClientDatagram::Text(text) => {
                if self.touch(&from, protocol, now_ms) {
                    // Commands, too: `/msg` says it to one whose datagrams are bounded.
                    let text = cut(text);
                    if self.perform(from, text) {
                        return self.info.counters.commands.add(1);
                    }
                    self.info.counters.texts.add(1);
                    self.say(from, text);
                }
            }
            ClientDatagram::Frames(datagram) => self.take_frames(from, datagram, now_ms),
        }
    }

    fn send_some(&mut self, outlet: &mut impl Outlet) -> bool {
        let counters = &self.info.counters;
        let answered = self.answers.send(outlet);
        counters.answers.add(answered.sent);
        counters
            .answers_failed
            .add(answered.total() - answered.sent);
        counters.answers_shed.add(self.answers.take_shed());

        let handover = &self.shared.handover;
        let mut waited = false;
        loop {
            if let Some(slice) = self.fanout.slice() {
                counters.add_tally(outlet.send(slice.endpoint, slice.packets()));
                return true;
            }
            if let Some(plan) = self.fanout.take_finished() {
                handover.give_back(plan);
            }
            match self.fanout.begin(|| handover.take(self.worker)) {
                Next::Send => {}
                Next::Share(plan) => handover.share(&plan),
                Next::Idle => return false,
                Next::Wait if waited => return false,
                Next::Wait => {
                    handover.wait(self.worker);
                    waited = true;
                }
            }
            counters.deliveries_planned.add(self.fanout.take_planned());
        }
    }

    /// Says goodbye to the v2 peers that this worker serves.
    fn stop(&mut self, outlet: &mut impl Outlet) {
        let mut goodbye = Vec::new();
        v2::push_server_header(&mut goodbye);
        v2::push_server_frame(&ServerFrame::Goodbye, &mut goodbye);
        // Gathered first: the table's locks are not held while sending.
        let mut peers = Vec::new();
        let gather = |peer: &PeerAddr| peers.push(*peer);
        self.shared.peers.visit_sessions(self.worker, gather);
        let until = Instant::now() + MAX_GOODBYE_TIME;
        for peers in peers.chunk_by(|a, b| a.endpoint() == b.endpoint()) {
            for peers in peers.chunks(SEND_BATCH) {
                if Instant::now() > until {
                    return;
                }
                let packets = peers.iter().map(|peer| Packet::single(peer, &goodbye));
                outlet.send(peers[0].endpoint(), packets);
            }
        }
    }
}

/// Cuts a text that is too long for a frame, at a character if it is UTF-8.
fn cut(text: &[u8]) -> &[u8] {
    if text.len() <= MAX_PAYLOAD_BYTES {
        return text;
    }
    let is_start = |at: &usize| text[*at] & 0xC0 != 0x80;
    let lowest = MAX_PAYLOAD_BYTES - 3;
    let end = (lowest..=MAX_PAYLOAD_BYTES).rev().find(is_start);
    &text[..end.unwrap_or(MAX_PAYLOAD_BYTES)]
}

/// A server stops within a second. Whoever is not told in this time, which is enough
/// for 100,000, notices that nothing answers.
const MAX_GOODBYE_TIME: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
