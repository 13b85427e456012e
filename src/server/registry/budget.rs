//! The budget of a peer that is not trusted.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use super::network_limits::NetworkSlot;
use crate::server::rate::{Meter, Rate, SharedRate};
use crate::wire::reply::Resource;

/// The amounts that one peer has used of its limits.
#[derive(Debug, Default)]
pub struct Budget {
    texts: Meter,
    bytes: Meter,
    work: Meter,
    /// For each resource, by its number: the peer has been told that nothing is left, and the meter
    /// has not been full since.
    was_told: [AtomicBool; 3],
    /// The network that the peer is counted for, or 0. It takes no space in the other fields of a
    /// `Peer`, as trusted ones have none.
    network: AtomicU16,
}

/// The limits of each peer that is not trusted.
#[derive(Debug)]
pub struct PeerRates {
    /// Texts, also direct messages.
    pub texts: SharedRate,
    /// Bytes, with headers.
    pub bytes: SharedRate,
    /// Units of work, see `server::ingress::cost`.
    pub work: SharedRate,
}

impl Budget {
    /// Takes units of a resource. Returns false if none are left.
    pub fn take(&self, resource: Resource, units: u32, rates: &PeerRates, now_ms: u64) -> bool {
        let meter = self.meter(resource);
        if meter.is_full(now_ms) {
            self.was_told[resource as usize].store(false, Ordering::Relaxed);
        }
        meter.take(&rates.of(resource), units, now_ms)
    }

    /// Takes units of work that has been done.
    pub fn charge_work(&self, units: u32, rates: &PeerRates, now_ms: u64) {
        self.work.charge(&rates.work.get(), units, now_ms);
    }

    /// Uses as much of each resource as `other` has used, if that is more.
    pub(super) fn use_as_much_as(&self, other: &Self) {
        for resource in [Resource::Texts, Resource::Bytes, Resource::Work] {
            self.meter(resource).raise_to(other.meter(resource));
            if other.was_told[resource as usize].load(Ordering::Relaxed) {
                self.was_told[resource as usize].store(true, Ordering::Relaxed);
            }
        }
    }

    /// The first time at which bytes will be left.
    pub fn has_bytes_from_ms(&self, rates: &PeerRates) -> u64 {
        self.bytes.next_ms(&rates.bytes.get())
    }

    /// Notes that the peer is told that nothing of a resource is left. Returns false if it was told
    /// before, and has not kept within its budget for long enough to send a burst again.
    pub fn note_told(&self, resource: Resource) -> bool {
        !self.was_told[resource as usize].swap(true, Ordering::Relaxed)
    }

    pub(super) fn network(&self) -> Option<NetworkSlot> {
        NonZero::new(self.network.load(Ordering::Relaxed)).map(NetworkSlot)
    }

    pub(super) fn set_network(&self, network: Option<NetworkSlot>) {
        let number = network.map_or(0, |NetworkSlot(number)| number.get());
        self.network.store(number, Ordering::Relaxed);
    }

    fn meter(&self, resource: Resource) -> &Meter {
        match resource {
            Resource::Texts => &self.texts,
            Resource::Bytes => &self.bytes,
            Resource::Work => &self.work,
        }
    }
}

impl PeerRates {
    /// Changes the maxima to those of `other`.
    pub fn set(&self, other: &Self) {
        for (rate, other) in [
            (&self.texts, &other.texts),
            (&self.bytes, &other.bytes),
            (&self.work, &other.work),
        ] {
            rate.set(other.get().per_second());
        }
    }

    /// The rate of a resource at this moment.
    #[inline]
    pub fn of(&self, resource: Resource) -> Rate {
        match resource {
            Resource::Texts => self.texts.get(),
            Resource::Bytes => self.bytes.get(),
            Resource::Work => self.work.get(),
        }
    }

    /// No limits.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let none = || SharedRate::from(Rate::default());
        Self {
            texts: none(),
            bytes: none(),
            work: none(),
        }
    }
}
