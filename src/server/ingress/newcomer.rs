//! Newcomers: what they have to show before they are registered.

use std::sync::Arc;

use super::admission::Verdict;
use super::{Ingress, is_from_server};
use crate::net::PeerAddr;
use crate::server::egress::Egress;
use crate::server::ops::stats::DropReason;
use crate::server::registry::{NetworkSlot, Newcomer, Peer, Touch};
use crate::wire::v2::{
    BundleSize, ClientFrame, ClientFrames, Hello, Move, ServerFrame, SessionId,
    UNKNOWN_SESSION_BYTES, Unknown, Welcome,
};
use crate::wire::{Protocol, Reply, line_protocol, parse_proof};

impl Ingress {
    /// Registers the v1 newcomer that sent `datagram`, or asks it for a proof of its address.
    /// Returns `None` if the datagram was dropped.
    #[cold]
    pub(super) fn admit_text(
        &self,
        from: &PeerAddr,
        datagram: &[u8],
        text: Option<&[u8]>,
        now_ms: u64,
        egress: &mut Egress,
    ) -> Option<Arc<Peer>> {
        let protocol = line_protocol(datagram);
        let is_trusted = match self.judge(from, now_ms) {
            Verdict::Refuse(reason) => {
                self.counters().drop_datagram(reason);
                return None;
            }
            Verdict::Admit { is_trusted } => is_trusted,
            Verdict::Prove { is_trusted } if self.is_proven(from, text, now_ms) => is_trusted,
            Verdict::Prove { is_trusted } => {
                self.counters().drop_datagram(DropReason::Unproven);
                let network = (!is_trusted).then(|| self.shared.registry.network(from));
                self.challenge(from, network, protocol, text, now_ms, egress);
                return None;
            }
        };
        let newcomer = Newcomer {
            address: *from,
            protocol,
            session: None,
            options: None,
            owner: self.worker,
            is_trusted,
        };
        let touch = self.register(&newcomer, None, now_ms);
        let result = self.record_touch(from, touch);
        if let Err(Some(reply)) = &result
            && !text.is_some_and(is_from_server)
        {
            egress.replies.reply(protocol, reply);
        }
        result.ok()
    }

    /// Decides about the sender of a datagram, which is not registered.
    fn judge(&self, from: &PeerAddr, now_ms: u64) -> Verdict {
        match self.shared.registry.was_kicked(from, now_ms) {
            true => Verdict::Refuse(DropReason::Removed),
            false => self.shared.admission.judge(from),
        }
    }

    /// Registers a newcomer, with what another session has if there is one.
    pub(crate) fn register(&self, newcomer: &Newcomer, former: Option<Move>, now_ms: u64) -> Touch {
        let registry = &self.shared.registry;
        let moved = former.map(|former| registry.take_over(newcomer, &former, now_ms));
        let touch = match moved {
            None | Some(Touch::Unknown) if registry.drain().is_on() => {
                Touch::Refused(DropReason::Draining)
            }
            None | Some(Touch::Unknown) => registry.register(newcomer, now_ms),
            Some(touch) => touch,
        };
        self.judge_again(newcomer, touch, now_ms)
    }

    /// Judges a newcomer once more when it is registered. The operator bans a network, and then
    /// removes its peers, or drains the server, and then tells its peers. A newcomer that was judged
    /// before and registered after that is found here.
    pub(crate) fn judge_again(&self, newcomer: &Newcomer, touch: Touch, now_ms: u64) -> Touch {
        let is_draining = || self.shared.registry.drain().is_on();
        let refusal = match touch {
            Touch::Registered(_) if is_draining() => Some(DropReason::Draining),
            Touch::Registered(_) | Touch::Moved(_) => match self.judge(&newcomer.address, now_ms) {
                Verdict::Refuse(reason) => Some(reason),
                Verdict::Admit { .. } | Verdict::Prove { .. } => None,
            },
            _ => None,
        };
        if let Some(reason) = refusal {
            // It may have been removed meanwhile.
            let _ = self
                .shared
                .registry
                .leave(&newcomer.address, newcomer.session);
            return Touch::Refused(reason);
        }
        touch
    }

    /// Returns true if a v1 newcomer receives what is sent to its address.
    fn is_proven(&self, from: &PeerAddr, text: Option<&[u8]>, now_ms: u64) -> bool {
        let token = text.and_then(parse_proof).flatten();
        token.is_some_and(|token| self.shared.tokens.is_text(token, from, now_ms))
            || self.shared.registry.was_proven(from)
    }

    /// Asks a v1 newcomer for a proof, as far as the limits allow it. The request is
    /// not longer than three times an empty datagram, with the headers. `network` is `None` if the
    /// newcomer is trusted.
    fn challenge(
        &self,
        from: &PeerAddr,
        network: Option<NetworkSlot>,
        protocol: Protocol,
        text: Option<&[u8]>,
        now_ms: u64,
        egress: &mut Egress,
    ) {
        let bytes = (CHALLENGE_BYTES + from.header_bytes()) as u32;
        let challenges = &self.shared.challenges;
        if text.is_some_and(is_from_server) || !challenges.allows(from, network, bytes, now_ms) {
            return;
        }
        self.counters().challenges.add(1);
        let token = self.shared.tokens.text(from, now_ms);
        egress.replies.reply(protocol, &Reply::Prove(token));
    }

    /// Handles a datagram of version 2 without a session. Nothing is stored. A HELLO is answered
    /// with the session of its address, or with the refusal of a server that is full or about to
    /// stop. None is longer than the HELLO.
    pub(super) fn handle_hello(
        &self,
        from: PeerAddr,
        frames: &mut ClientFrames<'_>,
        datagram_bytes: usize,
        now_ms: u64,
        egress: &mut Egress,
    ) {
        let counters = self.counters();
        let registry = &self.shared.registry;
        let peer = registry.get(&from);
        if peer.as_ref().is_some_and(|peer| peer.session().is_none()) {
            // A v1 peer is sent no frames. Anybody may have sent this.
            return counters.drop_datagram(DropReason::WrongSession);
        }
        let hello = match frames.next() {
            Some(ClientFrame::Hello(hello)) => hello,
            Some(ClientFrame::Unknown(unknown)) => {
                counters.drop_datagram(DropReason::UnknownFrame);
                return self.name_unknown(from, unknown, datagram_bytes, now_ms, egress);
            }
            _ => return counters.drop_datagram(DropReason::WrongSession),
        };
        egress.replies.set_receiver(hello.nonce);
        if let Some(peer) = peer
            && let Some(session) = peer.session()
        {
            // Anybody may send a HELLO in its name, so this changes nothing.
            if !self.allows_hello(&from, peer.is_trusted(), now_ms) {
                return;
            }
            counters.frames.add(1);
            return self.welcome(from, session, peer.protocol(), egress);
        }
        let is_trusted = match self.judge(&from, now_ms) {
            Verdict::Refuse(reason) => return counters.drop_datagram(reason),
            Verdict::Admit { is_trusted } | Verdict::Prove { is_trusted } => is_trusted,
        };
        if !self.allows_hello(&from, is_trusted, now_ms) {
            return;
        }
        let protocol = Protocol::Frames(hello.options.bundle_size);
        if registry.drain().is_on() {
            counters.drop_datagram(DropReason::Draining);
            return egress.replies.reply(protocol, &Reply::NoNewcomers);
        }
        if let Some(limit) = registry.peer_limit(&from, is_trusted) {
            self.count_refusal(limit);
            return egress.replies.reply(protocol, &Reply::PeerLimit(limit));
        }
        counters.frames.add(1);
        registry.greeted(&from);
        let session = self.shared.tokens.session(&from, now_ms);
        self.welcome(from, session, protocol, egress);
    }

    /// Returns true if the HELLO of an address may be answered. If not, it has been counted as
    /// dropped.
    fn allows_hello(&self, from: &PeerAddr, is_trusted: bool, now_ms: u64) -> bool {
        let is_allowed = is_trusted || self.shared.hellos.allows(from, now_ms);
        if !is_allowed {
            self.counters().drop_datagram(DropReason::HelloLimit);
        }
        is_allowed
    }

    /// Registers the v2 newcomer that sent these frames, if its session is that of its address.
    /// Returns `None` if the datagram was dropped.
    #[cold]
    pub(super) fn admit_session(
        &self,
        from: &PeerAddr,
        session: SessionId,
        frames: &ClientFrames<'_>,
        datagram_bytes: usize,
        now_ms: u64,
        egress: &mut Egress,
    ) -> Option<Arc<Peer>> {
        let shared = &self.shared;
        let is_trusted = match self.judge(from, now_ms) {
            Verdict::Refuse(reason) => {
                self.counters().drop_datagram(reason);
                return None;
            }
            Verdict::Admit { is_trusted } | Verdict::Prove { is_trusted } => is_trusted,
        };
        if !shared.tokens.is_session(session, from, now_ms) || shared.registry.has_ended(from) {
            self.counters().drop_datagram(DropReason::UnknownSession);
            if datagram_bytes >= UNKNOWN_SESSION_BYTES && shared.rejections.allows(from, now_ms) {
                egress.replies.set_receiver(session.get());
                egress.replies.add_frame(&ServerFrame::UnknownSession);
            }
            return None;
        }
        let hello = frames.clone().find_map(|frame| match frame {
            ClientFrame::Hello(hello) => Some(hello),
            _ => None,
        });
        let newcomer = self.newcomer(*from, session, hello, is_trusted);
        let former = match frames.clone().next() {
            Some(ClientFrame::Move(former)) => Some(former),
            _ => None,
        };
        let touch = self.register(&newcomer, former, now_ms);
        let result = self.record_touch(from, touch);
        if let Err(Some(reply)) = &result {
            egress.replies.set_receiver(session.get());
            egress.replies.reply(newcomer.protocol, reply);
        }
        result.ok()
    }

    /// Gives a registered session what another one has. Returns the peer after that.
    pub(crate) fn take_over(
        &self,
        address: PeerAddr,
        session: SessionId,
        peer: Arc<Peer>,
        former: &Move,
        now_ms: u64,
    ) -> Arc<Peer> {
        let newcomer = self.newcomer(address, session, None, peer.is_trusted());
        let touch = self.shared.registry.take_over(&newcomer, former, now_ms);
        match self.judge_again(&newcomer, touch, now_ms) {
            // It has been here before, or the operator has just removed it.
            Touch::Unknown | Touch::Refused(_) => peer,
            touch => self.record_touch(&address, touch).unwrap_or(peer),
        }
    }

    fn newcomer(
        &self,
        address: PeerAddr,
        session: SessionId,
        hello: Option<Hello>,
        is_trusted: bool,
    ) -> Newcomer {
        let options = hello.map(|hello| hello.options);
        Newcomer {
            address,
            protocol: Protocol::Frames(options.unwrap_or_default().bundle_size),
            session: Some(session),
            options,
            owner: self.worker,
            is_trusted,
        }
    }

    /// Names a frame or an option that this version does not have to a sender without a session,
    /// if the reply is not longer than the datagram.
    fn name_unknown(
        &self,
        from: PeerAddr,
        unknown: Unknown,
        datagram_bytes: usize,
        now_ms: u64,
        egress: &mut Egress,
    ) {
        if datagram_bytes < MIN_NAMED_BYTES
            || matches!(self.judge(&from, now_ms), Verdict::Refuse(_))
            || !self.shared.rejections.allows(&from, now_ms)
        {
            return;
        }
        if let Unknown::Option(_, nonce) = unknown {
            egress.replies.set_receiver(nonce);
        }
        let protocol = Protocol::Frames(BundleSize::Full);
        egress.replies.reply(protocol, &unknown.into());
    }

    /// Replies to a HELLO. The reply leaves from the address that the HELLO came to. A registered
    /// peer is served from that address only when it uses the session there.
    pub(super) fn welcome(
        &self,
        from: PeerAddr,
        session: SessionId,
        protocol: Protocol,
        egress: &mut Egress,
    ) {
        self.shared.servers.with(|servers| {
            let welcome = Welcome {
                session,
                timeout_ms: self.shared.timeout.as_ms(),
                bundle_bytes: protocol.bundle_bytes() as u16,
                address: from.socket_addr(),
                servers,
            };
            egress.replies.add_frame(&ServerFrame::Welcome(welcome));
        });
    }
}

impl From<Unknown> for Reply<'_> {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Frame(kind) => Self::UnknownFrame(kind),
            Unknown::Option(kind, _) => Self::UnknownOption(kind),
        }
    }
}

/// Length of `* say /in TOKEN` with a line end.
const CHALLENGE_BYTES: usize = 19;

/// Length of the longest NOTICE that names something unknown, `unknown option 255`.
const MIN_NAMED_BYTES: usize = 10 + 3 + 1 + 18;
