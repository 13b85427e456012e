//! Configuration of a session.

use std::str::FromStr;
use std::time::Duration;

use super::address::ServerAddress;
use crate::wire::{Name, RoomName};

/// The configuration of a [`Session`](super::Session).
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The address of the server.
    pub server: ServerAddress,
    /// Servers to go to in turn, with the same rooms, when the one in use is gone: it refuses what is
    /// sent to it, is silent for too long, or says goodbye. Then the first is tried again. A server of
    /// version 2 may name others, which are tried as well. One that is gone is noticed sooner if
    /// there is another one: a session that sends nothing for a second sends a heartbeat.
    /// Default: none.
    pub other_servers: Vec<ServerAddress>,
    /// The version of the protocol. Default: [`ProtocolChoice::Auto`].
    pub protocol: ProtocolChoice,
    /// The name to take. It is requested in every session, until the server has confirmed
    /// another one, which takes its place. A refusal comes as an [`Event::Notice`], and the
    /// session goes on without a name. Use [`Session::nick`] to wait for the result.
    /// Default: none.
    ///
    /// [`Event::Notice`]: super::Event::Notice
    /// [`Session::nick`]: super::Session::nick
    pub nick: Option<Name>,
    /// The room to join, in the same way. Default: the lobby.
    pub room: Option<RoomName>,
    /// Time within which the server must answer one of three HELLOs. If it does not, it
    /// counts as a server of version 1, or as down. Default: 1 s.
    pub greeting_timeout: Duration,
    /// Time between heartbeats, at least 10 ms. The server drops a peer that was silent for
    /// 10 s. A server of version 2 says if that time is shorter, and heartbeats are sent
    /// twice in it. Default: 5 s.
    pub heartbeat_interval: Duration,
    /// Time after which the server counts as down if nothing at all has come: in version 2
    /// after a text or a heartbeat, in version 1 after a text. A request without a reply
    /// fails after this time. Default: 3 s.
    pub answer_timeout: Duration,
    /// Time before the first attempt to reach a server that is down, at least 10 ms. It
    /// doubles with each attempt up to [`SessionConfig::heartbeat_interval`]. Each wait is up
    /// to a quarter shorter or longer, at random, so that the clients of a server that stops
    /// do not come back all at once. Default: 500 ms.
    pub retry_delay: Duration,
    /// Time after which a server of version 1 that refused a datagram counts as up if it has
    /// not refused a heartbeat. Default: 1 s.
    pub settle_time: Duration,
    /// True if the server sends texts to their sender, too. Only a foreign server of version
    /// 1 may not. Then texts count as delivered when the network has not refused them for
    /// [`SessionConfig::settle_time`]. Default: true.
    pub expects_echo: bool,
    /// True if the session receives its own messages. Without them, a text counts as delivered
    /// when the network has not refused it for [`SessionConfig::settle_time`]. Default: true.
    pub echo: bool,
    /// True if the session receives the messages of its rooms. Set it to false in a session that
    /// only sends. It still receives replies and direct messages, and not its own messages.
    /// A server of version 1 sends them all the same, and the session drops them. Default: true.
    pub receive: bool,
    /// True if the session says a text again that the server seems to have dropped because of its
    /// limit of texts: one that was said before the server told the limit, and whose echo has not
    /// come a third of [`SessionConfig::answer_timeout`] later. The order of the texts stays. A text
    /// that arrived, and whose echo was lost, is delivered twice. Without it, such texts come as
    /// [`Event::Undelivered`](super::Event::Undelivered). Default: false.
    pub repeat_limited: bool,
    /// Maximum number of events that wait for the application, at least 1. One that holds more
    /// than 1 KiB counts as one more for each. Messages beyond it are dropped and counted.
    /// Default: 1024.
    pub max_events: usize,
}

/// The version of the protocol to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// Version 2, or version 1 if the server does not answer in version 2. A server that
    /// fails at datagrams that are not UTF-8 needs [`ProtocolChoice::V1`].
    #[default]
    Auto,
    /// Version 1: text.
    V1,
    /// Version 2: frames. A server that does not know it counts as down.
    V2,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// Version 1: text.
    V1,
    /// Version 2: frames.
    V2,
}

impl SessionConfig {
    /// Returns the default configuration for this server.
    pub fn new(server: ServerAddress) -> Self {
        Self {
            server,
            other_servers: Vec::new(),
            protocol: ProtocolChoice::Auto,
            nick: None,
            room: None,
            greeting_timeout: GREETING_TIMEOUT,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            answer_timeout: ANSWER_TIMEOUT,
            retry_delay: RETRY_DELAY,
            settle_time: SETTLE_TIME,
            expects_echo: true,
            echo: true,
            receive: true,
            repeat_limited: false,
            max_events: MAX_EVENTS,
        }
    }

    /// Returns the configuration within its bounds.
    pub(super) fn clamped(&self) -> Self {
        let clamped = |time: Duration| time.clamp(MIN_HEARTBEAT, FOREVER);
        Self {
            greeting_timeout: clamped(self.greeting_timeout),
            heartbeat_interval: clamped(self.heartbeat_interval),
            answer_timeout: clamped(self.answer_timeout),
            retry_delay: clamped(self.retry_delay),
            settle_time: self.settle_time.min(FOREVER),
            ..self.clone()
        }
    }
}

impl FromStr for ProtocolChoice {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text {
            "auto" => Ok(Self::Auto),
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownProtocol),
        }
    }
}

/// Error of parsing a [`ProtocolChoice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be auto, v1 or v2")]
pub struct UnknownProtocol;

/// Default of [`SessionConfig::heartbeat_interval`].
/// Half of the time after which the server drops a silent peer, so that one lost heartbeat
/// does no harm.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Minimum of [`SessionConfig::heartbeat_interval`]. Shorter ones only flood the server.
pub const MIN_HEARTBEAT: Duration = Duration::from_millis(10);

/// Default of [`SessionConfig::answer_timeout`].
/// Far above any round trip, and any queue in a server that works.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Default of [`SessionConfig::retry_delay`].
/// A server restarts in about this time, so the first attempt often reaches the new one.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Default of [`SessionConfig::settle_time`].
/// A refusal comes within one round trip, which is shorter anywhere on earth.
pub const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Default of [`SessionConfig::greeting_timeout`].
/// Each HELLO has a third of it, which is a round trip across the world. A user of a server
/// of version 1 waits for this long before the first text is sent.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// A time that no program sees the end of, and that can be added to any time.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// At 1 KiB per event they take 1 MiB.
const MAX_EVENTS: usize = 1024;
