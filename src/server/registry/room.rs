//! One room. Membership changes under a lock; fan-out reads snapshots of the members.

mod nodes;

use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};
use once_cell::race::OnceBox;

use super::hash::{HashedAddr, Prehashed};
use super::members::{Members, NO_GROUP, SendGroup, SessionList, Sessions};
use super::memory::capacity_after_flood;
use super::peer::Recipient;
use super::presence::{EventQueue, Presence};
use crate::net::PeerAddr;
use crate::server::ops::stats::WorkerId;
use crate::server::ops::supervise::lock;
use crate::sync::arc_swap::ArcSwap;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::wire::cluster::Change;
use crate::wire::reply::PresenceEvent;
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Protocol, RoomName, v2};

/// A change marks the snapshot of the members as stale. The next fan-out makes a new one,
/// however many changes there were. That copies 32 bytes per member, and 8 more of a v2 peer, a
/// small part of the cost of the fan-out itself. So a text reaches every peer that joined before
/// it.
pub struct Room {
    name: RoomName,
    number: u32,
    incarnation: u64,
    state: Mutex<State>,
    snapshot: ArcSwap<Members>,
    /// Written only under the lock of `state`. True publishes nothing, because who reads it takes the
    /// lock. False publishes the snapshot (held by
    /// `models::a_text_reaches_every_peer_whose_registration_was_handled_before_it`).
    is_stale: AtomicBool,
    /// The number of members that receive in each version. Written only under the lock of `state`.
    v1_members: AtomicU32,
    v2_members: AtomicU32,
    /// The number of the next message, for each worker.
    sequences: Box<[AtomicU32]>,
    /// The number of members on other nodes of the cluster.
    remote_members: AtomicU32,
    /// The number of the next text for other nodes, for each worker. There are none until the first.
    published: OnceBox<Box<[AtomicU32]>>,
    events: Arc<EventQueue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// The peer left the server, or went to another room.
    Left,
    TimedOut,
}

struct State {
    /// In the order of joining, but the last member takes the place of one that leaves. Each
    /// has the index of its group.
    members: MemberMap,
    /// Parallel to the members. There are none until the first v2 member joins.
    sessions: Sessions,
    groups: Groups,
    /// `None` until the first peer subscribes.
    presence: Option<Arc<Presence>>,
}

impl Room {
    pub fn new(room: v2::Room, workers: usize, events: Arc<EventQueue>) -> Self {
        let v2::Room {
            number,
            incarnation,
            name,
        } = room;
        Self {
            name,
            number,
            incarnation,
            state: Mutex::new(State {
                members: MemberMap::default(),
                sessions: None,
                groups: Groups::default(),
                presence: None,
            }),
            snapshot: ArcSwap::default(),
            is_stale: AtomicBool::new(false),
            v1_members: AtomicU32::new(0),
            v2_members: AtomicU32::new(0),
            sequences: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            remote_members: AtomicU32::new(0),
            published: OnceBox::new(),
            events,
        }
    }

    #[cfg(test)]
    pub(crate) fn plain(number: u32, workers: usize) -> Arc<Self> {
        let room = v2::Room {
            number,
            incarnation: 0,
            name: RoomName::parse(b"plain").expect("a valid name"),
        };
        let events = Arc::new(EventQueue::new(Arc::new(|| {})));
        Arc::new(Self::new(room, workers, events))
    }

    /// The name as the creator of the room wrote it.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The number in protocol v2.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// A random number that this room has, and none with the same name before or after it.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The room as v2 peers are told of it.
    pub fn frame(&self) -> v2::Room {
        v2::Room {
            number: self.number,
            incarnation: self.incarnation,
            name: self.name,
        }
    }

    pub fn len(&self) -> usize {
        self.lock().members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers of members that receive in version 1 and in version 2, without a lock.
    pub fn members_by_version(&self) -> (u32, u32) {
        let [v1, v2] = [&self.v1_members, &self.v2_members];
        (v1.load(Ordering::Relaxed), v2.load(Ordering::Relaxed))
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
        to: SendTo,
        subscriber: Option<Recipient>,
        name: impl FnOnce() -> DisplayName,
    ) {
        let state = self.add(key, to, subscriber);
        self.record(&state, || PresenceEvent::Joined(name()));
    }

    /// Removes a peer, which must be a member. `name` is called if the room has presence
    /// subscribers.
    pub(super) fn leave(
        &self,
        key: &HashedAddr,
        reason: LeaveReason,
        name: impl FnOnce() -> DisplayName,
    ) {
        let state = self.remove(key);
        self.record(&state, || match reason {
            LeaveReason::Left => PresenceEvent::Left(name()),
            LeaveReason::TimedOut => PresenceEvent::TimedOut(name()),
        });
    }

    /// Adds a member of the room that comes back under another address. This is no event. `names` are
    /// called if there is a cluster, and return the display name before and after.
    pub(super) fn come_back(
        &self,
        key: &HashedAddr,
        to: SendTo,
        subscriber: Option<Recipient>,
        names: impl FnOnce() -> [DisplayName; 2],
    ) {
        let _state = self.add(key, to, subscriber);
        if let Some(changes) = self.events.changes() {
            let [before, now] = names();
            if before != now {
                changes.push(Change::Moved(self.name, before, now));
            }
        }
    }

    /// Removes a member that comes back under another address at once. This is no event.
    pub(super) fn step_out(&self, key: &HashedAddr) {
        drop(self.remove(key));
    }

    fn add(
        &self,
        key: &HashedAddr,
        to: SendTo,
        subscriber: Option<Recipient>,
    ) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let index = self.enter_group(&mut state, to.group);
        let members = &mut state.members;
        if members.len() == members.capacity() {
            members.reserve_exact((members.len() / 6).max(MIN_GROWTH));
        }
        match state.entry(key) {
            RawEntryMut::Vacant(entry) => {
                entry.insert_hashed_nocheck(key.hash, key.address, index);
                state.push_session(to.session);
            }
            RawEntryMut::Occupied(_) => debug_assert!(false, "{} is a member", key.address),
        }
        self.is_stale.store(true, Ordering::Relaxed);
        if let Some(subscriber) = subscriber {
            self.subscribe(&mut state, subscriber);
        }
        state
    }

    fn remove(&self, key: &HashedAddr) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        match state.entry(key) {
            RawEntryMut::Occupied(entry) => {
                let (place, index) = (entry.index(), entry.swap_remove());
                if let Some(sessions) = &mut state.sessions {
                    sessions.0.swap_remove(place);
                }
                self.leave_group(&mut state, index);
            }
            RawEntryMut::Vacant(_) => debug_assert!(false, "{} is no member", key.address),
        }
        self.is_stale.store(true, Ordering::Relaxed);
        let members = &state.members;
        if let Some(keep) = capacity_after_flood(members.len(), members.capacity()) {
            state.members.shrink_to(keep);
            if let Some(sessions) = &mut state.sessions {
                sessions.0.shrink_to(keep);
            }
            if self.snapshot.load().len() / 4 > state.members.len() {
                self.take_snapshot(&state);
            }
        }
        if let Some(presence) = &state.presence {
            presence.unsubscribe(&key.address);
        }
        state
    }

    /// Changes the group of a member, or makes it one that does not receive. This is no presence
    /// event, because the member stays.
    pub(super) fn set_group(
        &self,
        key: &HashedAddr,
        group: Option<SendGroup>,
        subscriber: Option<Recipient>,
    ) {
        let mut state = self.lock();
        let index = self.enter_group(&mut state, group);
        match state.entry(key) {
            RawEntryMut::Occupied(mut entry) => {
                let before = entry.insert(index);
                self.leave_group(&mut state, before);
            }
            RawEntryMut::Vacant(_) => debug_assert!(false, "{} is no member", key.address),
        }
        self.is_stale.store(true, Ordering::Relaxed);
        if let Some(subscriber) = subscriber {
            self.subscribe(&mut state, subscriber);
        }
    }

    /// Records that a member took another name.
    pub(super) fn rename(&self, before: DisplayName, now: DisplayName) {
        self.record(&self.lock(), || PresenceEvent::Renamed(before, now));
    }

    /// Number of peers that receive its presence notices.
    pub fn presence_subscribers(&self) -> usize {
        let state = self.lock();
        let presence = state.presence.as_ref();
        presence.map_or(0, |presence| presence.subscribers())
    }

    pub(super) fn subscribe_presence(&self, subscriber: Recipient) {
        self.subscribe(&mut self.lock(), subscriber);
    }

    pub(super) fn unsubscribe_presence(&self, address: &PeerAddr) {
        if let Some(presence) = &self.lock().presence {
            presence.unsubscribe(address);
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

    /// The length of the last snapshot, which may be stale.
    #[cfg(test)]
    pub(super) fn snapshot_len(&self) -> usize {
        self.snapshot.load().len()
    }

    fn subscribe(&self, state: &mut State, subscriber: Recipient) {
        let presence = state
            .presence
            .get_or_insert_with(|| Arc::new(Presence::new(Arc::clone(&self.events))));
        presence.subscribe(subscriber);
    }

    /// Counts a member of a group, and returns the index of the group.
    fn enter_group(&self, state: &mut State, group: Option<SendGroup>) -> u32 {
        let Some(group) = group else {
            return NO_GROUP;
        };
        self.version(group).fetch_add(1, Ordering::Relaxed);
        state.groups.add(group)
    }

    fn leave_group(&self, state: &mut State, index: u32) {
        if index != NO_GROUP {
            let group = state.groups.remove(index);
            self.version(group).fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The number of members that receive in the version of `group`.
    fn version(&self, group: SendGroup) -> &AtomicU32 {
        match group.protocol {
            Protocol::Text | Protocol::Lines => &self.v1_members,
            Protocol::Frames(_) => &self.v2_members,
        }
    }

    fn rebuild(&self) {
        let state = self.lock();
        if self.is_stale.load(Ordering::Relaxed) {
            self.take_snapshot(&state);
        }
    }

    fn take_snapshot(&self, state: &State) {
        let members = state.members.iter();
        let members = Members::collect(&state.groups.0, members, &state.sessions);
        self.snapshot.store(Arc::new(members));
        // After the snapshot: a reader that sees this flag must see the snapshot too.
        self.is_stale.store(false, Ordering::Release);
    }

    /// Records an event for the subscribers of the room, and for other nodes.
    fn record(&self, state: &State, event: impl FnOnce() -> PresenceEvent) {
        let changes = self.events.changes();
        if state.presence.is_none() && changes.is_none() {
            return;
        }
        let event = event();
        if let Some(presence) = &state.presence {
            let remote = self.remote_members() as usize;
            presence.record(event, state.members.len() + remote);
        }
        if let Some(changes) = changes {
            changes.push(Change::of(self.name, event));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn entry(&mut self, key: &HashedAddr) -> RawEntryMut<'_, PeerAddr, u32, Prehashed> {
        let members = self.members.raw_entry_mut_v1();
        members.from_key_hashed_nocheck(key.hash, &key.address)
    }

    /// Adds the session of the last member.
    fn push_session(&mut self, session: Option<SessionId>) {
        let before = self.members.len() - 1;
        match &mut self.sessions {
            Some(sessions) => sessions.0.push(session),
            None if session.is_none() => {}
            None => {
                let mut sessions = vec![None; before];
                sessions.push(session);
                self.sessions = Some(Box::new(SessionList(sessions)));
            }
        }
    }
}

/// The way in which a room sends to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendTo {
    /// `None` if the peer receives no messages.
    pub(super) group: Option<SendGroup>,
    /// `None` for a v1 peer.
    pub(super) session: Option<SessionId>,
}

/// The value is the index of the group, or [`NO_GROUP`] if the member does not receive.
type MemberMap = IndexMap<PeerAddr, u32, Prehashed>;

/// The groups of the members of a room, and the number of members in each. A group without
/// members gives its place to the next new one.
#[derive(Default)]
struct Groups(Vec<(SendGroup, u32)>);

impl Groups {
    /// Adds a member of `group`, and returns the index of the group.
    ///
    /// There are few groups, so a linear search is fast. A server with thousands of addresses
    /// has thousands, which are compared in some microseconds.
    fn add(&mut self, group: SendGroup) -> u32 {
        for ((known, count), index) in self.0.iter_mut().zip(0..) {
            if *known == group {
                *count += 1;
                return index;
            }
        }
        self.add_group(group)
    }

    #[cold]
    fn add_group(&mut self, group: SendGroup) -> u32 {
        let groups = &mut self.0;
        let free = groups.iter().position(|(_, count)| *count == 0);
        let index = free.unwrap_or_else(|| {
            // Most rooms have one, and a room should be small.
            groups.reserve_exact(1);
            groups.push((group, 0));
            groups.len() - 1
        });
        groups[index] = (group, 1);
        index as u32
    }

    /// Removes a member of the group with this index, and returns the group.
    fn remove(&mut self, index: u32) -> SendGroup {
        let (group, count) = &mut self.0[index as usize];
        *count -= 1;
        *group
    }
}

/// Minimum number of members that a full room grows by. A large room grows by a sixth,
/// not to twice its size as a `Vec` does: that would exceed the memory promised per peer.
const MIN_GROWTH: usize = 4;
