//! What the chat does with each kind of datagram, over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::net::{Ipv6Addr, SocketAddr};

use bullhorn::ServerConfig;
use bullhorn::stats::DropReason;
use common::{Client, TestServer, V4, V6, config, wait_until, with_each_server};

/// More than any address and any text of these tests has to share.
const MAX_DATAGRAM: usize = 1024;

#[test]
fn a_text_goes_to_all_peers_and_its_sender_as_address_and_text() {
    with_each_server(|server| {
        let [ann, bob, cem] = server.clients();
        ann.send(b"hi all");
        for listener in [&ann, &bob, &cem] {
            listener.expect_text_from(&ann, "hi all");
        }
        bob.send(b"hi ann");
        for listener in [&ann, &bob, &cem] {
            listener.expect_text_from(&bob, "hi ann");
        }
    });
}

#[test]
fn printable_text_arrives_byte_for_byte() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for text in [
            "x",
            " leading and trailing ",
            "a\ttab",
            "Grüße, 世界 🎉 👩‍🚀",
            r"\x1b is no escape",
            "quit it",
            "@im@ home",
            "/nickname is no command",
        ] {
            ann.send(text.as_bytes());
            bob.expect_text_from(&ann, text);
            ann.expect_text_from(&ann, text);
        }
    });
}

#[test]
fn a_text_registers_its_sender() {
    with_each_server(|server| {
        let ann = server.unregistered_client();
        ann.send(b"hi");
        ann.expect_text_from(&ann, "hi");
        assert_eq!(server.stats().peers, 1);
        let bob = server.client();
        bob.send(b"hi ann");
        ann.expect_text_from(&bob, "hi ann");
    });
}

#[test]
fn a_heartbeat_in_any_case_registers_and_is_not_answered() {
    with_each_server(|server| {
        for (number, heartbeat) in ["@im@", "@IM@", "@Im@", "@im@\n", "\n", "\r\n"]
            .iter()
            .enumerate()
        {
            let client = server.unregistered_client();
            client.send(heartbeat.as_bytes());
            wait_until("the registration", || {
                server.stats().total().registered == number as u64 + 1
            });
            assert_eq!(server.stats().peers, 1, "after {heartbeat:?}");
            client.send(b"the first thing to hear");
            let heard = client.receive_text();
            let line_end = if heartbeat.ends_with('\n') { "\n" } else { "" };
            let text = format!("{} the first thing to hear{line_end}", client.address());
            assert_eq!(heard, text);
            client.send(b"");
            wait_until("the leave", || server.stats().peers == 0);
        }
    });
}

#[test]
fn who_sends_quit_in_any_case_or_nothing_leaves_and_nobody_hears_of_it() {
    with_each_server(|server| {
        let mut deliveries = 0;
        for farewell in ["", "quit", "QUIT", "qUiT", "quit\n", "Quit\r\n"] {
            let [ann, bob] = server.clients();
            // So that a list of whom to send to is there, and must change.
            ann.send(b"I must go");
            ann.expect_text_from(&ann, "I must go");
            bob.expect_text_from(&ann, "I must go");
            ann.send(farewell.as_bytes());
            wait_until("the leave", || server.stats().peers == 1);

            bob.send(b"is ann here?");
            bob.expect_text_from(&bob, "is ann here?");
            deliveries += 3;
            server.wait_for_deliveries(deliveries);

            // The same worker serves her: it has sent what it had to before.
            ann.send(b"ann is back");
            bob.expect_text_from(&ann, "ann is back");
            ann.expect_text_from(&ann, "ann is back");
            deliveries += 2;
            server.wait_for_deliveries(deliveries);
            ann.send(b"quit");
            bob.send(b"quit");
            wait_until("both leaves", || server.stats().peers == 0);
        }
    });
}

#[test]
fn a_stranger_who_leaves_changes_nothing() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        let stranger = server.unregistered_client();
        stranger.send(b"");
        stranger.send(b"quit");
        stranger.send(b"QUIT\n");
        wait_until("all three", || server.stats().total().leaves == 3);
        assert_eq!(server.stats().peers, 2);

        stranger.send(b"hello");
        for listener in [&ann, &bob, &stranger] {
            listener.expect_text_from(&stranger, "hello");
        }
        ann.send(b"hello, stranger");
        for listener in [&ann, &bob, &stranger] {
            listener.expect_text_from(&ann, "hello, stranger");
        }
    });
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        ann.send(b"a\xffb\xc3");
        bob.expect_text_from(&ann, "a\u{fffd}b\u{fffd}");
        ann.send(b"\xc3\x28\xf0\x9f");
        bob.expect_text_from(&ann, "\u{fffd}(\u{fffd}");
        ann.send(b"\x80");
        bob.expect_text_from(&ann, "\u{fffd}");
        bob.send(b"well");
        bob.expect_text_from(&bob, "well");
    });
}

#[test]
fn a_text_longer_than_fits_is_cut_at_a_character() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for len in [3_000, 60_000] {
            for char in ['x', 'ü', '世', '🎉'] {
                let text = String::from(char).repeat(len / char.len_utf8());
                ann.send(text.as_bytes());
                let heard = bob.receive_text();
                let prefix = format!("{} ", ann.address());
                let cut = heard.strip_prefix(&prefix).expect("who said it");
                assert!(text.starts_with(cut));
                let space = MAX_DATAGRAM - prefix.len();
                assert_eq!(cut.len(), space - space % char.len_utf8(), "{len} {char}");
                ann.expect_text_from(&ann, cut);
            }
        }
        bob.send(b"that was long");
        bob.expect_text_from(&bob, "that was long");
    });
}

#[test]
fn the_longest_text_that_fits_is_not_cut() {
    with_each_server(|server| {
        let ann = server.client();
        let space = MAX_DATAGRAM - format!("{} ", ann.address()).len();
        let text = "x".repeat(space);
        ann.send(text.as_bytes());
        ann.expect_text_from(&ann, &text);
    });
}

#[test]
fn control_characters_are_escaped() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for (text, heard) in [
            ("\x1b[2J\0\x07\x7f", r"\x1b[2J\x00\x07\x7f"),
            ("one\ntwo\rthree", r"one\x0atwo\x0dthree"),
            ("\u{85}\u{9b}", r"\x85\x9b"),
            ("\u{202e}\u{2066}\u{200f}", r"\u{202e}\u{2066}\u{200f}"),
            ("\u{2028}", r"\u{2028}"),
        ] {
            ann.send(text.as_bytes());
            bob.expect_text_from(&ann, heard);
        }
    });
}

#[test]
fn one_line_end_as_netcat_sends_it_is_dropped() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for (text, heard) in [
            ("hi\n", "hi"),
            ("hi\r\n", "hi"),
            ("hi\n\n", r"hi\x0a"),
            ("\n\n", r"\x0a"),
        ] {
            ann.send(text.as_bytes());
            bob.expect_text_from(&ann, heard);
        }
    });
}

#[test]
fn a_peer_that_closed_its_socket_costs_the_others_nothing() {
    with_each_server(|server| {
        let [ann, bob, gone, cem] = server.clients();
        drop(gone);
        // Each answer of "port unreachable" comes while more is sent.
        for number in 0..50 {
            let text = format!("text {number}");
            ann.send(text.as_bytes());
            for listener in [&ann, &bob, &cem] {
                listener.expect_text_from(&ann, &text);
            }
            bob.send(text.as_bytes());
            for listener in [&ann, &bob, &cem] {
                listener.expect_text_from(&bob, &text);
            }
        }
        assert_eq!(
            server.stats().peers,
            4,
            "it is dropped by its silence alone"
        );
    });
}

#[test]
fn a_peer_that_does_not_read_costs_the_others_nothing() {
    with_each_server(|server| {
        let [ann, deaf] = server.clients();
        let smallest = socket2::SockRef::from(deaf.socket()).set_recv_buffer_size(1);
        smallest.expect("the kernel rounds it up");
        let text = "x".repeat(900);
        for _ in 0..100 {
            ann.send(text.as_bytes());
            ann.expect_text_from(&ann, &text);
        }
    });
}

#[test]
fn binary_frames_are_dropped_and_counted_and_register_nobody() {
    with_each_server(|server| {
        let ann = server.client();
        let frames = server.unregistered_client();
        for frame in [&b"\xff"[..], b"\xff\x02\x01", b"\xff quit", b"\xff\n"] {
            frames.send(frame);
        }
        let dropped = || server.stats().total().dropped(DropReason::Malformed);
        wait_until("all frames", || dropped() == 4);
        assert_eq!(server.stats().peers, 1);
        frames.send(b"text");
        ann.expect_text_from(&frames, "text");
        assert_eq!(server.stats().total().dropped_total(), 4);
    });
}

#[test]
fn everyone_hears_every_text_once_and_each_speaker_in_order() {
    const TEXTS: usize = 20;
    with_each_server(|server| {
        let clients: [Client; 8] = server.clients();
        for number in 0..TEXTS {
            for speaker in &clients {
                speaker.send(number.to_string().as_bytes());
            }
        }
        for listener in &clients {
            let mut next = [0; 8];
            for _ in 0..clients.len() * TEXTS {
                let heard = listener.receive_text();
                let (who, number) = heard.split_once(' ').expect("who and what");
                let mut speakers = clients.iter();
                let index = speakers.position(|speaker| speaker.address().to_string() == who);
                let index = index.expect("a peer said it");
                assert_eq!(number, next[index].to_string(), "from {who}");
                next[index] += 1;
            }
            assert_eq!(next, [TEXTS; 8]);
        }
        server.wait_for_deliveries((clients.len() * clients.len() * TEXTS) as u64);
        assert!(clients.iter().all(Client::inbox_is_empty));
    });
}

#[test]
fn peers_at_different_addresses_of_one_server_hear_each_other() {
    for workers in [1, 2, 8] {
        let server = TestServer::start(config(workers, &[V4, V6, V4]));
        let [first, second, third] = server.local_addrs() else {
            panic!("three addresses were asked for")
        };
        let ann = server.client_at(*first);
        let bob = server.client_at(*second);
        let cem = server.client_at(*third);
        for speaker in [&ann, &bob, &cem] {
            speaker.send(b"hi all");
            for listener in [&ann, &bob, &cem] {
                listener.expect_text_from(speaker, "hi all");
            }
        }
    }
}

#[test]
fn ipv4_and_ipv6_share_a_port_number_and_hear_each_other() {
    let (server, port) = (0..100)
        .find_map(|_| {
            let port = Client::connect(([127, 0, 0, 1], 9).into()).address().port();
            let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
            let config = config(2, &both.each_ref().map(String::as_str));
            // Somebody may have taken the port meanwhile.
            Some((TestServer::try_start(config)?, port))
        })
        .expect("a port that is free twice");
    let ann = server.client_at(([127, 0, 0, 1], port).into());
    let bob = server.client_at((Ipv6Addr::LOCALHOST, port).into());
    for speaker in [&ann, &bob] {
        speaker.send(b"hi");
        ann.expect_text_from(speaker, "hi");
        bob.expect_text_from(speaker, "hi");
    }
}

#[test]
fn a_full_server_takes_nobody_new_until_someone_leaves() {
    for workers in [1, 2, 8] {
        let server = TestServer::start(ServerConfig {
            max_peers: 2,
            ..config(workers, &[V4])
        });
        let [ann, bob] = server.clients();
        let cem = server.unregistered_client();
        cem.send(b"@im@");
        cem.send(b"may I come in?");
        let refused = || server.stats().total().dropped(DropReason::PeersFull);
        wait_until("both refusals", || refused() == 2);
        assert_eq!(server.stats().peers, 2);

        ann.send(b"no");
        ann.expect_text_from(&ann, "no");
        bob.expect_text_from(&ann, "no");
        server.wait_for_deliveries(2);
        bob.send(b"quit");
        wait_until("the leave", || server.stats().peers == 1);
        cem.send(b"and now?");
        for listener in [&ann, &cem] {
            listener.expect_text_from(&cem, "and now?");
        }
        assert_eq!(refused(), 2);
    }
}

#[test]
fn who_claims_to_be_the_server_is_dropped_and_counted() {
    for address in [V4, V6, "0.0.0.0:0", "[::]:0"] {
        let server = TestServer::start(config(2, &[address]));
        let ann = server.client();
        let impostor = bound_to_the_address_of(&server);
        for datagram in ["@im@", "this is your server", "quit", ""] {
            let to = reachable(server.local_addr());
            impostor.send_to(datagram.as_bytes(), &to.into()).unwrap();
        }
        let dropped = || server.stats().total().dropped(DropReason::OwnAddress);
        wait_until("all four", || dropped() == 4);
        assert_eq!(server.stats().peers, 1);
        ann.send(b"hi");
        ann.expect_text_from(&ann, "hi");
    }
}

#[test]
fn what_another_server_made_of_our_messages_is_not_repeated() {
    with_each_server(|server| {
        let [ann, other_server] = server.clients();
        let own = server.local_addr();
        other_server.send(format!("{own} 127.0.0.1:5 hi").as_bytes());
        let dropped = || server.stats().total().dropped(DropReason::OwnEcho);
        wait_until("the echo", || dropped() == 1);
        ann.send(b"first");
        ann.expect_text_from(&ann, "first");
    });
}

/// An address at which a server that listens there is reached.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) if address.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(_) if address.ip().is_unspecified() => {
            address.set_ip(Ipv6Addr::LOCALHOST.into());
        }
        _ => {}
    }
    address
}

/// A socket that shares the server's address, as the same user's sockets may,
/// and is connected elsewhere, so that it takes none of the server's datagrams.
fn bound_to_the_address_of(server: &TestServer) -> socket2::Socket {
    use socket2::{Domain, Socket, Type};
    let address = reachable(server.local_addr());
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    let elsewhere = Client::connect(address).address();
    socket.connect(&elsewhere.into()).unwrap();
    socket
}
