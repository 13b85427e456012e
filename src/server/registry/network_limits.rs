//! The limits of networks whose peers are not trusted: how much they take per second, and their
//! shares of a table.
//!
//! Strangers choose their networks, so nothing is stored for each. A network has a slot in tables of
//! fixed size, which it may share with others. Those share a limit, and never have more than one.

use std::hash::BuildHasher;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use super::Registry;
use super::directory::RoomError;
use super::hash::AddressHash;
use super::network::Network;
use super::peer::{Newcomer, Peer};
use super::room::Room;
use super::slots::SlotTable;
use crate::net::PeerAddr;
use crate::server::rate::{Meter, SharedRate};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::wire::{Limit, LimitScope, RoomName};

/// The place of a network in tables of fixed size. Trusted peers have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkSlot(pub(super) NonZero<u16>);

/// The maxima per second of each network. `None` is no maximum.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkRates {
    /// Registrations of peers.
    pub registrations: Option<NonZero<u32>>,
    /// Names taken.
    pub names: Option<NonZero<u32>>,
    /// Rooms created.
    pub rooms: Option<NonZero<u32>>,
}

/// The use of a rate by each network. The units of ten seconds may come at once.
pub struct NetworkMeters {
    rate: SharedRate,
    meters: SlotTable<Meter>,
}

/// The shares of networks in a table, and how much they take of it per second.
///
/// A network may have one more as long as it has fewer than are left for others (dynamic thresholds,
/// Choudhury and Hahne, 1998). So one network has at most half of a table, and two have a third
/// each. There is always some left for another one.
pub(super) struct NetworkShares {
    counts: SlotTable<AtomicU32>,
    meters: NetworkMeters,
}

impl Registry {
    /// Returns the registry with rates for networks that are not trusted.
    #[must_use]
    pub fn with_network_rates(self, rates: NetworkRates) -> Self {
        self.set_network_rates(rates);
        self
    }

    /// Changes the rates for networks that are not trusted.
    pub fn set_network_rates(&self, rates: NetworkRates) {
        self.shares.meters.set_rate(rates.registrations);
        self.names.shares.meters.set_rate(rates.names);
        self.directory.shares.meters.set_rate(rates.rooms);
    }

    #[cfg(test)]
    pub fn network_rates(&self) -> [&SharedRate; 3] {
        let shares = [&self.shares, &self.names.shares, &self.directory.shares];
        shares.map(|shares| shares.meters.rate())
    }

    /// Returns the limit that keeps a newcomer from being registered now, if there is one.
    pub fn peer_limit(&self, address: &PeerAddr, is_trusted: bool) -> Option<Limit> {
        let network = (!is_trusted).then(|| self.network(address));
        self.shares
            .reached(network, self.len(), self.limits.max_peers())
    }

    /// Returns the numbers of peers, names and rooms that are counted for networks, for tests.
    pub fn network_totals(&self) -> [u32; 3] {
        [&self.shares, &self.names.shares, &self.directory.shares].map(NetworkShares::total)
    }

    /// Returns the place of the network of an address.
    pub fn network(&self, address: &PeerAddr) -> NetworkSlot {
        NetworkSlot::of(Network::of(address.socket_addr().ip()), &self.hash)
    }

    /// Returns the network that a newcomer is counted for.
    pub(super) fn network_of(&self, newcomer: &Newcomer) -> Option<NetworkSlot> {
        (!newcomer.is_trusted).then(|| self.network(&newcomer.address))
    }

    /// Reserves a place in a room for a peer, whose last datagram requests it.
    pub(super) fn reserve_place(
        &self,
        peer: &Peer,
        name: RoomName,
    ) -> Result<Arc<Room>, RoomError> {
        self.directory
            .reserve_place(name, peer.network(), peer.last_seen_ms())
    }

    /// Counts a peer as gone, which is registered no more.
    pub(super) fn uncount(&self, network: Option<NetworkSlot>) {
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.shares.leave(network);
    }

    /// Counts a peer of one network for another one, if that may have one more.
    pub(super) fn hand_over_place(
        &self,
        from: Option<NetworkSlot>,
        to: Option<NetworkSlot>,
    ) -> Result<(), Limit> {
        self.shares
            .hand_over(from, to, self.len(), self.limits.max_peers())
    }
}

impl NetworkSlot {
    /// Returns the slot of a network. The hash has a random key. Otherwise a stranger could choose
    /// networks that use up the limit of another one.
    pub(super) fn of(network: Network, hash: &AddressHash) -> Self {
        let slot = hash.hash_one(network) % SLOTS as u64;
        Self(NonZero::<u16>::MIN.saturating_add(slot as u16))
    }

    fn index(self) -> u64 {
        u64::from(self.0.get() - 1)
    }
}

impl NetworkMeters {
    /// Returns meters that are all full. `None` is no limit.
    pub fn new(per_second: Option<NonZero<u32>>) -> Self {
        Self {
            rate: SharedRate::new(per_second, BURST),
            meters: SlotTable::new(SLOTS),
        }
    }

    #[cfg(test)]
    pub fn rate(&self) -> &SharedRate {
        &self.rate
    }

    /// Changes the limit.
    pub fn set_rate(&self, per_second: Option<NonZero<u32>>) {
        self.rate.set(per_second);
    }

    /// Returns true if a network may take something now, with this part of its burst, in percent.
    pub fn has(&self, network: NetworkSlot, percent: u64, now_ms: u64) -> bool {
        let rate = self.rate.get().with_part_of_burst(percent);
        rate.per_second().is_none() || self.meters.get(network.index()).has(&rate, now_ms)
    }

    /// Takes a unit if the network may take something now.
    pub fn take(&self, network: NetworkSlot, now_ms: u64) -> Result<(), Limit> {
        let rate = self.rate.get();
        match rate.per_second() {
            Some(max) if !self.meters.get(network.index()).take(&rate, 1, now_ms) => Err(Limit {
                max: max.get(),
                scope: LimitScope::NetworkPerSecond,
            }),
            _ => Ok(()),
        }
    }
}

impl NetworkShares {
    pub(super) fn new(per_second: Option<NonZero<u32>>) -> Self {
        Self {
            counts: SlotTable::new(SLOTS),
            meters: NetworkMeters::new(per_second),
        }
    }

    /// Counts one more for a network, in a table with `used` of `max` places in use. Returns the
    /// limit if it may have no more. `network` is `None` for a trusted peer, who may have what is
    /// left.
    pub(super) fn enter(
        &self,
        network: Option<NetworkSlot>,
        used: usize,
        max: usize,
        now_ms: u64,
    ) -> Result<(), Limit> {
        if used >= max {
            return Err(Limit::of_server(max as u32));
        }
        self.add(network, max - used)?;
        let taken = self.take(network, now_ms);
        if taken.is_err() {
            self.leave(network);
        }
        taken
    }

    /// Counts one more for a network, also beyond its limit.
    pub(super) fn add_one(&self, network: Option<NetworkSlot>) {
        // No count has as many.
        let added = self.add(network, usize::MAX);
        debug_assert!(added.is_ok());
    }

    /// Counts one less for a network.
    pub(super) fn leave(&self, network: Option<NetworkSlot>) {
        if let Some(network) = network {
            let count = self.counts.get(network.index());
            let before = count.fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "a network leaves what it has entered");
        }
    }

    /// Counts for another network what was counted for one, if that may have one more. The place in
    /// the table stays in use.
    pub(super) fn hand_over(
        &self,
        from: Option<NetworkSlot>,
        to: Option<NetworkSlot>,
        used: usize,
        max: usize,
    ) -> Result<(), Limit> {
        if from != to {
            self.add(to, (max + 1).saturating_sub(used))?;
            self.leave(from);
        }
        Ok(())
    }

    /// Takes a unit of the rate.
    pub(super) fn take(&self, network: Option<NetworkSlot>, now_ms: u64) -> Result<(), Limit> {
        network.map_or(Ok(()), |network| self.meters.take(network, now_ms))
    }

    /// Returns the limit that a network has reached, if there is one.
    pub(super) fn reached(
        &self,
        network: Option<NetworkSlot>,
        used: usize,
        max: usize,
    ) -> Option<Limit> {
        if used >= max {
            return Some(Limit::of_server(max as u32));
        }
        let count = self.counts.get(network?.index()).load(Ordering::Relaxed);
        (count as usize >= max - used).then_some(Limit {
            max: count,
            scope: LimitScope::Network,
        })
    }

    fn add(&self, network: Option<NetworkSlot>, left: usize) -> Result<(), Limit> {
        let Some(network) = network else {
            return Ok(());
        };
        let more = |count: u32| ((count as usize) < left).then(|| count + 1);
        let count = self.counts.get(network.index());
        let added = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        added.map(drop).map_err(|count| Limit {
            max: count,
            scope: LimitScope::Network,
        })
    }

    /// Returns the number of a network.
    #[cfg(test)]
    pub(super) fn count(&self, network: NetworkSlot) -> u32 {
        self.counts.get(network.index()).load(Ordering::Relaxed)
    }

    /// Returns the sum over all networks.
    pub(super) fn total(&self) -> u32 {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Default for NetworkShares {
    /// Returns shares without a rate.
    fn default() -> Self {
        Self::new(None)
    }
}

/// Units of this time may be taken at once, so that a hundred programs of one network can start
/// together.
const BURST: Duration = Duration::from_secs(10);

/// Number of slots, so that one fits into two bytes of a peer. The meters of a rate take half a
/// megabyte, and the counts of a table a quarter. While 1,000 networks take all that they can, another
/// one has the slot of one with a probability of 1.5 %.
const SLOTS: usize = if cfg!(loom) { 1 } else { u16::MAX as usize };

#[cfg(test)]
mod tests;
