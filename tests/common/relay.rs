//! A relay between a client and a server. It drops, repeats and reorders datagrams of
//! the server at random, from a fixed seed, and counts the messages in them.
//!
//! It only does so with datagrams that contain nothing but messages, so the session
//! itself is safe. It forwards the datagrams of the client unchanged.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bullhorn::wire::v2::{ServerFrame, parse_server};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

/// A relay that runs until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Numbers of messages of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelayCounts {
    /// Messages forwarded at least once.
    pub(crate) forwarded: u64,
    /// Messages never forwarded.
    pub(crate) dropped: u64,
    /// Copies forwarded after the first.
    pub(crate) repeated: u64,
    /// Messages forwarded after a later one.
    pub(crate) reordered: u64,
}

struct Shared {
    is_stopping: AtomicBool,
    is_faulty: AtomicBool,
    /// Every other datagram with a ROOM is lost.
    loses_rooms: AtomicBool,
    /// The relay is to send to the server from another port.
    must_move: AtomicBool,
    /// Datagrams that are longer are lost in both directions, and not counted.
    max_bytes: AtomicUsize,
    /// By room and stream.
    counts: Mutex<HashMap<(u32, u8), RelayCounts>>,
}

/// Datagrams of one stream to send after its next one.
#[derive(Default)]
struct HeldBack {
    reordered: Option<Vec<u8>>,
    repeated: Option<Vec<u8>>,
}

impl Relay {
    /// Starts a relay without faults to `server`.
    pub(crate) fn start(server: SocketAddr, seed: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let back = connected(server);
        let address = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            is_stopping: AtomicBool::new(false),
            is_faulty: AtomicBool::new(false),
            loses_rooms: AtomicBool::new(false),
            must_move: AtomicBool::new(false),
            max_bytes: AtomicUsize::new(usize::MAX),
            counts: Mutex::default(),
        });
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(2)).unwrap();
        let relay = RelayThread {
            front,
            back,
            server,
            lost_rooms: 0,
            client: None,
            held_back: HashMap::new(),
            shared: Arc::clone(&shared),
            random: seed,
        };
        let thread = Some(thread::spawn(move || relay.run(poll)));
        Self {
            address,
            shared,
            waker,
            thread,
        }
    }

    /// Returns the address for the client to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts or ends the faults. Datagrams that are held back follow the next datagram
    /// of their stream.
    pub(crate) fn set_faulty(&self, is_faulty: bool) {
        self.shared.is_faulty.store(is_faulty, Ordering::SeqCst);
    }

    /// Loses every other datagram with a ROOM, the first one as well.
    pub(crate) fn lose_rooms(&self) {
        self.shared.loses_rooms.store(true, Ordering::SeqCst);
    }

    /// Sends to the server from another port from now on, as after NAT rebinding.
    pub(crate) fn move_to_another_port(&self) {
        self.shared.must_move.store(true, Ordering::SeqCst);
        let _ = self.waker.wake();
        while self.shared.must_move.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    /// Loses all datagrams that are longer, as a path without ICMP does.
    pub(crate) fn set_max_bytes(&self, max_bytes: usize) {
        self.shared.max_bytes.store(max_bytes, Ordering::SeqCst);
    }

    /// Returns the counts so far, by room and stream.
    pub(crate) fn counts(&self) -> HashMap<(u32, u8), RelayCounts> {
        self.shared.counts.lock().unwrap().clone()
    }

    /// Returns the number of messages received from the server.
    pub(crate) fn received(&self) -> u64 {
        let counts = self.shared.counts.lock().unwrap();
        let received = counts
            .values()
            .map(|counts| counts.forwarded + counts.dropped);
        received.sum()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the relay failed");
        }
    }
}

struct RelayThread {
    /// The socket towards the client.
    front: UdpSocket,
    /// The socket towards the server.
    back: UdpSocket,
    server: SocketAddr,
    /// Number of datagrams with a ROOM so far.
    lost_rooms: u64,
    client: Option<SocketAddr>,
    held_back: HashMap<(u32, u8), HeldBack>,
    shared: Arc<Shared>,
    random: u64,
}

impl RelayThread {
    fn run(mut self, mut poll: Poll) {
        let registry = poll.registry();
        for (socket, token) in [(&mut self.front, Token(0)), (&mut self.back, Token(1))] {
            registry
                .register(socket, token, Interest::READABLE)
                .unwrap();
        }
        let mut ready = Events::with_capacity(4);
        let mut buffer = vec![0; 65_536];
        while !self.shared.is_stopping.load(Ordering::SeqCst) {
            let _ = poll.poll(&mut ready, Some(Duration::from_secs(1)));
            if self.shared.must_move.load(Ordering::SeqCst) {
                self.back = connected(self.server);
                let registry = poll.registry();
                registry
                    .register(&mut self.back, Token(1), Interest::READABLE)
                    .unwrap();
                self.shared.must_move.store(false, Ordering::SeqCst);
            }
            loop {
                match self.front.recv_from(&mut buffer) {
                    Ok((len, from)) => {
                        self.client = Some(from);
                        if self.passes(len) {
                            // If the server is down, the test notices the missing replies.
                            let _ = self.back.send(&buffer[..len]);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
            loop {
                match self.back.recv(&mut buffer) {
                    Ok(len) if !self.passes(len) => {}
                    Ok(len) => self.handle_datagram(&buffer[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
        }
    }

    fn passes(&self, len: usize) -> bool {
        len <= self.shared.max_bytes.load(Ordering::SeqCst)
    }

    fn handle_datagram(&mut self, datagram: &[u8]) {
        let Some((stream, messages)) = messages_in(datagram) else {
            if has_room(datagram) && self.shared.loses_rooms.load(Ordering::SeqCst) {
                self.lost_rooms += 1;
                if self.lost_rooms % 2 == 1 {
                    return;
                }
            }
            return self.send(datagram);
        };
        let fault = match self.shared.is_faulty.load(Ordering::SeqCst) {
            true => self.random_fault(),
            false => Fault::None,
        };
        let mut held_back = self.held_back.remove(&stream).unwrap_or_default();
        let mut counts = RelayCounts::default();
        match fault {
            Fault::Drop => {
                counts.dropped += messages;
                self.held_back.insert(stream, held_back);
                return self.count(stream, counts);
            }
            Fault::Reorder if held_back.reordered.is_none() => {
                held_back.reordered = Some(datagram.to_vec());
                // It counts now, as it is certain to be forwarded later.
                counts.forwarded += messages;
                self.held_back.insert(stream, held_back);
                return self.count(stream, counts);
            }
            Fault::Reorder | Fault::None => self.send(datagram),
            Fault::Repeat => {
                self.send(datagram);
                self.send(datagram);
                counts.repeated += messages;
            }
            Fault::RepeatLate => self.send(datagram),
        }
        counts.forwarded += messages;
        if let Some(late) = held_back.reordered {
            self.send(&late);
            counts.reordered += message_count(&late);
        }
        if let Some(again) = held_back.repeated {
            self.send(&again);
            counts.repeated += message_count(&again);
        }
        if fault == Fault::RepeatLate {
            let held_back = self.held_back.entry(stream).or_default();
            held_back.repeated = Some(datagram.to_vec());
        }
        self.count(stream, counts);
    }

    fn send(&self, datagram: &[u8]) {
        let client = self.client.unwrap();
        self.front.send_to(datagram, client).unwrap();
    }

    fn count(&self, stream: (u32, u8), more: RelayCounts) {
        let mut all = self.shared.counts.lock().unwrap();
        let counts = all.entry(stream).or_default();
        counts.forwarded += more.forwarded;
        counts.dropped += more.dropped;
        counts.repeated += more.repeated;
        counts.reordered += more.reordered;
    }

    /// Returns a fault for one half of the datagrams, and none for the other.
    fn random_fault(&mut self) -> Fault {
        // Marsaglia's xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        match self.random >> 32 & 7 {
            0 => Fault::Drop,
            1 => Fault::Repeat,
            2 => Fault::RepeatLate,
            3 => Fault::Reorder,
            _ => Fault::None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Drop,
    /// Sends it twice in a row.
    Repeat,
    /// Sends it at once, and again after the next one of its stream.
    RepeatLate,
    /// Sends it after the next one of its stream.
    Reorder,
}

/// Returns a socket to the server, from a port of its own.
fn connected(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.connect(server).unwrap();
    socket
}

fn has_room(datagram: &[u8]) -> bool {
    let is_room = |frame| matches!(frame, ServerFrame::Room(_) | ServerFrame::Subscribed(_));
    parse_server(datagram).is_ok_and(|mut frames| frames.any(is_room))
}

/// Returns the room and stream, and the number of messages. Returns `None` if the
/// datagram contains anything else. The server never mixes streams in one datagram.
fn messages_in(datagram: &[u8]) -> Option<((u32, u8), u64)> {
    let mut stream = None;
    let mut messages = 0;
    for frame in parse_server(datagram).ok()? {
        let ServerFrame::Message(message) = frame else {
            return None;
        };
        let this = (message.room, message.stream);
        assert_eq!(
            *stream.get_or_insert(this),
            this,
            "two streams in one datagram"
        );
        messages += 1;
    }
    Some((stream?, messages))
}

fn message_count(datagram: &[u8]) -> u64 {
    messages_in(datagram).map_or(0, |(_, messages)| messages)
}
