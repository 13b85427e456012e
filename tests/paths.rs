//! Servers on machines with several addresses, and on paths that mistreat datagrams, in
//! networks that the tests make. Without the right to make them, the tests are skipped.

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use bullhorn::ServerConfig;
use bullhorn::server::ops::stats::DropReason;
use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{
    Client, Network, ServerProgram, TIMEOUT, TestServer, server_command, unpinned_config,
    wait_until, with_networks,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto,
};

/// A peer of either version, which receives only from the address that it writes to.
enum Peer {
    V1(Client),
    V2(V2Peer),
}

impl Peer {
    fn say(&self, text: &str) {
        match self {
            Self::V1(client) => client.send(text.as_bytes()),
            Self::V2(peer) => peer.send(&[ClientFrame::Say(text.as_bytes())]),
        }
    }

    fn command(&self, line: &str) {
        match self {
            Self::V1(client) => client.send(line.as_bytes()),
            Self::V2(peer) => peer.send(&[ClientFrame::Command(line.as_bytes())]),
        }
    }

    fn client(&self) -> &Client {
        match self {
            Self::V1(client) => client,
            Self::V2(peer) => &peer.client,
        }
    }

    /// Receives the next datagram, and returns its messages and sentences.
    #[track_caller]
    fn receive(&self) -> Vec<String> {
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
    fn expect_texts(&self, texts: &[String]) {
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
fn peers_at(server: &TestServer, own: &str, address: &str) -> [Peer; 2] {
    let connect = || Client::connect_from(parse(own), parse(address));
    let before = server.stats().total().registered;
    let v1 = connect();
    v1.send(b"@im@");
    let v2 = V2Peer::open(connect());
    // With its session, the peer is served from the address that it writes to.
    v2.send(&[ClientFrame::Heartbeat]);
    wait_until("two registrations", || {
        server.stats().total().registered == before + 2
    });
    [Peer::V1(v1), Peer::V2(v2)]
}

fn parse(address: &str) -> SocketAddr {
    address.parse().expect(address)
}

/// Returns the configuration of a server on all addresses.
fn wildcard_config() -> ServerConfig {
    ServerConfig {
        bind: vec![parse("0.0.0.0:9999"), parse("[::]:9999")],
        ..unpinned_config(2, "0.0.0.0:9999")
    }
}

/// The machine of the server, with two addresses of each family, and one with clients.
fn two_machines() -> [Network; 2] {
    let [server, clients] = [(); 2].map(|()| Network::new());
    let addresses = ["10.77.0.1/24", "10.77.0.2/24", "fd77::1/64", "fd77::2/64"];
    let others = ["10.77.0.9/24", "fd77::9/64", "10.77.0.8/24"];
    server.cable(("eth0", &addresses), &clients, ("eth0", &others));
    [server, clients]
}

#[test]
fn peers_are_served_from_the_address_that_they_write_to() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let server = machine.run(|| TestServer::start(wildcard_config()));
        let mut peers = Vec::new();
        for (network, own, address) in [
            (&clients, "10.77.0.9:0", "10.77.0.1:9999"),
            (&clients, "10.77.0.9:0", "10.77.0.2:9999"),
            (&clients, "[fd77::9]:0", "[fd77::1]:9999"),
            (&clients, "[fd77::9]:0", "[fd77::2]:9999"),
            (&machine, "127.0.0.1:0", "127.0.0.1:9999"),
            (&machine, "127.0.0.1:0", "127.0.0.2:9999"),
        ] {
            peers.extend(network.run(|| peers_at(&server, own, address)));
        }
        for (number, speaker) in peers.iter().enumerate() {
            speaker.command(&format!("/nick peer{number}"));
            assert_eq!(speaker.receive(), [format!("you are peer{number}")]);
            speaker.say(&format!("text {number}"));
            for peer in &peers {
                peer.expect_texts(&[format!("text {number}")]);
            }
        }
        let (first, others) = peers.split_first().expect("there are 12");
        for (number, peer) in (1..).zip(others) {
            first.command(&format!("/msg peer{number} psst"));
            assert_eq!(first.receive(), [format!("to peer{number}: psst")]);
            assert!(peer.receive()[0].ends_with("psst"));
        }
        for peer in &peers {
            peer.command("/presence on");
            assert!(peer.receive()[0].contains("presence"));
        }
        let newcomer = machine.run(|| Client::connect(parse("127.0.0.1:9999")));
        newcomer.send(b"@im@");
        for peer in &peers {
            assert!(peer.receive()[0].contains(" joined"));
        }
        server.stop();
        for peer in &peers {
            if matches!(peer, Peer::V2(_)) {
                assert_eq!(peer.receive(), ["goodbye"]);
            }
        }
    });
}

#[test]
fn a_forged_datagram_to_another_address_turns_no_peer() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let server = machine.run(|| TestServer::start(wildcard_config()));
        for (own, first, second) in [
            ("10.77.0.9:0", "10.77.0.1:9999", "10.77.0.2:9999"),
            ("[fd77::9]:0", "[fd77::1]:9999", "[fd77::2]:9999"),
        ] {
            let (first, second) = (parse(first), parse(second));
            // These hear from all addresses. Whoever forges their address sends the same.
            let [v1, v2] = [(); 2].map(|()| {
                let socket = clients
                    .run(|| UdpSocket::bind(parse(own)))
                    .expect("it is free");
                socket.set_read_timeout(Some(TIMEOUT)).expect("not zero");
                socket
            });
            let received_from = |socket: &UdpSocket| {
                let mut buffer = [0; 2048];
                let (len, from) = socket.recv_from(&mut buffer).expect("it is served");
                (buffer[..len].to_vec(), from)
            };
            let send = |socket: &UdpSocket, to, bytes: &[u8]| {
                socket.send_to(bytes, to).expect("the network is up");
            };
            send(&v1, first, b"/ping 1");
            assert_eq!(received_from(&v1), (b"* pong 1".to_vec(), first));
            send(&v2, first, &hello());
            let (reply, from) = received_from(&v2);
            assert_eq!(from, first);
            let session = welcome(&reply).session.get();
            let ping = |session| datagram(session, &[ClientFrame::Ping(b"2")]);
            send(&v2, first, &ping(session));
            assert_eq!(received_from(&v2).1, first);

            // The forged datagrams. The reply to a HELLO tells the address that it came to.
            for forged in [&b"@im@"[..], b"/ping 3"] {
                send(&v1, second, forged);
            }
            assert_eq!(received_from(&v1), (b"* pong 3".to_vec(), first));
            let before = server.stats().total().dropped(DropReason::WrongSession);
            send(&v2, second, &ping(session ^ 1));
            wait_until("the wrong session", || {
                server.stats().total().dropped(DropReason::WrongSession) > before
            });
            send(&v2, second, &hello());
            let (reply, from) = received_from(&v2);
            assert_eq!((welcome(&reply).session.get(), from), (session, second));

            send(&v1, first, b"hi");
            for socket in [&v1, &v2] {
                assert_eq!(received_from(socket).1, first);
            }
            // With the session, it is the peer itself that writes to another address.
            send(&v2, second, &ping(session));
            assert_eq!(received_from(&v2).1, second);
            send(&v1, second, b"hi");
            assert_eq!(received_from(&v1).1, first);
            assert_eq!(received_from(&v2).1, second);
            send(&v2, second, &datagram(session, &[ClientFrame::Bye]));
            send(&v1, first, b"quit");
        }
    });
}

#[test]
fn a_frame_from_its_own_link_local_address_is_dropped() {
    with_networks(|| {
        let [machine, neighbour] = [(); 2].map(|()| Network::new());
        let end = ("eth0", &["fe80::1/64"][..]);
        machine.cable(end, &neighbour, ("eth0", &["fe80::9/64"]));
        neighbour.sysctl("ipv6/ip_nonlocal_bind", "1");
        let server = machine.run(|| {
            TestServer::start(ServerConfig {
                bind: vec![parse("[::]:9999")],
                ..wildcard_config()
            })
        });
        let zone = neighbour.zone("eth0");
        let address = parse(&format!("[fe80::1%{zone}]:9999"));
        let forger = neighbour
            .run(|| UdpSocket::bind(address))
            .expect("non-local bind");
        forger.send_to(b"loop", address).expect("the network is up");
        let total = || server.stats().total();
        wait_until("the drop", || total().dropped(DropReason::OwnAddress) > 0);
        // A peer may have the port of the server.
        let own = parse(&format!("[fe80::9%{zone}]:9999"));
        let peer = neighbour.run(|| Client::connect_from(own, address));
        peer.send(b"hi");
        assert!(peer.receive_text().ends_with("]:9999 hi"));
        server.wait_for_deliveries(1);
        assert_eq!(
            (
                total().datagrams_in,
                total().dropped(DropReason::OwnAddress)
            ),
            (2, 1)
        );
        assert_eq!((total().registered, total().deliveries), (1, 1));
    });
}

#[test]
fn one_address_in_two_zones_is_two_peers() {
    with_networks(|| {
        let [machine, one, other] = [(); 3].map(|()| Network::new());
        let neighbours = [("eth0", &one), ("eth1", &other)];
        for (name, neighbour) in neighbours {
            let end = ("eth0", &["fe80::9/64"][..]);
            machine.cable((name, &["fe80::1/64"]), neighbour, end);
        }
        let server = machine.run(|| TestServer::start(wildcard_config()));
        let [observer, v2_observer] = machine.run(|| peers_at(&server, "[::1]:0", "[::1]:9999"));
        let mut peers = Vec::new();
        for (name, neighbour) in neighbours {
            let zone = neighbour.zone("eth0");
            let address = format!("[fe80::1%{zone}]:9999");
            let connect = |port| {
                let own = parse(&format!("[fe80::9%{zone}]:{port}"));
                neighbour.run(|| Client::connect_from(own, parse(&address)))
            };
            let v1 = connect(5554);
            v1.send(b"@im@");
            let v2 = V2Peer::open(connect(5555));
            let seen_as = |port| format!("[fe80::9%{}]:{port}", machine.zone(name));
            peers.push((Peer::V1(v1), seen_as(5554)));
            peers.push((Peer::V2(v2), seen_as(5555)));
        }
        wait_until("six registrations", || server.stats().peers == 6);
        for (peer, seen_as) in &peers {
            peer.say("hi");
            let line = observer.client().receive_text();
            assert_eq!(line, format!("{seen_as} hi"));
            let message = v2_observer.client().receive();
            match parse_server(&message).expect("it is v2").next() {
                Some(ServerFrame::Message(message)) => {
                    assert_eq!(message.from, DisplayName::Address(parse(seen_as)));
                }
                other => panic!("not a message: {other:?}"),
            }
            for (peer, _) in &peers {
                assert_eq!(peer.receive(), ["hi"]);
            }
        }
        for asking in [&observer, &v2_observer] {
            for (number, (peer, seen_as)) in peers.iter().enumerate() {
                asking.command(&format!("/msg {seen_as} psst {number}"));
                assert!(asking.receive()[0].ends_with(&format!("psst {number}")));
                assert!(peer.receive()[0].ends_with(&format!("psst {number}")));
            }
        }
    });
}

#[test]
fn a_zone_is_given_by_name() {
    with_networks(|| {
        let [machine, neighbour] = [(); 2].map(|()| Network::new());
        let end = ("eth0", &["fe80::9/64"][..]);
        machine.cable(("upstairs", &["fe80::1/64"]), &neighbour, end);
        let command = server_command(&["--bind", "[fe80::1%upstairs]:9999"]);
        let server = machine.run(|| ServerProgram::start_command(command));
        let zone = machine.zone("upstairs");
        assert_eq!(server.address, parse(&format!("[fe80::1%{zone}]:9999")));
    });
}

#[test]
fn all_that_is_sent_passes_narrow_paths() {
    with_networks(|| {
        for mtu in [576, 1280] {
            let [machine, router, clients] = [(); 3].map(|()| Network::new());
            let addresses = ["10.77.0.1/24", "fd77::1/64"];
            let end = ("eth0", &["10.77.0.254/24", "fd77::fe/64"][..]);
            machine.cable(("eth0", &addresses), &router, end);
            let end = ("eth0", &["10.78.0.9/24", "fd78::9/64"][..]);
            router.cable(("eth1", &["10.78.0.254/24", "fd78::fe/64"]), &clients, end);
            router.sysctl("ipv4/ip_forward", "1");
            router.sysctl("ipv6/conf/all/forwarding", "1");
            machine.ip("route add default via 10.77.0.254");
            machine.ip("route add default via fd77::fe");
            clients.ip("route add default via 10.78.0.254");
            clients.ip("route add default via fd78::fe");
            router.ip(&format!("link set eth1 mtu {mtu}"));
            clients.ip(&format!("link set eth0 mtu {mtu}"));
            let server = machine.run(|| TestServer::start(wildcard_config()));
            let [_, speaker] = machine.run(|| peers_at(&server, "127.0.0.1:0", "127.0.0.1:9999"));
            let join = |own, address| clients.run(|| peers_at(&server, own, address));
            let mut peers = Vec::from(join("10.78.0.9:0", "10.77.0.1:9999"));
            // An interface with a lower MTU has no IPv6.
            if mtu >= 1280 {
                peers.extend(join("[fd78::9]:0", "[fd77::1]:9999"));
            }
            for is_forged in [false, true] {
                if is_forged {
                    for peer in &peers {
                        let socket = peer.client().socket();
                        clients.run(|| send_too_big(socket));
                    }
                }
                for round in 0..40 {
                    let texts = texts(round, 10);
                    say_all(&speaker, &texts);
                    for peer in peers.iter().chain([&speaker]) {
                        peer.expect_texts(&texts);
                    }
                }
            }
            let total = server.stats().total();
            assert_eq!(
                (total.packets_split, total.deliveries_refused),
                (0, 0),
                "MTU {mtu}"
            );
        }
    });
}

#[test]
fn texts_are_whole_and_in_order_with_all_offload_settings() {
    with_networks(|| {
        for settings in OFFLOAD_SETTINGS {
            let [machine, clients] = two_machines();
            for network in [&machine, &clients] {
                let words = format!("{OFFLOAD_SCRIPT} eth0 {settings}");
                network.command("python3", &words);
            }
            let server = machine.run(|| TestServer::start(wildcard_config()));
            let join = |own, address| clients.run(|| peers_at(&server, own, address));
            let v4 = join("10.77.0.9:0", "10.77.0.2:9999");
            let v6 = join("[fd77::9]:0", "[fd77::2]:9999");
            for round in 0..40 {
                let texts = texts(round, 20);
                say_all(&v4[1], &texts);
                for peer in v4.iter().chain(&v6) {
                    peer.expect_texts(&texts);
                }
            }
            assert_eq!(server.stats().total().deliveries, 800 * 4, "{settings}");
        }
    });
}

/// Returns some texts of one length, which is another one in each round.
fn texts(round: usize, count: usize) -> Vec<String> {
    let len = 20 + round * 37 % 980;
    let text = |number: usize| {
        let head = format!("{round} {number} ");
        let fill = (b'a'..=b'z').cycle().take(len - head.len());
        head + &fill.map(char::from).collect::<String>()
    };
    (0..count).map(text).collect()
}

/// Sends texts, several in a datagram, so that the server has several to send at once.
fn say_all(speaker: &Peer, texts: &[String]) {
    let Peer::V2(speaker) = speaker else {
        panic!("version 1 has one text in a datagram");
    };
    let fit = 1400 / (texts[0].len() + 3);
    for texts in texts.chunks(fit.max(1)) {
        let frames = texts.iter().map(|text| ClientFrame::Say(text.as_bytes()));
        speaker.send(&frames.collect::<Vec<_>>());
    }
}

/// Claims, as the peer with this socket, that datagrams of its server do not fit its path.
fn send_too_big(socket: &UdpSocket) {
    let (to, own) = (socket.peer_addr().unwrap(), socket.local_addr().unwrap());
    let mut message = match to {
        SocketAddr::V4(_) => vec![3, 4, 0, 0, 0, 0, 0x02, 0x28],
        SocketAddr::V6(_) => vec![2, 0, 0, 0, 0, 0, 0x05, 0x00],
    };
    // The beginning of the datagram: its IP header, and that of UDP.
    match (to.ip(), own.ip()) {
        (IpAddr::V4(to), IpAddr::V4(own)) => {
            message.extend([0x45, 0, 0x04, 0x00, 0, 0, 0x40, 0, 64, 17, 0, 0]);
            message.extend(to.octets());
            message.extend(own.octets());
        }
        (IpAddr::V6(to), IpAddr::V6(own)) => {
            message.extend([0x60, 0, 0, 0, 0x04, 0x00, 17, 64]);
            message.extend(to.octets());
            message.extend(own.octets());
        }
        _ => unreachable!("a socket has one family"),
    }
    message.extend(to.port().to_be_bytes());
    message.extend(own.port().to_be_bytes());
    message.extend([0x04, 0x00, 0, 0]);
    let (family, protocol) = match to {
        SocketAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        SocketAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    if to.is_ipv4() {
        // The kernel computes that of ICMPv6.
        let checksum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&checksum);
    }
    let raw = nix::sys::socket::socket(family, SockType::Raw, SockFlag::empty(), protocol);
    let raw = raw.expect("a raw socket");
    let to = SockaddrStorage::from(SocketAddr::new(to.ip(), 0));
    let sent = sendto(raw.as_raw_fd(), &message, &to, MsgFlags::empty());
    assert_eq!(sent, Ok(message.len()));
}

/// Returns the checksum of the internet (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !(folded as u16 + (folded >> 16) as u16)
}

const OFFLOAD_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/networks/offload.py");

/// The defaults of a virtual cable, and changes to them at both ends.
const OFFLOAD_SETTINGS: [&str; 10] = [
    "",
    "gso=0",
    "tso=0",
    "tx=0",
    "rx=0",
    "gro=1",
    "gro=1 rx=0",
    "sg=0",
    "gso=0 tso=0 sg=0 tx=0 rx=0",
    "gro=1 tx=0",
];
