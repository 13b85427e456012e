//! Clients that speak over UDP, a socket each: as text (which the baselines and the bare
//! kernel speak, too), or in frames.

use std::collections::VecDeque;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bullhorn::net::Receiver;
use bullhorn::wire::v2::{
    BUNDLE_BYTES, ClientFrame, ServerFrame, SessionId, parse_server, push_client_frame,
    push_client_header, push_hello,
};
use bullhorn::wire::{HEARTBEAT, Reply, push_reply};

use crate::clients::{BURST, Clients, Heard, TEXT_BYTES, stamp_in, text_of, token_of, wait_for};
use crate::harness::Error;
use crate::harness::bare::set_segment_bytes;
use crate::harness::flood::welcome;
use crate::harness::peers::open_sockets;

/// What they say and hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// v1, a text a datagram.
    Text,
    /// v2, many messages a datagram.
    Frames,
    /// v1, to a server whose every answer is the same, and which knows no peers.
    Echo,
}

pub(crate) struct UdpClients {
    dialect: Dialect,
    server: SocketAddr,
    sockets: Vec<UdpSocket>,
    /// Of v2, for each client.
    sessions: Vec<SessionId>,
    /// Of [`Dialect::Echo`], for each client: the stamps of what it has asked.
    asked: Vec<VecDeque<u64>>,
    /// Whether the sockets cut what they send into heartbeats.
    is_beating: bool,
    receiver: Receiver,
    datagram: Vec<u8>,
    /// Start of a v1 server's reply to a ping.
    pong: Vec<u8>,
}

impl UdpClients {
    /// Opens `count` clients, which register one after the other.
    pub(crate) fn connect(
        dialect: Dialect,
        server: SocketAddr,
        count: usize,
    ) -> Result<Self, Error> {
        wait_for("the server binds its socket", || socket_state(server))?;
        let mut clients = Self {
            dialect,
            server,
            sockets: open_sockets(count)?,
            sessions: Vec::new(),
            asked: vec![VecDeque::new(); count],
            is_beating: false,
            receiver: Receiver::new(),
            datagram: Vec::new(),
            pong: pong(b""),
        };
        for socket in &clients.sockets {
            socket.connect(server)?;
            socket.set_read_timeout(Some(ANSWER_TIME))?;
            match dialect {
                Dialect::Text => register(socket)?,
                Dialect::Frames => clients.sessions.push(open_session(socket)?),
                Dialect::Echo => {}
            }
        }
        Ok(clients)
    }

    fn begin(&mut self, client: usize) {
        self.datagram.clear();
        if self.dialect == Dialect::Frames {
            push_client_header(Some(self.sessions[client]), &mut self.datagram);
        }
    }

    /// From now on each send is cut into heartbeats of `bytes`.
    fn begin_to_beat(&mut self, bytes: usize) -> Result<(), Error> {
        for socket in &self.sockets {
            set_segment_bytes(socket, u16::try_from(bytes)?)?;
        }
        self.is_beating = true;
        Ok(())
    }
}

impl Clients for UdpClients {
    fn len(&self) -> usize {
        self.sockets.len()
    }

    fn say(&mut self, stamps: &[u64]) -> Result<(), Error> {
        if self.dialect != Dialect::Frames {
            for &stamp in stamps {
                self.sockets[0].send(&text_of(stamp))?;
            }
            return Ok(());
        }
        for some in stamps.chunks(SAYS) {
            self.begin(0);
            for &stamp in some {
                push_client_frame(&ClientFrame::Say(&text_of(stamp)), &mut self.datagram);
            }
            self.sockets[0].send(&self.datagram)?;
        }
        Ok(())
    }

    fn ask(&mut self, client: usize, stamp: u64) -> Result<(), Error> {
        self.begin(client);
        let token = token_of(stamp);
        if self.dialect == Dialect::Frames {
            push_client_frame(&ClientFrame::Ping(&token), &mut self.datagram);
        } else {
            self.datagram.extend_from_slice(b"/ping ");
            self.datagram.extend_from_slice(&token);
        }
        if self.dialect == Dialect::Echo {
            self.asked[client].push_back(stamp);
        }
        self.sockets[client].send(&self.datagram)?;
        Ok(())
    }

    fn beat(&mut self, client: usize) -> Result<bool, Error> {
        self.begin(client);
        if self.dialect == Dialect::Frames {
            push_client_frame(&ClientFrame::Heartbeat, &mut self.datagram);
        } else {
            self.datagram.extend_from_slice(HEARTBEAT);
        }
        if !self.is_beating {
            self.begin_to_beat(self.datagram.len())?;
        }
        let burst = self.datagram.repeat(BURST as usize);
        self.sockets[client].send(&burst)?;
        Ok(true)
    }

    fn hear(&mut self, client: usize, heard: &mut Heard) -> Result<(), Error> {
        // Errors of the network (ICMP, from a server that has ended) show as silence.
        let received = self.receiver.receive(&self.sockets[client], 0).unwrap_or(0);
        if received == 0 {
            return Ok(());
        }
        for datagram in self.receiver.datagrams() {
            let payload = datagram.payload;
            match self.dialect {
                Dialect::Frames => {
                    for frame in parse_server(payload)? {
                        match frame {
                            ServerFrame::Message(message) => heard.text(message.payload),
                            ServerFrame::Pong(token) => heard.answer(stamp_in(token)),
                            _ => {}
                        }
                    }
                }
                Dialect::Echo => heard.answer(self.asked[client].pop_front()),
                Dialect::Text => match payload.strip_prefix(self.pong.as_slice()) {
                    Some(token) => heard.answer(stamp_in(token)),
                    None => heard.text(payload),
                },
            }
        }
        Ok(())
    }

    fn lost_beats(&mut self) -> Result<u64, Error> {
        let server = self.server;
        wait_for("the server takes all heartbeats", || {
            let state = socket_state(server)?.ok_or("the server has ended")?;
            Ok((state.waiting_bytes == 0).then_some(state.drops))
        })
    }

    fn is_all_taken(&mut self) -> Result<bool, Error> {
        let state = socket_state(self.server)?.ok_or("the server has ended")?;
        Ok(state.waiting_bytes == 0)
    }

    fn is_reliable(&self) -> bool {
        false
    }

    fn flush(&mut self) -> Result<usize, Error> {
        Ok(0)
    }

    fn forget_questions(&mut self) {
        self.asked.iter_mut().for_each(VecDeque::clear);
    }
}

/// The reply of a v1 server to a ping.
pub(crate) fn pong(token: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_reply(&Reply::Pong(token), &mut datagram);
    datagram
}

/// Registers a peer of v1. The answer to the ping says that it is.
fn register(socket: &UdpSocket) -> Result<(), Error> {
    let mut buffer = [0; 2048];
    for _ in 0..ATTEMPTS {
        crate::stop::check()?;
        socket.send(HEARTBEAT)?;
        socket.send(b"/ping 0")?;
        if let Ok(len) = socket.recv(&mut buffer)
            && buffer[..len] == pong(b"0")
        {
            return Ok(());
        }
    }
    Err("the server does not answer a ping".into())
}

fn open_session(socket: &UdpSocket) -> Result<SessionId, Error> {
    let mut hello = Vec::new();
    push_hello(&mut hello);
    socket.send(&hello)?;
    welcome(socket)
}

/// What the kernel says of a server's socket.
struct SocketState {
    /// What waits to be received.
    waiting_bytes: u64,
    /// Datagrams for which there was no space.
    drops: u64,
}

/// Of the socket that is bound to `address`, if there is one.
fn socket_state(address: SocketAddr) -> Result<Option<SocketState>, Error> {
    let port = format!(":{:04X}", address.port());
    for line in fs::read_to_string("/proc/net/udp")?.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if let [_, local, remote, _, queues, .., drops] = columns.as_slice()
            && local.ends_with(&port)
            && *remote == UNCONNECTED
        {
            let waiting = queues.split_once(':').ok_or("no queues in /proc/net/udp")?;
            return Ok(Some(SocketState {
                waiting_bytes: u64::from_str_radix(waiting.1, 16)?,
                drops: drops.parse()?,
            }));
        }
    }
    Ok(None)
}

/// The remote address of a server's socket; a client may have the port on another host.
const UNCONNECTED: &str = "00000000:0000";

/// A text in a frame has three bytes more, and the datagram a header of ten.
const SAYS: usize = (BUNDLE_BYTES - 10) / (TEXT_BYTES + 3);

/// A server that is idle answers in less than a millisecond.
const ANSWER_TIME: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 3;
