//! A peer that uses protocol v2, with datagrams that the test builds itself.

use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{
    BundleSize, ClientFrame, MIN_HELLO_BYTES, ServerFrame, SessionId, Welcome, parse_server,
    push_client_frame, push_client_header, push_padding,
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
        client.send(&hello_in(0, size));
        let number = welcome(&client.receive()).session.get();
        Self { client, number }
    }

    #[track_caller]
    pub(crate) fn send(&self, frames: &[ClientFrame<'_>]) {
        self.client.send(&datagram(self.number, frames));
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

/// Returns the shortest HELLO datagram.
pub(crate) fn hello() -> Vec<u8> {
    hello_in(0, BundleSize::Full)
}

/// Returns the shortest HELLO datagram of this session.
pub(crate) fn hello_in(session: u64, size: BundleSize) -> Vec<u8> {
    let mut out = datagram(session, &[ClientFrame::Hello(size)]);
    push_padding(0, MIN_HELLO_BYTES, &mut out);
    out
}

/// Returns the only frame of a reply to a HELLO.
#[track_caller]
pub(crate) fn welcome(datagram: &[u8]) -> Welcome {
    let mut frames = parse_server(datagram).expect("it is v2");
    match (frames.next(), frames.next()) {
        (Some(ServerFrame::Welcome(welcome)), None) => welcome,
        other => panic!("no welcome: {other:?}"),
    }
}
