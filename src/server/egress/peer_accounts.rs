//! The accounts of the senders that share with others of their network.

use std::collections::HashMap;

use slab::Slab;

use super::load::{Account, Load};
use crate::net::PeerAddr;

/// An account for each sender that has texts waiting. Its functions are not inlined, which keeps the
/// way of the texts of trusted senders short.
pub(super) struct PeerAccounts {
    accounts: Slab<(PeerAddr, Account)>,
    indexes: HashMap<PeerAddr, usize>,
}

impl PeerAccounts {
    pub(super) fn new() -> Self {
        Self {
            accounts: Slab::new(),
            indexes: HashMap::new(),
        }
    }

    /// The account of a sender.
    #[inline(never)]
    pub(super) fn get(&self, peer: &PeerAddr) -> Account {
        let index = self.indexes.get(peer);
        index.map_or_else(Account::default, |index| self.accounts[*index].1)
    }

    /// Adds a text of a sender. Returns the index of its account.
    #[inline(never)]
    pub(super) fn add(&mut self, peer: PeerAddr, load: Load, is_reserved: bool) -> u32 {
        let accounts = &mut self.accounts;
        let new = || accounts.insert((peer, Account::default()));
        let index = *self.indexes.entry(peer).or_insert_with(new);
        self.accounts[index].1.add(load, is_reserved);
        // There are fewer texts than that.
        index as u32
    }

    /// Removes a text of the sender whose account has this index.
    #[inline(never)]
    pub(super) fn remove(&mut self, index: u32, load: Load, is_reserved: bool) {
        let index = index as usize;
        let (peer, account) = &mut self.accounts[index];
        account.remove(load, is_reserved);
        if account.texts == 0 {
            self.indexes.remove(peer);
            self.accounts.remove(index);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.indexes.is_empty()
    }
}
