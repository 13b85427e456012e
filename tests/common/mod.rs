//! What the tests have in common: a server on a free port, clients that speak
//! raw bytes, and waiting for what must happen.

#![allow(
    dead_code,
    unused_imports,
    reason = "every test program uses a part of this"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod client_program;
mod fake_server;
mod fake_v2;
mod gate;
mod lines;
mod process;
mod program;
mod python;
mod relay;
mod session;
mod terminal;
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
    ClientProgram, OutputText, chat, client_command, pipe, v1_client_command,
};
pub(crate) use fake_server::FakeServer;
pub(crate) use fake_v2::{datagram, message, welcome};
pub(crate) use gate::Gate;
pub(crate) use lines::Lines;
pub(crate) use process::Process;
pub(crate) use program::{Program, server_command};
pub(crate) use python::{Script, python, script};
pub(crate) use relay::{Did, Relay};
pub(crate) use session::{
    ANSWER, GREET, ask, connect_as, hears, is_open, next, next_line, quick, quick_v2, refused,
};
pub(crate) use terminal::Terminal;
pub(crate) use transcript::Transcript;

/// So long that only a broken program takes it.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The loopback addresses, each with a free port. Where the system has no IPv6, a
/// test that needs it fails, and says so.
pub(crate) const V4: &str = "127.0.0.1:0";
pub(crate) const V6: &str = "[::1]:0";
/// A loopback address that no other socket here uses, so that the port is free
/// again after a stop.
pub(crate) const V4_ALONE: &str = "127.0.0.77:0";

/// Waits until `condition` holds; `what` says what was waited for in vain.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits until `attempt` gives something; `what` says what was waited for in vain.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut result = None;
    wait_until(what, || {
        result = attempt();
        result.is_some()
    });
    result.expect("that was the condition")
}

/// Whether every thread of a process sleeps, this one aside: none is runnable,
/// none is stopped.
pub(crate) fn threads_sleep(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let others = tasks
        .map(|task| task.expect("it runs").path())
        .filter(|task| !task.ends_with(gettid().to_string()));
    // One that has ended meanwhile sleeps, too.
    others.into_iter().all(|task| {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, fields)| fields.starts_with('S'))
    })
}

/// Runs a test with 1, 2 and 8 workers, over IPv4 and over IPv6.
pub(crate) fn everywhere(test: impl Fn(TestServer)) {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            // Seen only when the test fails.
            println!("with {workers} workers at {address}");
            test(TestServer::start(config(workers, &[address])));
        }
    }
}

/// A chat with this many workers at these addresses.
pub(crate) fn config(workers: u16, addresses: &[&str]) -> ServerConfig {
    let addresses = addresses.iter().map(|text| text.parse());
    ServerConfig {
        workers,
        bind: addresses.collect::<Result<_, _>>().expect("addresses"),
        ..ServerConfig::default()
    }
}

/// A chat whose workers are not pinned: tests that run at the same time would
/// share their processors.
pub(crate) fn unpinned(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        no_pin: true,
        ..config(workers, &[address])
    }
}

/// A running server, and how its test registers clients with it.
pub(crate) struct TestServer(Server);

impl TestServer {
    pub(crate) fn start(config: ServerConfig) -> Self {
        Self(Server::start(config).expect("the server starts"))
    }

    /// None: its address cannot be had.
    pub(crate) fn try_start(config: ServerConfig) -> Option<Self> {
        Server::start(config).ok().map(Self)
    }

    /// At the address of one that has stopped.
    #[track_caller]
    pub(crate) fn restart(config: ServerConfig) -> Self {
        wait_for("a free port", || Self::try_start(config.clone()))
    }

    pub(crate) fn start_with_clock(config: ServerConfig, clock: Clock) -> Self {
        Self(Server::start_with_clock(config, clock).expect("the server starts"))
    }

    /// Somebody whom the server does not know yet.
    pub(crate) fn stranger(&self) -> Client {
        Client::of(self.0.local_addr())
    }

    /// A client that has registered by a heartbeat.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.client_at(self.0.local_addr())
    }

    /// A client that has registered at one of several addresses. The server
    /// counts it once it is in the room: from then on whoever speaks reaches it,
    /// whichever worker he speaks to.
    #[track_caller]
    pub(crate) fn client_at(&self, address: SocketAddr) -> Client {
        let client = Client::of(address);
        let registered = || self.0.stats().total().registered;
        let before = registered();
        client.send(b"@im@");
        wait_until("a registration", || registered() == before + 1);
        client
    }

    pub(crate) fn clients<const COUNT: usize>(&self) -> [Client; COUNT] {
        std::array::from_fn(|_| self.client())
    }

    /// Waits until the server has made `count` deliveries since it started,
    /// and checks that they are not more.
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

    /// Waits until the server has ended by itself.
    #[track_caller]
    pub(crate) fn end(self) -> Result<(), ThreadDied> {
        let (sender, receiver) = channel();
        thread::spawn(move || sender.send(self.0.wait()));
        match receiver.recv_timeout(LIMIT) {
            Ok(end) => end,
            Err(error) => panic!("the server never ended: {error}"),
        }
    }
}

impl Deref for TestServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

/// A client's socket, connected to the server, so that it hears nobody else.
pub(crate) struct Client {
    socket: UdpSocket,
}

impl Client {
    pub(crate) fn of(server: SocketAddr) -> Self {
        let any = if server.is_ipv4() { V4 } else { V6 };
        let socket = UdpSocket::bind(any).expect("a free port");
        socket.connect(server).expect("loopback is there");
        socket.set_read_timeout(Some(LIMIT)).expect("not zero");
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

    /// The next datagram, whole.
    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        match self.socket.recv(&mut buffer) {
            Ok(len) => buffer.truncate(len),
            Err(error) => panic!("nothing was heard: {error}"),
        }
        buffer
    }

    /// The next datagram, which must be UTF-8.
    #[track_caller]
    pub(crate) fn hear(&self) -> String {
        String::from_utf8(self.receive()).expect("only UTF-8 goes out")
    }

    /// Checks that the next thing heard is what `speaker` said, to the byte.
    #[track_caller]
    pub(crate) fn hears(&self, speaker: &Self, text: &str) {
        assert_eq!(self.hear(), format!("{} {text}", speaker.address()));
    }

    /// Whether there is nothing to hear at this moment.
    pub(crate) fn heard_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).expect("it is a socket");
        let result = self.socket.recv(&mut [0; 1]);
        self.socket.set_nonblocking(false).expect("it is a socket");
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
