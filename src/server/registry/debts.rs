//! The budgets of peers that are gone. A peer that leaves and comes back at once would otherwise have
//! a new one each time.

use super::budget::Budget;
use super::hash::HashedAddr;
use super::peer::Peer;
use super::slots::SlotTable;
use crate::server::ops::supervise::lock;
use crate::sync::Mutex;

/// The budgets of peers that have left their addresses. An address has one slot, which it may share
/// with others, and the last one has it. A server without peers that are not trusted has no slots.
///
/// A slot has a copy of the budget. If it kept the budget itself, each slot would keep a page of the
/// heap from the system after a flood.
pub(super) struct Debts(SlotTable<Mutex<Option<Debt>>>);

struct Debt {
    key: HashedAddr,
    budget: Budget,
}

impl Debts {
    pub(super) fn new() -> Self {
        Self(SlotTable::new(SLOTS))
    }

    /// Notes the budget of a peer that leaves its address.
    pub(super) fn note(&self, key: &HashedAddr, peer: &Peer) {
        if let Some(used) = peer.budget() {
            let budget = Budget::default();
            budget.use_as_much_as(used);
            *lock(self.0.get(key.hash)) = Some(Debt { key: *key, budget });
        }
    }

    /// Charges a peer that comes to an address for what the last one there has used.
    pub(super) fn charge(&self, key: &HashedAddr, peer: &Peer) {
        if let Some(budget) = peer.budget()
            && let Some(slot) = self.0.get_if_used(key.hash)
            && let Some(debt) = &*lock(slot)
            && debt.key == *key
        {
            budget.use_as_much_as(&debt.budget);
        }
    }
}

/// Number of slots, which take 0.4 MB. A network registers at most 200 peers per second, so it takes
/// 20 s to make this forget a budget that is full again after 3 s.
const SLOTS: usize = 1 << 12;
