//! The real server core, without I/O, and with a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use super::{PEERS, Received, TIMEOUT_MS, WORKERS, address, worker};
use crate::net::{Datagram, Endpoint, Packet, PeerAddr, SendTally, Transmit};
use crate::server::config::{Proof, ServerConfig, Trust};
use crate::server::core::Chat;
use crate::server::egress::Exchange;
use crate::server::egress::notifier::{NotifierCounters, send_notices};
use crate::server::egress::{Egress, Progress};
use crate::server::ingress::admission::Admission;
use crate::server::ingress::bans::Bans;
use crate::server::ingress::challenges::Challenges;
use crate::server::ingress::token::Tokens;
use crate::server::ingress::{HelloLimit, Ingress, IngressShared, ReplyLimit};
use crate::server::keys::Keys;
use crate::server::ops::log::Log;
use crate::server::ops::stats::{Counts, WorkerId, WorkerInfo};
use crate::server::ops::supervise::Wake;
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::expiry::Timeout;
use crate::server::registry::{AddressHash, NetworkMeters, PeerRates, Registry, RegistryLimits};
use crate::server::settings::rules;
use crate::server::worker::Service;
use crate::wire::MAX_TEXT_DATAGRAM;
use crate::wire::v2::{
    BUNDLE_BYTES, ClientFrame, Hello, Message, ServerFrame, SessionId, Welcome, parse_server,
    push_client_frame, push_client_header, push_hello,
};

/// The chat services of all workers, and the state that they share.
pub(super) struct Core {
    pub(super) registry: Arc<Registry>,
    pub(super) bans: Arc<Bans>,
    chats: Vec<Chat>,
    infos: Vec<Arc<WorkerInfo>>,
    notifier: NotifierCounters,
    recorder: Recorder,
    now_ms: u64,
    /// The sessions that each peer has received, in order.
    sessions: Vec<Vec<u64>>,
}

/// Records all datagrams that are sent.
#[derive(Default)]
struct Recorder {
    datagrams: Vec<(PeerAddr, Vec<u8>)>,
}

impl Core {
    /// Returns a core that trusts its peers.
    pub(super) fn new(limits: RegistryLimits, proof: Proof, log: &Log) -> Self {
        let all = ["0.0.0.0/0", "::/0"].map(|net| Trust::Net(net.parse().unwrap()));
        Self::with_trust(limits, proof, all.to_vec(), PeerRates::none(), log)
    }

    /// Returns a core that trusts nobody, and whose peers are limited in this way.
    pub(super) fn with_rates(limits: RegistryLimits, rates: PeerRates, log: &Log) -> Self {
        Self::with_trust(limits, Proof::Never, vec![Trust::Nobody], rates, log)
    }

    fn with_trust(
        limits: RegistryLimits,
        proof: Proof,
        trust: Vec<Trust>,
        rates: PeerRates,
        log: &Log,
    ) -> Self {
        let mut keys = Keys::random().unwrap();
        let hash = AddressHash::drawn(&mut keys);
        let registry = Registry::new(WORKERS, limits, hash, Arc::new(|| {}));
        let registry = Arc::new(registry);
        let config = ServerConfig {
            proof,
            trust,
            ..ServerConfig::default()
        };
        let bans = Arc::<Bans>::default();
        let admission = Admission::new(rules(&config), Arc::clone(&bans), Arc::default());
        let ingress = Arc::new(IngressShared {
            registry: Arc::clone(&registry),
            log: log.clone(),
            timeout: Timeout::new(Duration::from_millis(TIMEOUT_MS)),
            has_commands: true,
            own_addresses: Arc::default(),
            admission: Arc::new(admission),
            rates,
            tokens: Tokens::new(keys.draw()),
            hellos: HelloLimit::new(AddressHash::drawn(&mut keys)),
            rejections: ReplyLimit::apart(1_000, &std::array::from_fn::<_, PEERS, _>(address)),
            challenges: Challenges::new(u32::MAX, NetworkMeters::new(None), &mut keys),
            servers: Arc::default(),
        });
        let no_wake = || -> Wake { Arc::new(|| {}) };
        let infos: Vec<_> = (0..WORKERS).map(|_| WorkerInfo::new("")).collect();
        let handle = |info: &Arc<WorkerInfo>| WorkerHandle {
            info: Arc::clone(info),
            wake: no_wake(),
        };
        let exchange = Arc::new(Exchange::new(infos.iter().map(handle).collect()));
        let chat = |(index, info): (usize, &Arc<WorkerInfo>)| {
            let worker = WorkerId(index as u8);
            let exchange = Arc::clone(&exchange);
            Chat {
                worker,
                registry: Arc::clone(&registry),
                ingress: Ingress::new(worker, Arc::clone(&ingress), Arc::clone(info)),
                egress: Egress::new(worker, exchange, BACKLOG, 64),
            }
        };
        let chats = infos.iter().enumerate().map(chat).collect();
        Self {
            registry,
            bans,
            chats,
            infos,
            notifier: NotifierCounters::default(),
            recorder: Recorder::default(),
            now_ms: 0,
            sessions: vec![Vec::new(); PEERS],
        }
    }

    /// The ingress of the first worker.
    pub(super) fn ingress(&self) -> &Ingress {
        &self.chats[0].ingress
    }

    /// Hands a datagram of `peer` to its worker.
    pub(super) fn receive(&mut self, peer: usize, payload: &[u8]) {
        let datagram = Datagram {
            from: address(peer),
            payload,
            is_truncated: false,
        };
        self.chats[worker(peer)].handle_datagram(datagram, self.now_ms);
    }

    /// Hands a HELLO of `peer` to its worker.
    pub(super) fn hello(&mut self, peer: usize) {
        let mut datagram = Vec::new();
        push_hello(&Hello::default(), &mut datagram);
        self.receive(peer, &datagram);
    }

    /// Hands frames of `peer`, in one datagram, to its worker.
    pub(super) fn receive_frames<'a>(
        &mut self,
        peer: usize,
        session: u64,
        frames: impl IntoIterator<Item = ClientFrame<'a>>,
    ) {
        let mut datagram = Vec::new();
        push_client_header(SessionId::new(session), &mut datagram);
        for frame in frames {
            push_client_frame(&frame, &mut datagram);
        }
        self.receive(peer, &datagram);
    }

    /// Returns the last session that `peer` received.
    pub(super) fn session(&self, peer: usize) -> Option<u64> {
        self.sessions[peer].last().copied()
    }

    /// Moves the clock and expires peers. Returns the peers that expired.
    pub(super) fn wait(&mut self, ms: u64) -> Vec<usize> {
        self.now_ms += ms;
        let mut expired = Vec::new();
        let on_expired = |peer| expired.push(number(peer));
        let oldest_ms = self.now_ms.saturating_sub(TIMEOUT_MS);
        self.registry.expire(&[oldest_ms; WORKERS], on_expired);
        expired
    }

    /// Sends everything that is due. Returns what each peer received.
    pub(super) fn settle(&mut self) -> Vec<Vec<Received>> {
        let mut received = vec![Vec::new(); PEERS];
        for (to, datagram) in self.sent() {
            let peer = number(to);
            self.decode(peer, &datagram, &mut received[peer]);
        }
        received
    }

    /// Sends everything that is due. Returns the datagrams.
    pub(super) fn sent(&mut self) -> Vec<(PeerAddr, Vec<u8>)> {
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for chat in &mut self.chats {
                is_busy |= chat.poll_transmit(&mut self.recorder, self.now_ms) == Progress::More;
            }
        }
        send_notices(&self.registry, &mut self.recorder, &self.notifier);
        std::mem::take(&mut self.recorder.datagrams)
    }

    /// Moves the clock. Nobody expires.
    pub(super) fn move_clock(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// Returns the sums of the counters of all workers.
    pub(super) fn counts(&self) -> Counts {
        let mut total = Counts::default();
        for info in &self.infos {
            total += info.counters.read();
        }
        total
    }

    fn decode(&mut self, peer: usize, datagram: &[u8], received: &mut Vec<Received>) {
        assert!(!datagram.is_empty());
        if datagram[0] != 0xFF {
            let text = datagram.strip_suffix(b"\n").unwrap_or(datagram);
            assert!(text.len() <= MAX_TEXT_DATAGRAM, "{}", datagram.len());
            return received.push(Received::Line(string(datagram)));
        }
        assert!(datagram.len() <= BUNDLE_BYTES, "{}", datagram.len());
        for frame in parse_server(datagram).expect("well-formed frames") {
            received.push(match frame {
                ServerFrame::Welcome(welcome) => self.decode_welcome(peer, welcome),
                ServerFrame::Message(Message {
                    room,
                    stream,
                    sequence,
                    from,
                    payload,
                }) => Received::Message {
                    room,
                    stream,
                    sequence,
                    from: from.to_string(),
                    payload: string(payload),
                },
                ServerFrame::Pong(token) => Received::Pong(string(token)),
                ServerFrame::Notice(code, text) => Received::Notice(code, string(text)),
                ServerFrame::Room(room) => Received::Room(room.number, room.name.to_string()),
                ServerFrame::Private(from, text) => {
                    Received::Private(from.to_string(), string(text))
                }
                ServerFrame::UnknownSession => Received::UnknownSession,
                ServerFrame::Goodbye => panic!("the server does not stop"),
                frame => panic!("{frame:?}"),
            });
        }
    }

    fn decode_welcome(&mut self, peer: usize, welcome: Welcome<'_>) -> Received {
        assert_eq!(u64::from(welcome.timeout_ms), TIMEOUT_MS);
        assert_eq!(usize::from(welcome.bundle_bytes), BUNDLE_BYTES);
        let sessions = &mut self.sessions[peer];
        let known = sessions
            .iter()
            .position(|known| *known == welcome.session.get());
        let session = known.unwrap_or_else(|| {
            sessions.push(welcome.session.get());
            sessions.len() - 1
        });
        Received::Welcome { session }
    }
}

impl Transmit for Recorder {
    fn send<'a>(
        &mut self,
        endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        for packet in packets {
            assert_eq!(packet.to.endpoint(), endpoint);
            tally.sent += u64::from(packet.deliveries);
            // An empty payload would be an empty datagram.
            assert!(!packet.payload.is_empty());
            for datagram in packet.datagrams() {
                self.datagrams.push((*packet.to, datagram.to_vec()));
            }
        }
        tally
    }
}

/// Returns the number of the peer with this address.
fn number(peer: PeerAddr) -> usize {
    let is_it = |number: &usize| address(*number) == peer;
    (0..PEERS).find(is_it).expect("one of the peers")
}

/// Converts a datagram. All are ASCII, but a reply may repeat bytes of its peer that are
/// not UTF-8.
fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Enough for all texts of a test.
const BACKLOG: Duration = Duration::from_secs(10);
