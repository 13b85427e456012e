//! Datagrams of protocol v2: sessions and frames.

use super::Ingress;
use crate::net::PeerAddr;
use crate::server::egress::Egress;
use crate::server::ops::stats::DropReason;
use crate::wire::Protocol;
use crate::wire::v2::{BUNDLE_BYTES, ClientFrame, ServerFrame, SessionId, Welcome, parse_client};

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
                Some(ClientFrame::Hello) => self.welcome(from, now_ms, egress),
                _ => counters.drop_datagram(DropReason::WrongSession),
            };
        };
        let touch = self.shared.registry.touch_session(&from, session, now_ms);
        let Ok(peer) = self.record_touch(&from, touch) else {
            return;
        };
        counters.frames.add(1);
        egress.replies.leave_from(peer.endpoint());
        for frame in frames {
            match frame {
                ClientFrame::Hello | ClientFrame::Heartbeat => {}
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
    }

    /// Replies to a HELLO with a session, or with the refusal of a full server. Neither is
    /// longer than the HELLO. The reply leaves from the address that the HELLO came to. A
    /// registered peer is served from that address only when it uses the session there.
    fn welcome(&self, from: PeerAddr, now_ms: u64, egress: &mut Egress) {
        let counters = self.counters();
        let Some(new_session) = getrandom::u64().ok().and_then(SessionId::new) else {
            return counters.drop_datagram(DropReason::NoRandomness);
        };
        let registry = &self.shared.registry;
        let touch = registry.open_session(&from, self.worker, new_session, now_ms);
        let peer = match self.record_touch(&from, touch) {
            Ok(peer) => peer,
            Err(reason) => return self.refuse(reason, Protocol::Frames, egress),
        };
        let Some(session) = peer.session() else {
            return;
        };
        counters.frames.add(1);
        let welcome = Welcome {
            session,
            timeout_ms: self.shared.timeout_ms,
            bundle_bytes: BUNDLE_BYTES as u16,
            room: peer.room().number(),
        };
        egress.replies.add_frame(&ServerFrame::Welcome(welcome));
    }
}
