//! One room and its members. Membership changes under a lock; fan-out reads
//! snapshots that never change.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::members::{Lane, Members};
use super::presence::{Notice, Presence};
use crate::net::PeerAddr;
use crate::server::registry::Peer;
use crate::wire::reply::PresenceEvent;
use crate::wire::{DisplayName, Name, RoomName};

/// A room and its members.
///
/// A change marks the snapshot as stale, and the next fan-out makes a new one,
/// however many changes there were. To make one is to copy 32 bytes a member,
/// a small part of what the fan-out that follows costs; and a text always
/// reaches everyone who had registered before it came.
pub struct Room {
    name: RoomName,
    /// The name in lower case, by which it is found.
    key: RoomName,
    number: u32,
    state: Mutex<State>,
    snapshot: ArcSwap<Members>,
    /// Written under the lock of `state` alone.
    stale: AtomicBool,
    /// For each worker the number of its next message in this room.
    sequences: Box<[AtomicU32]>,
    /// Members, and peers that are about to be; the directory's, under its lock.
    pub(super) places: AtomicU32,
    /// Where the directory has it in its list.
    pub(super) index_in_list: AtomicU32,
}

/// How a peer goes, for those who want to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// By itself.
    OnItsOwn,
    /// It was not heard for too long.
    TimedOut,
}

pub(super) struct Member {
    pub(super) address: PeerAddr,
    pub(super) lane: Lane,
    /// To tell the peer when its slot changes, and to ask for its name.
    peer: Arc<Peer>,
}

struct State {
    members: Vec<Member>,
    /// While someone wants to hear who comes and goes.
    presence: Option<Box<Presence>>,
    /// It is among the news, until its notice is taken.
    is_news: bool,
}

impl Room {
    /// An empty room of a server with `workers` workers, known to v2 peers by
    /// `number`.
    pub fn new(name: RoomName, number: u32, workers: usize) -> Self {
        Self {
            name,
            key: name.folded(),
            number,
            state: Mutex::new(State {
                members: Vec::new(),
                presence: None,
                is_news: false,
            }),
            snapshot: ArcSwap::default(),
            stale: AtomicBool::new(false),
            sequences: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            places: AtomicU32::new(0),
            index_in_list: AtomicU32::new(0),
        }
    }

    /// One with any name, for tests.
    #[cfg(test)]
    pub(crate) fn plain(number: u32, workers: usize) -> Arc<Self> {
        let name = RoomName::parse(b"plain").expect("a label");
        Arc::new(Self::new(name, number, workers))
    }

    /// What it is called.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The number by which v2 peers know it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a peer, which must not be a member yet. True: this is news, see
    /// [`News`](super::News).
    #[must_use]
    pub fn join(&self, address: PeerAddr, lane: Lane, peer: &Arc<Peer>) -> bool {
        let mut state = self.lock();
        let slot = u32::try_from(state.members.len()).expect("--max-peers is below 2^32");
        peer.slot.store(slot, Ordering::Relaxed);
        state.members.push(Member {
            address,
            lane,
            peer: Arc::clone(peer),
        });
        self.stale.store(true, Ordering::Release);
        if peer.wants_presence() {
            state.subscribe(address, lane);
        }
        state.happened(|| PresenceEvent::Joined(peer.speaker(&address)))
    }

    /// Puts a peer in the place of another one with the same address, which must be a
    /// member: it never was away, and nobody is told.
    pub fn replace(&self, address: PeerAddr, lane: Lane, before: &Peer, peer: &Arc<Peer>) {
        let mut state = self.lock();
        let slot = before.slot.load(Ordering::Relaxed);
        peer.slot.store(slot, Ordering::Relaxed);
        let member = &mut state.members[slot as usize];
        debug_assert_eq!(member.address, address);
        member.lane = lane;
        member.peer = Arc::clone(peer);
        self.stale.store(true, Ordering::Release);
        if peer.wants_presence() {
            state.subscribe(address, lane);
        }
    }

    /// Removes a peer, which must be a member. True: this is news.
    #[must_use]
    pub fn leave(&self, address: &PeerAddr, peer: &Peer, manner: Manner) -> bool {
        let mut state = self.lock();
        let slot = peer.slot.load(Ordering::Relaxed);
        let removed = state.members.swap_remove(slot as usize);
        debug_assert_eq!(removed.address, *address);
        if let Some(moved) = state.members.get(slot as usize) {
            moved.peer.slot.store(slot, Ordering::Relaxed);
        }
        if state.members.len() < state.members.capacity() / 4 {
            let keep = state.members.len() * 2;
            state.members.shrink_to(keep);
        }
        self.stale.store(true, Ordering::Release);
        if peer.wants_presence() {
            state.unsubscribe(address);
        }
        state.happened(|| match manner {
            Manner::OnItsOwn => PresenceEvent::Left(peer.speaker(address)),
            Manner::TimedOut => PresenceEvent::TimedOut(peer.speaker(address)),
        })
    }

    /// A member has another name now. True: this is news.
    #[must_use]
    pub fn renamed(&self, before: DisplayName, now: Name) -> bool {
        self.lock().happened(|| PresenceEvent::Renamed(before, now))
    }

    /// From now on a member hears who comes and goes, or not any more.
    pub fn set_presence(&self, address: PeerAddr, lane: Lane, is_on: bool) {
        let mut state = self.lock();
        if is_on {
            state.subscribe(address, lane);
        } else {
            state.unsubscribe(&address);
        }
    }

    /// What has happened since the last time, and who wants to hear of it.
    pub fn take_notice(&self) -> Option<Notice> {
        let mut state = self.lock();
        state.is_news = false;
        let members = state.members.len();
        state.presence.as_mut()?.take_notice(members)
    }

    /// Calls `visit` with the members from number `from` on, the first of which is
    /// 0, until it returns false. Returns how many members there are.
    pub fn visit(&self, from: usize, mut visit: impl FnMut(DisplayName) -> bool) -> usize {
        let state = self.lock();
        for member in state.members.iter().skip(from) {
            if !visit(member.peer.speaker(&member.address)) {
                break;
            }
        }
        state.members.len()
    }

    /// Everyone who had joined, and not left, when this was called.
    pub fn members(&self) -> Arc<Members> {
        if self.stale.load(Ordering::Acquire) {
            self.rebuild();
        }
        self.snapshot.load_full()
    }

    /// Takes numbers for `count` messages that `worker` sends, and returns the
    /// first.
    pub fn take_sequence(&self, worker: u8, count: u32) -> u32 {
        self.sequences[usize::from(worker)].fetch_add(count, Ordering::Relaxed)
    }

    /// The name in lower case.
    pub(super) fn key(&self) -> &RoomName {
        &self.key
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.lock().members.capacity()
    }

    fn rebuild(&self) {
        let state = self.lock();
        if !self.stale.load(Ordering::Relaxed) {
            return;
        }
        self.snapshot.store(Arc::new(Members::of(&state.members)));
        // Only now: a reader that sees it must see the snapshot, too.
        self.stale.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock ends the process (see `supervise`); until it
        // has, the others go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn subscribe(&mut self, address: PeerAddr, lane: Lane) {
        let presence = self.presence.get_or_insert_default();
        presence.subscribers.insert(address, lane.protocol);
    }

    fn unsubscribe(&mut self, address: &PeerAddr) {
        if let Some(presence) = &mut self.presence {
            presence.subscribers.remove(address);
            if presence.subscribers.is_empty() {
                self.presence = None;
            }
        }
    }

    /// True: the first since the last notice.
    fn happened(&mut self, happening: impl FnOnce() -> PresenceEvent) -> bool {
        let Some(presence) = &mut self.presence else {
            return false;
        };
        presence.note(happening());
        !std::mem::replace(&mut self.is_news, true)
    }
}
