//! The sizes of bundles and of replies, as each peer asked for.

mod common;

use bullhorn::wire::v2::{
    BundleSize, ClientFrame, MAX_PAYLOAD_BYTES, ServerFrame, parse_server, push_padding,
};
use bullhorn::wire::{DisplayName, Reply};
use common::v2_peer::{V2Peer, datagram, hello, hello_in, welcome};
use common::{Gate, TestServer, V4, config};

#[test]
fn no_bundle_is_longer_than_1200_bytes() {
    const ROUND: usize = 90;
    let gate = Gate::default();
    let server = TestServer::start_with_clock(config(1, &[V4]), gate.clock());
    let ann = server.client();
    let session = V2Peer::open(server.unregistered_client());
    let mut longest = 0;
    for step in [1, 13, 200] {
        let texts: Vec<Vec<u8>> = (0..ROUND)
            .map(|number| vec![b'a' + step as u8 % 26; 1 + number * step % MAX_PAYLOAD_BYTES])
            .collect();
        // While the worker waits the texts accumulate, so bundles are full.
        let closed = gate.close(&ann);
        for text in &texts {
            session.send(&[ClientFrame::Say(text)]);
        }
        drop(closed);
        let mut received = Vec::new();
        while received.len() < ROUND {
            let bundle = session.client.receive();
            assert!(bundle.len() <= 1200, "{}", bundle.len());
            longest = longest.max(bundle.len());
            for frame in parse_server(&bundle).expect("it is v2") {
                match frame {
                    ServerFrame::Message(message) => received.push(message.payload.to_vec()),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(received == texts, "in order, each once");
    }
    assert_eq!(longest, 1200, "all bundles but the last are full");
    let mut padded = hello();
    push_padding(0, 1500, &mut padded);
    session.client.send(&padded);
    assert_eq!(
        welcome(&session.client.receive()).session.get(),
        session.number
    );
}

#[test]
fn bundles_of_both_sizes_have_the_same_messages() {
    const ROUND: usize = 90;
    let gate = Gate::default();
    let server = TestServer::start_with_clock(config(1, &[V4]), gate.clock());
    let ann = server.client();
    let full = V2Peer::open(server.unregistered_client());
    let small = V2Peer::open_with(BundleSize::Small, server.unregistered_client());
    // Some are longer than a small bundle.
    let closed = gate.close(&ann);
    for number in 0..ROUND {
        full.send(&[ClientFrame::Say(&vec![b'x'; number * 13 % 700])]);
    }
    drop(closed);
    let received = [(&full, 1200), (&small, 548)].map(|(peer, max_bytes)| {
        let (mut messages, mut lens) = (Vec::new(), Vec::new());
        while messages.len() < ROUND {
            let bundle = peer.client.receive();
            let before = messages.len();
            for frame in parse_server(&bundle).expect("it is v2") {
                let ServerFrame::Message(message) = frame else {
                    panic!("{frame:?}");
                };
                messages.push((message.sequence, message.payload.to_vec()));
            }
            assert!(bundle.len() <= max_bytes || messages.len() == before + 1);
            lens.push(bundle.len());
        }
        assert!(lens.contains(&max_bytes), "{lens:?}");
        messages
    });
    assert_eq!(received[0], received[1]);
}

#[test]
fn a_peer_changes_the_size_of_its_bundles_within_its_session() {
    let server = TestServer::start(config(1, &[V4]));
    let peer = V2Peer::open(server.unregistered_client());
    let sizes = [BundleSize::Small, BundleSize::Small, BundleSize::Full];
    for size in sizes {
        peer.client.send(&hello_in(peer.number, size));
        let answer = peer.client.receive();
        let welcome = welcome(&answer);
        assert_eq!(usize::from(welcome.bundle_bytes), size.bytes());
        assert_eq!(welcome.session.get(), peer.number);
        // Too many pongs for one datagram.
        peer.send(&[ClientFrame::Ping(&[b'x'; 32]); 40]);
        let reply = peer.client.receive();
        assert_eq!((reply.len() - 10) / 35, (size.bytes() - 10) / 35);
        let long = b"/msg x ".repeat(100);
        peer.send(&[ClientFrame::Command(&long)]);
        assert!(parse_server(&peer.client.receive()).is_ok());
        peer.expect_intact("still here");
    }
    assert_eq!(server.stats().peers, 1);
}

#[test]
fn the_pages_of_a_list_fit_into_small_bundles() {
    let server = TestServer::start(config(1, &[V4]));
    let peer = V2Peer::open_with(BundleSize::Small, server.unregistered_client());
    let others: Vec<_> = (0..60)
        .map(|_| V2Peer::open(server.unregistered_client()))
        .collect();
    let (mut first, mut listed) = (1, 0);
    while listed < 1 + others.len() {
        let command = format!("/who {first}");
        peer.send(&[ClientFrame::Command(command.as_bytes())]);
        let reply = peer.client.receive();
        assert!((1..=548).contains(&reply.len()), "{}", reply.len());
        let Some(ServerFrame::Notice(code, text)) = parse_server(&reply).unwrap().next() else {
            panic!("{reply:?}");
        };
        let Some(Reply::Members(_, page)) = Reply::parse(code, text) else {
            panic!("{text:?}");
        };
        let count = page.names::<DisplayName>().count();
        assert!(count > 0);
        (first, listed) = (first + count, listed + count);
    }
}

#[test]
fn a_reply_to_a_padded_datagram_is_as_long_and_never_longer_than_a_bundle() {
    let server = TestServer::start(config(1, &[V4]));
    let peer = V2Peer::open_with(BundleSize::Small, server.unregistered_client());
    for (sent, received) in [(18, 18), (19, 19), (600, 600), (1200, 1200), (2000, 1200)] {
        let mut ping = datagram(peer.number, &[ClientFrame::Ping(b"12345")]);
        push_padding(0, sent, &mut ping);
        peer.client.send(&ping);
        let pong = peer.client.receive();
        assert_eq!(pong.len(), received, "{sent}");
        let frames: Vec<_> = parse_server(&pong).unwrap().collect();
        assert_eq!(frames, [ServerFrame::Pong(b"12345")]);
    }
    // There is nothing to pad.
    let mut heartbeat = datagram(peer.number, &[ClientFrame::Heartbeat(Some(0))]);
    push_padding(0, 1200, &mut heartbeat);
    peer.client.send(&heartbeat);
    peer.expect_intact("still here");
}
