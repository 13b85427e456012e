//! What a run was told, as it stands in its summary: with units in names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Arrival, Mix, Protocol, Rate, RunConfig, Scenario, Sockets};

/// A [`RunConfig`], field by field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The server's address and port.
    pub target: String,
    /// Clients.
    pub clients: u32,
    /// Datagrams offered a second, at the beginning of what is recorded.
    pub rate_from_per_s: f64,
    /// The same at its end.
    pub rate_to_per_s: f64,
    /// `uniform` or `poisson`.
    pub arrival: String,
    /// `mixed`, `chat`, `ping`, `heartbeat`, `greet` or `lobby`.
    pub scenario: String,
    /// The weights of pings, texts and heartbeats.
    pub mix: Shares,
    /// Members of a room.
    pub room_size: u32,
    /// How long texts are: ranges, and how often each is chosen.
    pub payload: Vec<Lengths>,
    /// `v1` or `v2`.
    pub protocol: String,
    /// Clients that leave, and that come back, a second.
    pub churn_per_s: f64,
    /// Load that was offered before anything was recorded, in seconds.
    pub warmup_s: f64,
    /// For how long the recording was to go on, in seconds.
    pub duration_s: f64,
    /// Of every choice that was made at random.
    pub seed: u64,
    /// A client that had nothing to send for this long sent a heartbeat, in seconds.
    pub heartbeat_s: f64,
    /// `shared` or `per-client`.
    pub sockets: String,
    /// Threads that sent and received.
    pub threads: u16,
    /// The processors that they were pinned to.
    pub cores: Vec<usize>,
    /// Whether an idle thread looked on rather than slept.
    pub spin: bool,
}

/// A [`Mix`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Of pings.
    pub ping: f64,
    /// Of texts.
    pub text: f64,
    /// Of heartbeats.
    pub heartbeat: f64,
}

/// A [`crate::payload::Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// How often it is chosen, beside the others.
    pub weight: f64,
    /// The shortest, in bytes.
    pub min_bytes: u16,
    /// The longest, in bytes.
    pub max_bytes: u16,
}

impl From<&RunConfig> for Settings {
    fn from(config: &RunConfig) -> Self {
        let (rate_from_per_s, rate_to_per_s) = match config.rate {
            Rate::Constant(per_s) => (per_s, per_s),
            Rate::Ramp { from, to } => (from, to),
        };
        let seconds = |duration: Duration| duration.as_secs_f64();
        Self {
            target: config.target.to_string(),
            clients: config.clients,
            rate_from_per_s,
            rate_to_per_s,
            arrival: arrival(config.arrival).to_owned(),
            scenario: scenario(config.scenario).to_owned(),
            mix: shares(config.mix),
            room_size: config.room_size,
            payload: lengths(config),
            protocol: protocol(config.protocol).to_owned(),
            churn_per_s: config.churn_per_s,
            warmup_s: seconds(config.warmup),
            duration_s: seconds(config.duration),
            seed: config.seed,
            heartbeat_s: seconds(config.heartbeat),
            sockets: sockets(config.sockets).to_owned(),
            threads: config.threads,
            cores: config.cores.clone(),
            spin: config.spin,
        }
    }
}

fn arrival(arrival: Arrival) -> &'static str {
    match arrival {
        Arrival::Uniform => "uniform",
        Arrival::Poisson => "poisson",
    }
}

fn scenario(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Mixed => "mixed",
        Scenario::Chat => "chat",
        Scenario::Ping => "ping",
        Scenario::Heartbeat => "heartbeat",
        Scenario::Greet => "greet",
        Scenario::Lobby => "lobby",
    }
}

fn shares(mix: Mix) -> Shares {
    Shares {
        ping: mix.ping,
        text: mix.text,
        heartbeat: mix.heartbeat,
    }
}

fn lengths(config: &RunConfig) -> Vec<Lengths> {
    let choices = config.payload.choices().iter();
    let lengths = choices.map(|choice| Lengths {
        weight: choice.weight,
        min_bytes: choice.min_bytes,
        max_bytes: choice.max_bytes,
    });
    lengths.collect()
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V1 => "v1",
        Protocol::V2 => "v2",
    }
}

fn sockets(sockets: Sockets) -> &'static str {
    match sockets {
        Sockets::Shared => "shared",
        Sockets::PerClient => "per-client",
    }
}
