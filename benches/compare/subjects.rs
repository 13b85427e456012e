//! The servers of the comparison. Each is a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use core_affinity::CoreId;

use crate::clients::Clients;
use crate::codec::Codec;
use crate::harness::Error;
use crate::harness::process::{Process, free_tcp_address, free_udp_address};
use crate::tcp::TcpClients;
use crate::udp::UdpClients;

/// A server, and the protocol of its clients.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// Its name in the results.
    pub(crate) key: &'static str,
    kind: Kind,
    program: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bullhorn { is_v2: bool },
    Nats,
    Mosquitto,
    Tokio,
    Python,
}

impl Subject {
    /// Returns all servers. `nats` is the current release of NATS. The other one is on the
    /// `PATH`.
    pub(crate) fn all(nats: PathBuf) -> [Self; 7] {
        let server = PathBuf::from(env!("CARGO_BIN_EXE_server"));
        let tokio = server.with_file_name("naive-tokio");
        [
            (
                "bullhorn-v1",
                Kind::Bullhorn { is_v2: false },
                server.clone(),
            ),
            ("bullhorn-v2", Kind::Bullhorn { is_v2: true }, server),
            ("nats", Kind::Nats, nats),
            ("nats-debian", Kind::Nats, "nats-server".into()),
            // Debian installs it outside of a user's `PATH`.
            ("mosquitto", Kind::Mosquitto, "/usr/sbin/mosquitto".into()),
            ("tokio", Kind::Tokio, tokio),
            ("python", Kind::Python, "python3".into()),
        ]
        .map(|(key, kind, program)| Self { key, kind, program })
    }

    /// Returns the first line that the program prints about its version.
    ///
    /// # Errors
    /// Fails if the program is not installed.
    pub(crate) fn version(&self) -> Result<String, Error> {
        let argument = match self.kind {
            Kind::Tokio if self.program.exists() => return Ok("tokio".into()),
            // It has no flag for the version, and ends with 3 after its help.
            Kind::Mosquitto => "-h",
            _ => "--version",
        };
        let output = Command::new(&self.program).arg(argument).output();
        let output = output.map_err(|error| format!("{}: {error}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Starts the server on `core`, and connects `count` clients.
    pub(crate) fn start(
        &self,
        core: CoreId,
        count: usize,
    ) -> Result<(Process, Box<dyn Clients>), Error> {
        let is_tcp = matches!(self.kind, Kind::Nats | Kind::Mosquitto);
        let address = if is_tcp {
            free_tcp_address()?
        } else {
            free_udp_address()?
        };
        let process = Process::start(core, self.command(address)?)?;
        let clients: Box<dyn Clients> = match self.kind {
            Kind::Nats => Box::new(TcpClients::connect(Codec::Nats, address, count)?),
            Kind::Mosquitto => Box::new(TcpClients::connect(Codec::Mqtt, address, count)?),
            kind => {
                let is_v2 = kind == Kind::Bullhorn { is_v2: true };
                Box::new(UdpClients::open(is_v2, address, count)?)
            }
        };
        Ok((process, clients))
    }

    /// One worker and one thread of Go, because there is one core. No server drops a client
    /// that is silent.
    fn command(&self, address: SocketAddr) -> Result<Command, Error> {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Bullhorn { .. } => {
                command.args(["--bind", &address.to_string(), "--workers", "1"]);
                command.args(["--timeout", "1h", "--reap-interval", "60s", "--log", "off"]);
            }
            Kind::Nats => {
                command.args(["-a", &host, "-p", &port]);
                command.env("GOMAXPROCS", "1");
            }
            Kind::Mosquitto => {
                command.arg("-c").arg(mosquitto_configuration(address)?);
            }
            Kind::Tokio => {
                command.args([&host, &port, TIMEOUT_S]);
            }
            Kind::Python => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stock/chat_server.py");
                command.args([script, &host, &port, "--timeout", TIMEOUT_S]);
            }
        }
        Ok(command)
    }
}

/// Writes a configuration that makes Mosquitto comparable: no log, no disk, no statistics,
/// nothing shed before the connections are full, and no waiting to fill packets
/// (`TCP_NODELAY`), as NATS does by default.
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

/// The baselines drop no client while they are measured.
const TIMEOUT_S: &str = "3600";
