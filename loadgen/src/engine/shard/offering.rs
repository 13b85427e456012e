//! Sends what is due, when it is due, whatever comes back.

use super::People;
use crate::config::{Mix, Protocol, RunConfig, Scenario};
use crate::engine::client::Client;
use crate::engine::dialect::{self, Say};
use crate::engine::mail::{MAIL_BATCH, Mail};
use crate::engine::schedule::Schedule;
use crate::engine::stamp::Stamp;

/// A thread's share of the load.
pub(super) struct Offering {
    schedule: Schedule,
    random: fastrand::Rng,
    mix: Mix,
    scenario: Scenario,
    /// Where to look for the next client that speaks.
    next_client: u32,
    batch: Vec<Offer>,
    largest_burst: u32,
    /// Datagrams of the present burst: those since nothing was due.
    burst: u32,
}

/// A datagram of the batch.
#[derive(Debug, Clone, Copy)]
struct Offer {
    kind: Kind,
    client: u32,
    due_ns: u64,
    bytes: u32,
    /// How many are owed a text.
    owed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ask,
    Greet,
    Text,
    Heartbeat,
}

impl Offering {
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
            batch: Vec::with_capacity(MAIL_BATCH),
            largest_burst: 0,
            burst: 0,
        }
    }

    /// When the next datagram is due, by the run's clock; none: none is.
    pub(super) fn next_ns(&self, people: &People) -> Option<u64> {
        if people.start_ns == u64::MAX {
            return None;
        }
        Some(people.start_ns + self.schedule.due_ns()?)
    }

    /// The most datagrams that were due at once.
    pub(super) fn largest_burst(&self) -> u32 {
        self.largest_burst
    }

    /// Sends up to [`MAIL_BATCH`] datagrams that are due; whether there were any.
    pub(super) fn turn(&mut self, people: &mut People, mail: &mut Mail, now_ns: u64) -> bool {
        if now_ns < people.start_ns {
            return false;
        }
        let now_ns = people.since_start(now_ns);
        while !mail.is_full()
            && let Some(due_ns) = self.schedule.due_ns()
            && due_ns <= now_ns
            && let Some(client) = self.next_speaker(people)
        {
            self.schedule.advance();
            self.write(people, mail, client, due_ns, now_ns);
        }
        if mail.is_empty() {
            self.burst = 0;
            return false;
        }
        self.burst += mail.len() as u32;
        self.largest_burst = self.largest_burst.max(self.burst);
        if !mail.is_full() {
            self.burst = 0;
        }
        let batch = &mut self.batch;
        let recorder = &mut people.recorder;
        mail.send(&people.ports, |place| {
            if let Some(second) = recorder.second(batch[place].due_ns) {
                second.due += 1;
                recorder.counts.due += 1;
                recorder.counts.refused += 1;
            }
            batch[place].kind = Kind::Heartbeat;
            batch[place].due_ns = UNRECORDED_NS;
        });
        for offer in self.batch.drain(..) {
            account(people, offer, now_ns);
        }
        true
    }

    /// Sends no more: nothing is due any more.
    pub(super) fn end(&mut self) {
        self.schedule.end();
    }

    /// Sends no more, and counts what was due, and was not sent.
    pub(super) fn give_up(&mut self, people: &mut People) {
        while let Some(due_ns) = self.schedule.due_ns() {
            if let Some(second) = people.recorder.second(due_ns) {
                second.due += 1;
                people.recorder.counts.due += 1;
            }
            self.schedule.advance();
        }
    }

    /// The next client that is there, each in its turn.
    fn next_speaker(&mut self, people: &People) -> Option<u32> {
        if self.scenario == Scenario::Lobby {
            return people.is_active(0).then_some(0);
        }
        if people.active == 0 {
            return None;
        }
        loop {
            let client = self.next_client;
            self.next_client = (client + 1) % people.clients.len() as u32;
            if people.is_active(client) {
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
        people: &mut People,
        mail: &mut Mail,
        client: u32,
        due_ns: u64,
        now_ns: u64,
    ) {
        let kind = self.next_kind();
        let room = people.room_of(client);
        let last_text = people.client(client).last_text;
        let (sequence, owed) = match kind {
            Kind::Text => {
                let text = people.run.rooms.speak(room, last_text);
                (text.sequence, text.owed)
            }
            _ => (people.client(client).next_ask, 0),
        };
        let stamp = Stamp {
            run: people.run.id,
            client: people.global(client),
            sequence,
            due_ns,
            lag_ns: now_ns - due_ns,
        };
        let config = &people.run.config;
        let say = match kind {
            Kind::Ask => Say::Ask(&stamp),
            Kind::Text => Say::Text(&stamp, config.payload.draw(self.random.f64())),
            // It takes anything.
            Kind::Greet => Say::Text(&stamp, config.payload.draw(self.random.f64())),
            Kind::Heartbeat => Say::Heartbeat,
        };
        let protocol = match kind {
            Kind::Greet => Protocol::V1,
            _ => config.protocol,
        };
        let session = people.clients[client as usize].session;
        let bytes = mail.push(people.ports.of(client), |out| {
            dialect::write(protocol, session, say, out);
        });
        note_sent(people.client(client), kind, sequence, now_ns);
        self.batch.push(Offer {
            kind,
            client,
            due_ns,
            bytes: bytes as u32,
            owed,
        });
    }
}

/// What a client knows of what it has just said.
fn note_sent(client: &mut Client, kind: Kind, sequence: u32, now_ns: u64) {
    match kind {
        Kind::Ask => {
            client.next_ask += 1;
            let is_given_up = now_ns.saturating_sub(client.sent_ns) > GIVEN_UP_NS;
            if client.closed_ask.is_none() || is_given_up {
                client.closed_ask = Some(sequence);
                client.sent_ns = now_ns;
            }
        }
        Kind::Text => client.last_text = Some(sequence),
        Kind::Greet | Kind::Heartbeat => {}
    }
}

/// Counts a datagram that was sent.
fn account(people: &mut People, offer: Offer, now_ns: u64) {
    if offer.due_ns == UNRECORDED_NS {
        return;
    }
    let now_ms = ((people.start_ns + now_ns) / 1_000_000) as u32;
    let client = &mut people.clients[offer.client as usize];
    client.last_sent_ms = now_ms;
    let recorder = &mut people.recorder;
    let is_recorded = recorder.second(offer.due_ns).is_some();
    if offer.kind == Kind::Greet {
        client.asked_for_greeting(offer.due_ns, now_ns, is_recorded);
    }
    let Some(second) = recorder.second(offer.due_ns) else {
        return;
    };
    second.due += 1;
    second.sent += 1;
    match offer.kind {
        Kind::Ask | Kind::Greet => second.asked += 1,
        Kind::Text => second.owed += u64::from(offer.owed),
        Kind::Heartbeat => {}
    }
    let counts = &mut recorder.counts;
    counts.due += 1;
    counts.sent += 1;
    counts.sent_bytes += u64::from(offer.bytes);
    match offer.kind {
        Kind::Ask | Kind::Greet => counts.asked += 1,
        Kind::Heartbeat => counts.heartbeats += 1,
        Kind::Text => {
            counts.texts += 1;
            counts.owed += u64::from(offer.owed);
        }
    }
    recorder
        .latencies()
        .send_lag
        .saturating_record(now_ns - offer.due_ns);
}

/// A client that waits for each answer asks again when none has come for so long.
const GIVEN_UP_NS: u64 = 1_000_000_000;

/// Of a datagram that was not sent.
const UNRECORDED_NS: u64 = u64::MAX;
