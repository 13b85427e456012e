//! A relay between a client and a server that drops, repeats and swaps what the
//! server says, chosen by a fixed seed, and counts what it did to which messages.
//!
//! Only datagrams that hold nothing but messages are touched, so the session
//! itself is never at stake. What the client says passes as it is.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// What became of the messages of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Did {
    /// They were sent on, once or more often.
    pub(crate) passed: u64,
    /// They were never sent on.
    pub(crate) dropped: u64,
    /// How often one was sent on again.
    pub(crate) repeated: u64,
    /// They were sent on after a later one.
    pub(crate) swapped: u64,
}

struct Shared {
    is_stopping: AtomicBool,
    /// Faults are made; otherwise all passes.
    is_faulty: AtomicBool,
    did: Mutex<HashMap<(u32, u8), Did>>,
}

/// What is kept back of one stream, to be sent after its next datagram.
#[derive(Default)]
struct Kept {
    /// To come late.
    swapped: Option<Vec<u8>>,
    /// To come again.
    repeated: Option<Vec<u8>>,
}

impl Relay {
    /// A relay to the server at `to`, without faults at first.
    pub(crate) fn start(to: SocketAddr, seed: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let back = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        back.connect(to).unwrap();
        let address = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            is_stopping: AtomicBool::new(false),
            is_faulty: AtomicBool::new(false),
            did: Mutex::default(),
        });
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(2)).unwrap();
        let running = Running {
            front,
            back,
            client: None,
            kept: HashMap::new(),
            shared: Arc::clone(&shared),
            random: seed,
        };
        let thread = Some(thread::spawn(move || running.run(poll)));
        Self {
            address,
            shared,
            waker,
            thread,
        }
    }

    /// Where the client is to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on faults are made, or all passes again; what was kept back is
    /// sent with the next datagram of its stream.
    pub(crate) fn set_faulty(&self, is_faulty: bool) {
        self.shared.is_faulty.store(is_faulty, Ordering::SeqCst);
    }

    /// What it did so far, for each room and stream.
    pub(crate) fn did(&self) -> HashMap<(u32, u8), Did> {
        self.shared.did.lock().unwrap().clone()
    }

    /// How many messages it has got from the server.
    pub(crate) fn seen(&self) -> u64 {
        let did = self.shared.did.lock().unwrap();
        did.values().map(|did| did.passed + did.dropped).sum()
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

struct Running {
    /// The client speaks to this one.
    front: UdpSocket,
    /// This one speaks to the server.
    back: UdpSocket,
    client: Option<SocketAddr>,
    kept: HashMap<(u32, u8), Kept>,
    shared: Arc<Shared>,
    random: u64,
}

impl Running {
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
            loop {
                match self.front.recv_from(&mut buffer) {
                    Ok((len, from)) => {
                        self.client = Some(from);
                        // A server that is down shows in what it does not say.
                        let _ = self.back.send(&buffer[..len]);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
            loop {
                match self.back.recv(&mut buffer) {
                    Ok(len) => self.take(&buffer[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let Some((stream, messages)) = messages_in(datagram) else {
            return self.send(datagram);
        };
        let fault = match self.shared.is_faulty.load(Ordering::SeqCst) {
            true => self.draw(),
            false => Fault::None,
        };
        let mut kept = self.kept.remove(&stream).unwrap_or_default();
        let mut did = Did::default();
        match fault {
            Fault::Drop => {
                did.dropped += messages;
                self.kept.insert(stream, kept);
                return self.note(stream, did);
            }
            Fault::Swap if kept.swapped.is_none() => {
                kept.swapped = Some(datagram.to_vec());
                // As it will be sent on for certain, though not yet.
                did.passed += messages;
                self.kept.insert(stream, kept);
                return self.note(stream, did);
            }
            Fault::Swap | Fault::None => self.send(datagram),
            Fault::Repeat => {
                self.send(datagram);
                self.send(datagram);
                did.repeated += messages;
            }
            Fault::RepeatLate => self.send(datagram),
        }
        did.passed += messages;
        if let Some(late) = kept.swapped {
            self.send(&late);
            did.swapped += count(&late);
        }
        if let Some(again) = kept.repeated {
            self.send(&again);
            did.repeated += count(&again);
        }
        if fault == Fault::RepeatLate {
            let kept = self.kept.entry(stream).or_default();
            kept.repeated = Some(datagram.to_vec());
        }
        self.note(stream, did);
    }

    fn send(&self, datagram: &[u8]) {
        let client = self.client.unwrap();
        self.front.send_to(datagram, client).unwrap();
    }

    fn note(&self, stream: (u32, u8), more: Did) {
        let mut all = self.shared.did.lock().unwrap();
        let did = all.entry(stream).or_default();
        did.passed += more.passed;
        did.dropped += more.dropped;
        did.repeated += more.repeated;
        did.swapped += more.swapped;
    }

    /// Half of the datagrams pass as they are.
    fn draw(&mut self) -> Fault {
        // The generator xorshift64 of Marsaglia's.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        match self.random >> 32 & 7 {
            0 => Fault::Drop,
            1 => Fault::Repeat,
            2 => Fault::RepeatLate,
            3 => Fault::Swap,
            _ => Fault::None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Drop,
    /// Sent twice in a row.
    Repeat,
    /// Sent again after the next one of its stream.
    RepeatLate,
    /// Sent after the next one of its stream.
    Swap,
}

/// The stream, and how many messages; `None` if there is anything else in it. The
/// server puts messages of one stream only into a datagram.
fn messages_in(datagram: &[u8]) -> Option<((u32, u8), u64)> {
    let mut stream = None;
    let mut messages = 0;
    for frame in parse_server(datagram).ok()? {
        let ServerFrame::Message(message) = frame else {
            return None;
        };
        let this = (message.room, message.stream);
        assert_eq!(*stream.get_or_insert(this), this, "two streams in one");
        messages += 1;
    }
    Some((stream?, messages))
}

fn count(datagram: &[u8]) -> u64 {
    messages_in(datagram).map_or(0, |(_, messages)| messages)
}
