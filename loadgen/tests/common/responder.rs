//! A server that only answers, in the way and at the time that a test needs.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::engine::stamp::{STAMP_BYTES, Stamp};

use super::V4;

/// Answers every ping of version 1, and says every text to who said it, at once, or as
/// is told here.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Responder {
    /// Each answer comes so much later.
    pub(crate) delay: Duration,
    /// It greets, whatever it is asked.
    pub(crate) greets: bool,
    /// It does not answer anybody's first request of the load; where it greets, the first
    /// one of all.
    pub(crate) is_deaf_at_first: bool,
    /// Once the load has begun, it does not answer those who come.
    pub(crate) lets_nobody_back: bool,
    /// It also answers what has not been asked, and says what has not been said: the
    /// number of each stamp, and the next one, too.
    pub(crate) foresees: bool,
    /// When it answers the first request that was due as late as this, it sends so many
    /// datagrams more to the same client, as fast as it can.
    pub(crate) flood: Option<(u64, usize)>,
    /// It has seen a request of the load.
    pub(crate) has_begun: bool,
}

/// A responder that runs until this is dropped.
pub(crate) struct Responding {
    pub(crate) address: SocketAddr,
    is_stopping: Arc<AtomicBool>,
}

impl Responder {
    pub(crate) fn start(self) -> Responding {
        let socket = UdpSocket::bind(V4).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let address = socket.local_addr().unwrap();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let responding = Responding {
            address,
            is_stopping: Arc::clone(&is_stopping),
        };
        thread::spawn(move || self.run(&socket, &is_stopping));
        responding
    }

    fn run(mut self, socket: &UdpSocket, is_stopping: &AtomicBool) {
        let mut answers = VecDeque::new();
        let mut buffer = [0; 2048];
        while !is_stopping.load(SeqCst) {
            if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let at = Instant::now() + self.delay;
                for answer in self.answers(&buffer[..len], from) {
                    answers.push_back((at, from, answer));
                }
                self.flood_at(&buffer[..len], from, socket);
            }
            while let Some((at, from, answer)) = answers.front()
                && *at <= Instant::now()
            {
                let _ = socket.send_to(answer, from);
                answers.pop_front();
            }
        }
    }

    fn answers(&mut self, datagram: &[u8], from: SocketAddr) -> Vec<Vec<u8>> {
        if self.greets {
            let is_load = Stamp::decode(datagram).is_some_and(|stamp| stamp.sequence != u32::MAX);
            if is_load && std::mem::take(&mut self.is_deaf_at_first) {
                return Vec::new();
            }
            let greeting = format!("hello,('{}', {})", from.ip(), from.port());
            return vec![greeting.into()];
        }
        if let Some(room) = datagram.strip_prefix(b"/join ") {
            // A question whether it still knows a client is beside the load, as its answer is.
            let is_check = room == b"lobby";
            let joined = [b"* you are in ", room, b" (1 here)"].concat();
            return if is_check { Vec::new() } else { vec![joined] };
        }
        let (head, stamped) = match datagram.strip_prefix(b"/ping ") {
            Some(token) => (b"* pong ".as_slice(), token),
            None => (b"127.0.0.1:1 ".as_slice(), datagram),
        };
        let Some(mut stamp) = Stamp::decode(stamped) else {
            return Vec::new();
        };
        let comes = stamp.sequence == u32::MAX;
        self.has_begun |= !comes;
        let is_deaf = self.is_deaf_at_first && stamp.sequence == 0
            || self.lets_nobody_back && self.has_begun && comes;
        if is_deaf {
            return Vec::new();
        }
        let answer = [head, stamped].concat();
        if !self.foresees || comes {
            return vec![answer];
        }
        stamp.sequence += 1;
        let mut next = [0; STAMP_BYTES];
        stamp.encode(&mut next);
        vec![[head, &next].concat(), answer]
    }

    fn flood_at(&mut self, datagram: &[u8], from: SocketAddr, socket: &UdpSocket) {
        let token = datagram.strip_prefix(b"/ping ");
        if let Some((due_ns, count)) = self.flood
            && let Some(stamp) = token.and_then(Stamp::decode)
            && stamp.due_ns >= due_ns
        {
            self.flood = None;
            thread::scope(|scope| {
                for _ in 0..FLOODERS {
                    scope.spawn(|| {
                        for _ in 0..count / FLOODERS {
                            socket.send_to(b"what is this?", from).unwrap();
                        }
                    });
                }
            });
        }
    }
}

impl Drop for Responding {
    fn drop(&mut self) {
        self.is_stopping.store(true, SeqCst);
    }
}

/// More than there are processors, so that whoever reads has less than half of one.
const FLOODERS: usize = 8;

/// How soon an answer goes out that is due.
const TICK: Duration = Duration::from_millis(1);
