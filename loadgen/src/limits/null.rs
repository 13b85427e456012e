//! The null responder: lets every client come, answers its pings, and does nothing else,
//! so that what a run against it reaches is the generator's own limit.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use bullhorn::net::{
    BindError, BufferSizes, Gso, Packet, PeerAddr, RECEIVE_BATCH, Receiver, Sender, bind_group,
};
use bullhorn::wire::v2::{
    ClientFrame, Room, ServerFrame, ServerList, SessionId, Welcome, parse_client,
    push_server_frame, push_server_header,
};
use bullhorn::wire::{LOBBY, Reply, RoomName, push_reply};
use core_affinity::CoreId;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

/// A responder that runs until it is dropped.
pub struct NullResponder {
    address: SocketAddr,
    is_stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// The reason why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum NullError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the null responder cannot run: {0}")]
    System(#[from] io::Error),
}

impl NullResponder {
    /// Starts one on the loopback interface; on `core`, if that is given.
    pub fn start(core: Option<usize>) -> Result<Self, NullError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut group = bind_group(any, 1, BUFFERS)?;
        let mut socket = group.sockets.remove(0);
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut socket, SOCKET, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopping);
        let body = move || {
            if let Some(id) = core {
                core_affinity::set_for_current(CoreId { id });
            }
            respond(poll, &socket, &stop);
        };
        let thread = thread::Builder::new().name("null".into()).spawn(body)?;
        Ok(Self {
            address: group.local_addr,
            is_stopping,
            waker,
            thread: Some(thread),
        })
    }

    /// Returns its address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NullResponder {
    fn drop(&mut self) {
        self.is_stopping.store(true, Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn respond(mut poll: Poll, socket: &UdpSocket, is_stopping: &AtomicBool) {
    let mut receiver = Receiver::new();
    let mut sender = Sender::new(Gso::Off);
    let mut answers: Vec<(PeerAddr, Vec<u8>)> = Vec::with_capacity(RECEIVE_BATCH);
    let nobody = PeerAddr::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), 0);
    answers.resize_with(RECEIVE_BATCH, || (nobody, Vec::with_capacity(ANSWER_BYTES)));
    let mut events = Events::with_capacity(2);
    while !is_stopping.load(Relaxed) {
        let received = receiver.receive(socket, 0).unwrap_or(0);
        let mut count = 0;
        for datagram in receiver.datagrams() {
            let (to, answer) = &mut answers[count];
            *to = datagram.from;
            answer.clear();
            write_answer(datagram.payload, answer);
            // An empty one makes room for the next.
            count += usize::from(!answer.is_empty());
        }
        let packets = answers[..count].iter();
        sender.send(
            socket,
            packets.map(|(to, answer)| Packet::single(to, answer)),
        );
        // A batch that was not full was all there was.
        if received < RECEIVE_BATCH && poll.poll(&mut events, None).is_err() {
            thread::yield_now();
        }
    }
}

/// Writes nothing where nothing was asked.
fn write_answer(datagram: &[u8], answer: &mut Vec<u8>) {
    if let Some(token) = datagram.strip_prefix(b"/ping ") {
        return push_reply(&Reply::Pong(token), answer);
    }
    let Ok((session, frames)) = parse_client(datagram) else {
        return;
    };
    let mut receiver = session.map_or(0, SessionId::get);
    for frame in frames {
        let frame = match frame {
            ClientFrame::Hello(hello) => {
                receiver = session.map_or(hello.nonce, SessionId::get);
                ServerFrame::Welcome(WELCOME)
            }
            ClientFrame::Ping(token) => ServerFrame::Pong(token),
            ClientFrame::Heartbeat(None) => match RoomName::parse(LOBBY.as_bytes()) {
                Some(name) => ServerFrame::Room(Room {
                    number: 0,
                    incarnation: 0,
                    name,
                }),
                None => continue,
            },
            _ => continue,
        };
        if answer.is_empty() {
            push_server_header(receiver, answer);
        }
        push_server_frame(&frame, answer);
    }
}

/// All clients have the same session, as nobody tells them apart by it.
const WELCOME: Welcome<'_> = Welcome {
    session: SessionId::new(1).unwrap(),
    timeout_ms: 10_000,
    bundle_bytes: 1200,
    address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)),
    servers: ServerList::EMPTY,
};

/// The sizes of the server's own buffers.
const BUFFERS: BufferSizes = BufferSizes {
    receive_bytes: 4 << 20,
    send_bytes: 4 << 20,
};

/// An answer, with space for a token of any client.
const ANSWER_BYTES: usize = 2048;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_answers_pings_of_either_version_and_nothing_else() {
        let responder = NullResponder::start(None).unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        client.connect(responder.local_addr()).unwrap();
        let ping = b"\xFF\x02\0\0\0\0\0\0\0\x01\x05\0\x01!";
        let all: [&[u8]; 5] = [b"hi", b"/ping 1", b"@im@", b"/ping two words", ping];
        for datagram in all {
            client.send(datagram).unwrap();
        }
        let expected: [&[u8]; 3] = [
            b"* pong 1",
            b"* pong two words",
            b"\xFF\x02\0\0\0\0\0\0\0\x01\x84\0\x01!",
        ];
        for expected in expected {
            let mut buffer = [0; 100];
            let len = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
    }
}
