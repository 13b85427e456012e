//! Sessions that move to another address.

use std::rc::Rc;

use bullhorn::wire::v2::{Move, SessionOptions};

use crate::model::{Address, Model, Peer};
use crate::shares::Table;

impl Model {
    /// Gives `newcomer` what a session at another address has. Returns false if nothing changes.
    /// `options` are those that the newcomer asks for.
    pub(crate) fn take_over(
        &mut self,
        address: Address,
        newcomer: &Peer,
        options: Option<SessionOptions>,
        former: &Move,
    ) -> bool {
        let from = (former.address, address.1);
        let is_known = |old: &Peer| old.session == Some(former.session.get());
        let Some(old) = self.peers.get(&from).filter(|old| is_known(old)).cloned() else {
            return false;
        };
        let (used, max) = (self.peers.len(), self.max(Table::Peers));
        if from == address
            || !self.shares[0].take(newcomer.network, self.now_ms)
            || !self.shares[0].hand_over(old.network, newcomer.network, used, max)
        {
            return false;
        }
        for room in old.rooms() {
            self.room_mut(room).step_out(from);
        }
        let mut moved = Peer {
            options: options.unwrap_or(old.options),
            session: newcomer.session,
            owner: newcomer.owner,
            network: newcomer.network,
            seen_ms: self.now_ms,
            budget: match &newcomer.budget {
                Some(budget) => Some(old.budget.clone().unwrap_or(Rc::clone(budget))),
                None => None,
            },
            ..old.clone()
        };
        self.hand_over_name(&mut moved, address);
        self.ended.insert(from);
        self.peers.remove(&from);
        if let Some(registered) = self.peers.get(&address).cloned() {
            self.note_debt(address, &registered);
            self.reserved = old.rooms().collect();
            for room in registered.rooms() {
                self.leave_room(address, room, false);
            }
            self.reserved.clear();
            self.free_name(&registered);
            self.shares[0].leave(registered.network);
        }
        self.note_debt(from, &old);
        self.charge_debt(address, &moved);
        let until_ms = [from.0, address.0].map(|address| self.muted.get(&address).copied());
        if let Some(until_ms) = until_ms.into_iter().max().flatten() {
            moved.muted_until_ms = until_ms;
            if self.now_ms < until_ms {
                self.muted.insert(address.0, until_ms);
            }
        }
        for room in moved.rooms() {
            self.room_mut(room).members.insert(address);
        }
        if moved.wants_presence {
            self.room_mut(moved.room).subscribers.insert(address);
        }
        self.peers.insert(address, moved);
        true
    }

    fn hand_over_name(&mut self, moved: &mut Peer, address: Address) {
        let (used, max) = (self.names.len(), self.max(Table::Names));
        if let Some(name) = moved.name {
            let (owner, network) = self.names.get_mut(&name.folded()).expect("in use");
            if self.shares[1].hand_over(*network, moved.network, used, max) {
                (*owner, *network) = (address, moved.network);
            } else {
                self.free_name(moved);
                moved.name = None;
            }
        }
    }
}
