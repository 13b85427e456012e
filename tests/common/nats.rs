//! A bus for clusters: the program `nats-server` as a child process.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::process::Process;
use super::{Client, ServerProgram, server_command, wait_until};

/// A running bus on a port of 127.0.0.1, which is killed on drop.
pub(crate) struct Nats {
    program: PathBuf,
    arguments: Vec<String>,
    ip: Ipv4Addr,
    port: u16,
    process: Option<Process>,
}

impl Nats {
    /// Starts a bus with more `arguments`. Returns `None`, and says so, if this machine has no
    /// nats-server. In CI it has one.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            assert!(env::var_os("CI").is_none(), "scripts/nats gets nats-server");
            println!("skipped: there is no nats-server; scripts/nats gets it");
            return None;
        };
        // Free for now. The bus takes it at once, and again when it is restarted.
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let mut nats = Self {
            program,
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            ip: Ipv4Addr::LOCALHOST,
            port,
            process: None,
        };
        nats.resume();
        Some(nats)
    }

    /// Starts the bus again at its port.
    #[track_caller]
    pub(crate) fn resume(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args(["-a", &self.ip.to_string(), "-p", &self.port.to_string()])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command));
        let address = SocketAddr::from((self.ip, self.port));
        wait_until("the bus listens", || TcpStream::connect(address).is_ok());
    }

    /// Starts the bus that was killed at another address, with the same port.
    #[track_caller]
    pub(crate) fn resume_at(&mut self, ip: Ipv4Addr) {
        self.ip = ip;
        self.resume();
    }

    /// Kills the bus.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// The address for `--cluster`.
    pub(crate) fn url(&self) -> String {
        format!("nats://localhost:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the command of a node with this name.
    pub(crate) fn node_command(&self, id: &str, arguments: &[&str]) -> Command {
        let bus = ["--cluster", &self.url(), "--cluster-name", "test"];
        let mut command = server_command(&["--bind", "127.0.0.1:0", "--no-pin", "--workers", "2"]);
        command.args(bus).args(["--node-id", id]).args(arguments);
        command
    }

    /// Starts a node with this name.
    #[track_caller]
    pub(crate) fn node(&self, id: &str) -> ServerProgram {
        ServerProgram::start_command(self.node_command(id, &[]))
    }

    /// Starts two nodes, which know each other.
    #[track_caller]
    pub(crate) fn two_nodes(&self) -> [ServerProgram; 2] {
        let nodes = ["one", "two"].map(|id| self.node(id));
        let [one, two] = nodes.each_ref().map(ServerProgram::registered_client);
        for client in [&one, &two] {
            wait_until("both peers are known", || {
                client.send(b"/who");
                client.receive_text().starts_with("* 2 in lobby:")
            });
        }
        for client in [&one, &two] {
            client.send(b"quit");
        }
        let last = nodes[0].registered_client();
        wait_until("both peers have left", || {
            last.send(b"/who");
            last.receive_text().starts_with("* 1 in lobby:")
        });
        last.send(b"quit");
        nodes
    }
}

/// Waits until a node has this many members in the lobby, as `client` sees it.
#[track_caller]
pub(crate) fn expect_members(client: &Client, count: usize) {
    wait_until("the number of members", || {
        client.send(b"/who");
        let answer = client.receive_text();
        answer.starts_with(&format!("* {count} in lobby"))
    });
}

/// Returns the program, from where `scripts/nats` puts it or from the path.
fn program() -> Option<PathBuf> {
    let in_target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()?
        .join("nats/nats-server");
    let path = env::var_os("PATH")?;
    let mut found = env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let found = found.find(|program| program.is_file());
    found.or_else(|| in_target.is_file().then_some(in_target))
}
