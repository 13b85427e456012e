//! Heartbeats of clients that have nothing else to send, beside the schedule.

use std::time::Duration;

use super::Clients;
use crate::config::Scenario;
use crate::engine::client::Phase;
use crate::engine::codec::{self, Say};
use crate::engine::schedule::nanoseconds;
use crate::engine::send_batch::SendBatch;

/// Goes round all clients, about once in a quarter of the time that one may be silent.
pub(super) struct Keepalive {
    silence_ms: u32,
    round_ns: u64,
    next_client: u32,
    last_turn_ns: u64,
}

impl Keepalive {
    /// Keeps every client from being silent for longer than `silence`, or a quarter more.
    pub(super) fn new(silence: Duration) -> Self {
        Self {
            silence_ms: silence.as_millis() as u32,
            round_ns: (nanoseconds(silence) / 4).max(1),
            next_client: 0,
            last_turn_ns: 0,
        }
    }

    /// Looks at as many clients as the time since the last turn asks for.
    pub(super) fn turn(&mut self, clients: &mut Clients, batch: &mut SendBatch, now_ns: u64) {
        if clients.run.config.scenario == Scenario::Greet {
            return;
        }
        let count = clients.all.len() as u64;
        let elapsed_ns = (now_ns - self.last_turn_ns).min(self.round_ns);
        let looks = (u128::from(count) * u128::from(elapsed_ns) / u128::from(self.round_ns)) as u64;
        if looks == 0 {
            // The time goes on to count.
            return;
        }
        self.last_turn_ns = now_ns;
        for _ in 0..looks {
            let client = self.next_client;
            self.next_client = (client + 1) % count as u32;
            self.look_at(clients, batch, client, now_ns);
        }
        batch.send(&clients.ports, |_| {});
    }

    fn look_at(&mut self, clients: &mut Clients, batch: &mut SendBatch, client: u32, now_ns: u64) {
        let now_ms = (now_ns / 1_000_000) as u32;
        let state = &mut clients.all[client as usize];
        let is_there = matches!(state.phase, Phase::Active | Phase::Leaving);
        if !is_there || now_ms.saturating_sub(state.last_sent_ms) < self.silence_ms {
            return;
        }
        state.last_sent_ms = now_ms;
        if batch.is_full() {
            batch.send(&clients.ports, |_| {});
        }
        let protocol = clients.run.config.protocol;
        batch.push(clients.ports.of(client), |out| {
            codec::write(protocol, state.session, Say::Heartbeat(state.room), out);
        });
        if clients.is_recording(now_ns) {
            clients.recorder.counts.keepalives += 1;
        }
    }
}
