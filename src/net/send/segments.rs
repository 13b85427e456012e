//! The peers to which the kernel segments no packets.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::net::address::PeerAddr;

/// The peers to which the kernel segments no packets.
#[derive(Default)]
pub(super) struct Segments {
    /// The peers, and the time until which the datagrams of each are sent one by one.
    refused: HashMap<PeerAddr, Instant>,
    /// Number of different peers that refused in a row, with no packet segmented in between.
    in_a_row: usize,
    /// The time until which nothing is segmented.
    off_until: Option<Instant>,
    next_cleanup: Option<Instant>,
    /// Number of times that segmenting was stopped for all, until it is taken.
    stops: u64,
}

impl Segments {
    /// Returns `true` if packets to every peer are segmented.
    pub(super) fn is_whole(&mut self) -> bool {
        if self.refused.is_empty() && self.off_until.is_none() {
            return true;
        }
        let now = Instant::now();
        self.off_until.take_if(|until| now >= *until);
        if self.next_cleanup.is_none_or(|next| now >= next) {
            self.next_cleanup = Some(now + REFUSED_TIME);
            self.refused.retain(|_, until| now < *until);
        }
        self.off_until.is_none() && self.refused.is_empty()
    }

    /// Returns `true` if packets to `peer` are not segmented.
    pub(super) fn is_refused(&self, peer: &PeerAddr, now: Instant) -> bool {
        self.off_until.is_some() || self.refused.get(peer).is_some_and(|until| now < *until)
    }

    /// Notes that the kernel took packets. `has_segmented` returns true if it segmented any.
    pub(super) fn taken(&mut self, has_segmented: impl FnOnce() -> bool) {
        if self.in_a_row > 0 && has_segmented() {
            self.in_a_row = 0;
        }
    }

    /// Notes that the kernel refused to segment a packet to `peer`.
    pub(super) fn refuse(&mut self, peer: &PeerAddr, now: Instant) {
        self.in_a_row += 1;
        if self.refused.len() >= MAX_REFUSED {
            self.refused.retain(|_, until| now < *until);
        }
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(*peer, now + REFUSED_TIME);
        } else if self.in_a_row >= MAX_REFUSED {
            self.off_until = Some(now + REFUSED_TIME);
            self.in_a_row = 0;
            self.refused.clear();
            self.stops += 1;
        }
    }

    /// Returns the number of times that segmenting was stopped for all, since the last call.
    pub(super) fn take_stops(&mut self) -> u64 {
        std::mem::take(&mut self.stops)
    }
}

/// Maximum number of peers that are remembered, because the kernel segments no packet to
/// them. If this many different ones refuse, with none taken in between, the machine cannot
/// segment. Each refusal costs a system call.
const MAX_REFUSED: usize = 1024;

/// Time after which packets to such a peer are segmented again. A route or a device may have
/// changed.
const REFUSED_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
impl Segments {
    /// Number of refusals in a row.
    pub(super) fn in_a_row(&self) -> usize {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests;
