//! The server's configuration: meaning, units, bounds and defaults.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::{Not, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::server::ingress::admission;

#[cfg(feature = "admin")]
pub use admin::AdminConfig;
#[doc(hidden)]
pub use bind::check_bind;
use bind::parse_bind;
#[cfg(feature = "cluster")]
pub use cluster::ClusterConfig;
pub use cores::CoreList;
pub use error::ConfigError;
pub use given::{Given, InheritedConflict};
pub use limits::{LimitsConfig, PerSecond};

#[cfg(feature = "admin")]
mod admin;
mod bind;
#[cfg(feature = "cluster")]
mod cluster;
mod cores;
mod error;
mod features;
mod given;
mod headings;
mod limits;
mod summary;

/// The server's configuration. Each field is a flag of the program `server`, and an
/// environment variable. Its documentation is the help text of the flag. The bounds are
/// checked by [`ServerConfig::check`].
#[derive(Debug, Clone, Args)]
pub struct ServerConfig {
    /// Address to listen on, IPv4 or IPv6. May be given up to 16 times
    ///
    /// 0.0.0.0 and :: take all addresses of the machine. A link-local address needs its
    /// interface, such as [fe80::1%eth0]:9999. Port 0 selects a free port. In the environment
    /// variable, commas separate addresses.
    #[arg(long, env = "BULLHORN_BIND", value_name = "IP:PORT", default_value = DEFAULT_BIND,
          value_delimiter = ',', value_parser = parse_bind, help_heading = headings::NETWORK)]
    pub bind: Vec<SocketAddr>,

    /// Number of worker threads, 1 to 256. Each has a socket on every address
    ///
    /// With more workers than cores, several workers share a core. [default: one per core]
    #[arg(long, env = "BULLHORN_WORKERS", value_name = "COUNT", default_value_t = default_workers(),
          value_parser = parse_count::<u16>, hide_default_value = true, help_heading = headings::PERFORMANCE)]
    pub workers: u16,

    /// Maximum silence of a peer before it is removed, 100ms to 24h
    #[arg(long, env = "BULLHORN_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = parse_duration, help_heading = headings::PEERS)]
    pub timeout: Duration,

    /// Time between two searches for silent peers, 10ms to 60s
    #[arg(long, env = "BULLHORN_REAP_INTERVAL", value_name = "DURATION", default_value = "1s",
          value_parser = parse_duration, help_heading = headings::PEERS)]
    pub reap_interval: Duration,

    /// Maximum time for which a worker may be stuck before the server ends, 1s to 24h, or off (0)
    ///
    /// The server then ends with exit code 1, so that it can be started again. A pause of the
    /// whole process does not count.
    #[arg(long, env = "BULLHORN_WATCHDOG", value_name = "DURATION", default_value = "30s",
          value_parser = parse_watchdog, help_heading = headings::OPERATION)]
    pub watchdog: Duration,

    /// Time to send the texts that wait in a worker, 1ms to 10s. Further texts are dropped
    ///
    /// Rooms, senders and networks share it fairly. A sender that has no text waiting may have one more.
    /// A worker keeps about 8 MiB of texts at most, in up to 32 MiB of memory.
    #[arg(long, env = "BULLHORN_BACKLOG", value_name = "DURATION", default_value = "100ms",
          value_parser = parse_duration, help_heading = headings::PERFORMANCE)]
    pub backlog: Duration,

    /// Maximum number of peers, 1 to 10,000,000. Each takes up to 320 bytes of memory, and
    /// 64 more if it is not trusted
    #[arg(long, env = "BULLHORN_MAX_PEERS", value_name = "COUNT", default_value_t = DEFAULT_MAX_PEERS,
          value_parser = parse_count::<u32>, help_heading = headings::PEERS)]
    pub max_peers: u32,

    /// Execute commands such as `/nick ada`, or treat them as texts
    #[arg(long, env = "BULLHORN_COMMANDS", value_enum, default_value_t = Switch::On, help_heading = headings::PEERS)]
    pub commands: Switch,

    /// Maximum number of rooms, without the lobby, 1 to 1,000,000. Each takes up to 400
    /// bytes of memory
    #[arg(long, env = "BULLHORN_MAX_ROOMS", value_name = "COUNT", default_value_t = DEFAULT_MAX_ROOMS,
          value_parser = parse_count::<u32>, help_heading = headings::PEERS)]
    pub max_rooms: u32,

    /// Maximum number of members per room, 1 to 10,000,000. The lobby has no maximum
    #[arg(long, env = "BULLHORN_MAX_ROOM_MEMBERS", value_name = "COUNT", default_value_t = DEFAULT_MAX_ROOM_MEMBERS,
          value_parser = parse_count::<u32>, help_heading = headings::PEERS)]
    pub max_room_members: u32,

    /// Maximum number of names in use, 1 to 10,000,000. Each takes up to 200 bytes of memory
    #[arg(long, env = "BULLHORN_MAX_NAMES", value_name = "COUNT", default_value_t = DEFAULT_MAX_NAMES,
          value_parser = parse_count::<u32>, help_heading = headings::PEERS)]
    pub max_names: u32,

    /// Peers that have to prove that they receive what is sent to their address
    #[arg(long, env = "BULLHORN_PROOF", value_enum, value_name = "WHO", default_value_t = Proof::Auto, help_heading = headings::PROOF)]
    pub proof: Proof,

    /// Network whose peers are trusted, such as 10.0.0.0/8, or none. May be given several times
    ///
    /// They prove nothing, unless with `--proof always`, and have none of the limits per second.
    /// Replaces the default, which is 127.0.0.0/8 and ::1, for datagrams that were also sent to a
    /// loopback address. In the environment variable, commas separate networks.
    #[arg(long, env = "BULLHORN_TRUST", value_name = "CIDR", value_delimiter = ',',
          value_parser = parse_trust, help_heading = headings::PROOF)]
    pub trust: Vec<Trust>,

    /// Network or address whose peers may register. May be given several times [default: all]
    #[arg(long, env = "BULLHORN_ALLOW", value_name = "CIDR", value_delimiter = ',',
          value_parser = parse_net, help_heading = headings::PROOF)]
    pub allow: Vec<IpNet>,

    /// Network or address whose peers may not register, also if it is allowed. May be given several
    /// times
    #[arg(long, env = "BULLHORN_DENY", value_name = "CIDR", value_delimiter = ',',
          value_parser = parse_net, help_heading = headings::PROOF)]
    pub deny: Vec<IpNet>,

    /// Maximum rate of requests to v1 peers to prove their address, 0B to 1GiB per second
    ///
    /// With 0B, nobody asks them, and those that are not trusted cannot register.
    #[arg(long, env = "BULLHORN_CHALLENGE_RATE", value_name = "BYTES", default_value = "125kB",
          value_parser = parse_buffer, help_heading = headings::PROOF)]
    pub challenge_rate: ByteSize,

    /// Accept that others can make the server flood a third party
    ///
    /// Required by `--proof never` on an address that is not a loopback address.
    #[arg(long, env = "BULLHORN_ACCEPT_REFLECTION_RISK", value_parser = BoolishValueParser::new(), help_heading = headings::PROOF)]
    pub accept_reflection_risk: bool,

    /// Folder in which the server keeps what it must know after a restart: the bans
    ///
    /// It must exist. Without it, bans end with the server.
    #[arg(long, env = "BULLHORN_STATE_DIR", value_name = "DIR", help_heading = headings::OPERATION)]
    pub state_dir: Option<PathBuf>,

    /// Cores to which the workers are pinned in turn, such as 0-3,6
    ///
    /// Without `--workers`, there is one worker for each. By default, each worker takes a core that
    /// no other server of this machine has taken, if there is one.
    #[arg(long, env = "BULLHORN_CORES", value_name = "LIST", help_heading = headings::PERFORMANCE)]
    pub cores: Option<CoreList>,

    /// Do not pin each worker to a core
    #[arg(long, env = "BULLHORN_NO_PIN", value_parser = BoolishValueParser::new(), help_heading = headings::PERFORMANCE)]
    pub no_pin: bool,

    /// Time in µs for which a worker polls its sockets before it sleeps, 0 to 1,000,000
    ///
    /// Saves the time to wake up, and takes a whole core per worker.
    #[arg(
        long = "spin",
        env = "BULLHORN_SPIN",
        value_name = "MICROSECONDS",
        default_value_t = 0,
          value_parser = parse_count::<u32>, help_heading = headings::PERFORMANCE)]
    pub spin_us: u32,

    /// Size of each socket's receive buffer, 4KiB to 1GiB
    #[arg(long, env = "BULLHORN_RECEIVE_BUFFER", value_name = "BYTES", default_value = "4MiB",
          value_parser = parse_buffer, help_heading = headings::PERFORMANCE)]
    pub receive_buffer: ByteSize,

    /// Size of each socket's send buffer, 4KiB to 1GiB
    #[arg(long, env = "BULLHORN_SEND_BUFFER", value_name = "BYTES", default_value = "4MiB",
          value_parser = parse_buffer, help_heading = headings::PERFORMANCE)]
    pub send_buffer: ByteSize,

    /// The limits of peers that are not trusted.
    #[command(flatten)]
    pub limits: LimitsConfig,

    /// The admin server.
    #[cfg(feature = "admin")]
    #[command(flatten)]
    pub admin: AdminConfig,

    /// The cluster.
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub cluster: ClusterConfig,

    /// Service to run
    #[arg(long, env = "BULLHORN_SERVICE", value_enum, default_value_t = ServiceKind::Chat, help_heading = headings::TUTORIAL)]
    pub service: ServiceKind,

    /// With `--service greet`, exit after the first reply
    #[arg(long, env = "BULLHORN_ONCE", value_parser = BoolishValueParser::new(), help_heading = headings::TUTORIAL)]
    pub once: bool,
}

/// The service that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceKind {
    /// Send every text to all peers in its sender's room
    Chat,
    /// Reply to every datagram with a greeting
    Greet,
}

/// Peers that have to prove their address before they are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    /// All but those that are trusted
    Auto,
    /// All
    Always,
    /// None
    Never,
}

/// A value of [`ServerConfig::trust`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// No peer is trusted. It stands alone.
    Nobody,
    /// The peers of this network are trusted.
    Net(IpNet),
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

impl ServerConfig {
    /// Checks that all fields are within their bounds, and that no two contradict each other.
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
        let readable = |range: RangeInclusive<Duration>| {
            humantime::Duration::from(*range.start())..=humantime::Duration::from(*range.end())
        };
        check("timeout", self.timeout.into(), &readable(TIMEOUT))?;
        check(
            "reap-interval",
            self.reap_interval.into(),
            &readable(REAP_INTERVAL),
        )?;
        check("backlog", self.backlog.into(), &readable(BACKLOG))?;
        if self.watchdog != WATCHDOG_OFF {
            check("watchdog", self.watchdog.into(), &readable(WATCHDOG))?;
        }
        bind::check(&self.bind)?;
        check("challenge-rate", self.challenge_rate, &CHALLENGE_RATE)?;
        self.limits.check()?;
        if self.trust.contains(&Trust::Nobody) && self.trust.len() > 1 {
            return Err(ConfigError::TrustNobodyAndOthers);
        }
        let mut public = self.bind.iter().filter(|bind| !bind.ip().is_loopback());
        if self.proof == Proof::Never
            && !self.accept_reflection_risk
            && let Some(public) = public.next()
        {
            return Err(ConfigError::ReflectionRisk(*public));
        }
        if self.cores.is_some() && self.no_pin {
            return Err(ConfigError::CoresWithoutPin);
        }
        #[cfg(feature = "admin")]
        self.admin.check()?;
        #[cfg(feature = "cluster")]
        self.cluster.check()?;
        #[cfg(feature = "cluster")]
        if self.cluster.is_on() && self.service == ServiceKind::Greet {
            return Err(ConfigError::ClusterOfGreetings);
        }
        if self.once && self.service != ServiceKind::Greet {
            return Err(ConfigError::OnceWithoutGreet);
        }
        Ok(())
    }
}

impl Default for ServerConfig {
    /// Returns the configuration of a program without flags and environment variables.
    fn default() -> Self {
        Self {
            workers: default_workers(),
            bind: vec![DEFAULT_BIND.parse().expect("an address")],
            service: ServiceKind::Chat,
            once: false,
            timeout: Duration::from_secs(10),
            reap_interval: Duration::from_secs(1),
            watchdog: Duration::from_secs(30),
            backlog: Duration::from_millis(100),
            max_peers: DEFAULT_MAX_PEERS,
            commands: Switch::On,
            max_rooms: DEFAULT_MAX_ROOMS,
            max_room_members: DEFAULT_MAX_ROOM_MEMBERS,
            max_names: DEFAULT_MAX_NAMES,
            proof: Proof::Auto,
            trust: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            challenge_rate: DEFAULT_CHALLENGE_RATE,
            accept_reflection_risk: false,
            state_dir: None,
            cores: None,
            no_pin: false,
            spin_us: 0,
            receive_buffer: DEFAULT_BUFFER,
            send_buffer: DEFAULT_BUFFER,
            limits: LimitsConfig::default(),
            #[cfg(feature = "admin")]
            admin: AdminConfig::default(),
            #[cfg(feature = "cluster")]
            cluster: ClusterConfig::default(),
        }
    }
}

/// A number that is too large for `T` becomes the maximum, which [`ServerConfig::check`] refuses
/// with the bounds of the flag.
fn parse_count<T>(text: &str) -> Result<T, &'static str>
where
    T: TryFrom<u64> + Default + Not<Output = T>,
{
    let count: u64 = text.parse().map_err(|_| "must be a whole number")?;
    Ok(T::try_from(count).unwrap_or(!T::default()))
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text)
        .map_err(|_| "must be a number with a unit, such as 10s or 250ms")
}

fn parse_watchdog(text: &str) -> Result<Duration, &'static str> {
    match text {
        "0" | "off" => Ok(WATCHDOG_OFF),
        _ => parse_duration(text).map_err(|_| "must be a duration such as 10s, or off"),
    }
}

fn parse_trust(text: &str) -> Result<Trust, &'static str> {
    match text {
        "none" => Ok(Trust::Nobody),
        _ => parse_net(text)
            .map(Trust::Net)
            .map_err(|_| "must be a network such as 10.0.0.0/8 or 2001:db8::/32, or none"),
    }
}

fn parse_net(text: &str) -> Result<IpNet, &'static str> {
    admission::parse_net(text).ok_or("must be a network such as 10.0.0.0/8 or 2001:db8::/32")
}

fn parse_buffer(text: &str) -> Result<ByteSize, &'static str> {
    let parsed = text.parse();
    parsed.map_err(|_| "must be a number of bytes, such as 262144 or 4MiB")
}

fn check<T: PartialOrd + Display>(
    flag: &'static str,
    value: T,
    bounds: &RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if bounds.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfBounds {
        flag,
        min: bounds.start().to_string(),
        max: bounds.end().to_string(),
    })
}

/// Returns one worker per core that this process may use.
fn default_workers() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores).map_or(*WORKERS.end(), |cores| cores.min(*WORKERS.end()))
}

/// The address of the tutorial. A server is reachable from other machines only on request.
const DEFAULT_BIND: &str = "127.0.0.1:9999";

/// The number of a worker fits into a byte. No machine that this was written for has more
/// cores.
const WORKERS: RangeInclusive<u16> = 1..=256;

/// The maximum takes 4 GB of memory.
const PEERS: RangeInclusive<u32> = 1..=10_000_000;
/// Takes 400 MB of memory. A flood from forged addresses must not take all of it.
const DEFAULT_MAX_PEERS: u32 = 1_000_000;

/// The maximum takes 400 MB of memory.
const ROOMS: RangeInclusive<u32> = 1..=1_000_000;
/// Takes 40 MB of memory.
const DEFAULT_MAX_ROOMS: u32 = 100_000;

/// A core sends one text to this many members in 0.1 s.
const DEFAULT_MAX_ROOM_MEMBERS: u32 = 100_000;

/// Takes 20 MB of memory.
const DEFAULT_MAX_NAMES: u32 = 100_000;

/// A worker that finds nothing for a second is idle, and should sleep.
const SPIN_US: RangeInclusive<u32> = 0..=1_000_000;

/// The minimum is enough for the heartbeats of a peer on the same machine. The maximum is a
/// day.
const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// The reaper searches a full registry within the minimum.
const REAP_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// The minimum is ten times the time after which other workers go on without a stuck one. The
/// maximum is a day.
const WATCHDOG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Value of [`ServerConfig::watchdog`] for a server without a watchdog.
pub(super) const WATCHDOG_OFF: Duration = Duration::ZERO;

/// The minimum is a fifth of a slice. Nobody waits for an answer for longer than the maximum.
const BACKLOG: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

/// The minimum holds a datagram. The kernel doubles the size, and the result must fit into
/// an `int`.
const BUFFER: RangeInclusive<ByteSize> = ByteSize::kib(4)..=ByteSize::gib(1);
/// Holds about 10,000 small datagrams, as many as the fastest worker receives in 20 ms.
/// The kernel counts 768 bytes per datagram, and doubles the buffer.
const DEFAULT_BUFFER: ByteSize = ByteSize::mib(4);

const CHALLENGE_RATE: RangeInclusive<ByteSize> = ByteSize::b(0)..=ByteSize::gib(1);
/// One megabit, enough for 2,600 newcomers per second.
const DEFAULT_CHALLENGE_RATE: ByteSize = ByteSize::kb(125);

#[cfg(test)]
mod tests;
