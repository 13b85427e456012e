//! Clients that leave, and come back.

use std::collections::VecDeque;

use super::{Clients, Registration, Shard};
use crate::config::{RunConfig, Scenario};
use crate::engine::client::Phase;
use crate::engine::codec::{self, Say};
use crate::engine::partition::Part;
use crate::engine::send_batch::SendBatch;

/// Clients that leave and come back.
pub(super) struct Churn {
    /// Between two of this thread that leave; none: nobody does.
    interval_ns: Option<f64>,
    left: u64,
    random: fastrand::Rng,
    /// Clients that wait for copies that they should receive, and the end of that wait.
    leaving: VecDeque<(u32, u64)>,
}

impl Churn {
    /// This thread's part of a run's churn: as large as its part of the clients.
    pub(super) fn new(config: &RunConfig, thread: usize, part: Part) -> Self {
        let share = f64::from(part.clients) / f64::from(config.clients);
        let rate = config.churn_per_s * share;
        Self {
            interval_ns: (rate > 0.0).then_some(1e9 / rate),
            left: 0,
            random: fastrand::Rng::with_seed(config.seed ^ (thread as u64) << 32),
            leaving: VecDeque::with_capacity((rate * 2.0) as usize + 1),
        }
    }

    /// Nobody leaves any more.
    pub(super) fn end(&mut self) {
        self.interval_ns = None;
    }

    /// Lets those leave whose time it is.
    pub(super) fn turn(
        &mut self,
        clients: &mut Clients,
        registration: &mut Registration,
        batch: &mut SendBatch,
        now_ns: u64,
    ) {
        let Some(elapsed_ns) = clients.since_start(now_ns) else {
            return;
        };
        while let Some(interval_ns) = self.interval_ns
            && (self.left + 1) as f64 * interval_ns <= elapsed_ns as f64
        {
            self.left += 1;
            let Some(client) = self.choose(clients) else {
                continue;
            };
            clients.withdraw(client);
            self.leaving.push_back((client, now_ns + OWED_NS));
            clients.recorder.counts.left += u64::from(clients.is_recording(now_ns));
        }
        while let Some((client, at_ns)) = self.leaving.front().copied()
            && at_ns <= now_ns
            && !batch.is_full()
        {
            self.leaving.pop_front();
            say_goodbye(clients, batch, client);
            // When the load is over nobody comes back.
            if self.interval_ns.is_some() {
                registration.add(client);
            }
        }
        batch.send(&clients.ports, |_| {});
    }

    /// Someone who is there, and not the only one who speaks; none while half are away,
    /// as the load must be offered in time whoever leaves.
    fn choose(&mut self, clients: &Clients) -> Option<u32> {
        let count = clients.all.len() as u32;
        if clients.active <= count.div_ceil(2) {
            return None;
        }
        let is_lobby = clients.run.config.scenario == Scenario::Lobby;
        let speaker = (is_lobby && clients.first == 0).then_some(0);
        let mut tries = (0..TRIES).map(|_| self.random.u32(0..count));
        tries.find(|client| clients.is_active(*client) && Some(*client) != speaker)
    }
}

impl Shard {
    /// Makes all clients leave, so that the server need not miss them.
    pub(super) fn leave(&mut self) {
        if self.clients.run.config.scenario == Scenario::Greet {
            return;
        }
        for client in 0..self.clients.all.len() as u32 {
            if self.clients.client(client).phase != Phase::Out {
                say_goodbye(&mut self.clients, &mut self.batch, client);
            }
            if self.batch.is_full() {
                self.batch.send(&self.clients.ports, |_| {});
                std::thread::sleep(LEAVE_PAUSE);
            }
        }
        self.batch.send(&self.clients.ports, |_| {});
    }
}

fn say_goodbye(clients: &mut Clients, batch: &mut SendBatch, client: u32) {
    let protocol = clients.run.config.protocol;
    let session = clients.client(client).session;
    batch.push(clients.ports.of(client), |out| {
        codec::write(protocol, session, Say::Leave, out);
    });
    clients.client(client).phase = Phase::Out;
}

/// The longest way of a text, unless a queue holds it that loses more than it delivers.
const OWED_NS: u64 = 1_000_000_000;

/// At least half of the clients are there, so one more than this in vain is rare.
const TRIES: usize = 16;

/// Between two batches of those who leave: a server that works takes them meanwhile.
const LEAVE_PAUSE: std::time::Duration = std::time::Duration::from_micros(500);
