//! The budget of a peer that is not trusted.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::server::rate::{Meter, Rate};
use crate::wire::reply::Resource;

/// The use of the limits by one peer.
#[derive(Debug, Default)]
pub struct Budget {
    texts: Part,
    bytes: Part,
    work: Part,
}

/// The limits of each peer that is not trusted.
#[derive(Debug, Clone, Copy)]
pub struct PeerRates {
    /// Texts, also direct messages.
    pub texts: Rate,
    /// Bytes, with headers.
    pub bytes: Rate,
    /// Units of work, see `server::ingress::cost`.
    pub work: Rate,
}

#[derive(Debug, Default)]
struct Part {
    meter: Meter,
    /// The peer has been told that nothing is left, and the meter has not been full since.
    was_told: AtomicBool,
}

impl Budget {
    /// Takes units of a resource. Returns false if none are left.
    pub fn take(&self, resource: Resource, units: u32, rates: &PeerRates, now_ms: u64) -> bool {
        let part = self.part(resource);
        if part.meter.is_full(now_ms) {
            part.was_told.store(false, Ordering::Relaxed);
        }
        part.meter.take(rates.of(resource), units, now_ms)
    }

    /// Takes units of work that has been done.
    pub fn charge_work(&self, units: u32, rates: &PeerRates, now_ms: u64) {
        self.work.meter.charge(&rates.work, units, now_ms);
    }

    /// The first time at which bytes will be left.
    pub fn has_bytes_from_ms(&self, rates: &PeerRates) -> u64 {
        self.bytes.meter.next_ms(&rates.bytes)
    }

    /// Returns true if the peer should be told that nothing of a resource is left. This is so once,
    /// until it has kept within its budget for so long that it may send a burst again.
    pub fn is_news(&self, resource: Resource) -> bool {
        !self.part(resource).was_told.swap(true, Ordering::Relaxed)
    }

    fn part(&self, resource: Resource) -> &Part {
        match resource {
            Resource::Texts => &self.texts,
            Resource::Bytes => &self.bytes,
            Resource::Work => &self.work,
        }
    }
}

impl PeerRates {
    /// The rate of a resource.
    pub fn of(&self, resource: Resource) -> &Rate {
        match resource {
            Resource::Texts => &self.texts,
            Resource::Bytes => &self.bytes,
            Resource::Work => &self.work,
        }
    }

    /// No limits.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let none = Rate::new(None, std::time::Duration::ZERO);
        Self {
            texts: none,
            bytes: none,
            work: none,
        }
    }
}
