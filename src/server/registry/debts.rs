//! Budgets of peers that are gone. Whoever leaves and comes back at once would otherwise have a new
//! one each time.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::budget::Budget;
use super::hash::HashedAddr;
use super::peer::Peer;

/// The budgets of peers that have left their addresses. An address has one slot, which it may share
/// with others, and the last one has it. A server without peers that are not trusted has no slots.
#[derive(Default)]
pub(super) struct Debts {
    slots: OnceLock<Box<[ArcSwapOption<Debt>]>>,
}

struct Debt {
    key: HashedAddr,
    budget: Arc<Budget>,
}

impl Debts {
    /// Notes the budget of a peer that leaves its address.
    pub(super) fn note(&self, key: &HashedAddr, peer: &Peer) {
        if let Some(budget) = peer.shared_budget() {
            let new = || (0..SLOTS).map(|_| ArcSwapOption::empty()).collect();
            let slots = self.slots.get_or_init(new);
            let debt = Debt {
                key: *key,
                budget: Arc::clone(budget),
            };
            slots[slot(key)].store(Some(Arc::new(debt)));
        }
    }

    /// Charges a peer that comes to an address for what the last one there has used.
    pub(super) fn charge(&self, key: &HashedAddr, peer: &Peer) {
        if let Some(budget) = peer.budget()
            && let Some(slots) = self.slots.get()
            && let Some(debt) = &*slots[slot(key)].load()
            && debt.key == *key
        {
            budget.use_as_much_as(&debt.budget);
        }
    }
}

fn slot(key: &HashedAddr) -> usize {
    (key.hash % SLOTS) as usize
}

/// Number of slots, which take 32 KiB, and half a megabyte with the budgets. A network registers at
/// most 200 peers per second, so it takes 20 s to make this forget a budget that is full again after
/// 3 s.
const SLOTS: u64 = 1 << 12;
