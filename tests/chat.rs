//! The effect of each kind of datagram on the chat, over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::Ipv6Addr;

use bullhorn::stats::DropReason;
use common::{
    Client, TestServer, V4, V6, bound_to_address_of, config, reachable, wait_until,
    with_each_server,
};

#[test]
fn a_text_goes_to_all_peers_with_the_address_of_its_sender() {
    with_each_server(|server| {
        let [ann, bob, cem] = server.clients();
        ann.send(b"hi all");
        for receiver in [&ann, &bob, &cem] {
            receiver.expect_text_from(&ann, "hi all");
        }
        bob.send(b"hi ann");
        for receiver in [&ann, &bob, &cem] {
            receiver.expect_text_from(&bob, "hi ann");
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
            client.send(b"the first text");
            let received = client.receive_text();
            let line_end = if heartbeat.ends_with('\n') { "\n" } else { "" };
            let text = format!("{} the first text{line_end}", client.address());
            assert_eq!(received, text);
            client.send(b"");
            wait_until("the leave", || server.stats().peers == 0);
        }
    });
}

#[test]
fn quit_in_any_case_or_an_empty_datagram_leaves_silently() {
    with_each_server(|server| {
        let mut deliveries = 0;
        for farewell in ["", "quit", "QUIT", "qUiT", "quit\n", "Quit\r\n"] {
            let [ann, bob] = server.clients();
            // Builds the list of receivers, which the leave must change.
            ann.send(b"I must go");
            ann.expect_text_from(&ann, "I must go");
            bob.expect_text_from(&ann, "I must go");
            ann.send(farewell.as_bytes());
            wait_until("the leave", || server.stats().peers == 1);

            bob.send(b"is ann here?");
            bob.expect_text_from(&bob, "is ann here?");
            deliveries += 3;
            server.wait_for_deliveries(deliveries);

            // The same worker serves her, so it has sent everything before.
            ann.send(b"ann is back");
            bob.expect_text_from(&ann, "ann is back");
            ann.expect_text_from(&ann, "ann is back");
            deliveries += 2;
            server.wait_for_deliveries(deliveries);
            ann.send(b"quit");
            bob.send(b"quit");
            wait_until("two leaves", || server.stats().peers == 0);
        }
    });
}

#[test]
fn a_leave_of_an_unregistered_client_changes_nothing() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        let stranger = server.unregistered_client();
        stranger.send(b"");
        stranger.send(b"quit");
        stranger.send(b"QUIT\n");
        wait_until("three leaves", || server.stats().total().leaves == 3);
        assert_eq!(server.stats().peers, 2);

        stranger.send(b"hello");
        for receiver in [&ann, &bob, &stranger] {
            receiver.expect_text_from(&stranger, "hello");
        }
        ann.send(b"hello, stranger");
        for receiver in [&ann, &bob, &stranger] {
            receiver.expect_text_from(&ann, "hello, stranger");
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
fn a_text_that_is_too_long_is_cut_at_a_character() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for len in [3_000, 60_000] {
            for char in ['x', 'ü', '世', '🎉'] {
                let text = String::from(char).repeat(len / char.len_utf8());
                ann.send(text.as_bytes());
                let received = bob.receive_text();
                let prefix = format!("{} ", ann.address());
                let cut = received.strip_prefix(&prefix).expect("the address");
                assert!(text.starts_with(cut));
                let space = MAX_DATAGRAM_BYTES - prefix.len();
                assert_eq!(cut.len(), space - space % char.len_utf8(), "{len} {char}");
                ann.expect_text_from(&ann, cut);
            }
        }
        bob.send(b"that was long");
        bob.expect_text_from(&bob, "that was long");
    });
}

#[test]
fn a_text_of_the_maximum_length_is_not_cut() {
    with_each_server(|server| {
        let ann = server.client();
        let space = MAX_DATAGRAM_BYTES - format!("{} ", ann.address()).len();
        let text = "x".repeat(space);
        ann.send(text.as_bytes());
        ann.expect_text_from(&ann, &text);
    });
}

#[test]
fn control_characters_are_escaped() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for (text, received) in [
            ("\x1b[2J\0\x07\x7f", r"\x1b[2J\x00\x07\x7f"),
            ("one\ntwo\rthree", r"one\x0atwo\x0dthree"),
            ("\u{85}\u{9b}", r"\x85\x9b"),
            ("\u{202e}\u{2066}\u{200f}", r"\u{202e}\u{2066}\u{200f}"),
            ("\u{2028}", r"\u{2028}"),
        ] {
            ann.send(text.as_bytes());
            bob.expect_text_from(&ann, received);
        }
    });
}

#[test]
fn one_trailing_line_end_is_removed() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        for (text, received) in [
            ("hi\n", "hi"),
            ("hi\r\n", "hi"),
            ("hi\n\n", r"hi\x0a"),
            ("\n\n", r"\x0a"),
        ] {
            ann.send(text.as_bytes());
            bob.expect_text_from(&ann, received);
        }
    });
}

#[test]
fn a_peer_with_a_closed_socket_does_not_affect_the_others() {
    with_each_server(|server| {
        let [ann, bob, closed, cem] = server.clients();
        drop(closed);
        // Each "port unreachable" arrives while more texts are sent.
        for number in 0..50 {
            let text = format!("text {number}");
            ann.send(text.as_bytes());
            for receiver in [&ann, &bob, &cem] {
                receiver.expect_text_from(&ann, &text);
            }
            bob.send(text.as_bytes());
            for receiver in [&ann, &bob, &cem] {
                receiver.expect_text_from(&bob, &text);
            }
        }
        assert_eq!(server.stats().peers, 4, "only a timeout removes it");
    });
}

#[test]
fn a_peer_that_does_not_receive_does_not_affect_the_others() {
    with_each_server(|server| {
        let [ann, idle] = server.clients();
        let smallest = socket2::SockRef::from(idle.socket()).set_recv_buffer_size(1);
        smallest.expect("the kernel rounds it up");
        let text = "x".repeat(900);
        for _ in 0..100 {
            ann.send(text.as_bytes());
            ann.expect_text_from(&ann, &text);
        }
    });
}

#[test]
fn malformed_frames_are_dropped_and_register_nobody() {
    with_each_server(|server| {
        let ann = server.client();
        let client = server.unregistered_client();
        for frame in [&b"\xff"[..], b"\xff\x02\x01", b"\xff quit", b"\xff\n"] {
            client.send(frame);
        }
        let dropped = || server.stats().total().dropped(DropReason::Malformed);
        wait_until("four drops", || dropped() == 4);
        assert_eq!(server.stats().peers, 1);
        client.send(b"text");
        ann.expect_text_from(&client, "text");
        assert_eq!(server.stats().total().dropped_total(), 4);
    });
}

#[test]
fn every_text_arrives_once_and_in_the_order_of_its_sender() {
    const TEXTS: usize = 20;
    with_each_server(|server| {
        let clients: [Client; 8] = server.clients();
        for number in 0..TEXTS {
            for sender in &clients {
                sender.send(number.to_string().as_bytes());
            }
        }
        for receiver in &clients {
            let mut next = [0; 8];
            for _ in 0..clients.len() * TEXTS {
                let received = receiver.receive_text();
                let (from, number) = received.split_once(' ').expect("address and text");
                let mut senders = clients.iter();
                let index = senders.position(|sender| sender.address().to_string() == from);
                let index = index.expect("the sender is a peer");
                assert_eq!(number, next[index].to_string(), "from {from}");
                next[index] += 1;
            }
            assert_eq!(next, [TEXTS; 8]);
        }
        server.wait_for_deliveries((clients.len() * clients.len() * TEXTS) as u64);
        assert!(clients.iter().all(Client::inbox_is_empty));
    });
}

#[test]
fn peers_at_different_addresses_of_one_server_share_a_room() {
    for workers in [1, 2, 8] {
        let server = TestServer::start(config(workers, &[V4, V6, V4]));
        let [first, second, third] = server.local_addrs() else {
            panic!("three addresses are configured")
        };
        let ann = server.client_at(*first);
        let bob = server.client_at(*second);
        let cem = server.client_at(*third);
        for sender in [&ann, &bob, &cem] {
            sender.send(b"hi all");
            for receiver in [&ann, &bob, &cem] {
                receiver.expect_text_from(sender, "hi all");
            }
        }
    }
}

#[test]
fn ipv4_and_ipv6_can_share_a_port_and_a_room() {
    let (server, port) = (0..100)
        .find_map(|_| {
            let port = Client::connect(([127, 0, 0, 1], 9).into()).address().port();
            let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
            let config = config(2, &both.each_ref().map(String::as_str));
            // Another process may have bound the port in the meantime.
            Some((TestServer::try_start(config)?, port))
        })
        .expect("a port that is free in both");
    let ann = server.client_at(([127, 0, 0, 1], port).into());
    let bob = server.client_at((Ipv6Addr::LOCALHOST, port).into());
    for sender in [&ann, &bob] {
        sender.send(b"hi");
        ann.expect_text_from(sender, "hi");
        bob.expect_text_from(sender, "hi");
    }
}

#[test]
fn datagrams_from_the_address_of_the_server_are_dropped() {
    for address in [V4, "0.0.0.0:0", "[::]:0"] {
        let server = TestServer::start(config(2, &[address]));
        let ann = server.client();
        let impostor = bound_to_address_of(&server);
        for datagram in ["@im@", "this is your server", "quit", ""] {
            let to = reachable(server.local_addr());
            impostor.send_to(datagram.as_bytes(), &to.into()).unwrap();
        }
        let dropped = || server.stats().total().dropped(DropReason::OwnAddress);
        wait_until("four drops", || dropped() == 4);
        assert_eq!(server.stats().peers, 1);
        ann.send(b"hi");
        ann.expect_text_from(&ann, "hi");
    }
}

#[test]
fn an_echo_from_another_server_is_dropped() {
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

/// The limit for a text with the address of its sender.
const MAX_DATAGRAM_BYTES: usize = 1024;
