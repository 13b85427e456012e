//! Datagrams of protocol v2: sessions and frames.

use std::sync::Arc;

use super::Ingress;
use super::cost::{self, Cost};
use super::line::Line;
use crate::net::PeerAddr;
use crate::server::egress::Egress;
use crate::server::ops::stats::DropReason;
use crate::server::registry::{MAX_SESSION_ROOMS, Peer, SubscribeError, Touch};
use crate::wire::v2::{ClientFrame, Hello, ServerFrame, SessionId, parse_client};
use crate::wire::{Reply, RoomName};

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
        let len = datagram.len();
        let Some(session) = session else {
            return self.handle_hello(from, &mut frames, len, now_ms, egress);
        };
        let touch = self.shared.registry.touch_session(&from, session, now_ms);
        let mut is_new = false;
        let admitted = match touch {
            Touch::Unknown => {
                is_new = true;
                self.admit_session(&from, session, &frames, len, now_ms, egress)
            }
            touch => self.record_touch(&from, touch).ok(),
        };
        let Some(mut peer) = admitted else {
            return;
        };
        if !self.take_bytes(&from, &peer, len, now_ms, egress) {
            return;
        }
        counters.frames.add(1);
        egress.replies.set_peer(&peer);
        if is_new {
            add_room(&peer, egress);
        }
        for frame in &mut frames {
            let cost = || Cost::of_frame(&frame, &peer);
            if self.take_cost(&peer, cost, now_ms, egress).is_err() {
                return counters.frames_limited.add(1);
            }
            match frame {
                ClientFrame::Heartbeat(room) => {
                    // The room of a newcomer stands in the reply already.
                    if !is_new && !room.is_some_and(|room| peer.is_in(room)) {
                        add_room(&peer, egress);
                    }
                }
                // The frames after it are not from a registered peer.
                ClientFrame::Bye => return self.leave(&from, Some(session)),
                ClientFrame::Say(payload) => {
                    self.broadcast(from, &peer, &peer.room(), payload, egress);
                }
                ClientFrame::Ping(token) => egress.replies.add_frame(&ServerFrame::Pong(token)),
                ClientFrame::Command(line) => {
                    let line = Line::parse(line, self.shared.has_commands);
                    let cost = || Cost::of_line(&line);
                    if self.take_cost(&peer, cost, now_ms, egress).is_err() {
                        return counters.frames_limited.add(1);
                    }
                    self.handle_line(from, &peer, line, now_ms, egress);
                }
                ClientFrame::SayTo(number, payload) => match peer.room_of(number) {
                    Some(room) => self.broadcast(from, &peer, &room, payload, egress),
                    None => egress
                        .replies
                        .reply(peer.protocol(), &Reply::NotInRoom(number)),
                },
                ClientFrame::Subscribe(name) => self.subscribe(&from, &peer, name, now_ms, egress),
                ClientFrame::Unsubscribe(number) => {
                    self.unsubscribe(&from, &peer, number, egress);
                }
                ClientFrame::Hello(hello) => {
                    match self.set_options(from, session, &hello, now_ms, egress) {
                        Some(changed) => peer = changed,
                        // It has left since.
                        None => return,
                    }
                }
                // A newcomer has moved already.
                ClientFrame::Move(_) if is_new => {}
                ClientFrame::Move(former) => {
                    peer = self.take_over(from, session, peer, &former, now_ms);
                    egress.replies.set_peer(&peer);
                    add_room(&peer, egress);
                }
                ClientFrame::Unknown(unknown) => {
                    counters.frames_unknown.add(1);
                    egress.replies.reply(peer.protocol(), &unknown.into());
                }
            }
        }
        // By this a client finds out if long datagrams pass in both directions.
        if frames.is_padded() {
            egress.replies.pad(datagram.len());
        }
    }

    /// Changes the options of a session. This is rare, and kept out of the way of all other
    /// datagrams.
    #[cold]
    fn set_options(
        &self,
        from: PeerAddr,
        session: SessionId,
        hello: &Hello,
        now_ms: u64,
        egress: &mut Egress,
    ) -> Option<Arc<Peer>> {
        let registry = &self.shared.registry;
        let touch = registry.set_options(&from, session, hello.options, now_ms);
        let Touch::Refreshed(peer) = touch else {
            return None;
        };
        egress.replies.set_peer(&peer);
        self.welcome(from, session, peer.protocol(), egress);
        Some(peer)
    }

    #[cold]
    fn subscribe(
        &self,
        from: &PeerAddr,
        peer: &Peer,
        name: RoomName,
        now_ms: u64,
        egress: &mut Egress,
    ) {
        let reply = match self.shared.registry.subscribe(from, name) {
            Some(Ok(room)) => {
                if let Some(budget) = peer.budget() {
                    let work = cost::notices(&[&room]);
                    budget.charge_work(work, &self.shared.rates, now_ms);
                }
                let frame = ServerFrame::Subscribed(room.frame());
                return egress.replies.add_frame(&frame);
            }
            Some(Err(SubscribeError::Room(error))) => error.into(),
            Some(Err(SubscribeError::TooMany)) => Reply::SessionRoomLimit(MAX_SESSION_ROOMS),
            None => return self.counters().commands_expired.add(1),
        };
        egress.replies.reply(peer.protocol(), &reply);
    }

    /// Ends a subscription. A peer cannot leave its own room in this way, and is told that it is
    /// in it.
    #[cold]
    fn unsubscribe(&self, from: &PeerAddr, peer: &Peer, number: u32, egress: &mut Egress) {
        match self.shared.registry.unsubscribe(from, number) {
            Some(true) => egress.replies.add_frame(&ServerFrame::Unsubscribed(number)),
            Some(false) => add_room(peer, egress),
            None => self.counters().commands_expired.add(1),
        }
    }
}

/// Tells a peer which room is its own.
#[cold]
fn add_room(peer: &Peer, egress: &mut Egress) {
    let frame = ServerFrame::Room(peer.room().frame());
    egress.replies.add_frame(&frame);
}
