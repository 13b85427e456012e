//! Shared parts of the tests: a server on a free port, clients that send raw bytes, and
//! waits with a time limit.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses some of this"
)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

pub(crate) mod admin;
mod client_program;
mod configuration;
mod fake_server;
mod fake_v2;
mod folder;
mod gate;
mod impostor;
#[cfg(target_arch = "x86_64")]
mod injected;
mod lines;
mod moderated;
#[cfg(feature = "cluster")]
mod nats;
mod network;
mod network_peers;
#[cfg(feature = "admin")]
pub(crate) mod operator;
mod process;
#[cfg(feature = "admin")]
mod prometheus;
mod python;
mod relay;
mod sandbox;
mod server_program;
mod session;
mod stopped_thread;
mod strangers;
mod terminal;
mod time;
mod transcript;
pub(crate) mod v2_peer;

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::server::clock::Clock;
use bullhorn::server::ops::supervise::ThreadDied;
use bullhorn::{Server, ServerConfig};
use nix::unistd::{Pid, gettid};

pub(crate) use client_program::{
    ClientProgram, OutputText, client_command, run_client, run_with_input, v1_client_command,
};
pub(crate) use configuration::{TestFile, bare_command, output_of};
pub(crate) use fake_server::FakeServer;
pub(crate) use fake_v2::{datagram_to, lobby, message, nonce_of, welcome};
pub(crate) use folder::Folder;
pub(crate) use gate::Gate;
pub(crate) use impostor::{bound_to_address_of, reachable};
#[cfg(target_arch = "x86_64")]
pub(crate) use injected::Injected;
pub(crate) use lines::Lines;
pub(crate) use moderated::{HOUR, Moderated, expect_frames, notice, request};
#[cfg(feature = "cluster")]
pub(crate) use nats::{Nats, expect_members};
pub(crate) use network::{Network, with_networks};
pub(crate) use network_peers::{
    Peer, parse, peers_at, stranger, trust_all, two_machines, wildcard_config,
};
pub(crate) use process::{Process, without_settings};
#[cfg(feature = "admin")]
pub(crate) use prometheus::{Prometheus, promtool};
pub(crate) use python::{Script, python_script, stock_script};
pub(crate) use relay::{Relay, RelayCounts};
pub(crate) use sandbox::{NoRefusedCalls, has_sandbox, start_in_sandbox};
pub(crate) use server_program::{ServerProgram, server_command};
pub(crate) use session::{
    GREET_TIMEOUT, REPLY_TIMEOUT, answer, connect_with, connection_refused, expect_line, expect_up,
    has_v2_session, line_of, names, next_event, next_line, quick_config, quick_v2_config,
    undelivered,
};
pub(crate) use stopped_thread::StoppedThread;
pub(crate) use strangers::{Strangers, proved, strict_config};
pub(crate) use terminal::{Terminal, terminal_to_close};
pub(crate) use time::Time;
pub(crate) use transcript::Transcript;

/// Limit of every wait. Only a broken program reaches it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The loopback addresses with a free port. Without IPv6, the tests that need it fail.
pub(crate) const V4: &str = "127.0.0.1:0";
pub(crate) const V6: &str = "[::1]:0";
/// A loopback address that no other test uses, so a port stays free after its server
/// has stopped.
pub(crate) const V4_UNSHARED: &str = "127.0.0.77:0";

/// Waits until `condition` holds. `what` names it in the message of a failure.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits until `attempt` returns a value. `what` names it in the message of a failure.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut result = None;
    wait_until(what, || {
        result = attempt();
        result.is_some()
    });
    result.expect("that was the condition")
}

/// Calls until the call is not interrupted. A system call with a time limit ends early if the
/// process is stopped and goes on, as signal(7) says.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Returns `true` if every thread of a process sleeps, other than the calling one. A
/// sleeping thread is neither runnable nor stopped.
pub(crate) fn all_threads_sleep(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let others = tasks
        .map(|task| task.expect("it runs").path())
        .filter(|task| !task.ends_with(gettid().to_string()));
    // A thread that has ended in the meantime counts as asleep.
    others.into_iter().all(|task| {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, fields)| fields.starts_with('S'))
    })
}

/// Runs a test with servers of 1, 2 and 8 workers, over IPv4 and over IPv6.
pub(crate) fn with_each_server(test: impl Fn(TestServer)) {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            // Shown only when the test fails.
            println!("with {workers} workers at {address}");
            test(TestServer::start(config(workers, &[address])));
        }
    }
}

/// Returns the configuration of a chat.
pub(crate) fn config(workers: u16, addresses: &[&str]) -> ServerConfig {
    let addresses = addresses.iter().map(|text| text.parse());
    ServerConfig {
        workers,
        bind: addresses.collect::<Result<_, _>>().expect("addresses"),
        ..ServerConfig::default()
    }
}

/// Returns the configuration of a chat whose workers are not pinned. Pinned workers of
/// tests that run at the same time would share cores.
pub(crate) fn unpinned_config(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        no_pin: true,
        ..config(workers, &[address])
    }
}

/// A running server, whose threads are in the sandbox of the program `server`.
pub(crate) struct TestServer(Server, NoRefusedCalls);

impl TestServer {
    pub(crate) fn start(config: ServerConfig) -> Self {
        Self::start_with_clock(config, Clock::monotonic())
    }

    /// Returns `None` if the server cannot start, as when its address is in use.
    pub(crate) fn try_start(config: ServerConfig) -> Option<Self> {
        let server = start_in_sandbox(config, Clock::monotonic());
        Some(Self(server.ok()?, NoRefusedCalls))
    }

    /// Starts at the address of a server that has stopped.
    #[track_caller]
    pub(crate) fn restart(config: ServerConfig) -> Self {
        wait_for("a free port", || Self::try_start(config.clone()))
    }

    pub(crate) fn start_with_clock(config: ServerConfig, clock: Clock) -> Self {
        let server = start_in_sandbox(config, clock).expect("the server starts");
        Self(server, NoRefusedCalls)
    }

    /// Starts a server that is not in the sandbox. The test says why.
    pub(crate) fn start_outside_sandbox(config: ServerConfig, clock: Clock) -> Self {
        let server = Server::start_with_clock(config, clock).expect("the server starts");
        Self(server, NoRefusedCalls)
    }

    pub(crate) fn unregistered_client(&self) -> Client {
        Client::connect(self.0.local_addr())
    }

    /// Registers a client by a heartbeat.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.client_at(self.0.local_addr())
    }

    /// Registers a client at one of several addresses of the server. The server counts
    /// the client when it is in the room, so it receives all texts from then on.
    #[track_caller]
    pub(crate) fn client_at(&self, address: SocketAddr) -> Client {
        let client = Client::connect(address);
        let registered = || self.0.stats().total().registered;
        let before = registered();
        client.send(b"@im@");
        wait_until("a registration", || registered() == before + 1);
        client
    }

    pub(crate) fn clients<const COUNT: usize>(&self) -> [Client; COUNT] {
        std::array::from_fn(|_| self.client())
    }

    /// Waits until the server has made `count` deliveries since its start. More are a
    /// failure.
    #[track_caller]
    pub(crate) fn wait_for_deliveries(&self, count: u64) {
        let deliveries = || self.0.stats().total().deliveries;
        wait_until("the deliveries", || deliveries() >= count);
        assert_eq!(deliveries(), count, "deliveries");
    }

    #[track_caller]
    pub(crate) fn stop(self) {
        self.0.stop().expect("no thread has died");
    }

    /// Waits until the server ends by itself.
    #[track_caller]
    pub(crate) fn wait_for_end(self) -> Result<(), ThreadDied> {
        let (sender, receiver) = channel();
        thread::spawn(move || sender.send(self.0.wait()));
        match receiver.recv_timeout(TIMEOUT) {
            Ok(end) => end,
            Err(error) => panic!("the server did not end: {error}"),
        }
    }
}

impl Deref for TestServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

/// The socket of a client. It is connected, so it receives from the server only.
pub(crate) struct Client {
    socket: UdpSocket,
}

impl Client {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let any = if server.is_ipv4() { V4 } else { V6 };
        Self::connect_from(any.parse().expect("an address"), server)
    }

    /// Connects from an address, of which port 0 selects a free port.
    pub(crate) fn connect_from(own: SocketAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(own).expect("a free port");
        socket.connect(server).expect("the network is up");
        socket.set_read_timeout(Some(TIMEOUT)).expect("not zero");
        Self { socket }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    #[track_caller]
    pub(crate) fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).expect("loopback takes it");
    }

    /// Receives the next datagram.
    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let len = self.receive_into(&mut buffer);
        buffer.truncate(len);
        buffer
    }

    /// Receives the next datagram into `buffer`, and returns its length.
    #[track_caller]
    pub(crate) fn receive_into(&self, buffer: &mut [u8]) -> usize {
        match uninterrupted(|| self.socket.recv(buffer)) {
            Ok(len) => len,
            Err(error) => panic!("nothing received: {error}"),
        }
    }

    /// Receives the next datagram, which must be UTF-8.
    #[track_caller]
    pub(crate) fn receive_text(&self) -> String {
        String::from_utf8(self.receive()).expect("only UTF-8 goes out")
    }

    /// Receives the next datagram, which must be exactly a text from `sender`.
    #[track_caller]
    pub(crate) fn expect_text_from(&self, sender: &Self, text: &str) {
        assert_eq!(self.receive_text(), format!("{} {text}", sender.address()));
    }

    /// Returns `true` if no datagram waits to be received.
    pub(crate) fn inbox_is_empty(&self) -> bool {
        self.socket.set_nonblocking(true).expect("it is a socket");
        let result = self.socket.recv(&mut [0; 1]);
        self.socket.set_nonblocking(false).expect("it is a socket");
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
