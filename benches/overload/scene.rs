//! A server with its peers, and who speaks, pings and keeps the peers alive.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::stats::Stats;

use crate::harness::Error;
use crate::harness::cpu::Cores;
use crate::harness::flood::{Flood, Lengths, Speech};
use crate::harness::peers::Peers;
use crate::harness::receivers::{Receivers, wait_until};
use crate::probes::{Listener, Pinger};

/// A server, [`PEERS`] stock peers that listen, and who speaks.
pub(crate) struct Scene {
    server: Server,
    receivers: Receivers,
    flood: Flood,
    pinger: Pinger,
    listener: Listener,
}

/// What a user notices when nobody else speaks.
pub(crate) struct Quiet {
    pub(crate) round_trips_ms: Vec<f64>,
    pub(crate) until_last_ms: Vec<f64>,
}

/// What was seen while a load was offered.
pub(crate) struct Loaded {
    /// For each second.
    pub(crate) deliveries: Vec<f64>,
    /// Memory in use at the end of each second.
    pub(crate) memory_kib: Vec<f64>,
    pub(crate) round_trips_ms: Vec<f64>,
    pub(crate) heartbeats_sent: u64,
    pub(crate) before: Stats,
    pub(crate) after: Stats,
}

impl Scene {
    /// Registers everyone; the peer that is to hear each text last comes last.
    pub(crate) fn new(server: Server, cores: Cores) -> Result<Self, Error> {
        let address = server.local_addr();
        let receivers = Receivers::start(Peers::open(PEERS)?, cores.load)?;
        for peer in 0..PEERS {
            receivers.peers().send(peer, b"@im@", address)?;
        }
        expect_peers(&server, PEERS)?;
        let flood = Flood::start(Speech::Text(Lengths::Equal(32)), SPEAKERS, address)?;
        let pinger = Pinger::start(address, &server.handle())?;
        expect_peers(&server, PEERS + SPEAKERS + 1)?;
        let listener = Listener::start(address)?;
        expect_peers(&server, PEERS + SPEAKERS + 3)?;
        Ok(Self {
            server,
            receivers,
            flood,
            pinger,
            listener,
        })
    }

    /// Pings and speaks a little, with nobody else speaking.
    pub(crate) fn quiet(&self) -> Result<Quiet, Error> {
        Ok(Quiet {
            round_trips_ms: self.pinger.run(QUIET_WINDOW)?,
            until_last_ms: self.listener.run(QUIET_TEXTS)?,
        })
    }

    /// Offers so many texts a second for as long as `window`, while everyone
    /// sends heartbeats and one peer pings.
    pub(crate) fn load(&mut self, texts_a_second: f64, window: Duration) -> Result<Loaded, Error> {
        let Self {
            server,
            receivers,
            flood,
            pinger,
            listener,
        } = self;
        let alive = || receivers.peers().sockets().iter().chain(&listener.sockets);
        let over = AtomicBool::new(false);
        let before = server.stats();
        let (heartbeats_sent, round_trips_ms, (deliveries, memory_kib)) = thread::scope(|scope| {
            let heartbeats = scope.spawn(|| keep_alive(alive, server.local_addr(), &over));
            let pings = scope.spawn(|| pinger.run(window));
            let seconds = scope.spawn(|| watch(server, window));
            let flooded = flood.run(texts_a_second, window);
            let pings = pings.join().map_err(|_| "the pinger panicked")?;
            let seconds = seconds.join().map_err(|_| "the watch panicked")?;
            over.store(true, Ordering::Relaxed);
            let heartbeats = heartbeats.join().map_err(|_| "the heartbeats panicked")?;
            flooded?;
            Ok::<_, Error>((heartbeats?, pings?, seconds?))
        })?;
        // The last heartbeats and texts are still on their way.
        let is_settled = || {
            let (first, _) = (server.stats().total(), thread::sleep(SETTLE));
            first == server.stats().total()
        };
        wait_until(is_settled);
        Ok(Loaded {
            deliveries,
            memory_kib,
            round_trips_ms,
            heartbeats_sent,
            before,
            after: server.stats(),
        })
    }
}

/// Sends a heartbeat from each of the sockets, evenly in [`HEARTBEAT_INTERVAL`],
/// again and again until it is `over`, and returns how many.
fn keep_alive<'a, I: Iterator<Item = &'a UdpSocket>>(
    sockets: impl Fn() -> I,
    server: SocketAddr,
    over: &AtomicBool,
) -> Result<u64, Error> {
    let start = Instant::now();
    let pause = HEARTBEAT_INTERVAL / sockets().count() as u32;
    let mut sent = 0;
    loop {
        for socket in sockets() {
            if over.load(Ordering::Relaxed) {
                return Ok(sent);
            }
            let due = start + pause * sent as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            socket.send_to(b"@im@", server)?;
            sent += 1;
        }
    }
}

/// Reads once a second how many deliveries there were and how much memory is
/// in use.
fn watch(server: &Server, window: Duration) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let start = Instant::now();
    let (mut deliveries, mut memory_kib) = (Vec::new(), Vec::new());
    let mut before = (Instant::now(), server.stats().total().deliveries);
    while start.elapsed() + Duration::from_secs(1) <= window {
        thread::sleep(Duration::from_secs(1));
        let now = (Instant::now(), server.stats().total().deliveries);
        let seconds = (now.0 - before.0).as_secs_f64();
        deliveries.push((now.1 - before.1) as f64 / seconds);
        memory_kib.push(memory_in_use_kib()?);
        before = now;
    }
    Ok((deliveries, memory_kib))
}

fn memory_in_use_kib() -> Result<f64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS")?.parse()?)
}

fn expect_peers(server: &Server, count: usize) -> Result<(), Error> {
    if wait_until(|| server.stats().peers == count) {
        return Ok(());
    }
    let registered = server.stats().peers;
    Err(format!("{registered} of {count} peers registered").into())
}

/// Peers that only listen.
pub(crate) const PEERS: usize = 1000;

const SPEAKERS: usize = 10;

/// Shorter than the 5 s of stock clients: more of what must not be lost.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

const QUIET_WINDOW: Duration = Duration::from_secs(2);

const QUIET_TEXTS: usize = 50;

const SETTLE: Duration = Duration::from_millis(50);
