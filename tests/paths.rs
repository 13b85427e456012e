//! Narrow paths and interfaces without offloads, in networks that the tests make. Without the
//! right to make them, the tests are skipped.

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use bullhorn::wire::v2::ClientFrame;
use common::{
    Network, Peer, TestServer, peers_at, two_machines, wait_until, wildcard_config, with_networks,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto,
};

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
                talk(&speaker, &peers);
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
fn datagrams_that_are_longer_than_the_interface_takes_are_cut() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        // IPv6 ends at 1280, and no datagram of the server is longer.
        for network in [&machine, &clients] {
            network.ip("link set eth0 mtu 576");
        }
        let server = machine.run(|| TestServer::start(wildcard_config()));
        let [_, speaker] = machine.run(|| peers_at(&server, "127.0.0.1:0", "127.0.0.1:9999"));
        let peers = clients.run(|| peers_at(&server, "10.77.0.9:0", "10.77.0.1:9999"));
        talk(&speaker, &peers);
        let total = server.stats().total();
        assert_eq!(total.deliveries_refused, 0);
        // Each of them is tried once by each worker, and then served without segments.
        assert!((1..=4).contains(&total.packets_split), "{total:?}");
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
            let total = || server.stats().total();
            wait_until(settings, || total().deliveries >= 800 * 4);
            assert_eq!(total().deliveries, 800 * 4, "{settings}");
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

/// Says texts in 40 rounds, which all receive whole and in order.
fn talk(speaker: &Peer, peers: &[Peer]) {
    for round in 0..40 {
        let texts = texts(round, 10);
        say_all(speaker, &texts);
        for peer in peers.iter().chain([speaker]) {
            peer.expect_texts(&texts);
        }
    }
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
    let (to, own) = (
        socket.peer_addr().expect("it is connected"),
        socket.local_addr().expect("it is bound"),
    );
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
