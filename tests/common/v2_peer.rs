//! A peer that uses protocol v2, with datagrams that the test builds itself.

use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{
    BundleSize, ClientFrame, Hello, MIN_HELLO_BYTES, ServerFrame, SessionId, SessionOptions,
    Welcome, parse_server, push_client_frame, push_client_header, push_hello, push_padding,
};

use super::Client;

/// A client with a session.
pub(crate) struct V2Peer {
    pub(crate) client: Client,
    pub(crate) number: u64,
}

impl V2Peer {
    #[track_caller]
    pub(crate) fn open(client: Client) -> Self {
        Self::open_with(BundleSize::Full, client)
    }

    #[track_caller]
    pub(crate) fn open_with(size: BundleSize, client: Client) -> Self {
        let options = SessionOptions {
            bundle_size: size,
            ..SessionOptions::default()
        };
        Self::open_as(options, client)
    }

    /// Opens a session with these options. Its first datagram, which registers it, is answered by
    /// ROOM.
    #[track_caller]
    pub(crate) fn open_as(options: SessionOptions, client: Client) -> Self {
        let hello = Hello {
            nonce: NONCE,
            options,
        };
        client.send(&hello_datagram(&hello));
        let answer = client.receive();
        assert_eq!(parse_server(&answer).expect("it is v2").receiver(), NONCE);
        let number = welcome(&answer).session.get();
        let peer = Self { client, number };
        match options == SessionOptions::default() {
            true => peer.send(&[ClientFrame::Heartbeat(None)]),
            false => peer.send(&[ClientFrame::Hello(hello)]),
        }
        let answer = peer.client.receive();
        let frames = parse_server(&answer).expect("it is v2");
        assert_eq!(frames.receiver(), number);
        let frames: Vec<_> = frames.collect();
        let is_registered = matches!(frames[..], [ServerFrame::Room(_), ..]);
        assert!(is_registered, "{frames:?}");
        peer
    }

    #[track_caller]
    pub(crate) fn send(&self, frames: &[ClientFrame<'_>]) {
        self.client.send(&datagram(self.number, frames));
    }

    /// Sends a text in a session that has ended. The next datagram must be UNKNOWN.
    #[track_caller]
    pub(crate) fn expect_ended(&self) {
        self.send(&[ClientFrame::Say(b"late")]);
        let answer = self.client.receive();
        let frames: Vec<_> = parse_server(&answer).expect("it is v2").collect();
        assert_eq!(frames, [ServerFrame::UnknownSession]);
    }

    /// Sends a PING and a text. The next datagrams must be their PONG and MESSAGE.
    #[track_caller]
    pub(crate) fn expect_intact(&self, word: &str) {
        self.send(&[
            ClientFrame::Ping(word.as_bytes()),
            ClientFrame::Say(word.as_bytes()),
        ]);
        for what in ["a pong", "a message"] {
            let datagram = self.client.receive();
            let frames: Vec<_> = parse_server(&datagram).expect("it is v2").collect();
            match frames[..] {
                [ServerFrame::Pong(token)] if what == "a pong" => {
                    assert_eq!(token, word.as_bytes());
                }
                [ServerFrame::Message(message)] if what == "a message" => {
                    assert_eq!(message.payload, word.as_bytes());
                    assert_eq!(message.from, DisplayName::Address(self.client.address()));
                }
                _ => panic!("not {what}: {frames:?}"),
            }
        }
    }
}

/// Returns a datagram of a client.
pub(crate) fn datagram(session: u64, frames: &[ClientFrame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_header(SessionId::new(session), &mut out);
    for frame in frames {
        push_client_frame(frame, &mut out);
    }
    out
}

/// Returns the shortest HELLO datagram without a session.
pub(crate) fn hello() -> Vec<u8> {
    hello_datagram(&Hello {
        nonce: NONCE,
        ..Hello::default()
    })
}

fn hello_datagram(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::new();
    push_hello(hello, &mut out);
    out
}

/// Returns a HELLO datagram of this session, or without one for 0, padded as if it had none.
pub(crate) fn hello_in(session: u64, size: BundleSize) -> Vec<u8> {
    let options = SessionOptions {
        bundle_size: size,
        ..SessionOptions::default()
    };
    let hello = Hello {
        nonce: NONCE,
        options,
    };
    let mut out = datagram(session, &[ClientFrame::Hello(hello)]);
    push_padding(0, MIN_HELLO_BYTES, &mut out);
    out
}

/// Returns the only frame of a reply to a HELLO.
#[track_caller]
pub(crate) fn welcome(datagram: &[u8]) -> Welcome<'_> {
    let mut frames = parse_server(datagram).expect("it is v2");
    match (frames.next(), frames.next()) {
        (Some(ServerFrame::Welcome(welcome)), None) => welcome,
        other => panic!("no welcome: {other:?}"),
    }
}

/// The nonce of every HELLO.
const NONCE: u64 = 0x0123_4567_89AB_CDEF;
