//! Datagrams of protocol v2: sessions and frames.

use std::sync::Arc;

use super::Ingress;
use crate::net::PeerAddr;
use crate::server::egress::Egress;
use crate::server::ops::stats::DropReason;
use crate::server::registry::{Peer, Touch};
use crate::wire::Protocol;
use crate::wire::v2::{
    BundleSize, ClientFrame, ServerFrame, SessionId, UNKNOWN_SESSION_BYTES, Welcome, parse_client,
};

impl Ingress {
    pub(super) fn handle_frames(
        &self,
        from: PeerAddr,
        datagram: &[u8],
        now_ms: u64,
        egress: &mut Egress,
    ) {
        let counters = self.counters();
        let Ok((session, mut frames)) = parse_client(datagram) else {
            return counters.drop_datagram(DropReason::Malformed);
        };
        let Some(session) = session else {
            return match frames.next() {
                Some(ClientFrame::Hello(size)) => self.open_session(from, size, now_ms, egress),
                _ => counters.drop_datagram(DropReason::WrongSession),
            };
        };
        let touch = self.shared.registry.touch_session(&from, session, now_ms);
        let mut peer = match self.record_touch(&from, touch) {
            Ok(peer) => peer,
            Err(DropReason::UnknownSession) if datagram.len() >= UNKNOWN_SESSION_BYTES => {
                return self.reject(from, session, now_ms, egress);
            }
            Err(_) => return,
        };
        counters.frames.add(1);
        egress.replies.set_peer(&peer);
        for frame in &mut frames {
            match frame {
                ClientFrame::Hello(size) => {
                    match self.set_bundle_size(&from, session, size, now_ms) {
                        Some(changed) => peer = changed,
                        // It has left since.
                        None => return,
                    }
                    egress.replies.set_peer(&peer);
                    self.welcome(&peer, session, egress);
                }
                ClientFrame::Heartbeat => {}
                // The frames after it are not from a registered peer.
                ClientFrame::Bye => return self.leave(&from, Some(session)),
                ClientFrame::Say(payload) => self.broadcast(from, &peer, payload, egress),
                ClientFrame::Ping(token) => egress.replies.add_frame(&ServerFrame::Pong(token)),
                ClientFrame::Command(line) => {
                    if !self.execute(from, &peer, line, egress) {
                        self.broadcast(from, &peer, line, egress);
                    }
                }
            }
        }
        // By this a client finds out if long datagrams pass in both directions.
        if frames.is_padded() {
            egress.replies.pad(datagram.len());
        }
    }

    /// Changes the size of the bundles that a peer is sent. This is rare, and kept out of the way
    /// of all other datagrams.
    #[cold]
    fn set_bundle_size(
        &self,
        from: &PeerAddr,
        session: SessionId,
        size: BundleSize,
        now_ms: u64,
    ) -> Option<Arc<Peer>> {
        let registry = &self.shared.registry;
        match registry.set_bundle_size(from, session, size, now_ms) {
            Touch::Refreshed(peer) => Some(peer),
            Touch::Registered(_) | Touch::Refused(_) => None,
        }
    }

    /// Replies that the session of a datagram is unknown, at most once per second and address. The
    /// reply is not longer than the datagram, so a forged one is not amplified.
    ///
    /// Two servers that were made to do this to each other stop. A server that receives such a
    /// reply takes the first bytes after the mark for a session, and the rest for a frame. The
    /// third reply in a row has no valid frame.
    fn reject(&self, from: PeerAddr, session: SessionId, now_ms: u64, egress: &mut Egress) {
        if self.shared.unknown_sessions.allows(&from, now_ms) {
            let frame = ServerFrame::UnknownSession(session);
            egress.replies.add_frame(&frame);
        }
    }

    /// Replies to a HELLO with a session, or with the refusal of a full server. Neither is
    /// longer than the HELLO. The reply leaves from the address that the HELLO came to. A
    /// registered peer is served from that address only when it uses the session there.
    ///
    /// A peer that is registered keeps the size of its bundles, as anyone may send a HELLO in its
    /// name.
    fn open_session(&self, from: PeerAddr, size: BundleSize, now_ms: u64, egress: &mut Egress) {
        let counters = self.counters();
        let Some(new_session) = getrandom::u64().ok().and_then(SessionId::new) else {
            return counters.drop_datagram(DropReason::NoRandomness);
        };
        let registry = &self.shared.registry;
        let touch = registry.open_session(&from, self.worker, size, new_session, now_ms);
        let peer = match self.record_touch(&from, touch) {
            Ok(peer) => peer,
            Err(reason) => return self.refuse(reason, Protocol::Frames(size), egress),
        };
        let Some(session) = peer.session() else {
            return;
        };
        counters.frames.add(1);
        self.welcome(&peer, session, egress);
    }

    fn welcome(&self, peer: &Peer, session: SessionId, egress: &mut Egress) {
        let welcome = Welcome {
            session,
            timeout_ms: self.shared.timeout_ms,
            bundle_bytes: peer.protocol().bundle_bytes() as u16,
            room: peer.room().number(),
        };
        egress.replies.add_frame(&ServerFrame::Welcome(welcome));
    }
}
