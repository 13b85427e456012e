//! The plan of a run: its load and the expected result.

use std::fmt;
use std::net::SocketAddr;

use bullhorn::wire::{HEARTBEAT, Reply, push_greeting, push_reply};

use crate::config::{Arrival, Protocol, Rate, RunConfig, Scenario, Sockets, word};
use crate::engine::partition;
use crate::engine::stamp::STAMP_BYTES;
use crate::units::{bytes, count, counted, number, rate, span};

/// The load of a run, and the result if nothing is lost. It prints in at most eight lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    config: RunConfig,
    /// Rooms, the lobby included. Clients join them in turn.
    pub rooms: u32,
    /// The load when the recording begins.
    pub first: Load,
    /// The load when the recording ends, which differs only for a ramp.
    pub last: Load,
    /// All datagrams that are due, with those of the warm-up.
    pub total: f64,
}

/// A load per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Datagrams that are due.
    pub offered: f64,
    /// Requests among them, which ask for an answer.
    pub asked: f64,
    /// Texts among them.
    pub texts: f64,
    /// Heartbeats among them.
    pub heartbeats: f64,
    /// Extra heartbeats of clients that send less often.
    pub keepalives: f64,
    /// Copies of texts that come back. The sender gets one, too.
    pub deliveries: f64,
    /// Bytes of UDP payload that go out, about.
    pub bytes_out: f64,
    /// Bytes of UDP payload that come in, about.
    pub bytes_in: f64,
}

impl Plan {
    /// Returns the plan of a run.
    pub fn of(config: &RunConfig) -> Self {
        let Rate { from, to } = config.rate;
        let warmup = from * config.warmup.as_secs_f64();
        let recorded = from.midpoint(to) * config.duration.as_secs_f64();
        Self {
            rooms: partition::rooms(config),
            first: Load::at(config, from),
            last: Load::at(config, to),
            total: warmup + recorded,
            config: config.clone(),
        }
    }

    /// Returns the most datagrams per second that the generator must send and receive. They are
    /// compared with its calibrated capacity. Deliveries in v2 share datagrams in a way that is
    /// not known in advance, so they do not count.
    pub fn handled_per_s(&self) -> f64 {
        let handled = |load: &Load| {
            let deliveries = match self.config.protocol {
                Protocol::V1 => load.deliveries,
                Protocol::V2 => 0.0,
            };
            load.offered + load.keepalives + load.asked + deliveries
        };
        handled(&self.first).max(handled(&self.last))
    }

    fn offers(&self) -> String {
        let load = &self.last;
        let kinds = [
            (load.asked, self.asked_name()),
            (load.texts, "texts"),
            (load.heartbeats, "heartbeats"),
        ];
        let parts: Vec<String> = kinds
            .iter()
            .filter(|(per_s, _)| *per_s > 0.0)
            .map(|(per_s, name)| match *per_s == load.offered {
                true => (*name).to_owned(),
                false => match number(*per_s).as_str() {
                    "1" => format!("1 {}", name.trim_end_matches('s')),
                    many => format!("{many} {name}"),
                },
            })
            .collect();
        let at_the_end = if self.is_ramp() { " at the end" } else { "" };
        let order = match self.config.arrival {
            Arrival::Uniform => "evenly",
            Arrival::Poisson => "at random times (Poisson)",
        };
        let offered = self.range(|load| load.offered, rate);
        let parts = parts.join(", ");
        let parts = match self.kinds() {
            0 | 1 => format!(" {parts}"),
            _ => format!(": {parts}{at_the_end}"),
        };
        format!("{offered}{parts}, {order}")
    }

    fn kinds(&self) -> usize {
        let load = &self.last;
        let kinds = [load.asked, load.texts, load.heartbeats];
        kinds.iter().filter(|per_s| **per_s > 0.0).count()
    }

    fn asked_name(&self) -> &'static str {
        match self.config.scenario {
            Scenario::Greet => "requests",
            _ => "pings",
        }
    }

    fn expects(&self) -> String {
        let mut parts = Vec::new();
        if self.last.texts > 0.0 {
            let deliveries = self.range(|load| load.deliveries, rate);
            let bundled = match self.config.protocol {
                Protocol::V1 => "",
                Protocol::V2 => " (bundled, so the capacity does not count them)",
            };
            parts.push(format!("{deliveries} deliveries{bundled}"));
        }
        if self.last.asked > 0.0 {
            parts.push(format!("{} answers", self.range(|load| load.asked, rate)));
        }
        match parts.is_empty() {
            true => "nothing, since the server does not answer heartbeats".to_owned(),
            false => parts.join(", "),
        }
    }

    fn clients(&self) -> String {
        let config = &self.config;
        let clients = counted(config.clients.into(), "client");
        let sockets = match config.sockets {
            Sockets::Shared => "on shared sockets",
            Sockets::PerClient => "on a socket each",
        };
        let rooms = match config.scenario {
            Scenario::Lobby => ", all in the lobby: one sends".to_owned(),
            _ if self.last.texts == 0.0 => String::new(),
            _ => {
                let size = config.room_size.min(config.clients);
                let up_to = if config.clients.is_multiple_of(size) {
                    ""
                } else {
                    "up to "
                };
                let rooms = counted(self.rooms.into(), "room");
                let placed = match (config.has_nodes(), config.local_rooms) {
                    (false, _) => "",
                    (true, true) => ", each at one target",
                    (true, false) => " over all targets",
                };
                format!(", {rooms} of {up_to}{}{placed}", count(size.into()))
            }
        };
        format!("{clients} {sockets}{rooms}")
    }

    fn beside(&self) -> Option<String> {
        let mut parts = Vec::new();
        let most = self.first.keepalives.max(self.last.keepalives);
        if most > 0.0 {
            parts.push(format!("{} heartbeats of idle clients", rate(most)));
        }
        if self.config.churn_per_s > 0.0 {
            let churn = rate(self.config.churn_per_s);
            parts.push(format!("{churn} clients leave and {churn} come"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn is_ramp(&self) -> bool {
        self.config.rate.from != self.config.rate.to
    }

    /// Prints a figure of both ends of a ramp, or once if they are equal.
    fn range(&self, figure: impl Fn(&Load) -> f64, print: impl Fn(f64) -> String) -> String {
        let (first, last) = (print(figure(&self.first)), print(figure(&self.last)));
        match first == last {
            true => last,
            false => format!("{first} to {last}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        let (protocol, scenario) = (word(&config.protocol), word(&config.scenario));
        let (targets, seed) = (config.targets_text(), config.seed);
        let threads = counted(config.threads.into(), "thread");
        writeln!(
            f,
            "{targets}  {scenario}, {protocol}, seed {seed}, {threads}"
        )?;
        writeln!(f, "  clients  {}", self.clients())?;
        writeln!(f, "  offers   {}", self.offers())?;
        if let Some(beside) = self.beside() {
            writeln!(f, "  also     {beside}")?;
        }
        writeln!(f, "  expects  {}", self.expects())?;
        let bytes_per_s = |value| format!("{}/s", bytes(value));
        let out = self.range(|load| load.bytes_out, bytes_per_s);
        let back = self.range(|load| load.bytes_in, bytes_per_s);
        writeln!(f, "  payload  about {out} out, {back} in")?;
        let (warmup, recorded) = (span(config.warmup), span(config.duration));
        let total = counted(self.total.round() as u64, "datagram");
        writeln!(
            f,
            "  time     {warmup} of warm-up, {recorded} recorded: {total} in all"
        )
    }
}

impl Load {
    fn at(config: &RunConfig, offered: f64) -> Self {
        let mix = config.mix;
        let weights = mix.ping + mix.text + mix.heartbeat;
        let asked = offered * mix.ping / weights;
        let texts = offered * mix.text / weights;
        let heartbeats = offered * mix.heartbeat / weights;
        let keepalives = keepalives_per_s(config, offered);
        let deliveries = texts * mean_listeners(config);
        let sizes = Sizes::of(config);
        Self {
            offered,
            asked,
            texts,
            heartbeats,
            keepalives,
            deliveries,
            bytes_out: asked * sizes.request
                + texts * sizes.text
                + (heartbeats + keepalives) * sizes.heartbeat,
            bytes_in: asked * sizes.answer + deliveries * sizes.delivery,
        }
    }
}

/// The bytes of UDP payload of each kind of datagram.
struct Sizes {
    request: f64,
    answer: f64,
    text: f64,
    delivery: f64,
    heartbeat: f64,
}

impl Sizes {
    fn of(config: &RunConfig) -> Self {
        let payload = config.payload.mean_bytes();
        if config.protocol == Protocol::V2 {
            // Of a bundle, its mark is all that frames share, and each is counted by itself.
            return Self {
                request: SESSION_BYTES + FRAME_BYTES + TOKEN_BYTES,
                answer: MARK_BYTES + FRAME_BYTES + TOKEN_BYTES,
                text: SESSION_BYTES + FRAME_BYTES + payload,
                delivery: FRAME_BYTES + MESSAGE_BYTES + payload,
                heartbeat: SESSION_BYTES + FRAME_BYTES,
            };
        }
        // Clients have addresses about as long as the server's, and ports of five digits.
        let client = SocketAddr::new(config.target.ip(), u16::MAX);
        let heartbeat = HEARTBEAT.len() as f64;
        let (request, answer) = if config.scenario == Scenario::Greet {
            let mut greeting = Vec::new();
            push_greeting(client, &mut greeting);
            (payload, greeting.len() as f64)
        } else {
            let mut pong = Vec::new();
            push_reply(&Reply::Pong(b""), &mut pong);
            (
                "/ping ".len() as f64 + TOKEN_BYTES,
                pong.len() as f64 + TOKEN_BYTES,
            )
        };
        Self {
            request,
            answer,
            text: payload,
            delivery: format!("{client} ").len() as f64 + payload,
            heartbeat,
        }
    }
}

/// Returns the mean number of receivers of a text. Each room has as many senders as receivers.
fn mean_listeners(config: &RunConfig) -> f64 {
    let clients = f64::from(config.clients);
    if config.scenario == Scenario::Lobby {
        return clients;
    }
    let size = config.room_size.min(config.clients);
    let square = |members: u32| f64::from(members) * f64::from(members);
    let full = f64::from(config.clients / size) * square(size);
    (full + square(config.clients % size)) / clients
}

/// Returns the extra heartbeats per second. A client that sends every `turn` seconds sends one at
/// each full `heartbeat` in between.
fn keepalives_per_s(config: &RunConfig, offered: f64) -> f64 {
    let clients = f64::from(config.clients);
    let heartbeat_s = config.heartbeat.as_secs_f64();
    match config.scenario {
        // The greeting service keeps no peers.
        Scenario::Greet => 0.0,
        Scenario::Lobby => {
            let speaker = keepalives_each(1.0 / offered, heartbeat_s);
            (clients - 1.0) / heartbeat_s + speaker
        }
        _ => clients * keepalives_each(clients / offered, heartbeat_s),
    }
}

fn keepalives_each(turn_s: f64, heartbeat_s: f64) -> f64 {
    (turn_s / heartbeat_s).floor() / turn_s
}

/// Requests and answers carry a stamp alone.
const TOKEN_BYTES: f64 = STAMP_BYTES as f64;

/// The mark of each datagram of v2.
const MARK_BYTES: f64 = 2.0;

/// The mark and the session, which the datagrams of clients have.
const SESSION_BYTES: f64 = 10.0;

/// Kind and length of a frame.
const FRAME_BYTES: f64 = 3.0;

/// Room, sequence number, and an IPv4 address as the sender.
const MESSAGE_BYTES: f64 = 16.0;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
