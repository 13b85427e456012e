//! What the server can be told: meaning, units, bounds and defaults.

use std::net::SocketAddr;
use std::num::NonZero;
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
          value_parser = value_parser!(u16).range(1..=MAX_WORKERS), hide_default_value = true)]
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
          value_parser = value_parser!(u32).range(1..=MAX_MAX_PEERS))]
    pub max_peers: u32,

    /// Let the system place the workers, instead of one on each core
    #[arg(long, env = "BULLHORN_NO_PIN", value_parser = BoolishValueParser::new())]
    pub no_pin: bool,

    /// How long a worker looks for datagrams before it sleeps, in µs, 0 to 1,000,000
    ///
    /// Saves the time to wake up, and costs a whole core for each worker.
    #[arg(long, env = "BULLHORN_SPIN", value_name = "MICROSECONDS", default_value_t = 0,
          value_parser = value_parser!(u32).range(0..=MAX_SPIN_US))]
    pub spin: u32,

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
    /// Every text goes to all peers
    Chat,
    /// Every datagram is answered with a greeting
    Greet,
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
            no_pin: false,
            spin: 0,
            receive_buffer: DEFAULT_BUFFER,
            send_buffer: DEFAULT_BUFFER,
        }
    }
}

/// Parses a duration such as `10s` or `250ms` that lies within `min..=max`.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse_duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let format = humantime::format_duration;
    match humantime::parse_duration(text) {
        Ok(duration) if (min..=max).contains(&duration) => Ok(duration),
        Ok(_) => Err(format!(
            "must lie between {} and {}",
            format(min),
            format(max)
        )),
        Err(_) => Err("must be a number with a unit, such as 10s or 250ms".into()),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(
        text,
        Duration::from_millis(100),
        Duration::from_secs(24 * 3600),
    )
}

fn parse_reap_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_millis(10), Duration::from_secs(60))
}

fn parse_bind(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address and a port, such as 127.0.0.1:9999 or [::1]:9999".into()
    })
}

fn parse_buffer(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if (MIN_BUFFER..=MAX_BUFFER).contains(&size) => Ok(size),
        Ok(_) => Err(format!("must lie between {MIN_BUFFER} and {MAX_BUFFER}")),
        Err(_) => Err("must be a number of bytes, such as 262144 or 4MiB".into()),
    }
}

/// One worker for each core that this process may use.
fn default_workers() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores).map_or(MAX_WORKERS as u16, |cores| cores.min(MAX_WORKERS as u16))
}

impl ServerConfig {
    /// What is wrong with the whole, each flag for itself being right.
    ///
    /// # Errors
    /// A sentence that says what is right.
    pub fn check(&self) -> Result<(), String> {
        if self.bind.is_empty() || self.bind.len() > MAX_ENDPOINTS {
            return Err(format!(
                "--bind takes 1 to {MAX_ENDPOINTS} addresses, not {}",
                self.bind.len()
            ));
        }
        if self.once && self.service != ServiceKind::Greet {
            return Err("--once goes with --service greet".into());
        }
        Ok(())
    }
}

/// The tutorial's address: reachable from this machine alone, until asked for.
const DEFAULT_BIND: &str = "127.0.0.1:9999";

/// Beyond the cores of any machine that this was written for.
const MAX_WORKERS: i64 = 256;

/// 300 MB of memory at most: a flood of made-up senders must not take it all.
const DEFAULT_MAX_PEERS: u32 = 1_000_000;
const MAX_MAX_PEERS: i64 = 10_000_000;

/// A second: longer is not waiting for the next datagram any more.
const MAX_SPIN_US: i64 = 1_000_000;

/// Holds about 5000 small datagrams (the kernel counts 768 bytes for each):
/// what a worker receives in 10 ms at its fastest.
const DEFAULT_BUFFER: ByteSize = ByteSize::mib(4);
const MIN_BUFFER: ByteSize = ByteSize::kib(4);
/// The kernel doubles it, and keeps it in an int.
const MAX_BUFFER: ByteSize = ByteSize::gib(1);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        server: ServerConfig,
    }

    fn parse(arguments: &str) -> Result<ServerConfig, String> {
        let words = ["server"].into_iter().chain(arguments.split_whitespace());
        Program::try_parse_from(words)
            .map(|program| program.server)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_what_the_program_does_without_flags() {
        let parsed = parse("").unwrap();
        assert_eq!(
            format!("{parsed:?}"),
            format!("{:?}", ServerConfig::default())
        );
    }

    #[test]
    fn flags_say_what_they_mean() {
        let config =
            parse("--workers 8 --bind 0.0.0.0:1 --bind [::]:2 --timeout 1500ms --send-buffer 1MiB")
                .unwrap();
        assert_eq!(config.workers, 8);
        assert_eq!(
            config.bind,
            ["0.0.0.0:1".parse().unwrap(), "[::]:2".parse().unwrap()]
        );
        assert_eq!(config.timeout, Duration::from_millis(1500));
        assert_eq!(config.send_buffer.as_u64(), 1 << 20);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_right() {
        for (arguments, help) in [
            ("--workers 0", "1..=256"),
            ("--workers 257", "1..=256"),
            ("--bind localhost", "such as 127.0.0.1:9999"),
            ("--timeout 10", "such as 10s"),
            ("--timeout 99ms", "between 100ms and 1day"),
            ("--reap-interval 61s", "between 10ms and 1m"),
            ("--spin=-1", "0..=1000000"),
            ("--spin 1000001", "0..=1000000"),
            ("--max-peers 0", "1..=10000000"),
            ("--receive-buffer 1KiB", "between 4.0 KiB and 1.0 GiB"),
            ("--send-buffer lots", "such as 262144 or 4MiB"),
            ("--service dance", "chat, greet"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(help), "{arguments}: {error}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let config = ServerConfig {
            once: true,
            ..ServerConfig::default()
        };
        assert!(config.check().unwrap_err().contains("--service greet"));
        let config = ServerConfig {
            bind: vec!["127.0.0.1:0".parse().unwrap(); 17],
            ..ServerConfig::default()
        };
        assert!(config.check().unwrap_err().contains("1 to 16"));
    }
}
