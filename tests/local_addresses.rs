//! Servers on machines with several addresses, in networks that the tests make. Without the
//! right to make them, the tests are skipped.

mod common;

use std::net::UdpSocket;

use bullhorn::ServerConfig;
use bullhorn::server::config::ServiceKind;
use bullhorn::server::ops::stats::DropReason;
use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{
    Client, Network, Peer, ServerProgram, TIMEOUT, TestServer, parse, peers_at, server_command,
    two_machines, uninterrupted, wait_until, wildcard_config, with_networks,
};

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
fn greetings_come_from_the_address_that_was_written_to() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let config = ServerConfig {
            service: ServiceKind::Greet,
            ..wildcard_config()
        };
        let _server = machine.run(|| TestServer::start(config));
        for (own, address) in [
            ("10.77.0.9:0", "10.77.0.2:9999"),
            ("[fd77::9]:0", "[fd77::1]:9999"),
            ("[fd77::9]:0", "[fd77::2]:9999"),
        ] {
            let client = clients.run(|| Client::connect_from(parse(own), parse(address)));
            client.send(b"anything");
            assert!(client.receive_text().starts_with("hello,("));
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
            // These receive from all addresses. A forger of their address sends the same bytes.
            let [v1, v2] = [(); 2].map(|()| {
                let socket = clients
                    .run(|| UdpSocket::bind(parse(own)))
                    .expect("it is free");
                socket.set_read_timeout(Some(TIMEOUT)).expect("not zero");
                socket
            });
            let received_from = |socket: &UdpSocket| {
                let mut buffer = [0; 2048];
                let (len, from) =
                    uninterrupted(|| socket.recv_from(&mut buffer)).expect("it is served");
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
            send(
                &v2,
                first,
                &datagram(session, &[ClientFrame::Heartbeat(None)]),
            );
            assert_eq!(received_from(&v2).1, first);
            let ping = |session| datagram(session, &[ClientFrame::Ping(b"2")]);
            send(&v2, first, &ping(session));
            assert_eq!(received_from(&v2).1, first);

            // The forged datagrams. The reply to a HELLO leaves from the address that it came to.
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
fn a_peer_outlives_the_address_that_it_was_served_from() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let _server = machine.run(|| TestServer::start(wildcard_config()));
        let nodad = "nodad";
        for (own, first, second, address, flags) in [
            (
                "10.77.0.9:0",
                "10.77.0.1:9999",
                "10.77.0.2:9999",
                "10.77.0.2/24",
                "",
            ),
            (
                "[fd77::9]:0",
                "[fd77::1]:9999",
                "[fd77::2]:9999",
                "fd77::2/64",
                nodad,
            ),
        ] {
            let [first, second] = [first, second].map(parse);
            let peer = clients
                .run(|| UdpSocket::bind(parse(own)))
                .expect("it is free");
            peer.set_nonblocking(true).expect("it is a socket");
            let is_served = |from, to| {
                peer.send_to(b"hi", to).expect("the network is up");
                let received = peer.recv_from(&mut [0; 100]);
                received.is_ok_and(|(_, sender)| sender == from)
            };
            wait_until("an echo", || is_served(second, second));
            machine.ip(&format!("address del {address} dev eth0"));
            wait_until("an echo from the other address", || is_served(first, first));
            machine.ip(&format!("address add {address} dev eth0 {flags}"));
            wait_until("an echo from the first again", || is_served(second, first));
        }
    });
}

#[test]
fn a_frame_from_its_own_link_local_address_is_dropped() {
    with_networks(|| {
        let [machine, neighbor] = [(); 2].map(|()| Network::new());
        let end = ("eth0", &["fe80::1/64"][..]);
        machine.cable(end, &neighbor, ("eth0", &["fe80::9/64"]));
        neighbor.sysctl("ipv6/ip_nonlocal_bind", "1");
        let server = machine.run(|| {
            TestServer::start(ServerConfig {
                bind: vec![parse("[::]:9999")],
                ..wildcard_config()
            })
        });
        let zone = neighbor.zone("eth0");
        let address = parse(&format!("[fe80::1%{zone}]:9999"));
        let forger = neighbor
            .run(|| UdpSocket::bind(address))
            .expect("non-local bind");
        forger.send_to(b"loop", address).expect("the network is up");
        let total = || server.stats().total();
        wait_until("the drop", || total().dropped(DropReason::OwnAddress) > 0);
        // A peer may have the port of the server.
        let own = parse(&format!("[fe80::9%{zone}]:9999"));
        let peer = neighbor.run(|| Client::connect_from(own, address));
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
        let neighbors = [("eth0", &one), ("eth1", &other)];
        for (name, neighbor) in neighbors {
            let end = ("eth0", &["fe80::9/64"][..]);
            machine.cable((name, &["fe80::1/64"]), neighbor, end);
        }
        let server = machine.run(|| TestServer::start(wildcard_config()));
        let [observer, v2_observer] = machine.run(|| peers_at(&server, "[::1]:0", "[::1]:9999"));
        let mut peers = Vec::new();
        for (name, neighbor) in neighbors {
            let zone = neighbor.zone("eth0");
            let address = format!("[fe80::1%{zone}]:9999");
            let connect = |port| {
                let own = parse(&format!("[fe80::9%{zone}]:{port}"));
                neighbor.run(|| Client::connect_from(own, parse(&address)))
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
        let [machine, neighbor] = [(); 2].map(|()| Network::new());
        let end = ("eth0", &["fe80::9/64"][..]);
        machine.cable(("upstairs", &["fe80::1/64"]), &neighbor, end);
        let command = server_command(&["--bind", "[fe80::1%upstairs]:9999"]);
        let server = machine.run(|| ServerProgram::start_command(command));
        let zone = machine.zone("upstairs");
        assert_eq!(server.address, parse(&format!("[fe80::1%{zone}]:9999")));
    });
}
