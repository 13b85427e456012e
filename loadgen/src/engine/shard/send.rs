//! Sends what is due, when it is due, whatever comes back.

use super::Clients;
use crate::config::{Mix, RunConfig, Scenario};
use crate::engine::codec::{self, Say};
use crate::engine::schedule::Schedule;
use crate::engine::send_batch::{SEND_BATCH, SendBatch};
use crate::engine::stamp::Stamp;

/// A thread's share of the load.
pub(super) struct Sending {
    schedule: Schedule,
    random: fastrand::Rng,
    mix: Mix,
    scenario: Scenario,
    /// The place to look for the next client that sends.
    next_client: u32,
    offers: Vec<Offer>,
    /// Datagrams of the batch that are to be answered, for each target.
    asked: Box<[u64]>,
    largest_burst: u32,
    /// Datagrams of the present burst: those since nothing was due.
    burst: u32,
    /// The start of the last turn, since the load began.
    turned_ns: u64,
    /// Set if nothing is sent any more.
    is_over: bool,
}

/// A datagram of the batch.
#[derive(Debug, Clone, Copy)]
struct Offer {
    kind: Kind,
    client: u32,
    due_ns: u64,
    bytes: u32,
    /// The number of a request or a text.
    sequence: u32,
    /// Clients that should receive a text.
    expected: u32,
    /// The kernel did not take it.
    is_refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ask,
    Greet,
    Text,
    Heartbeat,
}

impl Offer {
    /// Returns true if something is to come back for it.
    fn is_answered(&self) -> bool {
        match self.kind {
            Kind::Ask | Kind::Greet => true,
            Kind::Text => self.expected > 0,
            Kind::Heartbeat => false,
        }
    }
}

impl Sending {
    /// Share number `share.0` of `share.1` of a run's load.
    pub(super) fn new(config: &RunConfig, share: (usize, usize)) -> Self {
        let (index, shares) = share;
        Self {
            schedule: Schedule::new(config, index, shares),
            // Another one than the schedule's, of the same seed.
            random: fastrand::Rng::with_seed(!config.seed.wrapping_add(index as u64)),
            mix: config.mix,
            scenario: config.scenario,
            next_client: 0,
            offers: Vec::with_capacity(SEND_BATCH),
            asked: config.targets().map(|_| 0).collect(),
            largest_burst: 0,
            burst: 0,
            turned_ns: 0,
            is_over: false,
        }
    }

    /// Returns the time at which the next datagram is due by the run's clock, if there is one.
    pub(super) fn next_ns(&self, clients: &Clients) -> Option<u64> {
        Some(clients.start_ns? + self.schedule.due_ns()?)
    }

    /// The most datagrams that were due at once.
    pub(super) fn largest_burst(&self) -> u32 {
        self.largest_burst
    }

    /// Sends up to [`SEND_BATCH`] datagrams that are due; whether there were any.
    pub(super) fn turn(
        &mut self,
        clients: &mut Clients,
        batch: &mut SendBatch,
        now_ns: u64,
    ) -> bool {
        let started_ns = now_ns;
        let Some(now_ns) = clients.since_start(now_ns).filter(|_| !self.is_over) else {
            return false;
        };
        self.turned_ns = now_ns;
        while !batch.is_full()
            && let Some(due_ns) = self.schedule.due_ns()
            && due_ns <= now_ns
            && let Some(client) = self.next_speaker(clients, now_ns)
        {
            self.schedule.advance();
            self.write(clients, batch, client, due_ns, now_ns);
        }
        if batch.is_empty() {
            self.burst = 0;
            return false;
        }
        self.burst += batch.len() as u32;
        self.largest_burst = self.largest_burst.max(self.burst);
        if !batch.is_full() {
            self.burst = 0;
        }
        let offers = &mut self.offers;
        batch.send(&clients.ports, |place| offers[place].is_refused = true);
        for offer in self.offers.drain(..) {
            let target = clients.ports.target_of(offer.client);
            self.asked[target] += u64::from(!offer.is_refused && offer.is_answered());
            account(clients, offer, now_ns);
        }
        for (asked, pulse) in self.asked.iter_mut().zip(&clients.run.pulses) {
            if *asked > 0 {
                pulse.asked(started_ns, *asked);
                *asked = 0;
            }
        }
        true
    }

    /// Sends no more. What was due since the last turn is nobody's failure.
    pub(super) fn stop(&mut self) {
        self.schedule.end_at(self.turned_ns + 1);
    }

    /// Sends no more, and counts some of what was due, and was not sent; whether there is
    /// more of that.
    pub(super) fn give_up(&mut self, clients: &mut Clients) -> bool {
        self.is_over = true;
        for _ in 0..GIVEN_UP_AT_ONCE {
            let Some(due_ns) = self.schedule.due_ns() else {
                return false;
            };
            count_due(clients, due_ns);
            self.schedule.advance();
        }
        true
    }

    /// The next client that is there, each in its turn; of those to whom the greeting
    /// service owes an answer, one only where the next ones all wait, too.
    fn next_speaker(&mut self, clients: &Clients, now_ns: u64) -> Option<u32> {
        if self.scenario == Scenario::Lobby {
            return clients.is_active(0).then_some(0);
        }
        if clients.active == 0 {
            return None;
        }
        let is_greeting = self.scenario == Scenario::Greet;
        let mut passed_over = 0;
        loop {
            let client = self.next_client;
            self.next_client = (client + 1) % clients.all.len() as u32;
            let state = &clients.all[client as usize];
            if is_greeting && passed_over < PASSED_OVER && !state.may_ask_for_greeting(now_ns) {
                passed_over += 1;
                continue;
            }
            if clients.is_active(client) {
                return Some(client);
            }
        }
    }

    fn next_kind(&mut self) -> Kind {
        if self.scenario == Scenario::Greet {
            return Kind::Greet;
        }
        let Mix {
            ping,
            text,
            heartbeat,
        } = self.mix;
        let drawn = self.random.f64() * (ping + text + heartbeat);
        if drawn < ping {
            Kind::Ask
        } else if drawn < ping + text {
            Kind::Text
        } else {
            Kind::Heartbeat
        }
    }

    fn write(
        &mut self,
        clients: &mut Clients,
        batch: &mut SendBatch,
        client: u32,
        due_ns: u64,
        now_ns: u64,
    ) {
        let kind = self.next_kind();
        let room = clients.room_of(client);
        let last_text = clients.client(client).last_text;
        let (sequence, expected) = match kind {
            Kind::Text => {
                let text = clients.run.rooms.speak(room, last_text);
                (text.sequence, text.expected)
            }
            _ => (clients.client(client).next_ask, 0),
        };
        let stamp = Stamp {
            run: clients.run.id,
            client: clients.global(client),
            sequence,
            due_ns,
            lag_ns: now_ns - due_ns,
        };
        let config = &clients.run.config;
        let say = match kind {
            Kind::Ask => Say::Ask(&stamp),
            // The greeting service takes anything.
            Kind::Text | Kind::Greet => Say::Text(&stamp, config.payload.draw(self.random.f64())),
            Kind::Heartbeat => Say::Heartbeat(clients.all[client as usize].room),
        };
        let protocol = clients.run.codec();
        let session = clients.all[client as usize].session;
        let bytes = batch.push(clients.ports.of(client), |out| {
            codec::write(protocol, session, say, out);
        });
        let state = clients.client(client);
        match kind {
            Kind::Ask => state.next_ask += 1,
            Kind::Text => state.last_text = Some(sequence),
            Kind::Greet | Kind::Heartbeat => {}
        }
        self.offers.push(Offer {
            kind,
            client,
            due_ns,
            bytes: bytes as u32,
            sequence,
            expected,
            is_refused: false,
        });
    }
}

/// Counts a datagram of a batch that was begun at `now_ns`. What the kernel then takes to
/// send it is part of its latency, and of the lag of the next batch.
fn account(clients: &mut Clients, offer: Offer, now_ns: u64) {
    if offer.is_refused {
        if count_due(clients, offer.due_ns) {
            clients.recorder.counts.refused += 1;
        }
        return;
    }
    let sent_ms = (clients.start_ns.unwrap_or(0) + now_ns) / 1_000_000;
    let is_recorded = count_due(clients, offer.due_ns);
    let client = &mut clients.all[offer.client as usize];
    client.last_sent_ms = sent_ms as u32;
    match offer.kind {
        Kind::Ask => client.asked(offer.sequence, now_ns),
        Kind::Greet => client.asked_for_greeting(offer.due_ns, now_ns, is_recorded),
        Kind::Text | Kind::Heartbeat => {}
    }
    let recorder = &mut clients.recorder;
    let Some(second) = recorder.second(offer.due_ns) else {
        return;
    };
    second.sent += 1;
    match offer.kind {
        Kind::Ask | Kind::Greet => second.asked += 1,
        Kind::Text => second.expected += u64::from(offer.expected),
        Kind::Heartbeat => {}
    }
    let counts = &mut recorder.counts;
    counts.sent += 1;
    counts.sent_bytes += u64::from(offer.bytes);
    match offer.kind {
        Kind::Ask | Kind::Greet => counts.asked += 1,
        Kind::Heartbeat => counts.heartbeats += 1,
        Kind::Text => {
            counts.texts += 1;
            counts.expected += u64::from(offer.expected);
        }
    }
    let lag_ns = now_ns - offer.due_ns;
    recorder.latencies().send_lag.saturating_record(lag_ns);
}

/// Counts a datagram as due; whether it was in the recorded time.
fn count_due(clients: &mut Clients, due_ns: u64) -> bool {
    let Some(second) = clients.recorder.second(due_ns) else {
        return false;
    };
    second.due += 1;
    clients.recorder.counts.due += 1;
    true
}

/// Clients in a row that are passed over as they wait for an answer: to look at all of
/// them for each datagram would take longer than to send it.
const PASSED_OVER: u32 = 64;

/// Counted in about a millisecond.
const GIVEN_UP_AT_ONCE: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::config::{Protocol, Rate};
    use crate::engine::shard::testing::*;

    /// The first one answers what it is asked, and the second one does not.
    #[test]
    fn each_target_owes_the_answers_of_its_own_clients() {
        let servers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [first, second] = servers.each_ref().map(|one| one.local_addr().unwrap());
        let mut shard = shard(RunConfig {
            target: first,
            other_targets: vec![second],
            rate: Rate::constant(10.0),
            ..config(Protocol::V1)
        });
        let (clients, batch) = (&mut shard.clients, &mut shard.batch);
        clients.enter(0);
        clients.enter(1);
        clients.run.start_ns.store(START_NS, Relaxed);
        clients.start_ns = Some(START_NS);
        let second_ns = 1_000_000_000;
        let asked_ns = START_NS + second_ns - 1;
        let sending = shard.sending.as_mut().unwrap();
        assert!(sending.turn(clients, batch, asked_ns));
        clients.run.pulses[0].received(asked_ns + 1);
        for pulse in &clients.run.pulses {
            pulse.check(asked_ns + second_ns);
        }
        let silence = clients.run.silence(START_NS).unwrap();
        assert_eq!(silence.target, second);
    }
}
