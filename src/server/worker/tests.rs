use super::*;
use crate::net::{BufferSizes, Gso, bind_group};
use crate::server::ops::supervise::Supervisor;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_sender_with_port_0_or_an_own_address_is_refused_at_every_endpoint() {
    let peer = |text: &str, endpoint| PeerAddr::new(text.parse().unwrap(), endpoint);
    let own_addresses = ["127.0.0.1:9999", "[::1]:9998"].map(|text| text.parse().unwrap());
    let own_addresses = OwnAddresses::new(&own_addresses, &[], Arc::default());
    for endpoint in 0..3 {
        for (from, refusal) in [
            ("127.0.0.1:0", Some(DropReason::PortZero)),
            ("[::1]:0", Some(DropReason::PortZero)),
            ("127.0.0.1:9999", Some(DropReason::OwnAddress)),
            ("[::1]:9998", Some(DropReason::OwnAddress)),
            ("127.0.0.1:9998", None),
            ("127.0.0.2:9999", None),
            ("[::1]:9999", None),
        ] {
            assert_eq!(
                refuse(&peer(from, endpoint), &own_addresses),
                refusal,
                "{from}"
            );
        }
    }
}

/// A service that always has more to send. For each datagram that it receives, it sends one
/// to itself, until it has received [`Endless::DATAGRAMS`].
struct Endless {
    socket: UdpSocket,
    worker: SocketAddr,
    received: u64,
    rounds: Arc<Mutex<Vec<Round>>>,
    info: Arc<WorkerInfo>,
    stop: Arc<StopSignal>,
}

/// The datagrams that a worker receives before it sends.
struct Round {
    /// The number of the worker's turns when they were received.
    turn: u64,
    datagrams: u64,
    first: Instant,
    last: Instant,
}

impl Endless {
    const DATAGRAMS: u64 = 5000;
}

impl Service for Endless {
    fn handle_datagram(&mut self, _datagram: Datagram<'_>, _now_ms: u64) {
        self.received += 1;
        if self.received < Self::DATAGRAMS {
            self.socket.send_to(b"x", self.worker).unwrap();
        }
        let (turn, now) = (self.info.counters.turns.get(), Instant::now());
        let mut rounds = self.rounds.lock().unwrap();
        match rounds.last_mut() {
            Some(round) if round.turn == turn => {
                round.datagrams += 1;
                round.last = now;
            }
            _ => rounds.push(Round {
                turn,
                datagrams: 1,
                first: now,
                last: now,
            }),
        }
    }

    fn poll_transmit(&mut self, _transmit: &mut impl Transmit, _now_ms: u64) -> Progress {
        let rounds = self.rounds.lock().unwrap();
        let turns = self.info.counters.turns.get();
        if rounds.last().is_some_and(|round| round.turn + 1 < turns) {
            self.stop.stop();
        }
        Progress::More
    }

    fn stop(&mut self, _transmit: &mut impl Transmit) {}
}

#[test]
fn a_worker_that_never_sleeps_sends_between_rounds_and_counts_kernel_drops() {
    // Space for more than one batch, and for less than is sent.
    let buffers = BufferSizes {
        receive_bytes: 1 << 17,
        send_bytes: 1 << 17,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let group = bind_group(address, 1, buffers).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..2000 {
        socket.send_to(b"x", group.local_addr).unwrap();
    }
    let elapsed_ms = AtomicU64::new(0);
    let shared = WorkerShared {
        clock: Clock::from_fn(move || {
            elapsed_ms.fetch_add(DROPS_INTERVAL_MS + 1, Ordering::Relaxed)
        }),
        spin: Duration::ZERO,
        own_addresses: Arc::default(),
        log: Log::new().0,
    };
    let supervisor = Supervisor::new();
    let stop = Arc::clone(supervisor.stop_signal());
    let rounds = Arc::<Mutex<Vec<Round>>>::default();
    let info = WorkerInfo::new("");
    let service = Endless {
        socket,
        worker: group.local_addr,
        received: 0,
        rounds: Arc::clone(&rounds),
        info: Arc::clone(&info),
        stop: Arc::clone(&stop),
    };
    let (poll, _wake) = poll_and_wake().unwrap();
    let sockets = WorkerSockets::without_spares(group.sockets, Gso::On);
    let worker = Worker::new(poll, sockets, service, &shared, Arc::clone(&info)).unwrap();
    worker.run(&stop).unwrap();

    let rounds = rounds.lock().unwrap();
    let counts: Vec<u64> = rounds.iter().map(|round| round.datagrams).collect();
    // At most 16 batches, or fewer on a busy machine.
    assert!(counts.iter().all(|count| *count <= 1024), "{counts:?}");
    assert!(counts.len() < 40, "more than a batch in most: {counts:?}");
    // It sends for as long as it has received.
    for (round, next) in rounds.iter().zip(&rounds[1..]) {
        let received = round.last - round.first;
        assert!(next.first - round.last >= received.min(MAX_SEND_TIME));
    }
    let kernel_drops = info.counters.kernel_drops.get();
    assert!(kernel_drops > 0);
    let received = info.counters.datagrams_in.get();
    let sent = 2000 + received.min(Endless::DATAGRAMS - 1);
    assert_eq!(received + kernel_drops, sent);
}

/// A service that sends this number of parts, if it is asked as often.
struct Parts(u32);

impl Service for Parts {
    fn handle_datagram(&mut self, _datagram: Datagram<'_>, _now_ms: u64) {}

    fn poll_transmit(&mut self, _transmit: &mut impl Transmit, _now_ms: u64) -> Progress {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Progress::More
            }
            None => Progress::Waiting,
        }
    }

    fn stop(&mut self, _transmit: &mut impl Transmit) {}
}

#[test]
fn a_worker_sends_one_part_at_least_and_ends_when_there_is_no_more() {
    let shared = WorkerShared {
        clock: Clock::monotonic(),
        spin: Duration::ZERO,
        own_addresses: Arc::default(),
        log: Log::new().0,
    };
    let sockets = WorkerSockets::without_spares(Vec::new(), Gso::On);
    let (poll, _wake) = poll_and_wake().unwrap();
    let service = Parts(1_000);
    let mut worker = Worker::new(poll, sockets, service, &shared, WorkerInfo::new("")).unwrap();
    let now = Instant::now();
    assert_eq!(worker.send(now, 0), Progress::More);
    assert_eq!(worker.service.0, 999);
    assert_eq!(
        worker.send(now + Duration::from_secs(3600), 0),
        Progress::Waiting
    );
    assert_eq!(worker.service.0, 0);
}

/// Counts datagrams.
struct Counting(u64);

impl Service for Counting {
    fn handle_datagram(&mut self, _datagram: Datagram<'_>, _now_ms: u64) {
        self.0 += 1;
    }

    fn poll_transmit(&mut self, _transmit: &mut impl Transmit, _now_ms: u64) -> Progress {
        Progress::Idle
    }

    fn stop(&mut self, _transmit: &mut impl Transmit) {}
}

#[test]
fn after_a_network_error_the_round_goes_on() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Only a connected socket receives the error of an earlier send on loopback.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let waiting = socket.local_addr().unwrap();
    peer.send_to(b"x", waiting).unwrap();
    drop(peer);
    socket.send(b"to nobody").unwrap();

    let shared = WorkerShared {
        clock: Clock::monotonic(),
        spin: Duration::ZERO,
        own_addresses: Arc::default(),
        log: Log::new().0,
    };
    let sockets = vec![mio::net::UdpSocket::from_std(socket)];
    let sockets = WorkerSockets::without_spares(sockets, Gso::On);
    let (poll, _wake) = poll_and_wake().unwrap();
    let info = WorkerInfo::new("");
    let service = Counting(0);
    let mut worker = Worker::new(poll, sockets, service, &shared, Arc::clone(&info)).unwrap();
    assert_eq!(worker.receive(0).unwrap(), Progress::Idle);
    assert_eq!(info.counters.receive_errors.get(), 1);
    assert_eq!(worker.service.0, 1);
}

#[test]
fn only_errors_of_the_program_itself_end_a_worker() {
    let is_fatal = |code| is_fatal(&io::Error::from_raw_os_error(code));
    for code in [
        libc::EBADF,
        libc::ENOTSOCK,
        libc::EFAULT,
        libc::EINVAL,
        libc::ENOSYS,
        libc::EPERM,
        libc::EACCES,
    ] {
        assert!(is_fatal(code), "{code}");
    }
    for code in [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ENETDOWN,
        libc::EINTR,
        libc::ENOBUFS,
        libc::ENOMEM,
    ] {
        assert!(!is_fatal(code), "{code}");
    }
    assert!(!super::is_fatal(&io::Error::other("no number")));
}
