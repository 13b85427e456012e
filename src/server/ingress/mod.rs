//! Everything that peers send: each datagram is decoded, its sender is registered or
//! refreshed, and its content is dispatched.

mod command;
mod reply_limit;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;

use self::command::Commands;
use crate::net::{Datagram, PeerAddr};
use crate::server::egress::Egress;
use crate::server::ops::log::Log;
use crate::server::ops::stats::{Counters, DropReason, WorkerId, WorkerInfo};
use crate::server::registry::{Peer, Registry, Touch};
use crate::wire::reply::PEER_LIMIT;
use crate::wire::v2::{MAX_PAYLOAD_BYTES, SessionId};
use crate::wire::{
    ClientDatagram, GREETING_START, NOTICE, Protocol, Reply, classify, line_protocol,
    parse_command, push_greeting, push_text,
};

pub use reply_limit::ReplyLimit;

pub struct Ingress {
    worker: WorkerId,
    shared: Arc<IngressShared>,
    info: Arc<WorkerInfo>,
}

/// The properties that the ingresses of all workers share.
pub struct IngressShared {
    pub registry: Arc<Registry>,
    pub log: Log,
    /// The time after which a silent peer expires. WELCOME contains it.
    pub timeout_ms: u32,
    /// Without commands, all lines are texts.
    pub has_commands: bool,
    /// The beginnings of texts that another server makes of this server's messages. A text
    /// with one of them is dropped.
    pub echo_prefixes: Vec<Vec<u8>>,
    /// Limits the replies to datagrams with an unknown session.
    pub unknown_sessions: ReplyLimit,
}

impl Ingress {
    pub fn new(worker: WorkerId, shared: Arc<IngressShared>, info: Arc<WorkerInfo>) -> Self {
        Self {
            worker,
            shared,
            info,
        }
    }

    pub fn handle(&self, datagram: Datagram<'_>, now_ms: u64, egress: &mut Egress) {
        let Datagram { from, payload, .. } = datagram;
        egress.replies.begin(from);
        match classify(payload) {
            ClientDatagram::Leave => {
                self.counters().leaves.add(1);
                self.leave(&from, None);
            }
            ClientDatagram::Heartbeat => match self.touch(&from, payload, now_ms) {
                Ok(_) => self.counters().heartbeats.add(1),
                Err(reason) => self.refuse(reason, line_protocol(payload), egress),
            },
            ClientDatagram::Text(text) if self.is_own_echo(text) => {
                self.counters().drop_datagram(DropReason::OwnEcho);
            }
            ClientDatagram::Text(text) => match self.touch(&from, payload, now_ms) {
                Ok(peer) => self.handle_text(from, &peer, truncate(text), egress),
                Err(_) if is_from_server(text) => {}
                Err(reason) => self.refuse(reason, line_protocol(payload), egress),
            },
            ClientDatagram::Frames(datagram) => self.handle_frames(from, datagram, now_ms, egress),
        }
    }

    fn handle_text(&self, from: PeerAddr, peer: &Peer, text: &[u8], egress: &mut Egress) {
        if self.execute(from, peer, text, egress) {
            self.counters().commands.add(1);
        } else {
            self.counters().texts.add(1);
            self.broadcast(from, peer, text, egress);
        }
    }

    /// Executes the command in `line`. Returns false if it is not a command.
    fn execute(&self, from: PeerAddr, peer: &Peer, line: &[u8], egress: &mut Egress) -> bool {
        if !self.shared.has_commands {
            return false;
        }
        let Some(command) = parse_command(line) else {
            return false;
        };
        let mut commands = Commands {
            registry: &self.shared.registry,
            replies: &mut egress.replies,
            counters: self.counters(),
            from,
            peer,
        };
        commands.execute(command);
        true
    }

    /// Queues a text for all members of the sender's room.
    fn broadcast(&self, from: PeerAddr, peer: &Peer, text: &[u8], egress: &mut Egress) {
        match egress.push(&peer.room(), from, peer.name(), text) {
            Ok(()) => {
                self.counters().messages.add(1);
                self.shared.log.text(from, text);
            }
            Err(_) => self.counters().messages_shed.add(1),
        }
    }

    /// Registers or refreshes the v1 peer that sent `datagram`. Returns the reason if the
    /// datagram was dropped.
    fn touch(
        &self,
        from: &PeerAddr,
        datagram: &[u8],
        now_ms: u64,
    ) -> Result<Arc<Peer>, DropReason> {
        let (registry, protocol) = (&self.shared.registry, line_protocol(datagram));
        self.record_touch(from, registry.touch(from, protocol, self.worker, now_ms))
    }

    /// Counts and logs the outcome of a sign of life.
    fn record_touch(&self, from: &PeerAddr, touch: Touch) -> Result<Arc<Peer>, DropReason> {
        match touch {
            Touch::Refreshed(peer) => Ok(peer),
            Touch::Registered(peer) => {
                self.counters().registered.add(1);
                self.shared.log.registered(*from);
                Ok(peer)
            }
            Touch::Refused(reason) => {
                self.counters().drop_datagram(reason);
                Err(reason)
            }
        }
    }

    /// Replies to a newcomer if its datagram was dropped because the server is full. It has
    /// no other way to know. All other drops are silent.
    fn refuse(&self, reason: DropReason, protocol: Protocol, egress: &mut Egress) {
        if reason == DropReason::PeersFull {
            let max = self.shared.registry.max_peers();
            egress.replies.reply(protocol, &Reply::PeerLimit(max));
        }
    }

    fn leave(&self, from: &PeerAddr, session: Option<SessionId>) {
        if self.shared.registry.leave(from, session).is_some() {
            self.shared.log.left(*from);
        }
    }

    fn is_own_echo(&self, text: &[u8]) -> bool {
        let mut prefixes = self.shared.echo_prefixes.iter();
        prefixes.any(|prefix| text.starts_with(prefix))
    }

    fn counters(&self) -> &Counters {
        &self.info.counters
    }
}

/// Returns the beginnings of the texts that other servers make of messages from `own`. A chat
/// server repeats them, and a greeting server greets their sender. As texts, these would go
/// back and forth without end.
pub fn echo_prefixes(own: SocketAddr) -> [Vec<u8>; 2] {
    let (mut repeated, mut greeting) = (Vec::new(), Vec::new());
    push_text(own, b"", &mut repeated);
    push_greeting(own, &mut greeting);
    [repeated, greeting]
}

/// Returns true if a text may come from another server: a sentence, a greeting, or an echo
/// of the refusal of a full server. A reply to it could go back and forth without end.
fn is_from_server(text: &[u8]) -> bool {
    let refusal = PEER_LIMIT.as_bytes();
    text.starts_with(NOTICE.as_bytes())
        || text.starts_with(GREETING_START)
        || text.windows(refusal.len()).any(|part| part == refusal)
}

/// Truncates a text that is too long for a frame, at a character if it is UTF-8.
fn truncate(text: &[u8]) -> &[u8] {
    if text.len() <= MAX_PAYLOAD_BYTES {
        return text;
    }
    let is_start = |at: &usize| text[*at] & 0xC0 != 0x80;
    let lowest = MAX_PAYLOAD_BYTES - 3;
    let end = (lowest..=MAX_PAYLOAD_BYTES).rev().find(is_start);
    &text[..end.unwrap_or(MAX_PAYLOAD_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::push_reply;

    #[test]
    fn echoes_of_other_servers_begin_with_a_prefix() {
        let own: SocketAddr = "127.0.0.1:9999".parse().unwrap();
        let prefixes = echo_prefixes(own);
        for echo in ["127.0.0.1:9999 127.0.0.1:5 hi", "hello,('127.0.0.1', 9999)"] {
            let is_start = |prefix: &Vec<u8>| echo.as_bytes().starts_with(prefix);
            assert!(prefixes.iter().any(is_start), "{echo}");
        }
        let other = b"127.0.0.1:9998 hi";
        assert!(!prefixes.iter().any(|prefix| other.starts_with(prefix)));
    }

    #[test]
    fn sentences_greetings_and_echoes_of_a_refusal_may_come_from_a_server() {
        let mut refusal = Vec::new();
        push_reply(&Reply::PeerLimit(1), &mut refusal);
        let refusal = str::from_utf8(&refusal).unwrap();
        for (text, is_reply) in [
            (refusal, true),
            (&format!("eve {refusal}"), true),
            (&format!("bob eve {refusal}\\x0a"), true),
            ("* den is full (1)", true),
            ("hello,('10.0.0.1', 9999)", true),
            ("", false),
            ("*", false),
            ("eve * hi", false),
            ("hello, all", false),
            ("is the server full?", false),
        ] {
            assert_eq!(is_from_server(text.as_bytes()), is_reply, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_truncated_at_a_character_if_there_is_one() {
        let ascii = [b'x'; 5000];
        assert_eq!(truncate(&ascii).len(), MAX_PAYLOAD_BYTES);
        assert_eq!(truncate(b"short"), b"short");
        for offset in 0..4 {
            let text = "x".repeat(offset) + &"🎉".repeat(1000);
            let truncated = truncate(text.as_bytes());
            assert!(str::from_utf8(truncated).is_ok());
            assert!(truncated.len() > MAX_PAYLOAD_BYTES - 4);
        }
        let broken = [0x80; 5000];
        assert_eq!(truncate(&broken).len(), MAX_PAYLOAD_BYTES, "no characters");
    }
}
