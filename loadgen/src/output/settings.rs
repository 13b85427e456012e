//! What a run was told, as it stands in its summary: with units in names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Mix, Rate, RunConfig, word};

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
    /// For how long, at most, what was under way at the end was awaited, in seconds.
    pub drain_s: f64,
    /// Of every choice that was made at random.
    pub seed: u64,
    /// A client that had nothing to send for this long sent a heartbeat, in seconds.
    pub heartbeat_s: f64,
    /// `shared` or `per-client`.
    pub sockets: String,
    /// Whether several datagrams came as one packet.
    pub gro: bool,
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
            arrival: word(&config.arrival),
            scenario: word(&config.scenario),
            mix: shares(config.mix),
            room_size: config.room_size,
            payload: lengths(config),
            protocol: word(&config.protocol),
            churn_per_s: config.churn_per_s,
            warmup_s: seconds(config.warmup),
            duration_s: seconds(config.duration),
            drain_s: seconds(config.drain),
            seed: config.seed,
            heartbeat_s: seconds(config.heartbeat),
            sockets: word(&config.sockets),
            gro: config.gro,
            threads: config.threads,
            cores: config.cores.clone(),
            spin: config.spin,
        }
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
