//! The budget of a peer that is not trusted.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use super::network_limits::NetworkSlot;
use crate::server::rate::{Meter, Rate};

/// The use of the limits by one peer.
#[derive(Debug, Default)]
pub struct Budget {
    texts: Meter,
    bytes: Meter,
    work: Meter,
    was_told: AtomicBool,
    /// The network that the peer is counted for, or 0. It stands here and not in the peer, of which
    /// trusted ones have no network.
    network: AtomicU16,
}

/// The limits of each peer that is not trusted.
#[derive(Debug, Clone, Copy)]
pub struct PeerRates {
    /// Texts, also direct messages.
    pub texts: Rate,
    /// Bytes, with headers.
    pub bytes: Rate,
    /// Units of work, see `server::ingress::work`.
    pub work: Rate,
}

/// A part of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Texts,
    Bytes,
    Work,
}

impl Budget {
    /// Takes units of a resource. Returns false if none are left.
    pub fn take(&self, resource: Resource, units: u32, rates: &PeerRates, now_ms: u64) -> bool {
        let (meter, rate) = self.part(resource, rates);
        if meter.is_full(now_ms) {
            self.was_told.store(false, Ordering::Relaxed);
        }
        meter.take(rate, units, now_ms)
    }

    /// Takes units of work that has been done.
    pub fn charge_work(&self, units: u32, rates: &PeerRates, now_ms: u64) {
        self.work.charge(&rates.work, units, now_ms);
    }

    /// The first time at which units of a resource will be left.
    pub fn next_ms(&self, resource: Resource, rates: &PeerRates) -> u64 {
        let (meter, rate) = self.part(resource, rates);
        meter.next_ms(rate)
    }

    /// Returns true if the peer should be told that nothing is left. This is so once, until it has
    /// kept within its budget for so long that it may send a burst again.
    pub fn is_news(&self) -> bool {
        !self.was_told.swap(true, Ordering::Relaxed)
    }

    pub(super) fn network(&self) -> Option<NetworkSlot> {
        NonZero::new(self.network.load(Ordering::Relaxed)).map(NetworkSlot)
    }

    pub(super) fn set_network(&self, network: Option<NetworkSlot>) {
        let number = network.map_or(0, |NetworkSlot(number)| number.get());
        self.network.store(number, Ordering::Relaxed);
    }

    fn part<'a>(&'a self, resource: Resource, rates: &'a PeerRates) -> (&'a Meter, &'a Rate) {
        match resource {
            Resource::Texts => (&self.texts, &rates.texts),
            Resource::Bytes => (&self.bytes, &rates.bytes),
            Resource::Work => (&self.work, &rates.work),
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
}
