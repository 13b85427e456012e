//! Waits before the load until each of several targets shows the members of rooms at the others.
//! From then on, a text that is sent at one target reaches them all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bullhorn::wire;

use super::Clients;
use crate::engine::codec::{self, Say};
use crate::engine::common::RunError;
use crate::engine::partition;
use crate::engine::schedule::nanoseconds;
use crate::engine::send_batch::SendBatch;

/// The wait of a thread.
#[derive(Debug)]
pub(super) struct MembersWait {
    /// One client for each room and target that has not shown all members, with the number that
    /// it was last told.
    open: BTreeMap<u32, usize>,
    /// The clients that ask, and the times of their next questions.
    asks: VecDeque<(u32, u64)>,
    /// The end of it.
    until_ns: u64,
}

impl Clients {
    /// Begins the wait. The clients of all threads are there, so the members of each room are
    /// known.
    pub(super) fn await_members(&mut self, now_ns: u64) {
        let mut places = BTreeSet::new();
        let is_first = |client: &u32| {
            let place = (self.room_of(*client), self.ports.target_of(*client));
            places.insert(place)
        };
        let clients: Vec<u32> = (0..self.all.len() as u32).filter(is_first).collect();
        self.members_wait = Some(MembersWait {
            open: clients.iter().map(|client| (*client, 0)).collect(),
            asks: clients.iter().map(|client| (*client, now_ns)).collect(),
            until_ns: now_ns + nanoseconds(self.run.config.members_wait),
        });
    }

    /// Asks for the members of the rooms that are still open: each client goes to its own room
    /// again.
    pub(super) fn ask_for_members(
        &mut self,
        batch: &mut SendBatch,
        now_ns: u64,
    ) -> Result<(), RunError> {
        let Some(wait) = &self.members_wait else {
            return Ok(());
        };
        let Some((client, shown)) = wait.open.first_key_value() else {
            self.members_wait = None;
            return Ok(());
        };
        if now_ns >= wait.until_ns {
            return Err(RunError::MembersMissing {
                target: self.run.target(self.ports.target_of(*client)),
                shown: *shown,
                members: self.run.rooms.members(self.room_of(*client)) as usize,
            });
        }
        while !batch.is_full()
            && let Some(wait) = &mut self.members_wait
            && let Some((client, at_ns)) = wait.asks.front().copied()
            && at_ns <= now_ns
        {
            wait.asks.pop_front();
            if wait.open.contains_key(&client) {
                wait.asks.push_back((client, now_ns + ASK_AGAIN_NS));
                self.ask_for_own_room(batch, client);
            }
        }
        batch.send(&self.ports, |_| {});
        Ok(())
    }

    /// The target of a client has shown it the number of members of its room.
    pub(super) fn hear_members(&mut self, client: u32, members: usize) {
        let expected = self.run.rooms.members(self.room_of(client)) as usize;
        let Some(shown) = self
            .members_wait
            .as_mut()
            .and_then(|wait| wait.open.get_mut(&client))
        else {
            return;
        };
        *shown = members;
        // Others may be in the lobby, too.
        if members >= expected
            && let Some(wait) = &mut self.members_wait
        {
            wait.open.remove(&client);
        }
    }

    fn ask_for_own_room(&self, batch: &mut SendBatch, client: u32) {
        let config = &self.run.config;
        let room = self.room_name(client);
        let say = match partition::has_rooms(config) {
            true => Say::Join(room.as_str()),
            false => Say::Join(wire::LOBBY),
        };
        let session = self.all[client as usize].session;
        batch.push(self.ports.of(client), |out| {
            codec::write(config.protocol, session, say, out);
        });
    }
}

/// Nodes tell each other of new members within less.
const ASK_AGAIN_NS: u64 = 200_000_000;
