//! Everything that peers send: each datagram is decoded, its sender is admitted, registered or
//! refreshed, and its content is dispatched.

pub mod admission;
pub mod bans;
mod budgets;
pub mod challenges;
mod command;
mod cost;
mod hello_limit;
mod line;
mod newcomer;
mod reply_limit;
mod servers;
mod session;
pub mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use self::admission::Admission;
use self::budgets::Flooders;
use self::challenges::Challenges;
use self::command::Commands;
use self::cost::Cost;
use self::line::Line;
use self::token::Tokens;
use crate::net::{Datagram, OwnAddresses, PeerAddr};
use crate::server::egress::{Egress, Sender};
use crate::server::ops::log::Log;
use crate::server::ops::stats::{Counters, DropReason, WorkerId, WorkerInfo};
use crate::server::registry::expiry::Timeout;
use crate::server::registry::{Peer, PeerRates, Registry, Room, Touch};
use crate::wire::reply::{NO_NEWCOMERS, PEER_LIMIT, PROVE};
use crate::wire::v2::{MAX_PAYLOAD_BYTES, SessionId};
use crate::wire::{ClientDatagram, GREETING_START, Limit, LimitScope, NOTICE, Reply, classify};

pub use hello_limit::HelloLimit;
pub use reply_limit::ReplyLimit;
pub use servers::OtherServers;

/// The ingress of one worker.
pub struct Ingress {
    worker: WorkerId,
    shared: Arc<IngressShared>,
    info: Arc<WorkerInfo>,
    flooders: Flooders,
}

/// The properties that the ingresses of all workers share.
pub struct IngressShared {
    pub registry: Arc<Registry>,
    pub log: Log,
    /// The time after which a silent peer expires. WELCOME contains it.
    pub timeout: Arc<Timeout>,
    /// Without commands, all lines are texts.
    pub has_commands: bool,
    /// Texts that name one of them as their sender are messages of this server, repeated by
    /// another one.
    pub own_addresses: Arc<OwnAddresses>,
    /// The rules for newcomers.
    pub admission: Arc<Admission>,
    /// The limits of peers that are not trusted.
    pub rates: PeerRates,
    /// The sessions and the v1 tokens of newcomers.
    pub tokens: Tokens,
    /// Limits the replies to datagrams with an unknown session or an unknown frame.
    pub rejections: ReplyLimit,
    /// Limits the replies to HELLO.
    pub hellos: HelloLimit,
    /// Limits the requests to v1 newcomers to prove their address.
    pub challenges: Challenges,
    /// The other servers of the cluster.
    pub servers: Arc<OtherServers>,
}

impl Ingress {
    pub fn new(worker: WorkerId, shared: Arc<IngressShared>, info: Arc<WorkerInfo>) -> Self {
        Self {
            worker,
            shared,
            info,
            flooders: Flooders::new(),
        }
    }

    /// Handles one datagram. The replies to it, and the texts in it, wait in `egress`.
    pub fn handle(&self, datagram: Datagram<'_>, now_ms: u64, egress: &mut Egress) {
        let Datagram { from, payload, .. } = datagram;
        if self.flooders.contains(&from, now_ms) {
            return self.counters().drop_datagram(DropReason::ByteLimit);
        }
        egress.replies.begin(from, payload.len());
        match classify(payload) {
            ClientDatagram::Leave => {
                self.counters().leaves.add(1);
                self.leave(&from, None);
            }
            ClientDatagram::Heartbeat => {
                if self.touch(&from, payload, None, now_ms, egress).is_some() {
                    self.counters().heartbeats.add(1);
                }
            }
            ClientDatagram::Text(text) if self.is_own_echo(text) => {
                self.counters().drop_datagram(DropReason::OwnEcho);
            }
            ClientDatagram::Text(text) => {
                if let Some(peer) = self.touch(&from, payload, Some(text), now_ms, egress) {
                    self.handle_text(from, &peer, truncate(text), now_ms, egress);
                }
            }
            ClientDatagram::Frames(datagram) => self.handle_frames(from, datagram, now_ms, egress),
        }
    }

    fn handle_text(
        &self,
        from: PeerAddr,
        peer: &Peer,
        text: &[u8],
        now_ms: u64,
        egress: &mut Egress,
    ) {
        egress.replies.set_peer(peer);
        let line = Line::parse(text, self.shared.has_commands);
        if let Err(resource) = self.take_cost(peer, || Cost::of_line(&line), now_ms, egress) {
            return self.counters().drop_datagram(resource.into());
        }
        match line {
            Line::Text(_) => self.counters().texts.add(1),
            Line::Proof | Line::Command(_) => self.counters().commands.add(1),
        }
        self.handle_line(from, peer, line, now_ms, egress);
    }

    /// Refreshes the v1 peer that sent `datagram`, or admits it. Returns `None` if the datagram was
    /// dropped. `text` is its text, if it has one.
    fn touch(
        &self,
        from: &PeerAddr,
        datagram: &[u8],
        text: Option<&[u8]>,
        now_ms: u64,
        egress: &mut Egress,
    ) -> Option<Arc<Peer>> {
        let peer = match self.shared.registry.touch_text(from, now_ms) {
            Touch::Unknown => self.admit_text(from, datagram, text, now_ms, egress),
            touch => self.record_touch(from, touch).ok(),
        }?;
        let is_within = self.take_bytes(from, &peer, datagram.len(), now_ms, egress);
        is_within.then_some(peer)
    }

    fn handle_line(
        &self,
        from: PeerAddr,
        peer: &Peer,
        line: Line<'_>,
        now_ms: u64,
        egress: &mut Egress,
    ) {
        match line {
            Line::Text(text) => self.broadcast(from, peer, &peer.room(), text, egress),
            Line::Proof => self.commands(from, peer, now_ms, egress).confirm_proof(),
            Line::Command(command) => self.commands(from, peer, now_ms, egress).execute(command),
        }
    }

    fn commands<'a>(
        &'a self,
        from: PeerAddr,
        peer: &'a Peer,
        now_ms: u64,
        egress: &'a mut Egress,
    ) -> Commands<'a> {
        Commands {
            registry: &self.shared.registry,
            replies: &mut egress.replies,
            counters: self.counters(),
            rates: &self.shared.rates,
            now_ms,
            from,
            peer,
        }
    }

    /// Queues a text for all members of a room.
    fn broadcast(
        &self,
        from: PeerAddr,
        peer: &Peer,
        room: &Arc<Room>,
        text: &[u8],
        egress: &mut Egress,
    ) {
        if peer.is_muted() {
            return self.counters().messages_muted.add(1);
        }
        match egress.push(room, &Sender::of(from, peer), text) {
            Ok(()) => {
                self.counters().messages.add(1);
                self.shared.log.text(from, text);
            }
            Err(_) => self.counters().messages_shed.add(1),
        }
    }

    /// Counts and logs the outcome of a sign of life.
    ///
    /// # Errors
    /// The datagram is dropped. The reply is one that a newcomer has to be told.
    fn record_touch(
        &self,
        from: &PeerAddr,
        touch: Touch,
    ) -> Result<Arc<Peer>, Option<Reply<'static>>> {
        let reason = match touch {
            Touch::Refreshed(peer) => return Ok(peer),
            Touch::Registered(peer) => {
                self.counters().registered.add(1);
                self.shared.log.registered(*from);
                return Ok(peer);
            }
            Touch::Moved(peer) => {
                self.counters().moved.add(1);
                return Ok(peer);
            }
            Touch::LimitReached(limit) => {
                return Err(self.count_refusal(limit).map(Reply::PeerLimit));
            }
            Touch::Refused(reason) => reason,
            Touch::Unknown => DropReason::UnknownSession,
        };
        self.counters().drop_datagram(reason);
        Err((reason == DropReason::Draining).then_some(Reply::NoNewcomers))
    }

    /// Counts the datagram of a newcomer that cannot be registered. Returns the limit if the newcomer
    /// has to be told, as it cannot register soon. All other drops are silent.
    fn count_refusal(&self, limit: Limit) -> Option<Limit> {
        let reason = match limit.scope {
            LimitScope::Server => DropReason::PeersFull,
            LimitScope::Network => DropReason::NetworkFull,
            LimitScope::NetworkPerSecond => DropReason::NetworkRate,
        };
        self.counters().drop_datagram(reason);
        Some(limit).filter(|_| reason != DropReason::NetworkRate)
    }

    fn leave(&self, from: &PeerAddr, session: Option<SessionId>) {
        if self.shared.registry.leave(from, session).is_some() {
            self.shared.log.left(*from);
        }
    }

    fn is_own_echo(&self, text: &[u8]) -> bool {
        let own = &self.shared.own_addresses;
        repeated_sender(text).is_some_and(|sender| own.contains_as_seen_elsewhere(sender))
    }

    fn counters(&self) -> &Counters {
        &self.info.counters
    }
}

/// Returns the sender that `text` names, if another server may have made it of a message. A
/// chat server repeats messages (`IP:PORT text`), and a greeting server greets their sender
/// (`hello,('IP', PORT)`). As texts, the echoes of the server's own messages would go back
/// and forth without end.
fn repeated_sender(text: &[u8]) -> Option<SocketAddr> {
    if let Some(greeting) = text.strip_prefix(GREETING_START) {
        let (ip, rest) = str::from_utf8(greeting).ok()?.split_once("', ")?;
        let port = rest.split([',', ')']).next()?.parse().ok()?;
        // Python appends the zone of an IPv6 address.
        let ip: IpAddr = ip.split('%').next()?.parse().ok()?;
        return Some((ip, port).into());
    }
    if !matches!(text.first(), Some(b'0'..=b'9' | b'[')) {
        return None;
    }
    let end = text.iter().position(|byte| *byte == b' ')?;
    str::from_utf8(&text[..end]).ok()?.parse().ok()
}

/// Returns true if a text may come from another server: a sentence, a greeting, or an echo
/// of what this server says to newcomers. A reply to it could go back and forth without end.
fn is_from_server(text: &[u8]) -> bool {
    let contains = |sentence: &[u8]| text.windows(sentence.len()).any(|part| part == sentence);
    text.starts_with(NOTICE.as_bytes())
        || text.starts_with(GREETING_START)
        || contains(PEER_LIMIT.as_bytes())
        || contains(PROVE.as_bytes())
        || contains(NO_NEWCOMERS.as_bytes())
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

/// Time between two rejections of an address. A client that missed the first sends something again
/// within its heartbeat of 5 s.
pub const REJECTION_INTERVAL_MS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{push_greeting, push_reply, push_text};

    #[test]
    fn echoes_of_other_servers_name_the_sender_that_they_repeat() {
        for address in ["127.0.0.1:9999", "[::1]:9999", "[fe80::1%2]:9999"] {
            let own: SocketAddr = address.parse().unwrap();
            let (mut repeated, mut greeting) = (Vec::new(), Vec::new());
            push_text(own, b"127.0.0.1:5 hi", &mut repeated);
            push_greeting(own, &mut greeting);
            for echo in [repeated, greeting] {
                let sender = repeated_sender(&echo).unwrap();
                assert_eq!(
                    (sender.ip(), sender.port()),
                    (own.ip(), own.port()),
                    "{address}"
                );
            }
        }
        let python = b"hello,('fe80::1%eth0', 9999, 0, 2)";
        assert_eq!(repeated_sender(python), "[fe80::1]:9999".parse().ok());
        for text in [
            "",
            "hi",
            "127.0.0.1:9999",
            "1 2",
            "[",
            "hello,('",
            "hello,('x', 1)",
        ] {
            assert_eq!(repeated_sender(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sentences_greetings_and_echoes_of_a_refusal_may_come_from_a_server() {
        let mut refusal = Vec::new();
        push_reply(&Reply::PeerLimit(Limit::of_server(1)), &mut refusal);
        let refusal = str::from_utf8(&refusal).unwrap();
        for (text, is_reply) in [
            (refusal, true),
            (&format!("eve {refusal}"), true),
            (&format!("bob eve {refusal}\\x0a"), true),
            ("* say /in 00000001", true),
            ("eve * peer limit reached (5 in your network)", true),
            ("10.0.0.1:5000 * say /in 00000001", true),
            ("* den is full (1)", true),
            ("* stopping soon, no newcomers", true),
            ("eve * stopping soon, no newcomers", true),
            ("bob eve * stopping soon, no newcomers\\x0a", true),
            ("* operator: hi", true),
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
