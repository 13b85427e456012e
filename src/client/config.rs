//! How a session behaves.

use std::str::FromStr;
use std::time::Duration;

use super::address::ServerAddress;
use super::liveness::Limits;
use crate::wire::{Name, RoomName};

/// How a [`Session`](super::Session) behaves.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Where the server is.
    pub server: ServerAddress,
    /// What to speak with it; [`ProtocolChoice::Auto`].
    pub protocol: ProtocolChoice,
    /// What to be called, if the server lets us; it is asked in every session. Once
    /// it has confirmed another name, that one takes this one's place.
    pub nick: Option<Name>,
    /// The room to be in, in the same way. What is said before the server has
    /// answered may be heard in the lobby.
    pub room: Option<RoomName>,
    /// How long the HELLOs of v2 may go unanswered, three of them, until the
    /// server counts as one that speaks v1 only, or as gone; 1 s. A server that
    /// speaks v2 answers at once.
    pub greet_within: Duration,
    /// Between heartbeats; 5 s, at least [`HEARTBEAT_MIN`]. The server drops a
    /// peer that it has not heard for 10 s. In v2 it says if that is less, and
    /// heartbeats are sent twice in that time.
    pub heartbeat: Duration,
    /// The server counts as gone when nothing at all comes for so long after a
    /// text was said, and in v2 also after a heartbeat; 3 s.
    pub answer_within: Duration,
    /// The wait before the first try while the server is down; it doubles up to
    /// [`SessionConfig::heartbeat`]. 500 ms.
    pub retry: Duration,
    /// After a refusal, a server that speaks v1 counts as back when a heartbeat
    /// was not refused for so long; 1 s.
    pub settle: Duration,
    /// How many events wait for the application; 1024, at least one. Texts
    /// beyond that are dropped and counted.
    pub events_max: usize,
}

/// Which protocol to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// Version 2, and version 1 with a server that does not answer in it. A server
    /// that cannot stand what is not UTF-8 must be spoken to in version 1.
    #[default]
    Auto,
    /// Version 1, text.
    V1,
    /// Version 2, frames. A server that does not know it counts as down.
    V2,
}

/// A protocol that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Version 1, text.
    V1,
    /// Version 2, frames.
    V2,
}

impl SessionConfig {
    /// The usual behaviour, at this server.
    pub fn new(server: ServerAddress) -> Self {
        Self {
            server,
            protocol: ProtocolChoice::Auto,
            nick: None,
            room: None,
            greet_within: GREET_WITHIN,
            heartbeat: HEARTBEAT,
            answer_within: ANSWER_WITHIN,
            retry: RETRY,
            settle: SETTLE,
            events_max: EVENTS_MAX,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            heartbeat: self.heartbeat.max(HEARTBEAT_MIN),
            answer: self.answer_within,
            retry: self.retry.max(HEARTBEAT_MIN),
            settle: self.settle,
            greet: self.greet_within.max(HEARTBEAT_MIN),
        }
    }
}

impl FromStr for ProtocolChoice {
    type Err = UnknownProtocol;

    fn from_str(written: &str) -> Result<Self, UnknownProtocol> {
        match written {
            "auto" => Ok(Self::Auto),
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownProtocol),
        }
    }
}

/// A string names no protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write auto, v1 or v2")]
pub struct UnknownProtocol;

/// Half of what the server waits for, so that one lost heartbeat does no harm.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// More often than this is a flood and keeps nothing more alive.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Far above any round trip and any queue in a server that still works.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A restart takes about this long, so the first try often meets the new
/// server.
pub const RETRY: Duration = Duration::from_millis(500);

/// A refusal comes within one round trip, which is below this anywhere on earth.
pub const SETTLE: Duration = Duration::from_secs(1);

/// A third of it is a round trip across the world; a user of a v1 server waits
/// this long before the first text goes out.
pub const GREET_WITHIN: Duration = Duration::from_secs(1);

/// At 1 KiB each, 1 MiB at worst; a person reads none of that any more.
const EVENTS_MAX: usize = 1024;
