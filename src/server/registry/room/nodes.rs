//! The part that other nodes of a cluster have in a room: their members, and the texts for them.

use std::sync::atomic::Ordering;

use super::Room;
use crate::server::ops::stats::WorkerId;
use crate::sync::atomic::AtomicU32;
use crate::wire::DisplayName;
use crate::wire::cluster::Change;
use crate::wire::reply::PresenceEvent;

impl Room {
    /// The number of members on other nodes of the cluster.
    pub fn remote_members(&self) -> u32 {
        self.remote_members.load(Ordering::Relaxed)
    }

    /// The number of members on all nodes.
    pub fn all_members(&self) -> usize {
        self.len() + self.remote_members() as usize
    }

    pub fn set_remote_members(&self, count: u32) {
        self.remote_members.store(count, Ordering::Relaxed);
    }

    /// The number of the next text that `worker` publishes to other nodes.
    pub fn published(&self, worker: WorkerId) -> u32 {
        let published = self.published.get();
        published.map_or(0, |published| {
            published[worker.index()].load(Ordering::Relaxed)
        })
    }

    /// Counts texts that `worker` publishes to other nodes.
    pub fn add_published(&self, worker: WorkerId, texts: u16) {
        let workers = self.sequences.len();
        let new = || Box::new((0..workers).map(|_| AtomicU32::new(0)).collect());
        let published = self.published.get_or_init(new);
        published[worker.index()].fetch_add(texts.into(), Ordering::Relaxed);
    }

    /// Records that a member that has stepped out does not come back. This is no event.
    pub(in crate::server::registry) fn stay_away(&self, name: DisplayName) {
        let _state = self.lock();
        self.record_change(|| Change::Left(self.name, name));
    }

    /// Records that a member took another name. This is no event here.
    pub(in crate::server::registry) fn rename_silently(
        &self,
        before: DisplayName,
        now: DisplayName,
    ) {
        let _state = self.lock();
        self.record_change(|| Change::Moved(self.name, before, now));
    }

    /// Records an event of another node for the subscribers of the room.
    pub(in crate::server::registry) fn record_remote(&self, event: PresenceEvent) {
        let state = self.lock();
        if let Some(presence) = &state.presence {
            let remote = self.remote_members() as usize;
            presence.record(event, state.members.len() + remote);
        }
    }

    /// Records a change for other nodes. The caller holds the lock of the state, which keeps the order.
    pub(super) fn record_change(&self, change: impl FnOnce() -> Change) {
        if let Some(changes) = self.events.changes() {
            changes.push(change());
        }
    }
}
