//! The settings of a run. `summary.json` has them under the same names.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use crate::payload::Payload;
use crate::units;

/// One run against one server, or against several that form one chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The server, or the first of several.
    pub target: SocketAddr,
    /// The other servers, which form one chat with the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_targets: Vec<SocketAddr>,
    /// Set if all members of a room are at one target. Otherwise they are spread over all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_rooms: bool,
    /// The longest wait until each of several targets shows the members at the others. Zero does
    /// not wait.
    #[serde(skip, default = "members_wait")]
    pub members_wait: Duration,
    /// Clients, each with an address and port of its own.
    pub clients: u32,
    /// Datagrams per second that all clients together send.
    #[serde(flatten)]
    pub rate: Rate,
    /// The distribution of the times between datagrams.
    pub arrival: Arrival,
    /// The kind of load.
    pub scenario: Scenario,
    /// The shares of the kinds of datagrams.
    pub mix: Mix,
    /// Members per room, where the scenario has rooms.
    pub room_size: u32,
    /// The lengths of texts.
    pub payload: Payload,
    /// The version of the protocol that all clients speak.
    pub protocol: Protocol,
    /// Clients per second that leave, and as many that come back.
    pub churn_per_s: f64,
    /// The time during which load is sent and not recorded yet.
    #[serde(rename = "warmup_s", with = "units::seconds")]
    pub warmup: Duration,
    /// The length of the recording.
    #[serde(rename = "duration_s", with = "units::seconds")]
    pub duration: Duration,
    /// The longest wait for datagrams under way after the recording.
    #[serde(rename = "drain_s", with = "units::seconds")]
    pub drain: Duration,
    /// The seed of every random choice.
    pub seed: u64,
    /// The time without anything to send after which a client sends a heartbeat.
    #[serde(rename = "heartbeat_s", with = "units::seconds")]
    pub heartbeat: Duration,
    /// The sockets of the clients.
    pub sockets: Sockets,
    /// Set if sockets take several datagrams of one sender as one packet (`UDP_GRO`). This
    /// saves work in the kernel, also on the server's side. Stock clients do not ask for it.
    pub gro: bool,
    /// Threads that send and receive.
    pub threads: u16,
    /// The processors that the threads are pinned to, in turn. Empty leaves it to the system.
    pub cores: Vec<usize>,
    /// Set if an idle thread polls instead of sleeping.
    pub spin: bool,
    /// The server's process on this machine, whose CPU time is measured, too.
    #[serde(skip)]
    pub server_pid: Option<u32>,
}

impl RunConfig {
    /// Returns the run that a command line without options asks for, in one thread.
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            other_targets: Vec::new(),
            local_rooms: false,
            members_wait: members_wait(),
            clients: 100,
            rate: Rate::constant(DEFAULT_RATE_PER_S),
            arrival: Arrival::Uniform,
            scenario: Scenario::Mixed,
            // Presence and state, which ask, and some talk.
            mix: Mix {
                ping: 90.0,
                text: 10.0,
                heartbeat: 0.0,
            },
            // A match, or a small group.
            room_size: 10,
            // A sentence.
            payload: Payload::fixed(48),
            protocol: Protocol::V1,
            churn_per_s: 0.0,
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            seed: 1,
            // Two fit into the server's default timeout of 10 s, so that one may be lost.
            heartbeat: Duration::from_secs(4),
            sockets: Sockets::Shared,
            gro: true,
            threads: 1,
            cores: Vec::new(),
            spin: false,
            server_pid: None,
        }
    }
}

impl RunConfig {
    /// Returns all targets, in their order.
    pub fn targets(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.target).chain(self.other_targets.iter().copied())
    }

    /// Returns true if there are several targets, which may be nodes of a cluster.
    pub fn has_nodes(&self) -> bool {
        !self.other_targets.is_empty()
    }

    /// Returns all targets as text.
    pub fn targets_text(&self) -> String {
        let targets: Vec<_> = self.targets().map(|target| target.to_string()).collect();
        targets.join(", ")
    }
}

/// Datagrams per second: the first rate during the warm-up, and then in a straight line to the
/// second one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// At the start of the recording.
    #[serde(rename = "rate_from_per_s")]
    pub from: f64,
    /// At its end.
    #[serde(rename = "rate_to_per_s")]
    pub to: f64,
}

impl Rate {
    /// One rate all the time.
    pub const fn constant(per_s: f64) -> Self {
        Self {
            from: per_s,
            to: per_s,
        }
    }
}

/// The distribution of the times between datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// At equal distances
    Uniform,
    /// At random, as those of many independent senders
    Poisson,
}

/// The kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Pings, and texts to rooms, as --mix has them
    Mixed,
    /// Texts to rooms
    Chat,
    /// Pings, each of which the server answers
    Ping,
    /// Heartbeats, which the server does not answer
    Heartbeat,
    /// Datagrams to a server with `--service greet`
    Greet,
    /// One text at a time from one client to all, in the lobby
    Lobby,
}

/// Shares of the offered datagrams; only their ratio counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Pings.
    pub ping: f64,
    /// Texts.
    pub text: f64,
    /// Heartbeats.
    pub heartbeat: f64,
}

/// The version of the protocol that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Text, one message per datagram
    V1,
    /// Frames, many messages per datagram
    V2,
}

/// The sockets of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sockets {
    /// Few, each with many addresses of 127.0.0.0/8
    Shared,
    /// One for each client
    PerClient,
}

impl Scenario {
    /// Returns the mix of the scenario: `asked` for [`Self::Mixed`].
    pub fn mix(self, asked: Mix) -> Mix {
        let (ping, text, heartbeat) = match self {
            Self::Mixed => return asked,
            Self::Chat | Self::Lobby => (0.0, 1.0, 0.0),
            // The greeting service answers every datagram, as a chat answers pings.
            Self::Ping | Self::Greet => (1.0, 0.0, 0.0),
            Self::Heartbeat => (0.0, 0.0, 1.0),
        };
        Mix {
            ping,
            text,
            heartbeat,
        }
    }
}

/// Returns the word for a value on the command line and in a summary.
pub fn word(value: &impl ValueEnum) -> String {
    // Only a value that is skipped has no word, and none is.
    value
        .to_possible_value()
        .map_or_else(String::new, |word| word.get_name().to_owned())
}

fn members_wait() -> Duration {
    MEMBERS_WAIT
}

/// Twice the time in which a node repairs what it missed of the members of others.
const MEMBERS_WAIT: Duration = Duration::from_secs(10);

/// A rate that any server handles.
pub const DEFAULT_RATE_PER_S: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mix;

    #[test]
    fn a_scenario_says_what_is_offered() {
        let asked = mix(3.0, 2.0, 1.0);
        for (scenario, expected) in [
            (Scenario::Mixed, asked),
            (Scenario::Chat, mix(0.0, 1.0, 0.0)),
            (Scenario::Lobby, mix(0.0, 1.0, 0.0)),
            (Scenario::Ping, mix(1.0, 0.0, 0.0)),
            (Scenario::Greet, mix(1.0, 0.0, 0.0)),
            (Scenario::Heartbeat, mix(0.0, 0.0, 1.0)),
        ] {
            assert_eq!(scenario.mix(asked), expected, "{scenario:?}");
        }
    }
}
