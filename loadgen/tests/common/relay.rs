//! A relay between the clients of a run and a server. It drops, repeats, swaps and
//! misdirects what the server says, chosen by a fixed seed, and keeps account of what
//! the run must find therefore.
//!
//! Each client has a socket of its own to the server. What clients say passes as it is.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bullhorn::net::{BufferSizes, bind_group};
use bullhorn::wire::QUIT;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_client, parse_server};
use loadgen::config::Protocol;
use loadgen::engine::stamp::{ADMISSION_SEQUENCE, STAMP_BYTES, Stamp};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

pub(crate) use super::truth::RoomPlan;
use super::truth::{Item, Truth};

/// A relay that runs until it is finished, or dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    is_stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<(Did, Truth)>>,
}

/// Which faults it makes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) protocol: Protocol,
    /// Only what was due in this time meets with faults. It ends so long before the run
    /// does that what is kept back is sent.
    pub(crate) faults_ns: std::ops::Range<u64>,
    pub(crate) rooms: RoomPlan,
    /// Whether what others send reaches the clients: it does not where their sockets
    /// are connected.
    pub(crate) has_strangers: bool,
}

/// How many texts and answers met with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Did {
    /// Datagrams with several texts, which all meet with the same.
    pub(crate) bundles: u64,
    pub(crate) dropped: u64,
    pub(crate) repeated_at_once: u64,
    pub(crate) repeated_later: u64,
    pub(crate) swapped: u64,
    /// Also sent to a client of another room. In version 2, the datagrams count, as they carry the
    /// session of their own client.
    pub(crate) misdirected: u64,
    /// Datagrams that were also sent with another session, in version 2.
    pub(crate) sessions_forged: u64,
    /// Also sent with a stamp that is not genuine.
    pub(crate) forged: u64,
    /// Also sent by somebody who is not the server.
    pub(crate) impersonated: u64,
    /// Datagrams beside it that are nothing.
    pub(crate) garbage: u64,
    pub(crate) answers_dropped: u64,
    pub(crate) answers_repeated: u64,
    /// Also sent to another client.
    pub(crate) answers_misdirected: u64,
    /// Also sent with a stamp that is not genuine.
    pub(crate) answers_forged: u64,
}

impl Relay {
    /// A relay to the server at `to`.
    pub(crate) fn start(to: SocketAddr, plan: Plan) -> Self {
        let (front, stranger) = (socket(), socket());
        let address = front.local_addr().unwrap();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), WAKER).unwrap();
        let running = Running {
            to,
            front,
            stranger,
            peers: Vec::new(),
            by_address: HashMap::new(),
            is_stopping: Arc::clone(&is_stopping),
            random: fastrand::Rng::with_seed(plan.seed),
            did: Did::default(),
            truth: Truth::new(plan.faults_ns.start, plan.rooms),
            plan,
        };
        Self {
            address,
            is_stopping,
            waker,
            thread: Some(thread::spawn(move || running.run(poll))),
        }
    }

    /// Where the clients take the server to be.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: what it did, and what comes of it.
    pub(crate) fn finish(mut self) -> (Did, Truth) {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    fn stop(&self) {
        self.is_stopping.store(true, SeqCst);
        let _ = self.waker.wake();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Running {
    to: SocketAddr,
    /// The clients speak to this one.
    front: UdpSocket,
    stranger: UdpSocket,
    peers: Vec<Peer>,
    by_address: HashMap<SocketAddr, usize>,
    is_stopping: Arc<AtomicBool>,
    plan: Plan,
    random: fastrand::Rng,
    did: Did,
    truth: Truth,
}

/// A client, as the relay knows it.
struct Peer {
    address: SocketAddr,
    /// Its socket to the server.
    back: UdpSocket,
    /// Its number among the clients of the run, once it has sent a stamp.
    number: Option<u32>,
    /// To come after its next text.
    swapped: Option<Vec<u8>>,
    /// To come again after it.
    repeated: Option<Vec<u8>>,
}

impl Running {
    fn run(mut self, mut poll: Poll) -> (Did, Truth) {
        let registry = poll.registry();
        registry
            .register(&mut self.front, FRONT, Interest::READABLE)
            .unwrap();
        let mut ready = Events::with_capacity(64);
        let mut buffer = vec![0; 65_536];
        while !self.is_stopping.load(SeqCst) {
            poll.poll(&mut ready, Some(Duration::from_secs(1))).unwrap();
            for event in &ready {
                match event.token() {
                    WAKER => {}
                    FRONT => self.read_front(&poll, &mut buffer),
                    Token(place) => self.read_back(place, &mut buffer),
                }
            }
        }
        let mut kept = self.peers.iter();
        assert!(
            kept.all(|peer| peer.swapped.is_none() && peer.repeated.is_none()),
            "the faults ended too late: something is kept back for ever"
        );
        (self.did, self.truth)
    }

    fn read_front(&mut self, poll: &Poll, buffer: &mut [u8]) {
        while let Some((len, from)) = would_block(self.front.recv_from(buffer)) {
            // The generator asks in this way whether anything listens here.
            if buffer[..len] == *QUIT && !self.by_address.contains_key(&from) {
                continue;
            }
            let place = *self.by_address.entry(from).or_insert_with(|| {
                let mut back = socket();
                back.connect(self.to).unwrap();
                let token = Token(self.peers.len());
                poll.registry()
                    .register(&mut back, token, Interest::READABLE)
                    .unwrap();
                self.peers.push(Peer {
                    address: from,
                    back,
                    number: None,
                    swapped: None,
                    repeated: None,
                });
                token.0
            });
            let datagram = &buffer[..len];
            if let Some(item) = said(self.plan.protocol, datagram) {
                self.peers[place].number = Some(item.stamp().client);
                self.truth.said(item, len);
            }
            // A server that is down shows in what it does not say.
            let _ = self.peers[place].back.send(datagram);
        }
    }

    fn read_back(&mut self, place: usize, buffer: &mut [u8]) {
        while let Some(len) = would_block(self.peers[place].back.recv(buffer)) {
            let datagram = &buffer[..len];
            let items = received(self.plan.protocol, datagram);
            let faults_ns = &self.plan.faults_ns;
            let is_open = |item: &Item| faults_ns.contains(&item.stamp().due_ns);
            let texts = items.iter().filter(|item| matches!(item, Item::Text(_)));
            let (texts, all) = (texts.count(), items.len());
            let first_ns = items.first().map(|item| item.stamp().due_ns);
            if first_ns.is_some_and(|due_ns| due_ns + EARLY_NS < faults_ns.start) {
                // It comes before the recording begins, and so does not count.
                self.send_as(&self.front, place, GARBAGE);
            }
            let may_fault = all > 0 && items.iter().all(is_open);
            self.did.bundles += u64::from(texts > 1);
            match texts {
                0 if may_fault => self.answer(place, datagram),
                0 => self.emit(place, datagram),
                _ if texts == all && may_fault => self.text(place, datagram, texts as u64),
                _ => self.text_as_it_is(place, datagram),
            }
        }
    }

    fn answer(&mut self, place: usize, datagram: &[u8]) {
        match self.random.u8(..8) {
            0 => self.did.answers_dropped += 1,
            1 => {
                self.emit(place, datagram);
                self.emit(place, datagram);
                self.did.answers_repeated += 1;
            }
            2 => {
                self.emit(place, datagram);
                let other = (place + 1) % self.peers.len();
                self.misdirect(other, datagram);
                self.did.answers_misdirected += 1;
            }
            3 => {
                self.emit(place, datagram);
                self.forge(place, datagram, 1);
                self.did.answers_forged += 1;
            }
            _ => self.emit(place, datagram),
        }
    }

    /// A datagram of one or several texts, to the client at `place`.
    fn text(&mut self, place: usize, datagram: &[u8], texts: u64) {
        match self.random.u8(..16) {
            0 => self.did.dropped += texts,
            1 => {
                self.text_as_it_is(place, datagram);
                self.emit(place, datagram);
                self.did.repeated_at_once += texts;
            }
            2 => {
                self.text_as_it_is(place, datagram);
                self.peers[place].repeated = Some(datagram.to_vec());
                self.did.repeated_later += texts;
            }
            3..6 if self.peers[place].swapped.is_none() => {
                self.peers[place].swapped = Some(datagram.to_vec());
                self.did.swapped += texts;
            }
            6 => {
                self.text_as_it_is(place, datagram);
                if let Some(other) = self.one_of_another_room(place) {
                    self.misdirect(other, datagram);
                    self.did.misdirected += match self.plan.protocol {
                        Protocol::V1 => texts,
                        Protocol::V2 => 1,
                    };
                }
            }
            7 => {
                self.text_as_it_is(place, datagram);
                self.forge(place, datagram, texts);
                self.did.forged += texts;
            }
            8 if self.plan.has_strangers => {
                self.send_as(&self.stranger, place, datagram);
                self.truth.strayed(1);
                self.did.impersonated += 1;
                self.text_as_it_is(place, datagram);
            }
            9 => {
                self.send_as(&self.front, place, GARBAGE);
                self.truth.strayed(1);
                self.did.garbage += 1;
                self.text_as_it_is(place, datagram);
            }
            10 if self.plan.protocol == Protocol::V2 => {
                let mut forged = datagram.to_vec();
                forged[SESSION_BYTE] ^= 1;
                self.misdirect(place, &forged);
                self.did.sessions_forged += 1;
                self.text_as_it_is(place, datagram);
            }
            _ => self.text_as_it_is(place, datagram),
        }
    }

    /// Sends a datagram to a client that it is not for.
    fn misdirect(&mut self, place: usize, datagram: &[u8]) {
        match self.plan.protocol {
            Protocol::V1 => self.emit(place, datagram),
            Protocol::V2 => {
                self.send_as(&self.front, place, datagram);
                self.truth.strayed(1);
            }
        }
    }

    /// Passes texts on, and behind them what was kept back for that.
    fn text_as_it_is(&mut self, place: usize, datagram: &[u8]) {
        self.emit(place, datagram);
        let peer = &mut self.peers[place];
        let kept = [peer.swapped.take(), peer.repeated.take()];
        for datagram in kept.into_iter().flatten() {
            self.emit(place, &datagram);
        }
    }

    /// Sends it with stamps that look genuine, and are of nothing that was sent.
    fn forge(&mut self, place: usize, datagram: &[u8], count: u64) {
        let mut forged = datagram.to_vec();
        let kind = self.random.u8(..3);
        for item in received(self.plan.protocol, datagram) {
            let genuine = *item.stamp();
            let mut stamp = genuine;
            match kind {
                0 => stamp.run = !stamp.run,
                1 => stamp.sequence += 1_000_000,
                _ => stamp.client += 1_000_000,
            }
            let place = find(&forged, &encoded(&genuine));
            forged[place..place + STAMP_BYTES].copy_from_slice(&encoded(&stamp));
        }
        self.send_as(&self.front, place, &forged);
        self.truth.strayed(count);
    }

    fn emit(&mut self, place: usize, datagram: &[u8]) {
        self.send_as(&self.front, place, datagram);
        let number = self.number(place);
        for item in received(self.plan.protocol, datagram) {
            self.truth.received(number, item);
        }
    }

    fn send_as(&self, socket: &UdpSocket, place: usize, datagram: &[u8]) {
        while would_block(socket.send_to(datagram, self.peers[place].address)).is_none() {
            thread::yield_now();
        }
    }

    fn one_of_another_room(&mut self, place: usize) -> Option<usize> {
        let room = |place| self.truth.room_of(self.number(place));
        let others = 0..self.peers.len();
        let others: Vec<usize> = others.filter(|other| room(*other) != room(place)).collect();
        self.random.choice(others)
    }

    /// The number of the client at `place`; one that never sends a stamp has another.
    fn number(&self, place: usize) -> u32 {
        let number = self.peers[place].number;
        number.unwrap_or(LISTENERS + place as u32)
    }
}

/// What a client says that has a stamp.
fn said(protocol: Protocol, datagram: &[u8]) -> Option<Item> {
    match protocol {
        Protocol::V1 => match datagram.strip_prefix(b"/ping ") {
            Some(token) => Stamp::decode(token).map(Item::Ask),
            None => Stamp::decode(datagram).map(Item::Text),
        },
        Protocol::V2 => parse_client(datagram)
            .ok()?
            .1
            .find_map(|frame| match frame {
                ClientFrame::Say(payload) => Stamp::decode(payload).map(Item::Text),
                ClientFrame::Ping(token) => ask(token),
                _ => None,
            }),
    }
}

/// A request of the load, and not one by which the generator asks if the server still knows a client.
fn ask(token: &[u8]) -> Option<Item> {
    let stamp = Stamp::decode(token)?;
    (stamp.sequence != ADMISSION_SEQUENCE).then_some(Item::Ask(stamp))
}

/// What a datagram of the server has in it with a stamp.
fn received(protocol: Protocol, datagram: &[u8]) -> Vec<Item> {
    match protocol {
        Protocol::V1 => {
            let item = match datagram.strip_prefix(b"* pong ") {
                Some(token) => Stamp::decode(token).map(Item::Ask),
                None => {
                    let speaker = datagram.iter().position(|byte| *byte == b' ');
                    let text = speaker.map(|blank| &datagram[blank + 1..]);
                    text.and_then(Stamp::decode).map(Item::Text)
                }
            };
            item.into_iter().collect()
        }
        Protocol::V2 => parse_server(datagram)
            .unwrap()
            .filter_map(|frame| match frame {
                ServerFrame::Message(message) => Stamp::decode(message.payload).map(Item::Text),
                ServerFrame::Pong(token) => ask(token),
                _ => None,
            })
            .collect(),
    }
}

fn encoded(stamp: &Stamp) -> [u8; STAMP_BYTES] {
    let mut bytes = [0; STAMP_BYTES];
    stamp.encode(&mut bytes);
    bytes
}

fn find(datagram: &[u8], part: &[u8]) -> usize {
    let mut places = datagram.windows(part.len());
    places.position(|place| place == part).unwrap()
}

/// None: it would have to wait.
fn would_block<T>(result: std::io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// One that loses nothing on a busy machine.
fn socket() -> UdpSocket {
    let wanted = BufferSizes {
        receive_bytes: 4 << 20,
        send_bytes: 1 << 20,
    };
    let any = "127.0.0.1:0".parse().unwrap();
    bind_group(any, 1, wanted).unwrap().sockets.remove(0)
}

/// No datagram of either version.
const GARBAGE: &[u8] = b"what is this, and for whom?";

/// The last byte of the session in the header of a datagram of version 2.
const SESSION_BYTE: usize = 9;

/// Longer than anything takes to get from here to a client.
const EARLY_NS: u64 = 150_000_000;

/// Above the numbers of all clients.
const LISTENERS: u32 = 1_000_000;

const FRONT: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
