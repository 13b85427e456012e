//! Peers of both versions on the machines of a network.

use std::io;
use std::net::SocketAddr;

use bullhorn::ServerConfig;
use bullhorn::config::Trust;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use socket2::{Domain, Protocol, Socket, Type};

use super::v2_peer::V2Peer;
use super::{Client, Network, TestServer, unpinned_config, wait_until};

/// A peer of either version, which receives only from the address that it writes to.
pub(crate) enum Peer {
    V1(Client),
    V2(V2Peer),
}

impl Peer {
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::V1(client) => client.send(text.as_bytes()),
            Self::V2(peer) => peer.send(&[ClientFrame::Say(text.as_bytes())]),
        }
    }

    pub(crate) fn command(&self, line: &str) {
        match self {
            Self::V1(client) => client.send(line.as_bytes()),
            Self::V2(peer) => peer.send(&[ClientFrame::Command(line.as_bytes())]),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        match self {
            Self::V1(client) => client,
            Self::V2(peer) => &peer.client,
        }
    }

    /// Receives the next datagram, and returns its messages and sentences.
    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<String> {
        let datagram = self.client().receive();
        match self {
            Self::V1(_) => {
                let line = String::from_utf8(datagram).expect("only UTF-8 goes out");
                let text = line.strip_prefix("* ").map(str::to_owned);
                let text = text.or_else(|| Some(line.split_once(' ')?.1.to_owned()));
                vec![text.expect("a sender and a text")]
            }
            Self::V2(_) => parse_server(&datagram)
                .expect("it is v2")
                .map(text)
                .collect(),
        }
    }

    /// Receives exactly these texts, in this order.
    #[track_caller]
    pub(crate) fn expect_texts(&self, texts: &[String]) {
        let mut received = Vec::new();
        while received.len() < texts.len() {
            received.extend(self.receive());
        }
        // Not with `assert_eq!`, which would print a hundred kilobytes.
        let first = received
            .iter()
            .zip(texts)
            .position(|(one, other)| one != other);
        assert_eq!(
            (first, received.len()),
            (None, texts.len()),
            "the first that differs"
        );
    }
}

fn text(frame: ServerFrame<'_>) -> String {
    let bytes = match frame {
        ServerFrame::Message(message) => message.payload,
        ServerFrame::Notice(_, sentence) => sentence,
        ServerFrame::Private(_, payload) => payload,
        ServerFrame::Goodbye => b"goodbye",
        _ => panic!("{frame:?}"),
    };
    String::from_utf8(bytes.to_vec()).expect("only UTF-8 goes out")
}

/// Registers a peer of each version at `server`.
#[track_caller]
pub(crate) fn peers_at(server: &TestServer, own: &str, address: &str) -> [Peer; 2] {
    let connect = || Client::connect_from(parse(own), parse(address));
    let before = server.stats().total().registered;
    let v1 = connect();
    v1.send(b"@im@");
    let v2 = V2Peer::open(connect());
    wait_until("two registrations", || {
        server.stats().total().registered == before + 2
    });
    [Peer::V1(v1), Peer::V2(v2)]
}

pub(crate) fn parse(address: &str) -> SocketAddr {
    address.parse().expect(address)
}

/// Returns the configuration of a server on all addresses.
pub(crate) fn wildcard_config() -> ServerConfig {
    ServerConfig {
        bind: vec![parse("0.0.0.0:9999"), parse("[::]:9999")],
        trust: trust_all(),
        ..unpinned_config(2, "0.0.0.0:9999")
    }
}

/// Trusts all peers, so that none is asked for a proof.
pub(crate) fn trust_all() -> Vec<Trust> {
    ["0.0.0.0/0", "::/0"]
        .map(|net| Trust::Net(net.parse().expect(net)))
        .into()
}

/// Binds a socket to the address of a server, as any process of the same user can.
pub(crate) fn stranger(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind_device(Some(b"eth0"))?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The machine of the server, with two addresses of each family, and one with clients.
pub(crate) fn two_machines() -> [Network; 2] {
    let [server, clients] = [(); 2].map(|()| Network::new());
    let addresses = ["10.77.0.1/24", "10.77.0.2/24", "fd77::1/64", "fd77::2/64"];
    let others = ["10.77.0.9/24", "fd77::9/64", "10.77.0.8/24"];
    server.cable(("eth0", &addresses), &clients, ("eth0", &others));
    [server, clients]
}
