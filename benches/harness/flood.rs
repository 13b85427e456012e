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
    /// Messages per datagram, in version 2.
    pub(crate) says: usize,
    /// The numbers of the rooms that get a datagram each in turn, in version 2. Without any, the
    /// speakers speak to their own.
    pub(crate) rooms: Vec<u32>,
    /// The room whose turn it is.
    turn: usize,
    random: u64,
}

impl Speech {
    /// Registers the peer at this socket, and returns its session in version 2.
    pub(crate) fn register(
        self,
        socket: &UdpSocket,
        server: SocketAddr,
    ) -> Result<Option<SessionId>, Error> {
        match self {
            Self::Text(..) => {
                socket.send_to(HEARTBEAT, server)?;
                Ok(None)
            }
            Self::Frames(..) => open_session(socket, server).map(Some),
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
            says: SAYS,
            rooms: Vec::new(),
            turn: 0,
            random: 1,
        })
    }

    /// The sockets and the sessions of the speakers.
    pub(crate) fn speakers(&self) -> &[(UdpSocket, Option<SessionId>)] {
        &self.speakers
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
                self.turn += 1;
                for _ in 0..self.says {
                    let payload = &[b'x'; 256][..self.next_len()];
                    let frame = match self.rooms.as_slice() {
                        [] => ClientFrame::Say(payload),
                        rooms => ClientFrame::SayTo(rooms[self.turn % rooms.len()], payload),
                    };
                    push_client_frame(&frame, datagram);
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

/// Opens a session, and sends its first datagram, which registers it.
pub(crate) fn open_session(socket: &UdpSocket, server: SocketAddr) -> Result<SessionId, Error> {
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let hello = Hello {
        nonce: getrandom::u64()?,
        ..Hello::default()
    };
    let mut datagram = Vec::new();
    push_hello(&hello, &mut datagram);
    let session = ask(
        socket,
        server,
        &datagram,
        hello.nonce,
        |frame| match frame {
            ServerFrame::Welcome(welcome) => Some(welcome.session),
            _ => None,
        },
    )?;
    datagram.clear();
    push_client_header(Some(session), &mut datagram);
    push_client_frame(&ClientFrame::Heartbeat(None), &mut datagram);
    ask(socket, server, &datagram, session.get(), |frame| {
        matches!(frame, ServerFrame::Room(_)).then_some(())
    })?;
    socket.set_read_timeout(None)?;
    Ok(session)
}

/// Subscribes to `count` rooms, one after the other, and returns their numbers.
pub(crate) fn subscribe(
    socket: &UdpSocket,
    server: SocketAddr,
    session: SessionId,
    count: usize,
) -> Result<Vec<u32>, Error> {
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let number = |room| {
        let mut datagram = Vec::new();
        push_client_header(Some(session), &mut datagram);
        let frame = ClientFrame::Subscribe(format!("room-{room}").parse()?);
        push_client_frame(&frame, &mut datagram);
        ask(
            socket,
            server,
            &datagram,
            session.get(),
            |frame| match frame {
                ServerFrame::Subscribed(room) => Some(room.number),
                _ => None,
            },
        )
    };
    let numbers = (0..count).map(number).collect();
    socket.set_read_timeout(None)?;
    numbers
}

/// Sends a datagram, and returns what `read` takes from the first frame of the reply. `number` is
/// what the header of the reply must contain.
fn ask<T>(
    socket: &UdpSocket,
    server: SocketAddr,
    datagram: &[u8],
    number: u64,
    read: impl FnOnce(ServerFrame<'_>) -> Option<T>,
) -> Result<T, Error> {
    socket.send_to(datagram, server)?;
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer)?;
    let mut frames = parse_server(&buffer[..len])?;
    let is_own = frames.receiver() == number;
    let first = frames.next().filter(|_| is_own);
    let read = first.and_then(read);
    read.ok_or_else(|| format!("no reply, but {:?}", &buffer[..len]).into())
}

/// How long to sleep between two portions: short beside what a worker does with
/// its backlog.
const PORTION: Duration = Duration::from_millis(1);

/// Messages in a datagram of v2: with 10,000 datagrams 200,000 a second, ten
/// times what 1000 v2 peers can be sent.
const SAYS: usize = 20;
