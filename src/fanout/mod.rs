//! Texts to packets to destinations, in slices. No I/O: it takes texts and
//! members, and says what to send where.

mod backlog;
mod plan;
mod regroup;

use std::sync::Arc;

use crate::net::{Packet, PeerAddr};
use crate::rooms::{Members, Room};

pub use backlog::{Backlog, BacklogFull};
pub use plan::Plan;
pub use regroup::{Item, Limits, Regrouper};

/// The fan-out of one worker. Texts gather while the ones before them are on
/// their way; then all that gathered goes out together, so that batches grow
/// with the backlog and never wait for a timer.
pub struct FanOut {
    gathering: Backlog,
    /// What is on its way, to `members` from `next` on.
    plan: Plan,
    members: Option<Arc<Members>>,
    next: Position,
}

/// A part of a fan-out: some peers of one endpoint, each to get some packets.
pub struct Slice<'a> {
    /// The endpoint through which the peers are reached.
    pub endpoint: u8,
    peers: &'a [PeerAddr],
    plan: &'a Plan,
    pass: usize,
}

/// Every pass goes over all endpoints, and at each over all members.
#[derive(Clone, Copy, Default)]
struct Position {
    pass: usize,
    endpoint: usize,
    member: usize,
}

impl FanOut {
    /// Nothing to send.
    pub fn new() -> Self {
        Self {
            gathering: Backlog::new(),
            plan: Plan::new(),
            members: None,
            next: Position::default(),
        }
    }

    /// Takes up a text of `speaker`.
    ///
    /// # Errors
    /// [`BacklogFull`]: the speaker's share of what may wait is used up.
    pub fn push(&mut self, speaker: PeerAddr, text: &[u8]) -> Result<(), BacklogFull> {
        self.gathering.push(speaker, text)
    }

    /// What to send next, or `None` when all is sent. `room` is looked at when
    /// what has gathered begins to be sent: whoever is in it then gets it all.
    pub fn next_slice(&mut self, room: &Room) -> Option<Slice<'_>> {
        let (position, end) = loop {
            if self.members.is_none() {
                self.begin(room)?;
            }
            match self.advance() {
                Some(slice) => break slice,
                None => self.members = None,
            }
        };
        let part = self.members.as_ref()?.part(position.endpoint);
        Some(Slice {
            endpoint: u8::try_from(position.endpoint).expect("at most MAX_ENDPOINTS"),
            peers: &part[position.member..end],
            plan: &self.plan,
            pass: position.pass,
        })
    }

    /// Whether there is nothing left to send.
    pub fn is_idle(&self) -> bool {
        self.members.is_none() && self.gathering.is_empty()
    }

    /// Plans what has gathered; `None` if nothing has.
    fn begin(&mut self, room: &Room) -> Option<()> {
        if self.gathering.is_empty() {
            return None;
        }
        self.plan.build(&self.gathering);
        self.gathering.clear();
        self.members = Some(room.members());
        self.next = Position::default();
        Some(())
    }

    /// Moves past the next slice and returns where it begins, and behind which
    /// member it ends. `None`: everyone has been served.
    fn advance(&mut self) -> Option<(Position, usize)> {
        let members = self.members.as_deref()?;
        while self.next.pass < self.plan.passes() {
            if self.next.endpoint == members.endpoints() {
                self.next = Position {
                    pass: self.next.pass + 1,
                    ..Position::default()
                };
                continue;
            }
            let here = self.next;
            let part_len = members.part(here.endpoint).len();
            if here.member < part_len {
                let peers = (SLICE_COST_US / self.plan.pass_cost_us(here.pass)).max(1);
                self.next.member = part_len.min(here.member + peers);
                return Some((here, self.next.member));
            }
            self.next.endpoint += 1;
            self.next.member = 0;
        }
        None
    }
}

impl Default for FanOut {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Slice<'a> {
    /// Every packet of this slice, peer by peer.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'a>> {
        let Self { plan, pass, .. } = *self;
        self.peers
            .iter()
            .flat_map(move |peer| plan.packets(pass, peer))
    }
}

/// How long to send before the socket is looked at again, about: 10,000 peers
/// send no more heartbeats in that time than one receive batch holds.
pub const SLICE_COST_US: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peers;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn peers_at(counts: &[u16]) -> Peers {
        let peers = Peers::new(Arc::new(Room::new(counts.len())), 100_000);
        for (endpoint, &count) in counts.iter().enumerate() {
            for port in 1..=count {
                peers.touch(&peer(port, endpoint as u8), 0);
            }
        }
        peers
    }

    fn peer(port: u16, endpoint: u8) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), endpoint)
    }

    fn texts(slice: &Slice<'_>) -> Vec<(PeerAddr, String)> {
        let mut texts = Vec::new();
        for packet in slice.packets() {
            assert_eq!(packet.to.endpoint(), slice.endpoint);
            let segments = packet.payload.chunks(packet.segment_bytes.into());
            assert_eq!(segments.len(), packet.deliveries as usize);
            for segment in segments {
                texts.push((*packet.to, String::from_utf8(segment.to_vec()).unwrap()));
            }
        }
        texts
    }

    #[test]
    fn nothing_to_say_is_nothing_to_send() {
        let mut fanout = FanOut::new();
        assert!(fanout.next_slice(peers_at(&[3]).lobby()).is_none());
    }

    #[test]
    fn an_empty_room_hears_nothing() {
        let mut fanout = FanOut::new();
        fanout.push(peer(1, 0), b"hi").unwrap();
        assert!(fanout.next_slice(peers_at(&[0, 0]).lobby()).is_none());
        assert!(fanout.is_idle(), "the text is not kept for later comers");
    }

    #[test]
    fn what_comes_during_a_fanout_goes_out_in_the_next_one() {
        let peers = peers_at(&[SLICE_COST_US as u16]);
        let mut fanout = FanOut::new();
        fanout.push(peer(1, 0), b"one").unwrap();
        let mut heard = Vec::new();
        heard.extend(texts(&fanout.next_slice(peers.lobby()).unwrap()));
        assert!(heard.len() < peers.len(), "more than one slice");
        fanout.push(peer(1, 0), b"two").unwrap();
        while let Some(slice) = fanout.next_slice(peers.lobby()) {
            heard.extend(texts(&slice));
        }
        let (first, second) = heard.split_at(peers.len());
        assert!(first.iter().all(|(_, text)| text == "127.0.0.1:1 one"));
        assert!(second.iter().all(|(_, text)| text == "127.0.0.1:1 two"));
        assert_eq!(second.len(), peers.len());
        assert!(fanout.is_idle());
    }

    #[test]
    fn a_long_backlog_goes_out_in_passes_that_fit_a_stock_clients_buffer() {
        let peers = peers_at(&[2]);
        let mut fanout = FanOut::new();
        for speaker in 1..=1000 {
            fanout.push(peer(speaker, 0), b"hi").unwrap();
        }
        let mut heard = Vec::new();
        while let Some(slice) = fanout.next_slice(peers.lobby()) {
            heard.extend(texts(&slice).into_iter().map(|(to, _)| to.port()));
        }
        assert_eq!(heard.len(), 2000);
        let longest_run = heard.chunk_by(|a, b| a == b).map(<[u16]>::len).max();
        assert!(
            longest_run.is_some_and(|run| (65..=128).contains(&run)),
            "{longest_run:?}"
        );
    }

    proptest! {
        #[test]
        fn everyone_hears_every_text_once_and_each_sender_in_order(
            counts in prop::collection::vec(0_u16..40, 1..4),
            said in prop::collection::vec((1_u16..9, 0_usize..60), 1..300),
        ) {
            let peers = peers_at(&counts);
            let mut fanout = FanOut::new();
            let mut expected = HashMap::<String, Vec<String>>::new();
            for (number, (speaker, len)) in said.iter().enumerate() {
                let text = format!("{number:04}{}", "x".repeat(*len));
                fanout.push(peer(*speaker, 0), text.as_bytes()).unwrap();
                expected.entry(peer(*speaker, 0).to_string()).or_default().push(text);
            }
            let mut heard = HashMap::<PeerAddr, HashMap<String, Vec<String>>>::new();
            while let Some(slice) = fanout.next_slice(peers.lobby()) {
                for (to, datagram) in texts(&slice) {
                    let (speaker, text) = datagram.split_once(' ').unwrap();
                    let by_speaker = heard.entry(to).or_default();
                    by_speaker.entry(speaker.into()).or_default().push(text.into());
                }
            }
            prop_assert!(fanout.is_idle());
            prop_assert_eq!(heard.len(), peers.len());
            prop_assert!(heard.values().all(|by_speaker| *by_speaker == expected));
        }
    }
}
