//! What the server can be told: meaning, units, bounds and defaults.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum, value_parser};

use crate::net::MAX_ENDPOINTS;

/// The server's configuration; each field is a flag of the program `server`
/// and an environment variable, and says there what it means.
#[derive(Debug, Clone, Args)]
pub struct ServerConfig {
    /// Worker threads, 1 to 256, each with a socket of its own on every address
    ///
    /// More workers than cores share the cores in turn. [default: one a core]
    #[arg(long, env = "BULLHORN_WORKERS", value_name = "COUNT", default_value_t = default_workers(),
          value_parser = value_parser!(u16).range(bounds(WORKERS)), hide_default_value = true)]
    pub workers: u16,

    /// Address to listen on, IP:PORT; may be given up to 16 times, for IPv4 and IPv6
    ///
    /// Port 0 takes a free one. In the environment variable, separate several with commas.
    #[arg(long, env = "BULLHORN_BIND", value_name = "IP:PORT", default_value = DEFAULT_BIND,
          value_delimiter = ',', value_parser = parse_bind)]
    pub bind: Vec<SocketAddr>,

    /// What to do with datagrams
    #[arg(long, env = "BULLHORN_SERVICE", value_enum, default_value_t = ServiceKind::Chat)]
    pub service: ServiceKind,

    /// With `--service greet`: exit after the first answer
    #[arg(long, env = "BULLHORN_ONCE", value_parser = BoolishValueParser::new())]
    pub once: bool,

    /// Drop a peer that is silent for longer than this, 100ms to 24h
    #[arg(long, env = "BULLHORN_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = parse_timeout)]
    pub timeout: Duration,

    /// How often to look for silent peers, 10ms to 60s
    #[arg(long, env = "BULLHORN_REAP_INTERVAL", value_name = "DURATION", default_value = "1s",
          value_parser = parse_reap_interval)]
    pub reap_interval: Duration,

    /// Peers at most, 1 to 10,000,000; each takes up to 300 bytes of memory
    #[arg(long, env = "BULLHORN_MAX_PEERS", value_name = "COUNT", default_value_t = DEFAULT_MAX_PEERS,
          value_parser = value_parser!(u32).range(bounds(PEERS)))]
    pub max_peers: u32,

    /// Whether what begins with `/` and a known verb is a command, or a text as any other
    #[arg(long, env = "BULLHORN_COMMANDS", value_enum, default_value_t = Switch::On)]
    pub commands: Switch,

    /// Rooms beside the lobby at most, 1 to 1,000,000; each takes up to 400 bytes of memory
    #[arg(long, env = "BULLHORN_MAX_ROOMS", value_name = "COUNT", default_value_t = DEFAULT_MAX_ROOMS,
          value_parser = value_parser!(u32).range(bounds(ROOMS)))]
    pub max_rooms: u32,

    /// Members of a room at most, 1 to 10,000,000; the lobby takes everyone
    #[arg(long, env = "BULLHORN_MAX_ROOM_MEMBERS", value_name = "COUNT", default_value_t = DEFAULT_MAX_ROOM_MEMBERS,
          value_parser = value_parser!(u32).range(bounds(PEERS)))]
    pub max_room_members: u32,

    /// Names taken at once at most, 1 to 10,000,000; each takes up to 200 bytes of memory
    #[arg(long, env = "BULLHORN_MAX_NAMES", value_name = "COUNT", default_value_t = DEFAULT_MAX_NAMES,
          value_parser = value_parser!(u32).range(bounds(PEERS)))]
    pub max_names: u32,

    /// Let the system place the workers, instead of one on each core
    #[arg(long, env = "BULLHORN_NO_PIN", value_parser = BoolishValueParser::new())]
    pub no_pin: bool,

    /// How long a worker looks for datagrams before it sleeps, in µs, 0 to 1,000,000
    ///
    /// Saves the time to wake up, and costs a whole core for each worker.
    #[arg(long = "spin", env = "BULLHORN_SPIN", value_name = "MICROSECONDS", default_value_t = 0,
          value_parser = value_parser!(u32).range(bounds(SPIN_US)))]
    pub spin_us: u32,

    /// Buffer of each socket for datagrams that wait to be received, 4KiB to 1GiB
    #[arg(long, env = "BULLHORN_RECEIVE_BUFFER", value_name = "BYTES", default_value = "4MiB",
          value_parser = parse_buffer)]
    pub receive_buffer: ByteSize,

    /// Buffer of each socket for datagrams that wait to be sent, 4KiB to 1GiB
    #[arg(long, env = "BULLHORN_SEND_BUFFER", value_name = "BYTES", default_value = "4MiB",
          value_parser = parse_buffer)]
    pub send_buffer: ByteSize,
}

/// What the server does with datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceKind {
    /// Every text goes to all peers in its sender's room
    Chat,
    /// Every datagram is answered with a greeting
    Greet,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// What is wrong with a configuration, and what is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A number, size or duration beyond its bounds.
    #[error("--{flag} must lie between {min} and {max}")]
    OutOfBounds {
        /// The flag without its dashes.
        flag: &'static str,
        /// The least that is allowed.
        min: String,
        /// The most that is allowed.
        max: String,
    },
    /// No address to listen on, or too many.
    #[error("--bind takes 1 to {MAX_ENDPOINTS} addresses, not {0}")]
    Binds(usize),
    /// An address that is given twice.
    #[error("--bind has {0} twice")]
    SameBind(SocketAddr),
    /// One answer of a chat server makes no sense.
    #[error("--once goes with --service greet")]
    OnceWithoutGreet,
}

impl ServerConfig {
    /// Checks every bound, and what goes together with what. The program's
    /// flags have been checked one by one; fields set from code have not.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        check("workers", self.workers, &WORKERS)?;
        check("max-peers", self.max_peers, &PEERS)?;
        check("max-rooms", self.max_rooms, &ROOMS)?;
        check("max-room-members", self.max_room_members, &PEERS)?;
        check("max-names", self.max_names, &PEERS)?;
        check("spin", self.spin_us, &SPIN_US)?;
        check("receive-buffer", self.receive_buffer, &BUFFER)?;
        check("send-buffer", self.send_buffer, &BUFFER)?;
        let readable = |duration| humantime::format_duration(duration);
        for (flag, duration, bounds) in [
            ("timeout", self.timeout, TIMEOUT),
            ("reap-interval", self.reap_interval, REAP_INTERVAL),
        ] {
            if !bounds.contains(&duration) {
                let (min, max) = (readable(*bounds.start()), readable(*bounds.end()));
                return Err(out_of_bounds(flag, min, max));
            }
        }
        if self.bind.is_empty() || self.bind.len() > MAX_ENDPOINTS {
            return Err(ConfigError::Binds(self.bind.len()));
        }
        for (index, address) in self.bind.iter().enumerate() {
            // Port 0 is another one each time.
            if address.port() != 0 && self.bind[..index].contains(address) {
                return Err(ConfigError::SameBind(*address));
            }
        }
        if self.once && self.service != ServiceKind::Greet {
            return Err(ConfigError::OnceWithoutGreet);
        }
        Ok(())
    }
}

impl Default for ServerConfig {
    /// What the program does without flags and environment variables.
    fn default() -> Self {
        Self {
            workers: default_workers(),
            bind: vec![DEFAULT_BIND.parse().expect("an address")],
            service: ServiceKind::Chat,
            once: false,
            timeout: Duration::from_secs(10),
            reap_interval: Duration::from_secs(1),
            max_peers: DEFAULT_MAX_PEERS,
            commands: Switch::On,
            max_rooms: DEFAULT_MAX_ROOMS,
            max_room_members: DEFAULT_MAX_ROOM_MEMBERS,
            max_names: DEFAULT_MAX_NAMES,
            no_pin: false,
            spin_us: 0,
            receive_buffer: DEFAULT_BUFFER,
            send_buffer: DEFAULT_BUFFER,
        }
    }
}

/// Parses a duration such as `10s` or `250ms` that lies within `bounds`.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse_duration(text: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let format = humantime::format_duration;
    match humantime::parse_duration(text) {
        Ok(duration) if bounds.contains(&duration) => Ok(duration),
        Ok(_) => Err(format!(
            "must lie between {} and {}",
            format(*bounds.start()),
            format(*bounds.end())
        )),
        Err(_) => Err("must be a number with a unit, such as 10s or 250ms".into()),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text, &TIMEOUT)
}

fn parse_reap_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, &REAP_INTERVAL)
}

fn parse_bind(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address and a port, such as 127.0.0.1:9999 or [::1]:9999".into()
    })
}

fn parse_buffer(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if BUFFER.contains(&size) => Ok(size),
        Ok(_) => Err(format!(
            "must lie between {} and {}",
            BUFFER.start(),
            BUFFER.end()
        )),
        Err(_) => Err("must be a number of bytes, such as 262144 or 4MiB".into()),
    }
}

fn check<T: PartialOrd + Display>(
    flag: &'static str,
    value: T,
    bounds: &RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if bounds.contains(&value) {
        return Ok(());
    }
    Err(out_of_bounds(flag, bounds.start(), bounds.end()))
}

fn out_of_bounds(flag: &'static str, min: impl Display, max: impl Display) -> ConfigError {
    ConfigError::OutOfBounds {
        flag,
        min: min.to_string(),
        max: max.to_string(),
    }
}

/// The same bounds in the type that clap takes.
fn bounds<T: Into<i64> + Copy>(range: RangeInclusive<T>) -> RangeInclusive<i64> {
    (*range.start()).into()..=(*range.end()).into()
}

/// One worker for each core that this process may use.
fn default_workers() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores).map_or(*WORKERS.end(), |cores| cores.min(*WORKERS.end()))
}

/// The tutorial's address: reachable from this machine alone, until asked for.
const DEFAULT_BIND: &str = "127.0.0.1:9999";

/// Up to a number that fits into a byte, beyond the cores of any machine that
/// this was written for.
const WORKERS: RangeInclusive<u16> = 1..=256;

/// Up to 3 GB of memory.
const PEERS: RangeInclusive<u32> = 1..=10_000_000;
/// 300 MB of memory: a flood of made-up senders must not take it all.
const DEFAULT_MAX_PEERS: u32 = 1_000_000;

/// Up to 400 MB of memory.
const ROOMS: RangeInclusive<u32> = 1..=1_000_000;
/// 40 MB of memory.
const DEFAULT_MAX_ROOMS: u32 = 100_000;

/// What 0.1 s of a core delivers one text to.
const DEFAULT_MAX_ROOM_MEMBERS: u32 = 100_000;

/// 20 MB of memory.
const DEFAULT_MAX_NAMES: u32 = 100_000;

/// Up to a second: longer is not waiting for the next datagram any more.
const SPIN_US: RangeInclusive<u32> = 0..=1_000_000;

/// From what a peer on the same machine can keep up with, to a day.
const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// From what the reaper's look at a full table takes, to a minute.
const REAP_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// From what holds a datagram, to what the kernel, which doubles it, can keep
/// in an int.
const BUFFER: RangeInclusive<ByteSize> = ByteSize::kib(4)..=ByteSize::gib(1);
/// Holds about 10,000 small datagrams, which is what a worker receives in 20 ms
/// at its fastest: the kernel counts 768 bytes for each, and doubles the buffer.
const DEFAULT_BUFFER: ByteSize = ByteSize::mib(4);

#[cfg(test)]
mod tests;
