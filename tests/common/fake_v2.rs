//! Protocol v2 for a server that a test plays.

use std::net::SocketAddr;

use bullhorn::wire::v2::{
    self, BUNDLE_BYTES, ClientFrame, ServerFrame, ServerList, SessionId, Welcome, parse_client,
    push_server_frame, push_server_header,
};

use super::FakeServer;

impl FakeServer {
    /// Receives the next v1 datagram, without heartbeats. The first heartbeat after v2
    /// frames counts.
    #[track_caller]
    pub(crate) fn receive_v1(&self) -> Vec<u8> {
        let mut was_frames = false;
        loop {
            let (datagram, _) = self.receive();
            match &datagram[..] {
                [0xFF, ..] => was_frames = true,
                b"@im@" if !was_frames => {}
                _ => return datagram,
            }
        }
    }

    /// Receives a datagram, which must be a HELLO, and returns its length.
    #[track_caller]
    pub(crate) fn receive_hello(&self) -> usize {
        let (datagram, _) = self.receive();
        assert!(is_hello(&datagram), "{datagram:02x?}");
        datagram.len()
    }

    /// Receives datagrams, which must be of this session, until the next one is a HELLO.
    #[track_caller]
    pub(crate) fn receive_until_hello(&self, session: u64) {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = self.socket.peek(&mut buffer).unwrap();
            let (of, _) = parse_client(&buffer[..length]).unwrap();
            let Some(of) = of else {
                return;
            };
            assert_eq!(of.get(), session);
            self.receive_any();
        }
    }

    /// Receives a datagram, which must be a HELLO, and replies with a WELCOME to this session.
    /// Answers the first datagram of the session with the lobby.
    #[track_caller]
    pub(crate) fn send_welcome(&self, session: u64) -> SocketAddr {
        let client = self.begin_welcome(session);
        let (first, _) = self.receive();
        let (of, _) = parse_client(&first).unwrap();
        assert_eq!(of, SessionId::new(session));
        self.send(&datagram_to(session, &[lobby()]), client);
        client
    }

    /// Receives a datagram, which must be a HELLO, and replies with a WELCOME to this session.
    #[track_caller]
    pub(crate) fn begin_welcome(&self, session: u64) -> SocketAddr {
        let (hello, client) = self.receive();
        let nonce = nonce_of(&hello).expect("a HELLO");
        self.send(&datagram_to(nonce, &[welcome(session)]), client);
        client
    }

    /// Replies to the next PING of this session.
    #[track_caller]
    pub(crate) fn reply_to_ping(&self, session: u64) {
        loop {
            let (bytes, client) = self.receive();
            let (of, frames) = parse_client(&bytes).unwrap();
            let frames: Vec<_> = frames.collect();
            if let [ClientFrame::Heartbeat(_), ClientFrame::Ping(token)] = frames[..] {
                assert_eq!(of, SessionId::new(session));
                let pong = datagram_to(session, &[ServerFrame::Pong(token)]);
                return self.send(&pong, client);
            }
        }
    }
}

fn is_hello(datagram: &[u8]) -> bool {
    nonce_of(datagram).is_some()
}

/// Returns the nonce of a HELLO without a session.
pub(crate) fn nonce_of(datagram: &[u8]) -> Option<u64> {
    let Ok((None, mut frames)) = parse_client(datagram) else {
        return None;
    };
    match frames.next() {
        Some(ClientFrame::Hello(hello)) => Some(hello.nonce),
        _ => None,
    }
}

/// Returns a datagram of a server, with the session of a client, or the nonce of its HELLO.
pub(crate) fn datagram_to(receiver: u64, frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(receiver, &mut datagram);
    for frame in frames {
        push_server_frame(frame, &mut datagram);
    }
    datagram
}

pub(crate) fn message(sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    ServerFrame::Message(v2::Message {
        room: 0,
        stream: 0,
        sequence,
        from: "127.0.0.1:7".parse().unwrap(),
        payload,
    })
}

/// Returns the answer to the first datagram of a session.
pub(crate) fn lobby() -> ServerFrame<'static> {
    ServerFrame::Room(v2::Room {
        number: 0,
        incarnation: 1,
        name: "lobby".parse().unwrap(),
    })
}

pub(crate) fn welcome(session: u64) -> ServerFrame<'static> {
    ServerFrame::Welcome(Welcome {
        session: SessionId::new(session).expect("it is not 0"),
        timeout_ms: 10_000,
        bundle_bytes: BUNDLE_BYTES as u16,
        address: "127.0.0.1:7".parse().unwrap(),
        servers: ServerList::EMPTY,
    })
}
