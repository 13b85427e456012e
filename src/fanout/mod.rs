//! Messages to packets to destinations, in slices. No I/O: it takes texts and
//! members, and says what to send where.

pub mod regroup;

use std::sync::Arc;

use crate::net::PeerAddr;
use crate::rooms::{Members, Room};

/// The fan-out of one worker. Texts gather while the ones before them are on
/// their way; then all that gathered goes out together, peer by peer, so that
/// batches grow with the backlog and never wait for a timer.
pub struct FanOut {
    gathering: Batch,
    /// What is on its way, to `members` from `next` on.
    sending: Batch,
    members: Option<Arc<Members>>,
    next: Position,
}

/// A part of a fan-out: some peers of one endpoint, each to get every message
/// of the batch.
pub struct Slice<'a> {
    /// The endpoint through which the peers are reached.
    pub endpoint: u8,
    peers: &'a [PeerAddr],
    batch: &'a Batch,
}

/// The backlog is full: the text was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogFull;

#[derive(Clone, Copy, Default)]
struct Position {
    endpoint: usize,
    index: usize,
}

/// Encoded messages, one behind the other in one buffer.
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl FanOut {
    /// With space for two batches, one that gathers and one that is sent.
    pub fn new() -> Self {
        Self {
            gathering: Batch::new(),
            sending: Batch::new(),
            members: None,
            next: Position::default(),
        }
    }

    /// Takes up one message, which `encode` appends to the buffer it is given,
    /// and returns it as encoded. It must be no longer than
    /// [`MAX_TEXT_DATAGRAM`](crate::wire::MAX_TEXT_DATAGRAM).
    ///
    /// # Errors
    /// [`BacklogFull`]: as many messages as one batch can have wait already.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<&[u8], BacklogFull> {
        self.gathering.push(encode)
    }

    /// What to send next, or `None` when all is sent. `room` is looked at when
    /// a batch begins: whoever is in it then gets every message of the batch.
    pub fn next_slice(&mut self, room: &Room) -> Option<Slice<'_>> {
        let (range, endpoint) = loop {
            if self.members.is_none() {
                self.begin(room)?;
            }
            match self.advance() {
                Some(slice) => break slice,
                None => self.members = None,
            }
        };
        let part = self.members.as_ref()?.part(endpoint);
        Some(Slice {
            endpoint: u8::try_from(endpoint).expect("at most MAX_ENDPOINTS"),
            peers: &part[range],
            batch: &self.sending,
        })
    }

    /// Whether there is nothing left to send.
    pub fn is_idle(&self) -> bool {
        self.members.is_none() && self.gathering.ends.is_empty()
    }

    /// Makes what has gathered the batch to send; `None` if nothing has.
    fn begin(&mut self, room: &Room) -> Option<()> {
        if self.gathering.ends.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.gathering, &mut self.sending);
        self.gathering.clear();
        self.members = Some(room.members());
        self.next = Position::default();
        Some(())
    }

    /// Moves past the next slice and returns where it lies: which members of
    /// which endpoint. `None`: everyone has been served.
    fn advance(&mut self) -> Option<(std::ops::Range<usize>, usize)> {
        let members = self.members.as_deref()?;
        let peers_a_slice = (SLICE_DELIVERIES / self.sending.ends.len()).max(1);
        while self.next.endpoint < members.endpoints() {
            let Position { endpoint, index } = self.next;
            let part_len = members.part(endpoint).len();
            if index < part_len {
                let end = part_len.min(index + peers_a_slice);
                self.next.index = end;
                return Some((index..end, endpoint));
            }
            self.next = Position {
                endpoint: endpoint + 1,
                index: 0,
            };
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
    /// Every datagram of this slice, peer by peer; to each peer the messages
    /// in the order in which they came.
    pub fn packets(&self) -> impl Iterator<Item = (&'a PeerAddr, &'a [u8])> {
        let batch = self.batch;
        let peers = self.peers.iter();
        peers.flat_map(move |peer| batch.messages().map(move |message| (peer, message)))
    }
}

impl Batch {
    fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MAX_BATCH_BYTES),
            ends: Vec::with_capacity(MAX_BATCH_MESSAGES),
        }
    }

    fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<&[u8], BacklogFull> {
        let start = self.bytes.len();
        let bytes_left = MAX_BATCH_BYTES - start;
        if self.ends.len() == MAX_BATCH_MESSAGES || bytes_left < crate::wire::MAX_TEXT_DATAGRAM {
            return Err(BacklogFull);
        }
        encode(&mut self.bytes);
        debug_assert!(self.bytes.len() <= MAX_BATCH_BYTES);
        self.ends.push(self.bytes.len());
        Ok(&self.bytes[start..])
    }

    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let message = &self.bytes[start..end];
            start = end;
            message
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Deliveries between two looks at the socket: at the slowest rate measured
/// (0.1 million/s) 5 ms, in which 10,000 peers send no more heartbeats than
/// one receive batch holds.
pub const SLICE_DELIVERIES: usize = 512;

/// Messages that may wait in a worker: at 1000 peers and 0.15 million
/// deliveries/s they are 3.4 s of work; to hold more would only delay what is
/// shed in the end.
pub const MAX_BATCH_MESSAGES: usize = 512;

/// Space for as many messages of half the greatest length.
const MAX_BATCH_BYTES: usize = MAX_BATCH_MESSAGES * crate::wire::MAX_TEXT_DATAGRAM / 2;

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
                let address = ([127, 0, 0, 1], port).into();
                peers.touch(&PeerAddr::new(address, endpoint as u8), 0);
            }
        }
        peers
    }

    fn push(fanout: &mut FanOut, message: &[u8]) -> Result<(), BacklogFull> {
        let encoded = fanout.push(|out| out.extend_from_slice(message))?;
        assert_eq!(encoded, message);
        Ok(())
    }

    /// All that is sent, by peer, and how many slices it took.
    fn drain(fanout: &mut FanOut, room: &Room) -> (HashMap<PeerAddr, Vec<Vec<u8>>>, usize) {
        let (mut heard, mut slices) = (HashMap::<_, Vec<_>>::new(), 0);
        while let Some(slice) = fanout.next_slice(room) {
            slices += 1;
            for (peer, message) in slice.packets() {
                assert_eq!(peer.endpoint(), slice.endpoint);
                heard.entry(*peer).or_default().push(message.to_vec());
            }
        }
        assert!(fanout.is_idle());
        (heard, slices)
    }

    #[test]
    fn nothing_to_say_is_nothing_to_send() {
        let mut fanout = FanOut::new();
        assert!(fanout.next_slice(peers_at(&[3]).lobby()).is_none());
    }

    #[test]
    fn an_empty_room_hears_nothing() {
        let mut fanout = FanOut::new();
        push(&mut fanout, b"hi").unwrap();
        assert!(fanout.next_slice(peers_at(&[0, 0]).lobby()).is_none());
        assert!(fanout.is_idle(), "the message is not kept for later comers");
    }

    #[test]
    fn what_comes_during_a_fanout_goes_out_in_the_next_one() {
        let peers = peers_at(&[SLICE_DELIVERIES as u16 + 1]);
        let mut fanout = FanOut::new();
        push(&mut fanout, b"one").unwrap();
        let first = fanout.next_slice(peers.lobby()).unwrap();
        assert_eq!(first.packets().count(), SLICE_DELIVERIES);
        push(&mut fanout, b"two").unwrap();
        let second = fanout.next_slice(peers.lobby()).unwrap();
        assert_eq!(
            second.packets().map(|(_, text)| text).collect::<Vec<_>>(),
            [b"one"]
        );
        let third = fanout.next_slice(peers.lobby()).unwrap();
        assert!(third.packets().all(|(_, text)| text == b"two"));
    }

    #[test]
    fn the_backlog_is_bounded_in_messages_and_in_bytes() {
        let mut fanout = FanOut::new();
        for _ in 0..MAX_BATCH_MESSAGES {
            push(&mut fanout, b"x").unwrap();
        }
        assert_eq!(push(&mut fanout, b"x"), Err(BacklogFull));

        let mut fanout = FanOut::new();
        let long = [b'x'; crate::wire::MAX_TEXT_DATAGRAM];
        let taken = (0..MAX_BATCH_MESSAGES).take_while(|_| push(&mut fanout, &long).is_ok());
        assert_eq!(taken.count(), MAX_BATCH_BYTES / long.len());
    }

    proptest! {
        #[test]
        fn everyone_hears_every_message_once_and_in_order(
            counts in prop::collection::vec(0_u16..700, 1..4),
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..40),
        ) {
            let peers = peers_at(&counts);
            let mut fanout = FanOut::new();
            for message in &messages {
                push(&mut fanout, message).unwrap();
            }
            let (heard, slices) = drain(&mut fanout, peers.lobby());
            prop_assert_eq!(heard.len(), peers.len());
            prop_assert!(heard.values().all(|to_one| to_one == &messages));
            let deliveries = peers.len() * messages.len();
            prop_assert!(slices >= deliveries / SLICE_DELIVERIES);
        }
    }
}
