//! What a run is told: from how many clients, what, how fast, for how long.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;

pub use crate::payload::Payload;

/// One run against one server.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// The server.
    pub target: SocketAddr,
    /// Clients, each with an address and port of its own.
    pub clients: u32,
    /// Datagrams that all of them together offer.
    pub rate: Rate,
    /// How the datagrams follow each other.
    pub arrival: Arrival,
    /// Who says what to whom.
    pub scenario: Scenario,
    /// Of the offered datagrams, how many are of which kind.
    pub mix: Mix,
    /// Members of a room, where the scenario has rooms.
    pub room_size: u32,
    /// How long a text is.
    pub payload: Payload,
    /// The version of the protocol that all clients speak.
    pub protocol: Protocol,
    /// Clients that leave, and clients that come back, a second.
    pub churn_per_s: f64,
    /// The load is offered for this long before anything is recorded.
    pub warmup: Duration,
    /// And then for this long.
    pub duration: Duration,
    /// What is under way then is awaited for no longer than this.
    pub drain: Duration,
    /// Of every choice that is made at random.
    pub seed: u64,
    /// A client that has had nothing to send for this long sends a heartbeat.
    pub heartbeat: Duration,
    /// Which sockets the clients have.
    pub sockets: Sockets,
    /// Whether these take several datagrams of one sender as one packet (`UDP_GRO`), which
    /// saves the kernel cutting it, on the server's side; stock clients do not.
    pub gro: bool,
    /// Threads that send and receive.
    pub threads: u16,
    /// The processors that these are pinned to, in turn; empty: the system's choice.
    pub cores: Vec<usize>,
    /// Whether a thread that has nothing to do looks on, rather than sleeps.
    pub spin: bool,
    /// The server's process, on this machine, whose CPU time is measured, too.
    pub server_pid: Option<u32>,
}

/// Datagrams a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// The same all the time.
    Constant(f64),
    /// The warm-up at the first rate, and from there on up, or down, in a straight
    /// line, to the second one at the end of the run.
    Ramp {
        /// At the beginning of what is recorded.
        from: f64,
        /// At its end.
        to: f64,
    },
}

/// How datagrams follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrival {
    /// At equal distances
    Uniform,
    /// As those of many who know nothing of each other
    Poisson,
}

/// Who says what to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Pings, and texts to rooms, as --mix has them
    Mixed,
    /// Texts to rooms
    Chat,
    /// Pings, which the server answers one for one
    Ping,
    /// Heartbeats, which nobody answers
    Heartbeat,
    /// Datagrams to a server with `--service greet`
    Greet,
    /// All are in the lobby, and one of them speaks
    Lobby,
}

/// Shares of the offered datagrams; only their ratio counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Pings.
    pub ping: f64,
    /// Texts.
    pub text: f64,
    /// Heartbeats.
    pub heartbeat: f64,
}

/// The version of the protocol that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Text, a message a datagram
    V1,
    /// Frames, many messages a datagram
    V2,
}

/// Which sockets the clients have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sockets {
    /// Few, each with many addresses of 127.0.0.0/8
    Shared,
    /// One for each client
    PerClient,
}

impl Scenario {
    /// What it offers: `asked` only if that is [`Self::Mixed`].
    pub fn mix(self, asked: Mix) -> Mix {
        let (ping, text, heartbeat) = match self {
            Self::Mixed => return asked,
            Self::Chat | Self::Lobby => (0.0, 1.0, 0.0),
            // What is said to the greeting service is answered, as a ping is.
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

/// The word by which the command line calls a value, and a summary.
pub fn word(value: &impl ValueEnum) -> String {
    // Only a value that is skipped has no word, and none is.
    value
        .to_possible_value()
        .map_or_else(String::new, |word| word.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(ping: f64, text: f64, heartbeat: f64) -> Mix {
        Mix {
            ping,
            text,
            heartbeat,
        }
    }

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
