//! Protocol v2 for a server that a test plays.

use std::net::SocketAddr;

use bullhorn::wire::v2::{
    self, BUNDLE_BYTES, ClientFrame, ServerFrame, SessionId, Welcome, parse_client,
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

    /// Receives a datagram, which must be a HELLO, and replies with a WELCOME to this
    /// session.
    #[track_caller]
    pub(crate) fn send_welcome(&self, session: u64) -> SocketAddr {
        let (hello, client) = self.receive();
        assert!(is_hello(&hello), "{hello:02x?}");
        self.send(&datagram(&[welcome(session)]), client);
        client
    }

    /// Replies to the next PING of this session.
    #[track_caller]
    pub(crate) fn reply_to_ping(&self, session: u64) {
        loop {
            let (bytes, client) = self.receive();
            let (of, frames) = parse_client(&bytes).unwrap();
            let frames: Vec<_> = frames.collect();
            if let [ClientFrame::Heartbeat, ClientFrame::Ping(token)] = frames[..] {
                assert_eq!(of, SessionId::new(session));
                return self.send(&datagram(&[ServerFrame::Pong(token)]), client);
            }
        }
    }
}

fn is_hello(datagram: &[u8]) -> bool {
    let Ok((None, mut frames)) = parse_client(datagram) else {
        return false;
    };
    matches!(frames.next(), Some(ClientFrame::Hello(_)))
}

/// Returns a datagram of a server.
pub(crate) fn datagram(frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(&mut datagram);
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

pub(crate) fn welcome(session: u64) -> ServerFrame<'static> {
    ServerFrame::Welcome(Welcome {
        session: SessionId::new(session).expect("it is not 0"),
        timeout_ms: 10_000,
        bundle_bytes: BUNDLE_BYTES as u16,
        room: 0,
    })
}
