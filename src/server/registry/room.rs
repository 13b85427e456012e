//! One room. Membership changes under a lock; fan-out reads snapshots of the members.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};

use super::hash::{HashedAddr, Prehashed};
use super::presence::{EventQueue, Presence};
use crate::net::{Endpoint, PeerAddr};
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::lock;
use crate::wire::reply::PresenceEvent;
use crate::wire::{DisplayName, Name, Protocol, RoomName};

/// A change marks the snapshot of the members as stale. The next fan-out makes a new one,
/// however many changes there were. That copies 32 bytes per member, a small part of the cost
/// of the fan-out itself. So a text reaches every peer that joined before it.
pub struct Room {
    name: RoomName,
    number: u32,
    state: Mutex<State>,
    snapshot: ArcSwap<Members>,
    /// Written only under the lock of `state`.
    is_stale: AtomicBool,
    /// The number of the next message, for each worker.
    sequences: Box<[AtomicU32]>,
    events: Arc<EventQueue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// The peer left the server, or went to another room.
    Left,
    TimedOut,
}

struct State {
    /// In the order of joining, but the last member takes the place of one that leaves.
    members: IndexMap<PeerAddr, SendGroup, Prehashed>,
    /// `None` until the first peer subscribes.
    presence: Option<Arc<Presence>>,
}

impl Room {
    pub fn new(name: RoomName, number: u32, workers: usize, events: Arc<EventQueue>) -> Self {
        Self {
            name,
            number,
            state: Mutex::new(State {
                members: IndexMap::default(),
                presence: None,
            }),
            snapshot: ArcSwap::default(),
            is_stale: AtomicBool::new(false),
            sequences: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            events,
        }
    }

    #[cfg(test)]
    pub(crate) fn plain(number: u32, workers: usize) -> Arc<Self> {
        let name = RoomName::parse(b"plain").expect("a valid name");
        let events = Arc::new(EventQueue::new(Arc::new(|| {})));
        Arc::new(Self::new(name, number, workers, events))
    }

    /// The name as the creator of the room wrote it.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The number in protocol v2.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn len(&self) -> usize {
        self.lock().members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn members(&self) -> Arc<Members> {
        if self.is_stale.load(Ordering::Acquire) {
            self.rebuild();
        }
        self.snapshot.load_full()
    }

    /// Takes the numbers for `count` messages from `worker`, and returns the first.
    pub fn take_sequence(&self, worker: WorkerId, count: u32) -> u32 {
        self.sequences[worker.index()].fetch_add(count, Ordering::Relaxed)
    }

    /// Adds a peer, which must not be a member. `name` is called if the room has presence
    /// subscribers.
    pub(super) fn join(
        &self,
        key: &HashedAddr,
        group: SendGroup,
        wants_presence: bool,
        name: impl FnOnce() -> DisplayName,
    ) {
        let mut state = self.lock();
        let members = &mut state.members;
        if members.len() == members.capacity() {
            members.reserve_exact((members.len() / 4).max(MIN_GROWTH));
        }
        match state.entry(key) {
            RawEntryMut::Vacant(entry) => {
                entry.insert_hashed_nocheck(key.hash, key.address, group);
            }
            RawEntryMut::Occupied(_) => debug_assert!(false, "{} is a member", key.address),
        }
        self.is_stale.store(true, Ordering::Release);
        if wants_presence {
            self.subscribe(&mut state, key.address, group);
        }
        state.record(|| PresenceEvent::Joined(name()));
    }

    /// Removes a peer, which must be a member. `name` is called if the room has presence
    /// subscribers.
    pub(super) fn leave(
        &self,
        key: &HashedAddr,
        reason: LeaveReason,
        name: impl FnOnce() -> DisplayName,
    ) {
        let mut state = self.lock();
        match state.entry(key) {
            RawEntryMut::Occupied(entry) => drop(entry.swap_remove()),
            RawEntryMut::Vacant(_) => debug_assert!(false, "{} is no member", key.address),
        }
        // Frees memory after a burst of members.
        let members = &mut state.members;
        if members.len() < members.capacity() / 4 {
            let keep = members.len() * 2;
            members.shrink_to(keep);
        }
        self.is_stale.store(true, Ordering::Release);
        if let Some(presence) = &state.presence {
            presence.unsubscribe(&key.address);
        }
        state.record(|| match reason {
            LeaveReason::Left => PresenceEvent::Left(name()),
            LeaveReason::TimedOut => PresenceEvent::TimedOut(name()),
        });
    }

    /// Changes the group of a member. This is no presence event, because the member stays.
    pub(super) fn set_group(&self, key: &HashedAddr, group: SendGroup, wants_presence: bool) {
        let mut state = self.lock();
        match state.entry(key) {
            RawEntryMut::Occupied(mut entry) => drop(entry.insert(group)),
            RawEntryMut::Vacant(_) => debug_assert!(false, "{} is no member", key.address),
        }
        self.is_stale.store(true, Ordering::Release);
        if wants_presence {
            self.subscribe(&mut state, key.address, group);
        }
    }

    /// Records that a member took another name.
    pub(super) fn rename(&self, before: DisplayName, now: Name) {
        self.lock().record(|| PresenceEvent::Renamed(before, now));
    }

    pub(super) fn set_presence(&self, address: PeerAddr, group: SendGroup, is_on: bool) {
        let mut state = self.lock();
        if is_on {
            self.subscribe(&mut state, address, group);
        } else if let Some(presence) = &state.presence {
            presence.unsubscribe(&address);
        }
    }

    /// Returns up to `count` members, from index `first` on, and the number of all members.
    pub(super) fn page(&self, first: usize, count: usize) -> (Vec<PeerAddr>, usize) {
        let state = self.lock();
        let page = state.members.keys().skip(first).take(count);
        (page.copied().collect(), state.members.len())
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.lock().members.capacity()
    }

    fn subscribe(&self, state: &mut State, address: PeerAddr, group: SendGroup) {
        let presence = state
            .presence
            .get_or_insert_with(|| Arc::new(Presence::new(Arc::clone(&self.events))));
        presence.subscribe(address.at(group.endpoint), group.protocol);
    }

    fn rebuild(&self) {
        let state = self.lock();
        if !self.is_stale.load(Ordering::Relaxed) {
            return;
        }
        let members = Members::collect(state.members.iter());
        self.snapshot.store(Arc::new(members));
        // After the snapshot: a reader that sees this flag must see the snapshot too.
        self.is_stale.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn entry(&mut self, key: &HashedAddr) -> RawEntryMut<'_, PeerAddr, SendGroup, Prehashed> {
        let members = self.members.raw_entry_mut_v1();
        members.from_key_hashed_nocheck(key.hash, &key.address)
    }

    fn record(&self, event: impl FnOnce() -> PresenceEvent) {
        if let Some(presence) = &self.presence {
            presence.record(event(), self.members.len());
        }
    }
}

/// The properties that peers must share to be sent to in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SendGroup {
    pub endpoint: Endpoint,
    pub protocol: Protocol,
    /// The worker that receives from the peer. In a shared room it also sends to the peer.
    pub owner: WorkerId,
}

/// The members of a room at one moment.
#[derive(Debug, Default)]
pub struct Members {
    addresses: Box<[PeerAddr]>,
    groups: Box<[(SendGroup, Range<usize>)]>,
    /// True if the workers share the sending.
    is_shared: bool,
}

impl Members {
    /// Counts the members of each group, and then places them.
    pub(super) fn collect<'a>(
        members: impl ExactSizeIterator<Item = (&'a PeerAddr, &'a SendGroup)> + Clone,
    ) -> Self {
        let is_shared = members.len() >= MIN_SHARED_MEMBERS;
        let group_of = |group: &SendGroup| match is_shared {
            true => *group,
            false => SendGroup {
                owner: WorkerId::default(),
                ..*group
            },
        };
        let mut groups: Vec<(SendGroup, Range<usize>)> = Vec::new();
        // Empty while a linear search is fast.
        let mut places = BTreeMap::new();
        let find = |groups: &[(SendGroup, Range<usize>)], places: &BTreeMap<_, _>, group| {
            if groups.len() <= MAX_LINEAR_GROUPS {
                groups.iter().position(|known| known.0 == group)
            } else {
                places.get(&group).copied()
            }
        };
        for (_, group) in members.clone() {
            let group = group_of(group);
            if let Some(index) = find(&groups, &places, group) {
                groups[index].1.end += 1;
                continue;
            }
            groups.push((group, 0..1));
            if groups.len() == MAX_LINEAR_GROUPS + 1 {
                places.extend(
                    (0..)
                        .zip(&groups)
                        .map(|(place, (group, _))| (*group, place)),
                );
            } else if groups.len() > MAX_LINEAR_GROUPS {
                places.insert(group, groups.len() - 1);
            }
        }
        let mut start = 0;
        for (_, range) in &mut groups {
            let end = start + range.end;
            *range = start..start;
            start = end;
        }
        let placeholder = PeerAddr::new(([0, 0, 0, 0], 0).into(), 0);
        let mut addresses = vec![placeholder; members.len()];
        for (address, group) in members {
            let index = match groups.len() {
                1 => Some(0),
                _ => find(&groups, &places, group_of(group)),
            };
            if let Some(index) = index {
                let end = &mut groups[index].1.end;
                addresses[*end] = address.at(group.endpoint);
                *end += 1;
            }
        }
        Self {
            addresses: addresses.into(),
            groups: groups.into(),
            is_shared,
        }
    }

    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    pub fn group(&self, index: usize) -> (SendGroup, &[PeerAddr]) {
        let (group, range) = &self.groups[index];
        (*group, &self.addresses[range.clone()])
    }

    pub fn any_speaks(&self, protocol: Protocol) -> bool {
        self.groups
            .iter()
            .any(|(group, _)| group.protocol == protocol)
    }
}

/// Minimum number of members for which the workers share the sending. Measured with
/// two workers on two cores (results/README.md): waking the other worker costs more
/// than it saves up to 32 members, and as much at 48. At 64 members the last one
/// receives a message in three quarters of the time.
pub const MIN_SHARED_MEMBERS: usize = 64;

/// More groups than a server with one address and few workers has. A server with thousands
/// of addresses has as many groups.
const MAX_LINEAR_GROUPS: usize = 16;

/// Minimum number of members that a full room grows by. A large room grows by a quarter,
/// not to twice its size as a `Vec` does: that would exceed the memory promised per peer.
const MIN_GROWTH: usize = 4;
