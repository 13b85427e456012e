//! The shares of networks in the tables of a server.

use std::collections::HashMap;

use bullhorn::server::rate::{Meter, Rate};
use bullhorn::server::registry::Network;

/// The shares that networks have of a table, and how much they take of it per second.
#[derive(Default)]
pub(crate) struct Shares {
    pub(crate) counts: HashMap<Network, usize>,
    rate: Rate,
    meters: HashMap<Network, Meter>,
}

/// The tables that networks have shares of.
#[derive(Clone, Copy)]
pub(crate) enum Table {
    Peers,
    Names,
    Rooms,
}

impl Shares {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, network: Option<Network>, left: usize) -> bool {
        let Some(network) = network else {
            return true;
        };
        let count = self.counts.entry(network).or_default();
        let may_add = *count < left;
        *count += usize::from(may_add);
        may_add
    }

    pub(crate) fn leave(&mut self, network: Option<Network>) {
        if let Some(network) = network {
            *self.counts.get_mut(&network).expect("entered") -= 1;
        }
    }

    pub(crate) fn hand_over(
        &mut self,
        from: Option<Network>,
        to: Option<Network>,
        used: usize,
        max: usize,
    ) -> bool {
        if from == to {
            return true;
        }
        let is_added = self.add(to, (max + 1).saturating_sub(used));
        if is_added {
            self.leave(from);
        }
        is_added
    }

    pub(crate) fn take(&mut self, network: Option<Network>, now_ms: u64) -> bool {
        let rate = self.rate;
        network.is_none_or(|network| {
            self.meters
                .entry(network)
                .or_default()
                .take(&rate, 1, now_ms)
        })
    }

    /// Returns true if nothing is counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.values().all(|count| *count == 0)
    }
}
