//! Lets clients come: each asks until it is answered, a few hundred at a time.

use std::collections::VecDeque;
use std::io::Write;

use bullhorn::wire::v2::Welcome;
use bullhorn::wire::{self, ProofToken};

use super::Clients;
use crate::config::{Protocol, Scenario};
use crate::engine::client::Phase;
use crate::engine::codec::{self, Say};
use crate::engine::common::RunError;
use crate::engine::partition;
use crate::engine::send_batch::SendBatch;
use crate::engine::stamp::{ADMISSION_SEQUENCE, Stamp};

/// The registration of clients.
pub(super) struct Registration {
    /// Clients that have not asked yet.
    waiting: VecDeque<u32>,
    /// Clients that have asked, and the time to ask again. Clients that were answered since are
    /// still there.
    asked: VecDeque<(u32, u64)>,
    /// Clients that have asked and were not answered.
    open: usize,
    /// Clients with another thing to ask for.
    next_step: VecDeque<u32>,
    /// Clients that the server asks for a proof of their address.
    challenged: VecDeque<(u32, ProofToken)>,
    /// Clients whose target knows them, and the time from which all others do.
    arriving: VecDeque<(u32, u64)>,
    /// Somebody has come.
    has_come: bool,
}

impl Registration {
    pub(super) fn new(clients: u32) -> Self {
        Self {
            waiting: (0..clients).collect(),
            asked: VecDeque::with_capacity(ASKED_AT_ONCE * 2),
            open: 0,
            next_step: VecDeque::with_capacity(ASKED_AT_ONCE),
            challenged: VecDeque::new(),
            arriving: VecDeque::new(),
            has_come: false,
        }
    }

    /// Returns true if all clients are registered.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0 && self.waiting.is_empty()
    }

    /// The server asks a client of version 1 for a proof of its address.
    pub(super) fn prove(&mut self, client: u32, token: ProofToken) {
        self.challenged.push_back((client, token));
    }

    /// A client is to come, again.
    pub(super) fn add(&mut self, client: u32) {
        self.waiting.push_back(client);
    }

    /// Returns its size in memory.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<u32>() + self.asked.capacity() * size_of::<(u32, u64)>()
    }

    /// Asks for those whose turn it is.
    pub(super) fn turn(
        &mut self,
        clients: &mut Clients,
        batch: &mut SendBatch,
        now_ns: u64,
    ) -> Result<(), RunError> {
        self.send_proofs(clients, batch);
        while let Some((client, at_ns)) = self.arriving.front().copied()
            && at_ns <= now_ns
        {
            self.arriving.pop_front();
            enter(clients, client, now_ns);
        }
        if self.is_done() && self.asked.is_empty() {
            return Ok(());
        }
        self.ask_again(clients, batch, now_ns)?;
        while let Some(client) = self.next_step.pop_front() {
            self.ask(clients, batch, client, now_ns);
        }
        // One first: where it cannot come, the others need not ask.
        let at_once = match self.has_come {
            true => ASKED_AT_ONCE,
            false => 1,
        };
        while self.open < at_once
            && !batch.is_full()
            && let Some(client) = self.waiting.pop_front()
        {
            self.open += 1;
            clients.client(client).tries = 0;
            clients.client(client).phase = match clients.run.codec() {
                Protocol::V1 => Phase::Joining,
                Protocol::V2 => Phase::Hello,
            };
            self.ask(clients, batch, client, now_ns);
        }
        batch.send(&clients.ports, |_| {});
        Ok(())
    }

    /// A client has a session.
    pub(super) fn welcomed(&mut self, clients: &mut Clients, client: u32, welcome: Welcome<'_>) {
        // The first one is as good as any.
        let _ = clients.run.seen_as.set(welcome.address.ip());
        let state = clients.client(client);
        if state.phase != Phase::Hello {
            // It asked twice.
            return;
        }
        state.session = Some(welcome.session);
        state.tries = 0;
        state.phase = Phase::Joining;
        // Its first datagram registers it.
        self.next_step.push_back(client);
    }

    /// A client is where it wanted to go.
    pub(super) fn joined(&mut self, clients: &mut Clients, client: u32) {
        if clients.client(client).phase != Phase::Joining {
            return;
        }
        self.open -= 1;
        self.has_come = true;
        let now_ns = clients.last_received_ns;
        // Before the load, all targets are waited for.
        if clients.start_ns.is_some() && partition::has_spread_rooms(&clients.run.config) {
            clients.client(client).phase = Phase::Arriving;
            self.arriving.push_back((client, now_ns + ARRIVAL_NS));
        } else {
            enter(clients, client, now_ns);
        }
    }

    /// Proves the addresses of clients, once per challenge, and asks again for those that are to
    /// come, as the server has dropped what they asked.
    fn send_proofs(&mut self, clients: &mut Clients, batch: &mut SendBatch) {
        while let Some((client, token)) = self.challenged.pop_front() {
            if batch.is_full() {
                batch.send(&clients.ports, |_| {});
            }
            batch.push(clients.ports.of(client), |out| {
                codec::write(Protocol::V1, None, Say::Prove(token), out);
            });
            if clients.client(client).phase == Phase::Joining {
                self.next_step.push_back(client);
            }
        }
        batch.send(&clients.ports, |_| {});
    }

    /// Asks again for those who were not answered in time.
    fn ask_again(
        &mut self,
        clients: &mut Clients,
        batch: &mut SendBatch,
        now_ns: u64,
    ) -> Result<(), RunError> {
        while let Some((client, again_ns)) = self.asked.front().copied()
            && (again_ns <= now_ns)
            && !batch.is_full()
        {
            self.asked.pop_front();
            if !matches!(clients.client(client).phase, Phase::Hello | Phase::Joining) {
                continue;
            }
            let tries = clients.client(client).tries.saturating_add(1);
            clients.client(client).tries = tries;
            // Once the load has begun, a server that stands still shows in what is lost.
            if tries > MAX_TRIES && clients.start_ns.is_none() {
                let number = clients.global(client) + 1;
                let config = &clients.run.config;
                return Err(RunError::NoAnswer {
                    target: clients.run.target(clients.ports.target_of(client)),
                    client: format!("client {number} of {}", config.clients),
                });
            }
            self.ask(clients, batch, client, now_ns);
        }
        Ok(())
    }

    /// Asks for the next thing that a client needs.
    fn ask(&mut self, clients: &mut Clients, batch: &mut SendBatch, client: u32, now_ns: u64) {
        if batch.is_full() {
            batch.send(&clients.ports, |_| {});
        }
        let stamp = clients.admission_stamp(client);
        let config = &clients.run.config;
        let room = clients.room_name(client);
        let state = &clients.all[client as usize];
        let say = match state.phase {
            Phase::Hello => Say::Hello(clients.run.nonce(clients.global(client))),
            _ if config.scenario == Scenario::Greet => Say::Text(&stamp, 0),
            _ if partition::has_rooms(config) => Say::Join(room.as_str()),
            // It believes nothing, so it is told its room.
            _ if clients.run.codec() == Protocol::V2 => Say::Heartbeat(None),
            _ => Say::Ask(&stamp),
        };
        batch.push(clients.ports.of(client), |out| {
            codec::write(clients.run.codec(), state.session, say, out);
        });
        clients.client(client).last_sent_ms = (now_ns / 1_000_000) as u32;
        self.asked.push_back((client, now_ns + ASK_AGAIN_NS));
    }
}

/// A client takes part, and counts if it has come back.
fn enter(clients: &mut Clients, client: u32, now_ns: u64) {
    clients.enter(client);
    clients.recorder.counts.joined += u64::from(clients.is_recording(now_ns));
}

impl Clients {
    /// Returns true if this is the room that a client asks for at its registration. In version 2
    /// it is told the lobby where there are no other rooms.
    pub(super) fn asks_for_room(&self, client: u32, room: &wire::RoomName) -> bool {
        match partition::has_rooms(&self.run.config) {
            true => room.as_str() == self.room_name(client).as_str(),
            false => self.run.codec() == Protocol::V2 && room.as_str() == wire::LOBBY,
        }
    }

    /// Returns true if this is the stamp of a client's registration. It is there in the answer only
    /// if the client asks neither for a session nor for a room.
    pub(super) fn asks_with(&self, client: u32, stamp: &Stamp) -> bool {
        let config = &self.run.config;
        config.protocol == Protocol::V1
            && config.scenario != Scenario::Greet
            && !partition::has_rooms(config)
            && *stamp == self.admission_stamp(client)
    }

    /// The stamp of a request whose answer says that the server knows a client.
    pub(super) fn admission_stamp(&self, client: u32) -> Stamp {
        Stamp {
            run: self.run.id,
            client: self.global(client),
            sequence: ADMISSION_SEQUENCE,
            due_ns: 0,
            lag_ns: 0,
        }
    }

    pub(super) fn room_name(&self, client: u32) -> RoomName {
        RoomName::new(self.run.id, self.room_of(client))
    }
}

/// The name of a room: another one in each run. It takes no memory of its own.
pub(super) struct RoomName([u8; ROOM_NAME_BYTES]);

impl RoomName {
    fn new(run: u32, room: u32) -> Self {
        let mut name = Self([0; ROOM_NAME_BYTES]);
        // It is exactly as long.
        let _ = write!(&mut name.0[..], "load-{run:08x}-{room:08x}");
        name
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

const ROOM_NAME_BYTES: usize = 22;

/// A tenth of what waits at a server's socket without loss.
const ASKED_AT_ONCE: usize = 256;

/// Far above what a server takes that works.
const ASK_AGAIN_NS: u64 = 300_000_000;

/// Far above the time in which a node tells others of its members.
const ARRIVAL_NS: u64 = 500_000_000;

/// After three seconds nobody is there.
const MAX_TRIES: u8 = 10;

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
