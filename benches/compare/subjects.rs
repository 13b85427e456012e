//! What is compared: each a server process of its own, started and stopped here.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use core_affinity::CoreId;

use crate::clients::Clients;
use crate::harness::Error;
use crate::harness::process::{Process, free_tcp_address, free_udp_address};
use crate::tcp::{Protocol, TcpClients};
use crate::udp::{Dialect, UdpClients};
use crate::work::Work;

/// A server, and what its clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    BullhornV1,
    BullhornV2,
    Nats,
    Mosquitto,
    Tokio,
    Python,
    Sendmmsg,
    SendmmsgGso,
}

/// A server that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Subject {
    pub(crate) const ALL: [Self; 8] = [
        Self::BullhornV1,
        Self::BullhornV2,
        Self::Nats,
        Self::Mosquitto,
        Self::Tokio,
        Self::Python,
        Self::Sendmmsg,
        Self::SendmmsgGso,
    ];

    /// What it is called in the results.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::BullhornV1 => "bullhorn-v1",
            Self::BullhornV2 => "bullhorn-v2",
            Self::Nats => "nats",
            Self::Mosquitto => "mosquitto",
            Self::Tokio => "tokio",
            Self::Python => "python",
            Self::Sendmmsg => "sendmmsg",
            Self::SendmmsgGso => "sendmmsg-gso",
        }
    }

    /// What the program says of its version.
    ///
    /// # Errors
    /// That it is not here.
    pub(crate) fn version(self) -> Result<String, Error> {
        let (program, argument) = match self {
            Self::BullhornV1 | Self::BullhornV2 => (SERVER.into(), "--version"),
            Self::Nats => (PathBuf::from("nats-server"), "--version"),
            // It has no flag for the version alone, and ends with 3 after its help.
            Self::Mosquitto => (mosquitto(), "-h"),
            Self::Python => ("python3".into(), "--version"),
            Self::Tokio if !tokio_server().exists() => {
                let path = tokio_server();
                return Err(format!("{} is not built", path.display()).into());
            }
            Self::Tokio => return Ok("tokio".into()),
            Self::Sendmmsg | Self::SendmmsgGso => {
                let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
                return Ok(format!("Linux {}", release.trim()));
            }
        };
        let output = Command::new(&program).arg(argument).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Whether it does this work: with GSO there is something to gain in a fan-out alone.
    pub(crate) fn does(self, work: Work) -> bool {
        match self {
            Self::SendmmsgGso => work == Work::FanOut,
            _ => true,
        }
    }

    /// Starts its server on `core`.
    pub(crate) fn start(self, work: Work, core: CoreId) -> Result<Running, Error> {
        let address = match self {
            Self::Nats | Self::Mosquitto => free_tcp_address()?,
            _ => free_udp_address()?,
        };
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let command = match self {
            Self::BullhornV1 | Self::BullhornV2 => bullhorn(address),
            Self::Nats => {
                let mut command = Command::new("nats-server");
                command.args(["-a", &host, "-p", &port]);
                // One core is all that it has, and more threads would get in each other's way.
                command.env("GOMAXPROCS", "1");
                command
            }
            Self::Mosquitto => {
                let mut command = Command::new(mosquitto());
                command.arg("-c").arg(mosquitto_configuration(address)?);
                command
            }
            Self::Tokio => {
                let mut command = Command::new(tokio_server());
                command.args([&host, &port, LONG_S]);
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                let script = concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/benches/baselines/naive_server.py"
                );
                command.args([script, &host, &port, "--timeout", LONG_S]);
                command
            }
            Self::Sendmmsg | Self::SendmmsgGso => {
                let mode = match (work, self) {
                    (Work::FanOut, Self::SendmmsgGso) => "fan-out-gso",
                    (Work::FanOut, _) => "fan-out",
                    (Work::Requests, _) => "echo",
                    (Work::Heartbeats, _) => "drain",
                };
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--bare-server", mode, "--address", &address.to_string()]);
                command
            }
        };
        Ok(Running {
            process: Process::start(core, command)?,
            address,
        })
    }

    /// Connects `count` clients that can do this work.
    pub(crate) fn connect(
        self,
        work: Work,
        server: SocketAddr,
        count: usize,
    ) -> Result<Box<dyn Clients>, Error> {
        let listening = work == Work::FanOut;
        let protocol = match self {
            Self::Nats => Protocol::Nats,
            Self::Mosquitto => Protocol::Mqtt,
            _ => {
                let dialect = match self {
                    Self::BullhornV2 => Dialect::Frames,
                    Self::Sendmmsg | Self::SendmmsgGso if !listening => Dialect::Echo,
                    _ => Dialect::Text,
                };
                return Ok(Box::new(UdpClients::connect(dialect, server, count)?));
            }
        };
        let clients = TcpClients::connect(protocol, server, count, listening)?;
        Ok(Box::new(clients))
    }
}

/// One worker, as for all others there is one core; and nobody is dropped for being silent.
fn bullhorn(address: SocketAddr) -> Command {
    let mut command = Command::new(SERVER);
    command.args(["--bind", &address.to_string(), "--workers", "1"]);
    command.args(["--timeout", "1h", "--reap-interval", "60s", "--log", "off"]);
    command
}

/// Writes down what makes Mosquitto comparable: no log, no disk, no statistics of its own;
/// nothing shed before the connections are full; and no waiting to fill packets
/// (`TCP_NODELAY`), which NATS does without being told.
fn mosquitto_configuration(address: SocketAddr) -> Result<PathBuf, Error> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare-mosquitto.conf");
    let (host, port) = (address.ip(), address.port());
    let text = format!(
        "listener {port} {host}\nallow_anonymous true\nmax_connections -1\n\
         persistence false\nlog_dest none\nconnection_messages false\nsys_interval 0\n\
         set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// Debian has it where the `PATH` of a user does not lead.
fn mosquitto() -> PathBuf {
    let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| "mosquitto".into())
}

/// Where cargo puts it: beside the server.
fn tokio_server() -> PathBuf {
    Path::new(SERVER).with_file_name("naive-tokio")
}

const SERVER: &str = env!("CARGO_BIN_EXE_server");

/// Nobody is dropped by the baselines, either.
const LONG_S: &str = "3600";
