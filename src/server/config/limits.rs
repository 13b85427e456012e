//! The limits of peers and networks that are not trusted.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::{ConfigError, ServerConfig, check};
use crate::server::ops::stats::LimitInForce;
use crate::server::rate::SharedRate;
use crate::server::registry::PeerRates;

/// The limits of peers and networks that are not trusted. Each is a maximum per second, or `off`.
///
/// Trusted peers (see [`ServerConfig::trust`](super::ServerConfig::trust)) have none of them.
#[derive(Debug, Clone, Args)]
#[command(
    next_help_heading = "Limits of peers that are not trusted, per second, 1 to 4,294,967,295, or off"
)]
pub struct LimitsConfig {
    /// Texts of a peer, also direct messages
    ///
    /// A peer may use the texts, bytes and work of 3 s at once, and a network what it has in 10 s.
    #[arg(long, env = "BULLHORN_TEXTS_PER_PEER", value_name = "COUNT", default_value = "20",
          value_parser = parse_per_second)]
    pub texts_per_peer: PerSecond,

    /// Bytes of a peer, with the headers of UDP and IP, 1KiB or more
    #[arg(long, env = "BULLHORN_BYTES_PER_PEER", value_name = "BYTES", default_value = "64KiB",
          value_parser = parse_bytes_per_second)]
    pub bytes_per_peer: PerSecond,

    /// Units of work that a peer makes the server do, such as 10 for a list
    #[arg(long, env = "BULLHORN_WORK_PER_PEER", value_name = "UNITS", default_value = "200",
          value_parser = parse_per_second)]
    pub work_per_peer: PerSecond,

    /// Requests to v1 peers of a network (/24, or /56 of IPv6) to prove their address
    #[arg(long, env = "BULLHORN_CHALLENGES_PER_NETWORK", value_name = "COUNT", default_value = "50",
          value_parser = parse_per_second)]
    pub challenges_per_network: PerSecond,

    /// Registrations of peers of a network
    #[arg(long, env = "BULLHORN_REGISTRATIONS_PER_NETWORK", value_name = "COUNT", default_value = "200",
          value_parser = parse_per_second)]
    pub registrations_per_network: PerSecond,

    /// Names that peers of a network take
    #[arg(long, env = "BULLHORN_NAMES_PER_NETWORK", value_name = "COUNT", default_value = "20",
          value_parser = parse_per_second)]
    pub names_per_network: PerSecond,

    /// Rooms that peers of a network create
    #[arg(long, env = "BULLHORN_ROOMS_PER_NETWORK", value_name = "COUNT", default_value = "20",
          value_parser = parse_per_second)]
    pub rooms_per_network: PerSecond,
}

/// A maximum per second. `None` is no maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerSecond(pub Option<NonZero<u32>>);

impl LimitsConfig {
    /// Returns a configuration in which every limit is off.
    pub fn off() -> Self {
        let off = PerSecond(None);
        Self {
            texts_per_peer: off,
            bytes_per_peer: off,
            work_per_peer: off,
            challenges_per_network: off,
            registrations_per_network: off,
            names_per_network: off,
            rooms_per_network: off,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bytes = self.bytes_per_peer.0;
        let bytes = bytes.map_or(*BYTES_PER_PEER.end(), |bytes| {
            ByteSize::b(bytes.get().into())
        });
        check("bytes-per-peer", bytes, &BYTES_PER_PEER)
    }

    /// The rates of a peer, each with a burst of [`PEER_BURST`].
    pub(in crate::server) fn peer_rates(&self) -> PeerRates {
        PeerRates {
            texts: SharedRate::new(self.texts_per_peer.0, PEER_BURST),
            bytes: SharedRate::new(self.bytes_per_peer.0, PEER_BURST),
            work: SharedRate::new(self.work_per_peer.0, PEER_BURST),
        }
    }
}

impl PerSecond {
    const fn of(count: u32) -> Self {
        Self(NonZero::new(count))
    }
}

impl Default for LimitsConfig {
    /// Returns the limits of a program without flags and environment variables.
    fn default() -> Self {
        Self {
            texts_per_peer: PerSecond::of(20),
            bytes_per_peer: PerSecond::of(64 << 10),
            work_per_peer: PerSecond::of(200),
            challenges_per_network: PerSecond::of(50),
            registrations_per_network: PerSecond::of(200),
            names_per_network: PerSecond::of(20),
            rooms_per_network: PerSecond::of(20),
        }
    }
}

impl ServerConfig {
    /// The limits that are in force, in the order of the flags.
    pub fn limits_in_force(&self) -> Vec<LimitInForce> {
        let limit = |(flag, max): (&'static str, u32)| LimitInForce {
            flag,
            max: Some(max.into()),
            is_rate: false,
        };
        let rate = |(flag, PerSecond(max)): (&'static str, PerSecond)| LimitInForce {
            flag,
            max: max.map(|max| max.get().into()),
            is_rate: true,
        };
        let limits = [
            ("max-peers", self.max_peers),
            ("max-rooms", self.max_rooms),
            ("max-room-members", self.max_room_members),
            ("max-names", self.max_names),
        ];
        let LimitsConfig {
            texts_per_peer,
            bytes_per_peer,
            work_per_peer,
            challenges_per_network,
            registrations_per_network,
            names_per_network,
            rooms_per_network,
        } = self.limits;
        let rates = [
            ("texts-per-peer", texts_per_peer),
            ("bytes-per-peer", bytes_per_peer),
            ("work-per-peer", work_per_peer),
            ("challenges-per-network", challenges_per_network),
            ("registrations-per-network", registrations_per_network),
            ("names-per-network", names_per_network),
            ("rooms-per-network", rooms_per_network),
        ];
        let limits = limits.into_iter().map(limit);
        limits.chain(rates.into_iter().map(rate)).collect()
    }
}

fn parse_per_second(text: &str) -> Result<PerSecond, &'static str> {
    per_second(text, |text| text.parse().ok())
        .ok_or("must be a whole number from 1 to 4,294,967,295, or off")
}

fn parse_bytes_per_second(text: &str) -> Result<PerSecond, &'static str> {
    let parse = |text: &str| u32::try_from(text.parse::<ByteSize>().ok()?.as_u64()).ok();
    per_second(text, parse)
        .ok_or("must be a number of bytes from 1KiB to 4GiB, such as 64KiB, or off")
}

fn per_second(text: &str, parse: impl Fn(&str) -> Option<u32>) -> Option<PerSecond> {
    match text {
        "off" => Some(PerSecond(None)),
        _ => NonZero::new(parse(text)?).map(|count| PerSecond(Some(count))),
    }
}

/// The time whose texts, bytes and units of work a peer may send at once. A person who pastes 60
/// lines is not limited.
const PEER_BURST: Duration = Duration::from_secs(3);

/// With less, the burst of a peer has no space for the longest datagrams of a client of version 2.
const BYTES_PER_PEER: RangeInclusive<ByteSize> = ByteSize::kib(1)..=ByteSize::gib(4);
