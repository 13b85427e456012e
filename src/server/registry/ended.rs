//! Sessions that have ended, and would still be valid for a newcomer.

use crate::sync::atomic::Ordering;

use super::hash::HashedAddr;
use super::{RecentAddresses, Registry};
use crate::net::PeerAddr;

impl Registry {
    /// Returns true if the session of this address has ended, and no HELLO came from there since. A
    /// late text of it would otherwise be sent to the lobby.
    pub fn has_ended(&self, address: &PeerAddr) -> bool {
        let now_ms = self.expired_ms.load(Ordering::Relaxed);
        self.ended.contains(self.hash.hash(address).hash, now_ms)
    }

    /// Takes a HELLO of a newcomer, who may use the session that it is given.
    pub fn greeted(&self, address: &PeerAddr) {
        self.ended.remove(self.hash.hash(address).hash);
    }

    pub(super) fn note_end(&self, key: &HashedAddr) {
        let now_ms = self.expired_ms.load(Ordering::Relaxed);
        self.ended.insert(key.hash, now_ms);
    }
}

pub(super) fn table() -> RecentAddresses {
    RecentAddresses::new(ENDED_SLOTS, ENDED_S)
}

/// Number of ended sessions that are known. They take half a megabyte.
const ENDED_SLOTS: usize = 1 << 16;

/// Time for which an ended session is known. It would be valid for less than 128 s.
const ENDED_S: u64 = 192;
