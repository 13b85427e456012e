//! A server that only answers, in the way and at the time that a test needs.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::engine::stamp::Stamp;

use super::V4;

/// Answers every ping of version 1 at once, or as is said here.
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
                let answer = self.answer(&buffer[..len], from);
                answers.extend(answer.map(|answer| (at, from, answer)));
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

    fn answer(&mut self, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        if self.greets {
            if std::mem::take(&mut self.is_deaf_at_first) {
                return None;
            }
            let greeting = format!("hello,('{}', {})", from.ip(), from.port());
            return Some(greeting.into());
        }
        let token = datagram.strip_prefix(b"/ping ")?;
        let sequence = Stamp::decode(token)?.sequence;
        let comes = sequence == u32::MAX;
        self.has_begun |= !comes;
        let is_deaf = self.is_deaf_at_first && sequence == 0
            || self.lets_nobody_back && self.has_begun && comes;
        (!is_deaf).then(|| [b"* pong ", token].concat())
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
