//! The addresses of v1 peers that have proven them and have expired since.

use crate::sync::atomic::Ordering;

use super::Registry;
use super::recent::RecentAddresses;
use crate::net::PeerAddr;

impl Registry {
    /// Returns true if a v1 peer with this address has expired in the last ten minutes.
    pub fn was_proven(&self, address: &PeerAddr) -> bool {
        let now_ms = self.expired_ms.load(Ordering::Relaxed);
        self.proven.contains(self.hash.hash(address).hash, now_ms)
    }
}

pub(super) fn table() -> RecentAddresses {
    RecentAddresses::new(PROVEN_SLOTS, PROVEN_S)
}

/// Number of proven addresses that are known. They take half a megabyte.
const PROVEN_SLOTS: usize = 1 << 16;

/// Time for which an address stays proven after its peer has expired. Another host that gets the
/// address within that time can be made to receive messages.
const PROVEN_S: u64 = 600;
