//! Bundles carry the session of each receiver, and the same messages for all members of a room.

mod common;

use bullhorn::wire::v2::{BundleSize, ClientFrame, ServerFrame, parse_server};
use common::v2_peer::V2Peer;
use common::{TestServer, V4, config};

#[test]
fn each_member_receives_its_own_session_and_the_messages_that_all_receive() {
    for workers in [1, 2] {
        let server = TestServer::start(config(workers, &[V4]));
        let open = |number: usize| {
            let size = BundleSize::ALL[number % 2];
            V2Peer::open_with(size, server.unregistered_client())
        };
        let peers: Vec<V2Peer> = (0..PEERS).map(open).collect();
        // Each takes most of a bundle, so that a packet has several.
        let texts: Vec<String> = (0..TEXTS).map(|number| format!("{number:0400}")).collect();
        let says: Vec<_> = texts
            .iter()
            .map(|text| ClientFrame::Say(text.as_bytes()))
            .collect();
        peers[0].send(&says[..TEXTS / 2]);
        peers[0].send(&says[TEXTS / 2..]);
        let first = messages(&peers[0]);
        let payloads = first.iter().map(|(_, payload)| payload.clone());
        assert!(payloads.eq(texts), "{first:?}");
        for peer in &peers[1..] {
            assert_eq!(messages(peer), first);
        }
    }
}

/// Receives the next messages, with their numbers.
#[track_caller]
fn messages(peer: &V2Peer) -> Vec<(u32, String)> {
    let mut messages = Vec::new();
    while messages.len() < TEXTS {
        let bundle = peer.client.receive();
        let frames = parse_server(&bundle).expect("it is v2");
        assert_eq!(frames.receiver(), peer.number);
        messages.extend(frames.map(|frame| match frame {
            ServerFrame::Message(message) => {
                let payload = String::from_utf8_lossy(message.payload);
                (message.sequence, payload.into_owned())
            }
            frame => panic!("{frame:?}"),
        }));
    }
    messages
}

/// Enough that two workers share a plan.
const PEERS: usize = 300;

/// Two datagrams of a client hold them.
const TEXTS: usize = 8;
