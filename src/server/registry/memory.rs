//! Memory that goes back after a flood of peers.

use super::Registry;

impl Registry {
    /// Gives memory back after a flood of peers. It locks one shard after the other, each for the
    /// time to move a quarter of the peers that it has space for. Rooms and names do the same when
    /// peers leave them.
    pub fn release_memory(&self) {
        for shard in self.peers.shards() {
            let is_excessive = {
                let peers = shard.read();
                capacity_after_flood(peers.len(), peers.buckets()).is_some()
            };
            if is_excessive {
                let mut peers = shard.write();
                if let Some(keep) = capacity_after_flood(peers.len(), peers.buckets()) {
                    peers.shrink_to(keep, |(key, _)| key.hash);
                }
            }
        }
    }
}

/// Returns the capacity that a table of `len` entries should keep if it has too much: twice what it
/// needs if it has more than four times as much.
pub(super) fn capacity_after_flood(len: usize, capacity: usize) -> Option<usize> {
    (len < capacity / 4).then_some(len * 2)
}
