//! The core of a server, run step by step, with the oracle that watches it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::moderation::{IpNet, Moderation};
use bullhorn::net::{Datagram, Endpoint, Packet, PeerAddr, SendTally, TAG, Transmit};
use bullhorn::server::clock::Clock;
use bullhorn::server::core::{Chat, Core, Surroundings};
use bullhorn::server::egress::Progress;
use bullhorn::server::egress::notifier::{Notifier, NotifierCounters};
use bullhorn::server::keys::Keys;
use bullhorn::server::ops::log::Log;
use bullhorn::server::ops::stats::WorkerInfo;
use bullhorn::server::ops::turns::WorkerHandle;
use bullhorn::server::registry::expiry::Reaper;
use bullhorn::server::registry::{Network, Registry};
use bullhorn::server::worker::Service;
use bullhorn::stats::Counts;
use bullhorn::wire::Reply;

use crate::model::{Address, Model};
use crate::oracle::{Oracle, Origin};

/// A server whose workers, reaper and notifier take a step when they are told to.
pub struct Host {
    registry: Arc<Registry>,
    moderation: Arc<Moderation>,
    counters: Arc<NotifierCounters>,
    reaper: Reaper,
    notifier: Option<Notifier>,
    seats: Vec<Seat>,
    clock: Arc<AtomicU64>,
    oracle: Oracle,
    timeout_ms: u64,
    /// The datagrams that have left, until somebody takes them.
    pub(crate) sent: Vec<(PeerAddr, Vec<u8>)>,
    /// The time for which the next worker that sends is stuck, after its next packet, or 0.
    stall_ms: u64,
    /// The next packets that the kernel does not take.
    congested: u32,
    /// A hash of all that came and left.
    hash: u64,
    is_traced: bool,
}

/// A worker and its socket.
struct Seat {
    /// `None` while it is stuck in a step.
    chat: Option<Chat>,
    info: Arc<WorkerInfo>,
    is_woken: Arc<AtomicBool>,
    socket: VecDeque<(PeerAddr, Vec<u8>)>,
    received: u64,
    drops: u64,
    /// As the reaper has seen them.
    reaped_turns: u64,
    reaped_drops: u64,
    /// The times of the last rounds of the reaper before which the worker had turned.
    good_rounds_ms: VecDeque<u64>,
    /// The time of the round in which it last had new drops.
    overflow_ms: Option<u64>,
}

/// An action of the operator.
#[derive(Debug, Clone, Copy)]
pub enum Ruling {
    /// Removes a peer.
    Kick(SocketAddr),
    /// Mutes a peer for some seconds.
    Mute(SocketAddr, u64),
    /// Ends a mute.
    Unmute(SocketAddr),
    /// Bans the /24 of an address.
    Ban(SocketAddr),
    /// Ends that ban.
    Unban(SocketAddr),
}

impl Host {
    /// Starts a server. `key` is the root of its keys.
    pub fn new(config: &ServerConfig, key: u64, is_traced: bool) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let seat = |_| Seat {
            chat: None,
            info: WorkerInfo::new(""),
            is_woken: Arc::default(),
            socket: VecDeque::new(),
            received: 0,
            drops: 0,
            reaped_turns: 0,
            reaped_drops: 0,
            good_rounds_ms: VecDeque::new(),
            overflow_ms: None,
        };
        let mut seats: Vec<Seat> = (0..config.workers).map(seat).collect();
        let handle = |seat: &Seat| {
            let is_woken = Arc::clone(&seat.is_woken);
            WorkerHandle {
                info: Arc::clone(&seat.info),
                wake: Arc::new(move || is_woken.store(true, Ordering::Relaxed)),
            }
        };
        let reading = Arc::clone(&clock);
        let surroundings = Surroundings {
            workers: seats.iter().map(handle).collect(),
            wake_notifier: Arc::new(|| {}),
            own_addresses: Arc::default(),
            kept_bans: (None, Vec::new()),
            clock: Clock::from_fn(move || reading.load(Ordering::Relaxed)),
            log: LOG.get_or_init(|| Log::new().0).clone(),
            max_segments: 64,
            keys: Keys::from_root((key, !key)),
        };
        let core = Core::new(config, surroundings);
        for (seat, chat) in seats.iter_mut().zip(core.chats) {
            seat.chat = Some(chat);
        }
        Self {
            registry: core.registry,
            moderation: core.moderation,
            counters: core.notices,
            reaper: core.reaper,
            notifier: Some(core.notifier),
            seats,
            clock,
            oracle: Oracle::new(Model::new(config)),
            timeout_ms: config.timeout.as_millis() as u64,
            sent: Vec::new(),
            stall_ms: 0,
            congested: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            is_traced,
        }
    }

    /// The time of the server's clock.
    pub fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Moves the clock.
    pub fn advance(&mut self, ms: u64) {
        let now_ms = self.clock.fetch_add(ms, Ordering::Relaxed) + ms;
        self.oracle.model.now_ms = now_ms;
    }

    /// Returns true if a worker has something to receive, or was woken since its last step.
    pub fn is_due(&self, worker: usize) -> bool {
        let seat = &self.seats[worker];
        !seat.socket.is_empty() || seat.is_woken.load(Ordering::Relaxed)
    }

    /// Hands a datagram to the socket of a worker, which drops it if it is full.
    pub fn arrive(&mut self, worker: usize, from: PeerAddr, payload: Vec<u8>) {
        let seat = &mut self.seats[worker];
        if seat.socket.len() >= MAX_SOCKET {
            seat.drops += 1;
        } else {
            self.oracle.arrived(worker, &from, &payload);
            seat.socket.push_back((from, payload));
        }
    }

    /// Takes one step of a worker: it receives what waits, and sends up to `sends` parts of what is
    /// due.
    pub fn turn(&mut self, worker: usize, sends: u32) -> Progress {
        let Some(mut chat) = self.seats[worker].chat.take() else {
            return Progress::Idle;
        };
        let (info, now_ms) = (Arc::clone(&self.seats[worker].info), self.now_ms());
        self.seats[worker].is_woken.store(false, Ordering::Relaxed);
        let received = std::mem::take(&mut self.seats[worker].socket);
        info.counters.datagrams_in.add(received.len() as u64);
        self.seats[worker].received += received.len() as u64;
        for (from, payload) in received {
            self.note("<", worker, &from, &payload);
            let before = info.counters.read();
            let datagram = Datagram {
                from,
                payload: &payload,
                is_truncated: false,
            };
            chat.handle_datagram(datagram, now_ms);
            let counts = (&before, &info.counters.read());
            self.oracle
                .handled(worker, &from, &payload, counts, &self.registry);
        }
        info.counters.turns.add(1);
        let mut progress = Progress::More;
        for _ in 0..sends {
            self.oracle.texts.begin_step(worker, &self.oracle.model);
            let mut wire = Wire {
                host: self,
                worker: Some(worker),
            };
            progress = chat.poll_transmit(&mut wire, now_ms);
            if progress != Progress::More {
                break;
            }
        }
        let seat = &mut self.seats[worker];
        let new = seat.drops - info.counters.kernel_drops.get();
        info.counters.kernel_drops.add(new);
        seat.chat = Some(chat);
        progress
    }

    /// Makes the next worker that sends stuck in the middle of that. Meanwhile the others go on.
    pub fn stall(&mut self, ms: u64) {
        self.stall_ms = ms;
    }

    /// Makes the kernel refuse the next packets, as it has no space.
    pub fn congest(&mut self, packets: u32) {
        self.congested = packets;
    }

    /// Takes a step of the reaper.
    pub fn reap(&mut self) {
        let now_ms = self.now_ms();
        for seat in &mut self.seats {
            let turns = seat.info.counters.turns.get();
            if turns != std::mem::replace(&mut seat.reaped_turns, turns) {
                seat.good_rounds_ms.push_back(now_ms);
                if seat.good_rounds_ms.len() > 8 {
                    seat.good_rounds_ms.pop_front();
                }
                let drops = seat.info.counters.kernel_drops.get();
                if drops != std::mem::replace(&mut seat.reaped_drops, drops) {
                    seat.overflow_ms = Some(now_ms);
                }
            }
        }
        self.reaper.round(now_ms);
        let (seats, timeout_ms) = (&self.seats, self.timeout_ms);
        let is_calm = |worker: usize, seen_ms| {
            let seat: &Seat = &seats[worker];
            let is_late = |round_ms: &&u64| **round_ms > seen_ms + timeout_ms;
            let has_drops = seat.overflow_ms.is_some_and(|end_ms| end_ms > seen_ms);
            !has_drops && seat.good_rounds_ms.iter().filter(is_late).count() >= 3
        };
        self.oracle.reaped(&self.registry, is_calm);
    }

    /// Takes a step of the notifier.
    pub fn notify(&mut self) {
        let Some(notifier) = self.notifier.take() else {
            return;
        };
        self.oracle.begin_notices();
        let mut wire = Wire {
            host: self,
            worker: None,
        };
        notifier.round(&mut wire);
        let counters = &self.counters;
        let [sent, failed] = [&counters.sent, &counters.failed];
        let counted = sent.load(Ordering::Relaxed) + failed.load(Ordering::Relaxed);
        self.oracle.end_notices(counted);
        self.notifier = Some(notifier);
    }

    /// Lets the operator act.
    pub fn rule(&mut self, ruling: Ruling) {
        // The queue of the operator's notices is bounded.
        self.notify();
        let moderation = Arc::clone(&self.moderation);
        let model = &self.oracle.model;
        let binds = |address: SocketAddr| [0, 1].map(|bind| (address, bind));
        let known = |address| {
            let here = binds(address).into_iter();
            here.filter(|peer| model.peers.contains_key(peer))
                .collect::<Vec<_>>()
        };
        let now_ms = model.now_ms;
        match ruling {
            Ruling::Kick(address) => {
                let peers = known(address);
                let kicked = moderation.kick(&address.to_string());
                assert_eq!(kicked.is_ok(), !peers.is_empty(), "kick {address}");
                if kicked.is_ok() {
                    self.oracle.model.kicked.insert(address, now_ms);
                }
                self.remove(&peers);
            }
            Ruling::Mute(address, seconds) => {
                let peers = known(address);
                let muted = moderation.mute(&address.to_string(), Duration::from_secs(seconds));
                assert_eq!(muted.is_ok(), !peers.is_empty(), "mute {address}");
                for peer in peers {
                    let until_ms = now_ms + 1000 * seconds;
                    self.oracle.model.muted.insert(address, until_ms);
                    self.oracle.model.peer(peer).muted_until_ms = until_ms;
                    self.tell(peer, &Reply::Muted(seconds), false);
                }
            }
            Ruling::Unmute(address) => {
                let peers = known(address);
                let until_ms = self.oracle.model.muted.remove(&address).unwrap_or(0);
                let unmuted = moderation.unmute(&address.to_string());
                assert_eq!(unmuted.is_ok(), now_ms < until_ms, "unmute {address}");
                for peer in peers.into_iter().filter(|_| unmuted.is_ok()) {
                    self.oracle.model.peer(peer).muted_until_ms = 0;
                    self.tell(peer, &Reply::Unmuted, false);
                }
            }
            Ruling::Ban(address) => {
                let (net, network) = network_of(address);
                let peers = model.peers.keys().copied();
                let peers: Vec<_> = peers
                    .filter(|peer| net.contains(&peer.0.ip().to_canonical()))
                    .collect();
                let change = moderation.ban(net, None).expect("few bans");
                assert_eq!(change.removed, peers.len(), "ban {net}");
                self.oracle.model.banned.push(network);
                self.remove(&peers);
            }
            Ruling::Unban(address) => {
                let (net, network) = network_of(address);
                let is_banned = model.banned.contains(&network);
                assert_eq!(moderation.unban(net).is_ok(), is_banned, "unban {net}");
                self.oracle.model.banned.retain(|banned| *banned != network);
            }
        }
    }

    fn remove(&mut self, peers: &[Address]) {
        for peer in peers {
            self.tell(*peer, &Reply::Removed, true);
        }
        for peer in peers {
            self.oracle.model.remove(*peer, false);
        }
    }

    fn tell(&mut self, peer: Address, reply: &Reply<'_>, is_goodbye: bool) {
        let notice = self.oracle.notice(peer, reply, is_goodbye);
        self.oracle.operator.push((peer, notice));
    }

    /// Runs until all peers have gone and all is sent, and checks what is left. Returns a hash of all
    /// that came and left, and the counts of all workers.
    pub fn finish(&mut self) -> (u64, Counts) {
        (self.stall_ms, self.congested) = (0, 0);
        let step_ms = self.timeout_ms / 4 + 1;
        // An overflow delays an expiry to ten timeouts.
        for _ in 0..60 {
            loop {
                let turns = (0..self.seats.len()).map(|worker| self.turn(worker, u32::MAX));
                if turns.filter(|progress| *progress != Progress::Idle).count() == 0 {
                    break;
                }
                self.advance(25);
            }
            self.notify();
            self.advance(step_ms);
            self.reap();
        }
        self.notify();
        let mut counts = Counts::default();
        for seat in &self.seats {
            counts += seat.info.counters.read();
        }
        let received = self.seats.iter().map(|seat| seat.received).sum();
        let drops = self.seats.iter().map(|seat| seat.drops).sum();
        self.oracle
            .check_end(&counts, &self.registry, (received, drops));
        (self.hash, counts)
    }

    /// Returns true if nothing keeps a session from this address out.
    pub(crate) fn admits(&self, address: &PeerAddr) -> bool {
        let (model, ip) = (&self.oracle.model, address.socket_addr().ip());
        let config = &model.config;
        let kicked_ms = model.kicked.get(&address.socket_addr());
        config.max_peers > 10_000
            && config.limits.bytes_per_peer.0.is_none()
            && !config.deny.iter().any(|net| net.contains(&ip))
            && !model.banned.contains(&Network::of(ip))
            && !(ip.is_multicast() || address.port() < 1024)
            && kicked_ms.is_none_or(|kicked_ms| self.now_ms() > kicked_ms + 60_000)
    }

    /// Lets all but a stuck worker go on for a time.
    fn wait_for(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(25) {
            self.advance(25);
            for worker in 0..self.seats.len() {
                self.turn(worker, 2);
            }
            if self.now_ms() % 500 < 25 {
                self.reap();
                self.notify();
            }
        }
    }

    /// Takes a datagram into the hash and the trace.
    fn note(&mut self, direction: &str, worker: usize, peer: &PeerAddr, payload: &[u8]) {
        // FNV-1a (Fowler, Noll and Vo, 1991).
        let numbers = [self.now_ms(), worker as u64, u64::from(peer.port())];
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        for byte in numbers.chain(payload.iter().copied()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        if self.is_traced {
            let now_ms = self.now_ms();
            println!(
                "{now_ms} {worker} {direction} {peer:?} {}",
                payload.escape_ascii()
            );
        }
    }
}

/// The network between a server and its peers.
struct Wire<'a> {
    host: &'a mut Host,
    /// The worker that sends. `None`: the notifier.
    worker: Option<usize>,
}

impl Transmit for Wire<'_> {
    fn send<'a>(
        &mut self,
        endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        let host = &mut *self.host;
        let origin = self.worker.map_or(Origin::Notifier, Origin::Worker);
        for packet in packets {
            assert_eq!(packet.to.endpoint(), endpoint);
            let mut helps = false;
            let is_congested = host.congested > 0;
            host.congested -= u32::from(is_congested);
            for datagram in packet.datagrams() {
                let mut datagram = datagram.to_vec();
                if let Some(tag) = packet.tag {
                    datagram[TAG].copy_from_slice(&tag.bytes);
                }
                let worker = self.worker.unwrap_or(usize::MAX);
                host.note(">", worker, packet.to, &datagram);
                let received_by = host.oracle.sent(origin, packet.to, &datagram);
                helps |= received_by.is_some_and(|worker| Some(worker) != self.worker);
                if !is_congested {
                    host.sent.push((*packet.to, datagram));
                }
            }
            match is_congested {
                true => tally.congested += u64::from(packet.deliveries),
                false => tally.sent += u64::from(packet.deliveries),
            }
            // Half of the stalls wait for a slice of another worker's plan.
            let is_due = host.stall_ms.is_multiple_of(2) || helps;
            if self.worker.is_some() && is_due {
                let stall_ms = std::mem::take(&mut host.stall_ms);
                host.wait_for(stall_ms);
            }
        }
        tally
    }
}

fn network_of(address: SocketAddr) -> (IpNet, Network) {
    let network = Network::of(address.ip());
    let prefix = if network.address().is_ipv4() { 24 } else { 56 };
    (
        IpNet::new(network.address(), prefix).expect("a prefix"),
        network,
    )
}

/// All servers have one log, which nobody reads. Its queue takes longer to make than a short run.
static LOG: OnceLock<Log> = OnceLock::new();

/// Number of datagrams that a socket holds. One step of a worker receives them all.
const MAX_SOCKET: usize = 256;
