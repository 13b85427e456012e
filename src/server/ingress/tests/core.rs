//! The real core, without I/O and with a clock that the test moves.

use std::sync::{Arc, OnceLock};

use super::{Heard, PEERS, TIMEOUT_MS, WORKERS, address, worker};
use crate::net::{Datagram, Packet, PeerAddr, SendTally, Transmit};
use crate::server::egress::exchange::Handover;
use crate::server::egress::notifier::{CrierCounters, tell_news};
use crate::server::ingress::{Chat, ChatShared};
use crate::server::ops::log::Journal;
use crate::server::ops::stats::{Counts, WorkerInfo};
use crate::server::ops::supervise::Wake;
use crate::server::registry::Names;
use crate::server::registry::Peers;
use crate::server::registry::{News, RoomLimits, Rooms};
use crate::server::worker::Service;
use crate::wire::MAX_TEXT_DATAGRAM;
use crate::wire::v2::{
    BUNDLE_BYTES, ClientFrame, MIN_HELLO_BYTES, Message, NO_SESSION, ServerFrame, Welcome,
    parse_server, push_client_frame, push_client_header, push_padding,
};

/// All chat services of a server, with what they share.
pub(super) struct Core {
    pub(super) peers: Arc<Peers>,
    chats: Vec<Chat>,
    infos: Vec<Arc<WorkerInfo>>,
    crier: CrierCounters,
    recorder: Recorder,
    now_ms: u64,
    /// For each peer the sessions that it was told of, in their order.
    sessions: Vec<Vec<u64>>,
}

/// How much the peers may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) peers: usize,
    pub(super) names: usize,
    pub(super) rooms: usize,
    pub(super) members: usize,
}

/// Keeps what is sent, datagram by datagram.
#[derive(Default)]
struct Recorder {
    datagrams: Vec<(PeerAddr, Vec<u8>)>,
}

impl Core {
    pub(super) fn new(bounds: Bounds, journal: &Journal) -> Self {
        let limits = RoomLimits {
            max_rooms: bounds.rooms,
            max_members: bounds.members as u32,
        };
        let rooms = Rooms::new(WORKERS, limits, News::new(Box::new(|| {})));
        let peers = Arc::new(Peers::new(rooms, Names::new(bounds.names), bounds.peers));
        let waker = |_| -> Wake { Box::new(|| {}) };
        let shared = ChatShared {
            peers: Arc::clone(&peers),
            handover: Arc::new(Handover::new((0..WORKERS).map(waker).collect())),
            journal: journal.clone(),
            timeout_ms: TIMEOUT_MS as u32,
            max_segments: 64,
            commands: true,
            echo_prefixes: Arc::new([]),
        };
        let infos: Vec<_> = (0..WORKERS).map(|_| info()).collect();
        let chat = |(worker, info): (usize, &Arc<WorkerInfo>)| {
            Chat::new(worker as u8, shared.clone(), Arc::clone(info))
        };
        Self {
            peers,
            chats: infos.iter().enumerate().map(chat).collect(),
            infos,
            crier: CrierCounters::default(),
            recorder: Recorder::default(),
            now_ms: 0,
            sessions: vec![Vec::new(); PEERS],
        }
    }

    /// A datagram of `peer` reaches its worker.
    pub(super) fn take(&mut self, peer: usize, payload: &[u8]) {
        let datagram = Datagram {
            from: address(peer),
            payload,
            is_truncated: false,
        };
        self.chats[worker(peer)].take(datagram, self.now_ms);
    }

    /// `peer` asks for a session.
    pub(super) fn hello(&mut self, peer: usize) {
        let mut datagram = Vec::new();
        push_client_header(NO_SESSION, &mut datagram);
        push_client_frame(&ClientFrame::Hello, &mut datagram);
        push_padding(0, MIN_HELLO_BYTES, &mut datagram);
        self.take(peer, &datagram);
    }

    /// Frames of `peer`, in one datagram, reach its worker.
    pub(super) fn take_frames<'a>(
        &mut self,
        peer: usize,
        session: u64,
        frames: impl IntoIterator<Item = ClientFrame<'a>>,
    ) {
        let mut datagram = Vec::new();
        push_client_header(session, &mut datagram);
        for frame in frames {
            push_client_frame(&frame, &mut datagram);
        }
        self.take(peer, &datagram);
    }

    /// The last session that `peer` was told of.
    pub(super) fn session(&self, peer: usize) -> Option<u64> {
        self.sessions[peer].last().copied()
    }

    /// Time passes, and the reaper looks. Returns whom it dropped.
    pub(super) fn wait(&mut self, ms: u64) -> Vec<usize> {
        self.now_ms += ms;
        let mut gone = Vec::new();
        let on_expired = |peer| gone.push(number(peer));
        self.peers.expire(self.now_ms, TIMEOUT_MS, on_expired);
        gone
    }

    /// Everything that waits is sent. Returns for each peer what it heard.
    pub(super) fn settle(&mut self) -> Vec<Vec<Heard>> {
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for chat in &mut self.chats {
                is_busy |= chat.send_some(&mut self.recorder);
            }
        }
        tell_news(&self.peers, &mut self.recorder, &self.crier);
        let mut heard = vec![Vec::new(); PEERS];
        for (to, datagram) in std::mem::take(&mut self.recorder.datagrams) {
            let peer = number(to);
            self.decode(peer, &datagram, &mut heard[peer]);
        }
        heard
    }

    /// What all workers have counted.
    pub(super) fn counts(&self) -> Counts {
        let mut total = Counts::default();
        for info in &self.infos {
            total += info.counters.read();
        }
        total
    }

    fn decode(&mut self, peer: usize, datagram: &[u8], heard: &mut Vec<Heard>) {
        assert!(!datagram.is_empty());
        if datagram[0] != 0xFF {
            let text = datagram.strip_suffix(b"\n").unwrap_or(datagram);
            assert!(text.len() <= MAX_TEXT_DATAGRAM, "{}", datagram.len());
            return heard.push(Heard::Line(string(datagram)));
        }
        assert!(datagram.len() <= BUNDLE_BYTES, "{}", datagram.len());
        for frame in parse_server(datagram).expect("well-formed frames") {
            heard.push(match frame {
                ServerFrame::Welcome(welcome) => self.welcomed(peer, welcome),
                ServerFrame::Message(Message {
                    room,
                    stream,
                    sequence,
                    from,
                    payload,
                }) => Heard::Message {
                    room,
                    stream,
                    sequence,
                    from: from.to_string(),
                    payload: string(payload),
                },
                ServerFrame::Pong(token) => Heard::Pong(string(token)),
                ServerFrame::Notice(code, text) => Heard::Notice(code, string(text)),
                ServerFrame::Room(number, name) => Heard::Room(number, name.to_string()),
                ServerFrame::Private(from, text) => Heard::Private(from.to_string(), string(text)),
                ServerFrame::Goodbye => panic!("nobody stops the server"),
            });
        }
    }

    fn welcomed(&mut self, peer: usize, welcome: Welcome) -> Heard {
        assert_eq!(u64::from(welcome.timeout_ms), TIMEOUT_MS);
        assert_eq!(usize::from(welcome.bundle_bytes), BUNDLE_BYTES);
        let sessions = &mut self.sessions[peer];
        let known = sessions.iter().position(|known| *known == welcome.session);
        let session = known.unwrap_or_else(|| {
            sessions.push(welcome.session);
            sessions.len() - 1
        });
        Heard::Welcome {
            session,
            room: welcome.room,
        }
    }
}

impl Transmit for Recorder {
    fn send<'a>(
        &mut self,
        endpoint: u8,
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

/// Which peer has this address.
fn number(peer: PeerAddr) -> usize {
    let is_it = |number: &usize| address(*number) == peer;
    (0..PEERS).find(is_it).expect("one of the peers")
}

fn info() -> Arc<WorkerInfo> {
    Arc::new(WorkerInfo {
        name: String::new(),
        core: OnceLock::new(),
        counters: Default::default(),
    })
}

/// All is ASCII but what a peer said that is not UTF-8, which goes back to it.
fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
