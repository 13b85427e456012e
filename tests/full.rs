//! A server with `--max-peers` peers, and the replies to newcomers.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::ServerConfig;
use bullhorn::stats::DropReason;
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{ClientFrame, NoticeCode, ServerFrame, parse_server};
use common::v2_peer::{V2Peer, datagram, hello};
use common::{TestServer, V4, V6, bound_to_address_of, config, wait_until};

#[test]
fn a_full_server_registers_nobody_until_a_peer_leaves() {
    for (address, workers) in [(V4, 1), (V4, 8), (V6, 2)] {
        let server = full_server(2, workers, address);
        let [ann, bob] = server.clients();
        let cem = server.unregistered_client();
        for datagram in ["@im@", "may I come in?", "/nick cem"] {
            cem.send(datagram.as_bytes());
            assert_eq!(cem.receive(), b"* peer limit reached (2)");
        }
        assert_eq!(server.stats().peers, 2);

        ann.send(b"no");
        ann.expect_text_from(&ann, "no");
        bob.expect_text_from(&ann, "no");
        server.wait_for_deliveries(2);
        bob.send(b"quit");
        wait_until("the leave", || server.stats().peers == 1);
        cem.send(b"and now?");
        for receiver in [&ann, &cem] {
            receiver.expect_text_from(&cem, "and now?");
        }
        let total = server.stats().total();
        assert_eq!(
            (total.dropped(DropReason::PeersFull), total.replies),
            (3, 3)
        );
        assert_eq!((total.heartbeats, total.texts, total.commands), (2, 2, 0));
    }
}

#[test]
fn a_full_server_replies_in_the_form_of_each_datagram() {
    let server = full_server(1, 1, V4);
    let ann = server.client();
    let ned = server.unregistered_client();
    for (datagram, reply) in [
        (&b"\n"[..], &b"* peer limit reached (1)\n"[..]),
        (b"hi\r\n", b"* peer limit reached (1)\n"),
        (b"@im@\n\0", b"* peer limit reached (1)\n"),
        (b"@im@\0", b"* peer limit reached (1)"),
    ] {
        ned.send(datagram);
        assert_eq!(ned.receive(), reply);
    }
    ned.send(&hello());
    let reply = ned.receive();
    assert!(reply.len() < hello().len());
    expect_refusal(&reply);

    ned.send(b"quit");
    ned.send(b"");
    ned.send(b"* den is full (1)");
    ned.send(&datagram(7, &[ClientFrame::Ping(b"1")]));
    assert_eq!(ned.receive(), [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0x89, 0, 0]);
    ned.send(b"last");
    assert_eq!(ned.receive(), b"* peer limit reached (1)");
    assert!(ned.inbox_is_empty() && ann.inbox_is_empty());
    // A reply is counted after it is sent.
    wait_until("the count", || server.stats().total().replies >= 7);
    let total = server.stats().total();
    assert_eq!(
        (total.dropped(DropReason::PeersFull), total.replies),
        (7, 7)
    );
    assert_eq!(total.dropped(DropReason::UnknownSession), 1);
    assert_eq!((total.leaves, total.heartbeats), (2, 1));
    assert_eq!(total.datagrams_in, 3 + total.dropped_total());
}

#[test]
fn a_full_server_keeps_its_sessions() {
    let server = full_server(2, 1, V4);
    let dan = V2Peer::open(server.unregistered_client());
    let ann = server.client();
    let cem = server.unregistered_client();
    cem.send(&hello());
    expect_refusal(&cem.receive());
    // It has a place already.
    dan.client.send(&hello());
    let answer = dan.client.receive();
    let again = common::v2_peer::welcome(&answer);
    assert_eq!(again.session.get(), dan.number);
    // It stays a v1 peer until it leaves.
    ann.send(&hello());
    ann.send(b"quit");
    dan.send(&[ClientFrame::Bye]);
    wait_until("free places", || server.stats().peers == 0);
    V2Peer::open(cem).expect_intact("hi");
    assert!(ann.inbox_is_empty());
}

#[test]
fn two_full_servers_do_not_reply_to_each_other() {
    for datagram in [&b"@im@"[..], b"hi", b"hi\n", b"/ping 1", &hello()] {
        let servers = [full_server(1, 1, V4), full_server(1, 1, V4)];
        let [ann, bob] = servers.each_ref().map(TestServer::client);
        let [first, second] = &servers;
        let forger = bound_to_address_of(second);
        let to_first = first.local_addr().into();
        forger.send_to(datagram, &to_first).unwrap();
        wait_until("the refusal", || first.stats().total().replies == 1);
        let dropped = || second.stats().total().dropped_total();
        wait_until("the refusal at the other server", || dropped() == 1);
        // A reply would have been sent to the first server before this one, and received
        // before the next ping.
        for (client, replies) in [(&bob, 1), (&ann, 2)] {
            client.send(b"/ping end");
            assert_eq!(client.receive(), b"* pong end");
            let server = if replies == 1 { second } else { first };
            wait_until("the count", || server.stats().total().replies >= replies);
            assert_eq!(server.stats().total().replies, replies, "{datagram:?}");
        }
        assert_eq!(first.stats().total().datagrams_in, 3);
        assert_eq!(second.stats().total().datagrams_in, 3);
    }
}

#[test]
fn a_full_server_does_not_reply_to_the_echo_of_its_refusal() {
    let full = full_server(1, 1, V4);
    let ann = full.client();
    let other = TestServer::start(config(1, &[V4]));
    let bob = other.client();
    // The full server is a peer of the other one, and has a name there. So the echoes do
    // not begin with its address.
    let forger = bound_to_address_of(&full);
    let to_other = other.local_addr().into();
    forger.send_to(b"/nick eve", &to_other).unwrap();
    let dropped = || full.stats().total().dropped_total();
    // The reply begins with a star.
    wait_until("the reply to the command", || dropped() == 1);
    bob.send(b"hi");
    bob.expect_text_from(&bob, "hi");
    assert_eq!(bob.receive_text(), "eve * peer limit reached (1)");
    wait_until("the text and the echo", || dropped() == 3);
    ann.send(b"/ping end");
    assert_eq!(ann.receive(), b"* pong end");
    bob.send(b"/ping end");
    assert_eq!(bob.receive(), b"* pong end");
    wait_until("the count", || full.stats().total().replies >= 2);
    assert_eq!(full.stats().total().replies, 2);
}

/// Starts a server that is full with `max_peers` peers.
fn full_server(max_peers: u32, workers: u16, address: &str) -> TestServer {
    TestServer::start(ServerConfig {
        max_peers,
        ..config(workers, &[address])
    })
}

/// Checks that a datagram is the refusal of a newcomer.
#[track_caller]
fn expect_refusal(datagram: &[u8]) {
    let frames: Vec<_> = parse_server(datagram).unwrap().collect();
    let [ServerFrame::Notice(NoticeCode::Refused, text)] = frames[..] else {
        panic!("no refusal: {frames:?}");
    };
    let reply = Reply::parse(NoticeCode::Refused, text);
    assert!(matches!(reply, Some(Reply::PeerLimit(_))), "{reply:?}");
}
