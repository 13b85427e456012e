//! The texts that wait for fan-out. The time to send them and their memory are bounded, and
//! rooms, senders and networks share both fairly.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::arena::{Arena, Place};
use super::builder::Full;
use super::load::{Account, Load, TYPICAL_PACKET_NS};
use super::packets::PACKET_COST_NS;
use super::peer_accounts::PeerAccounts;
use super::plan::SharedPlan;
use super::round_robin::{Flow, FlowState, RoundRobin};
use super::{Sender, Source};
use crate::net::PeerAddr;
use crate::server::registry::{Network, Room};
use crate::wire::DisplayName;
use crate::wire::v2::SessionId;

/// Texts by room and by sender.
pub(super) struct Backlog {
    /// The rooms that have texts or a plan, or have had one a few turns ago.
    pub(super) rooms: Slab<RoomQueue>,
    /// The time at which the texts of this turn have arrived, see [`Exchange::time_us`].
    ///
    /// [`Exchange::time_us`]: super::Exchange::time_us
    pub(super) now_us: u32,
    senders: Slab<SenderQueue>,
    shares: Slab<Share>,
    peers: PeerAccounts,
    texts: Slab<Text>,
    bytes: Arena,
    total: Account,
    /// The bound of the texts in `total` that are within the shares.
    bound: Load,
    room_indexes: HashMap<RoomKey, usize>,
    share_indexes: HashMap<ShareKey, usize>,
    sender_indexes: HashMap<(RoomKey, ShareKey), usize>,
    /// The number of plans so far.
    plans: u64,
    /// The index in `senders` of the one that was looked up last. A datagram may have many texts
    /// of one sender.
    last: usize,
}

/// The texts for one room.
pub(super) struct RoomQueue {
    pub(super) room: Arc<Room>,
    /// The plan that is under way.
    pub(super) plan: Option<SharedPlan>,
    pub(super) account: Account,
    flow: FlowState,
    /// The turns of the senders.
    senders: RoundRobin,
}

/// A text that is picked for a plan.
pub(super) struct Picked<'a> {
    /// The index of its sender's share.
    pub(super) share: usize,
    /// The sender's name or address when the text arrived.
    pub(super) from: DisplayName,
    /// The session that the text is not sent to.
    pub(super) not_to: Option<SessionId>,
    /// The sender is a peer of this node.
    pub(super) is_local: bool,
    pub(super) cost_ns: u64,
    /// The time in µs since it arrived.
    pub(super) age_us: u32,
    pub(super) text: &'a [u8],
}

/// The sender, its network or its room has used up its share of the backlog. The text is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogFull;

/// The texts of one sender or network for one room, a list linked by [`Text::next`].
struct SenderQueue {
    room: usize,
    share: usize,
    key: (RoomKey, ShareKey),
    flow: FlowState,
    first: Option<usize>,
    last: usize,
    /// The number of the last plan with a text of it.
    plan: u64,
}

/// The waiting texts of one sender or network in all rooms.
struct Share {
    account: Account,
    /// The mean part of a text in the cost of a packet to a v1 peer. A sender whose texts do not
    /// fit into packets with others pays for more packets.
    packet_ns: u64,
    /// The number of its [`SenderQueue`]s.
    queues: usize,
}

struct Text {
    from: DisplayName,
    not_to: Option<SessionId>,
    /// The index of its sender's own account, if the share is that of a network.
    peer: Option<u32>,
    load: Load,
    place: Place,
    received_us: u32,
    /// It is within the reserve, not within the shares.
    is_reserved: bool,
    /// The next text of the same sender in the same room.
    next: Option<usize>,
}

/// The address in memory of a room. The room of a queue is kept, so no other one can have it.
type RoomKey = usize;

/// The key of a share. Senders with the same key also take turns as one in a room. So many addresses of
/// a network have no more turns than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShareKey {
    Peer(PeerAddr),
    Network(Network),
    /// A peer of another server, by its hash.
    Node(u64),
}

impl Backlog {
    /// Returns an empty backlog, which keeps what can be sent within `time`.
    pub(super) fn new(time: Duration) -> Self {
        Self {
            rooms: Slab::with_capacity(TYPICAL_SENDERS),
            now_us: 0,
            senders: Slab::with_capacity(TYPICAL_SENDERS),
            shares: Slab::with_capacity(TYPICAL_SENDERS),
            peers: PeerAccounts::new(),
            texts: Slab::with_capacity(TYPICAL_TEXTS),
            bytes: Arena::new(),
            total: Account::default(),
            bound: Load {
                cost_ns: time.as_nanos() as u64,
                bytes: MAX_BYTES,
            },
            room_indexes: HashMap::with_capacity(TYPICAL_SENDERS),
            share_indexes: HashMap::with_capacity(TYPICAL_SENDERS),
            sender_indexes: HashMap::with_capacity(TYPICAL_SENDERS),
            plans: 0,
            last: 0,
        }
    }

    /// The approximate time to send all texts.
    pub(super) fn cost_ns(&self) -> u64 {
        self.total.cost_ns()
    }

    /// Adds a text for a room. Returns the index of the room.
    ///
    /// A room and a sender may each have as much waiting as is left for others. One flooder leaves
    /// half of the backlog, two leave a third (Choudhury and Hahne, "Dynamic queue length thresholds
    /// for shared-memory packet switches", 1998, with a factor of 1). Senders that are not trusted
    /// share by network. A network may have as much as is left of its room's share, and each of its
    /// senders as much as is left of the network's.
    ///
    /// A sender who has no text waiting may have one beyond that, from a reserve of [`RESERVE`]
    /// times the backlog for all senders. So nobody is refused because others are many, or because
    /// one text costs more than a share. For rooms that have no text waiting, the reserve is an
    /// eighth larger. A network may have as much of the reserve as it leaves for others, and its senders
    /// may have more than one text there while the network has few.
    pub(super) fn push(
        &mut self,
        room: &Arc<Room>,
        sender: &Sender,
        text: &[u8],
    ) -> Result<usize, BacklogFull> {
        let from = sender.from;
        let key = (room_key(room), ShareKey::of(sender));
        let known = self.find(&key);
        let (queue, share) = match known {
            Some(index) => {
                let SenderQueue { room, share, .. } = self.senders[index];
                (Some(room), Some(share))
            }
            None => (
                self.room_indexes.get(&key.0).copied(),
                self.share_indexes.get(&key.1).copied(),
            ),
        };
        let nothing = Account::default();
        let queued = queue.map_or(&nothing, |index| &self.rooms[index].account);
        let (shared, packet_ns) = match share {
            Some(index) => (&self.shares[index].account, self.shares[index].packet_ns),
            None => (&nothing, TYPICAL_PACKET_NS),
        };
        let load = Load::of(room, &from, text.len(), packet_ns);
        let left = self.bound.saturating_sub(self.total.kept);
        let mut is_reserved = !(queued.may_keep(load, left) && shared.may_keep(load, left));
        if let Source::Untrusted(address, _) = &sender.source {
            let own = self.peers.get(address);
            // A network may have as much as is left of the room's share, and a sender as much as is
            // left of the network's. So there is always some of it left for other networks.
            let left = left.saturating_sub(queued.kept);
            is_reserved |= !shared.may_keep(load, left)
                || !own.may_keep(load, left.saturating_sub(shared.kept));
            if is_reserved {
                self.check_reserve(queued, &own, shared)?;
            }
        } else if is_reserved {
            self.check_reserve(queued, shared, &nothing)?;
        }
        let index = known.unwrap_or_else(|| self.add_sender(room, key, queue, share));
        let peer = match sender.source {
            Source::Untrusted(address, _) => Some(self.peers.add(address, load, is_reserved)),
            Source::Trusted(_) | Source::Node(_) => None,
        };
        let places = self.texts.iter_mut().map(|(_, text)| &mut text.place);
        let place = self.bytes.push(text, places);
        let text = self.texts.insert(Text {
            from,
            not_to: sender.session_without_echo,
            peer,
            load,
            place,
            received_us: self.now_us,
            is_reserved,
            next: None,
        });
        let sender = &mut self.senders[index];
        let (room, share) = (sender.room, sender.share);
        let last = std::mem::replace(&mut sender.last, text);
        let is_first = sender.first.is_none();
        if is_first {
            sender.first = Some(text);
        } else {
            self.texts[last].next = Some(text);
        }
        let (queue, share) = (&mut self.rooms[room], &mut self.shares[share]);
        for account in [&mut queue.account, &mut share.account, &mut self.total] {
            account.add(load, is_reserved);
        }
        if is_first {
            let quantum = queue.quantum();
            let turns = &mut queue.senders;
            turns.activate(&mut self.senders, index, quantum);
        }
        Ok(room)
    }

    /// Takes texts of a room for one plan from its senders in turn, until `push` has no space. The
    /// texts of a sender keep their order.
    ///
    /// A sender whose texts are all in this plan is not idle before the next one. Otherwise those
    /// who always have few texts waiting would be new again in each plan, and go before one who
    /// speaks seldom.
    pub(super) fn pick(
        &mut self,
        room: usize,
        mut push: impl FnMut(&Picked<'_>) -> Result<(), Full>,
    ) {
        let queue = &mut self.rooms[room];
        let (quantum, mut turns) = (queue.quantum(), std::mem::take(&mut queue.senders));
        self.plans += 1;
        while let Some(index) = turns.current(&mut self.senders, quantum) {
            let sender = &mut self.senders[index];
            let Some(first) = sender.first else {
                if sender.plan == self.plans {
                    turns.rest(&mut self.senders);
                } else if turns.end(&mut self.senders) {
                    self.remove_sender(index);
                }
                continue;
            };
            let text = &self.texts[first];
            let picked = Picked {
                share: sender.share,
                from: text.from,
                not_to: text.not_to,
                is_local: !matches!(sender.key.1, ShareKey::Node(_)),
                cost_ns: text.load.cost_ns,
                age_us: self.now_us.wrapping_sub(text.received_us),
                text: self.bytes.get(&text.place),
            };
            if push(&picked).is_err() {
                break;
            }
            let text = self.texts.remove(first);
            self.bytes.free(&text.place);
            sender.first = text.next;
            sender.plan = self.plans;
            let queue = &mut self.rooms[room].account;
            let share = &mut self.shares[sender.share].account;
            for account in [queue, share, &mut self.total] {
                account.remove(text.load, text.is_reserved);
            }
            if let Some(peer) = text.peer {
                self.peers.remove(peer, text.load, text.is_reserved);
            }
            turns.charge(&mut self.senders, text.load.cost_ns as i64, quantum);
        }
        turns.end_rests(&mut self.senders);
        self.rooms[room].senders = turns;
    }

    /// Lets senders pay for later texts according to the shares, and the numbers of datagrams in
    /// the packets, of texts that were picked.
    pub(super) fn set_runs(&mut self, runs: impl Iterator<Item = (usize, u16)>) {
        for (share, run) in runs {
            if let Some(share) = self.shares.get_mut(share) {
                // A moving mean, with a weight of an eighth for each text.
                share.packet_ns = (7 * share.packet_ns + PACKET_COST_NS / u64::from(run)) / 8;
            }
        }
    }

    /// Forgets a room that has neither texts nor a plan, and its senders.
    pub(super) fn remove_room(&mut self, room: usize) {
        let mut queue = self.rooms.remove(room);
        debug_assert!(queue.plan.is_none() && queue.account.texts == 0);
        while let Some(index) = queue.senders.remove_any(&mut self.senders) {
            self.remove_sender(index);
        }
        self.room_indexes.remove(&room_key(&queue.room));
    }

    /// Returns the index of a sender's queue for a room, if there is one.
    fn find(&mut self, key: &(RoomKey, ShareKey)) -> Option<usize> {
        let last = self.senders.get(self.last);
        if last.is_none_or(|sender| sender.key != *key) {
            self.last = *self.sender_indexes.get(key)?;
        }
        Some(self.last)
    }

    /// Checks that a text may be taken from the reserve. `queued` and `own` are the accounts of
    /// its room and its sender, and `network` that of its network if the sender is not trusted.
    #[cold]
    #[inline(never)]
    fn check_reserve(
        &self,
        queued: &Account,
        own: &Account,
        network: &Account,
    ) -> Result<(), BacklogFull> {
        let eighths = if queued.texts == 0 { 9 } else { 8 };
        let (used, by_network) = (self.total.reserved, network.reserved);
        let has_space = used.cost_ns + by_network.cost_ns
            < self.bound.cost_ns * RESERVE / 8 * eighths
            && used.bytes + by_network.bytes < MAX_RESERVED_BYTES / 8 * eighths;
        let has_few = own.texts == 0 || (1..FEW_TEXTS).contains(&network.texts);
        match has_few && has_space {
            true => Ok(()),
            false => Err(BacklogFull),
        }
    }

    /// Adds a queue for the texts of a sender for a room, whose indexes are given if they have any.
    #[cold]
    fn add_sender(
        &mut self,
        room: &Arc<Room>,
        key: (RoomKey, ShareKey),
        room_index: Option<usize>,
        share_index: Option<usize>,
    ) -> usize {
        let room = room_index.unwrap_or_else(|| {
            let index = self.rooms.insert(RoomQueue::new(Arc::clone(room)));
            self.room_indexes.insert(key.0, index);
            index
        });
        let share = share_index.unwrap_or_else(|| {
            let index = self.shares.insert(Share::new());
            self.share_indexes.insert(key.1, index);
            index
        });
        self.shares[share].queues += 1;
        let index = self.senders.insert(SenderQueue {
            room,
            share,
            key,
            flow: FlowState::default(),
            first: None,
            last: 0,
            plan: 0,
        });
        self.sender_indexes.insert(key, index);
        index
    }

    /// Forgets a sender that has no texts for a room.
    fn remove_sender(&mut self, index: usize) {
        let sender = self.senders.remove(index);
        self.sender_indexes.remove(&sender.key);
        self.shares[sender.share].queues -= 1;
        if self.shares[sender.share].queues == 0 {
            self.shares.remove(sender.share);
            self.share_indexes.remove(&sender.key.1);
        }
    }
}

impl RoomQueue {
    fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            plan: None,
            account: Account::default(),
            flow: FlowState::default(),
            senders: RoundRobin::default(),
        }
    }

    /// The quantum of a sender: a text of mean cost.
    fn quantum(&self) -> i64 {
        let texts = self.account.texts.max(1);
        self.account.cost_ns().div_ceil(texts).max(1) as i64
    }
}

impl Hash for ShareKey {
    /// Hashes what a key holds, at half the cost of that and its kind.
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Peer(address) => address.hash(state),
            Self::Network(network) => network.hash(state),
            Self::Node(hash) => hash.hash(state),
        }
    }
}

impl ShareKey {
    #[inline]
    fn of(sender: &Sender) -> Self {
        match sender.source {
            Source::Trusted(address) => Self::Peer(address),
            Source::Untrusted(_, network) => Self::Network(network),
            Source::Node(hash) => Self::Node(hash),
        }
    }
}

impl Share {
    fn new() -> Self {
        Self {
            account: Account::default(),
            packet_ns: TYPICAL_PACKET_NS,
            queues: 0,
        }
    }
}

impl Flow for RoomQueue {
    fn state(&mut self) -> &mut FlowState {
        &mut self.flow
    }
}

impl Flow for SenderQueue {
    fn state(&mut self) -> &mut FlowState {
        &mut self.flow
    }
}

fn room_key(room: &Arc<Room>) -> RoomKey {
    Arc::as_ptr(room).addr()
}

/// Maximum number of bytes of the texts within the shares of their rooms and senders. A worker
/// receives a million short texts per second, so this holds those of 45 ms. With the reserve, a
/// worker takes up to 32 MiB of memory for texts, and only as much as have been waiting.
const MAX_BYTES: u64 = 8 << 20;

/// The time to send all other texts, as a multiple of the backlog. With 100 ms, it is enough for a
/// text of each of 170 flooders in a room of 1,000. It delays only those who have sent much, as
/// others are new and have their turn first.
const RESERVE: u64 = 2;

/// Number of waiting texts below which those of a network may all be in the reserve. A person or
/// a program with 20 texts per second has fewer waiting in a room whose plans take 0.2 s.
const FEW_TEXTS: u64 = 8;

/// Maximum number of bytes of all other texts. It is enough for short ones of 12,000 senders.
const MAX_RESERVED_BYTES: u64 = 2 << 20;

/// Number of texts for which memory is allocated at the start.
const TYPICAL_TEXTS: usize = 1024;

/// Number of rooms and senders for which memory is allocated at the start.
const TYPICAL_SENDERS: usize = 128;

#[cfg(test)]
mod tests;
