//! Speakers who say more than can be delivered.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::wire::HEARTBEAT;
use bullhorn::wire::v2::{
    ClientFrame, Hello, ServerFrame, SessionId, parse_server, push_client_frame,
    push_client_header, push_hello,
};

use super::Error;

/// A protocol, and the shortest and the longest message in it, in bytes.
#[derive(Clone, Copy)]
pub(crate) enum Speech {
    /// Version 1, with a text per datagram.
    Text(usize, usize),
    /// Version 2, with many messages per datagram.
    Frames(usize, usize),
}

/// Some speakers, and what each says next.
pub(crate) struct Flood {
    speech: Speech,
    /// The sockets, and the sessions of version 2.
    speakers: Vec<(UdpSocket, Option<SessionId>)>,
    random: u64,
}

impl Speech {
    /// Registers the peer at this socket, and returns its session in version 2.
    pub(crate) fn register(
        self,
        socket: &UdpSocket,
        server: SocketAddr,
    ) -> Result<Option<SessionId>, Error> {
        let mut datagram = Vec::new();
        match self {
            Self::Text(..) => {
                socket.send_to(HEARTBEAT, server)?;
                Ok(None)
            }
            Self::Frames(..) => {
                socket.set_read_timeout(Some(Duration::from_secs(1)))?;
                push_hello(&Hello::default(), &mut datagram);
                socket.send_to(&datagram, server)?;
                let session = welcome(socket)?;
                datagram.clear();
                push_client_header(Some(session), &mut datagram);
                push_client_frame(&ClientFrame::Heartbeat(None), &mut datagram);
                socket.send_to(&datagram, server)?;
                await_room(socket)?;
                socket.set_read_timeout(None)?;
                Ok(Some(session))
            }
        }
    }
}

impl Flood {
    /// Registers `count` speakers at `server`.
    pub(crate) fn start(speech: Speech, count: usize, server: SocketAddr) -> Result<Self, Error> {
        let speaker = |_| -> Result<_, Error> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            let session = speech.register(&socket, server)?;
            Ok((socket, session))
        };
        Ok(Self {
            speech,
            speakers: (0..count).map(speaker).collect::<Result<_, _>>()?,
            random: 1,
        })
    }

    /// Speaks for as long as `window`, in turn, in portions of a millisecond, and
    /// returns how many datagrams that were.
    pub(crate) fn run(&mut self, datagrams_a_second: f64, window: Duration) -> Result<u64, Error> {
        let start = Instant::now();
        let mut datagram = Vec::new();
        let mut sent = 0;
        while start.elapsed() < window {
            thread::sleep(PORTION);
            let due = (start.elapsed().as_secs_f64() * datagrams_a_second) as u64;
            for index in sent..due {
                let speaker = index as usize % self.speakers.len();
                self.compose(speaker, &mut datagram);
                self.speakers[speaker].0.send(&datagram)?;
            }
            sent = due;
        }
        Ok(sent)
    }

    fn compose(&mut self, speaker: usize, datagram: &mut Vec<u8>) {
        datagram.clear();
        match self.speech {
            Speech::Text(..) => {
                let len = self.next_len();
                datagram.resize(len, b'x');
            }
            Speech::Frames(..) => {
                push_client_header(self.speakers[speaker].1, datagram);
                for _ in 0..SAYS {
                    let len = self.next_len();
                    push_client_frame(&ClientFrame::Say(&[b'x'; 256][..len]), datagram);
                }
            }
        }
    }

    fn next_len(&mut self) -> usize {
        let (Speech::Text(from, to) | Speech::Frames(from, to)) = self.speech;
        // xorshift64 (Marsaglia, 2003), from a fixed seed.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        from + (self.random % (to - from + 1) as u64) as usize
    }
}

/// Waits for the answer to the first datagram of a session, which registers it.
fn await_room(socket: &UdpSocket) -> Result<(), Error> {
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer)?;
    match parse_server(&buffer[..len])?.next() {
        Some(ServerFrame::Room(_)) => Ok(()),
        other => Err(format!("no room, but {other:?}").into()),
    }
}

/// The session in the answer to a HELLO.
fn welcome(socket: &UdpSocket) -> Result<SessionId, Error> {
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer)?;
    match parse_server(&buffer[..len])?.next() {
        Some(ServerFrame::Welcome(welcome)) => Ok(welcome.session),
        other => Err(format!("no welcome, but {other:?}").into()),
    }
}

/// How long to sleep between two portions: short beside what a worker does with
/// its backlog.
const PORTION: Duration = Duration::from_millis(1);

/// Messages in a datagram of v2: with 10,000 datagrams 200,000 a second, ten
/// times what 1000 v2 peers can be sent.
const SAYS: usize = 20;
