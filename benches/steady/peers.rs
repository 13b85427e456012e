//! Peers in rooms, who say what was prepared: neither to speak nor to listen allocates.

use std::net::{SocketAddr, UdpSocket};

use bullhorn::Server;
use bullhorn::net::{PeerAddr, Receiver};
use bullhorn::wire::v2::{
    ClientFrame, ServerFrame, parse_server, push_client_frame, push_client_header,
};
use bullhorn::wire::{HEARTBEAT, Protocol};

use crate::harness::Error;
use crate::harness::flood::Speech;
use crate::harness::peers::open_sockets;
use crate::harness::subject::expect_peers;

/// Registered peers, the members of a room next to each other.
pub(crate) struct Peers {
    peers: Vec<Peer>,
    peers_a_room: usize,
    protocol: Protocol,
    receiver: Receiver,
}

struct Peer {
    socket: UdpSocket,
    heartbeat: Vec<u8>,
    text: Vec<u8>,
}

impl Peers {
    /// Registers peers for so many rooms of `server`; a single room is the lobby.
    pub(crate) fn register(
        protocol: Protocol,
        rooms: usize,
        peers_a_room: usize,
        server: &Server,
    ) -> Result<Self, Error> {
        let count = rooms * peers_a_room;
        let peer = |socket| Peer::register(socket, protocol, server.local_addr());
        let peers = open_sockets(count)?.into_iter().map(peer);
        let peers: Vec<Peer> = peers.collect::<Result<_, _>>()?;
        expect_peers(server, count)?;
        if rooms > 1 {
            for (number, room) in peers.chunks(peers_a_room).enumerate() {
                let name = format!("room-{number}").parse()?;
                for peer in room {
                    let address = PeerAddr::new(peer.socket.local_addr()?, 0);
                    server
                        .handle()
                        .join(&address, name)
                        .ok_or("not registered")??;
                }
            }
        }
        Ok(Self {
            peers,
            peers_a_room,
            protocol,
            receiver: Receiver::new(),
        })
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// A peer sends a heartbeat.
    pub(crate) fn live(&self, peer: usize) -> Result<(), Error> {
        let peer = &self.peers[peer];
        peer.socket.send(&peer.heartbeat)?;
        Ok(())
    }

    /// Every peer sends a heartbeat. Returns how many that were.
    pub(crate) fn live_all(&self) -> Result<u64, Error> {
        for peer in 0..self.len() {
            self.live(peer)?;
        }
        Ok(self.len() as u64)
    }

    /// As many peers of each room as `texts` say a text, and again if the room has less.
    /// Returns how many texts that were.
    pub(crate) fn speak(&self, texts: usize) -> Result<u64, Error> {
        let mut sent = 0;
        for room in self.peers.chunks(self.peers_a_room) {
            for peer in room.iter().cycle().take(texts) {
                peer.socket.send(&peer.text)?;
                sent += 1;
            }
        }
        Ok(sent)
    }

    /// Takes in what has come to everyone, and returns how many texts that were.
    pub(crate) fn hear(&mut self) -> Result<u64, Error> {
        let mut heard = 0;
        for Peer { socket, .. } in &self.peers {
            while self.receiver.receive(socket, 0)? > 0 {
                for datagram in self.receiver.datagrams() {
                    heard += match self.protocol {
                        Protocol::Text | Protocol::Lines => 1,
                        Protocol::Frames => messages(datagram.payload)?,
                    };
                }
            }
        }
        Ok(heard)
    }
}

impl Peer {
    fn register(socket: UdpSocket, protocol: Protocol, server: SocketAddr) -> Result<Self, Error> {
        if socket.local_addr()?.port() < SHORTEST_LONG_PORT {
            return Err(
                "ports of different lengths make texts of different lengths: \
                see net.ipv4.ip_local_port_range"
                    .into(),
            );
        }
        socket.connect(server)?;
        let speech = match protocol {
            Protocol::Text | Protocol::Lines => Speech::Text(TEXT.len(), TEXT.len()),
            Protocol::Frames => Speech::Frames(TEXT.len(), TEXT.len()),
        };
        let datagram = |session, frame: &ClientFrame<'_>| {
            let mut datagram = Vec::new();
            push_client_header(Some(session), &mut datagram);
            push_client_frame(frame, &mut datagram);
            datagram
        };
        let (heartbeat, text) = match speech.register(&socket)? {
            None => (HEARTBEAT.to_vec(), TEXT.to_vec()),
            Some(session) => (
                datagram(session, &ClientFrame::Heartbeat),
                datagram(session, &ClientFrame::Say(TEXT)),
            ),
        };
        Ok(Self {
            socket,
            heartbeat,
            text,
        })
    }
}

/// How many messages are in a datagram of v2.
fn messages(datagram: &[u8]) -> Result<u64, Error> {
    let frames = parse_server(datagram)?;
    Ok(frames
        .filter(|frame| matches!(frame, ServerFrame::Message(_)))
        .count() as u64)
}

/// As long as a text of `kernel`, with nothing to escape.
const TEXT: &[u8] = b"the quick brown fox jumps over l";

/// The first port of five digits, as Linux gives them away by itself.
const SHORTEST_LONG_PORT: u16 = 10_000;
