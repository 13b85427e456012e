//! Sessions that are not sent their own messages.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::BTreeMap;

use bullhorn::wire::RoomName;
use bullhorn::wire::v2::{
    BundleSize, ClientFrame, Hello, ServerFrame, SessionOptions, parse_server,
};
use common::v2_peer::V2Peer;
use common::{Gate, TestServer, V4, config, wait_until};

/// The messages of a room by stream and number. `None` stands for one that OWN tells of.
type Numbers = BTreeMap<(u8, u32), Option<Vec<u8>>>;

#[test]
fn each_receives_all_messages_but_its_own_and_the_numbers_of_those() {
    for workers in [1, 2] {
        println!("with {workers} workers");
        let gate = Gate::default();
        let server = TestServer::start_with_clock(config(workers, &[V4]), gate.clock());
        let ann = server.client();
        let loud = V2Peer::open(server.unregistered_client());
        let quiet = BundleSize::ALL.map(|bundle_size| {
            let options = SessionOptions {
                bundle_size,
                echo: false,
                ..SessionOptions::default()
            };
            V2Peer::open_as(options, server.unregistered_client())
        });
        // They wait together, so plans have the messages of all. Some are longer than a small bundle.
        let closed = gate.close(&ann);
        for number in 0..ROUNDS {
            for (name, peer) in (b'a'..).zip([&loud, &quiet[0], &quiet[1]]) {
                let text = vec![name; 1 + number * 31 % 700];
                peer.send(&[ClientFrame::Say(&text), ClientFrame::Say(&text)]);
            }
        }
        drop(closed);
        let all = receive(&loud, 6 * ROUNDS);
        assert!(all.values().all(Option::is_some));
        for (name, peer) in (b'b'..).zip(&quiet) {
            let without_own = all.iter().map(|(number, text)| {
                let text = text.clone().filter(|text| text[0] != name);
                (*number, text)
            });
            assert_eq!(receive(peer, 6 * ROUNDS), without_own.collect());
        }
        let deliveries = (ROUNDS * (2 * 4 + 4 * 3)) as u64;
        server.wait_for_deliveries(deliveries);
        let total = server.stats().total();
        assert_eq!(total.deliveries_planned, deliveries);
    }
}

#[test]
fn the_option_changes_within_a_session_and_holds_in_every_room() {
    let server = TestServer::start(config(1, &[V4]));
    let dan = V2Peer::open(server.unregistered_client());
    let den = RoomName::parse(b"den").unwrap();
    dan.send(&[ClientFrame::Subscribe(den)]);
    let answer = dan.client.receive();
    let Some(ServerFrame::Subscribed(den)) = parse_server(&answer).unwrap().next() else {
        panic!("{answer:?}");
    };
    for echo in [false, true, false] {
        let options = SessionOptions {
            echo,
            ..SessionOptions::default()
        };
        dan.send(&[ClientFrame::Hello(Hello { nonce: 1, options })]);
        dan.client.receive();
        for say in [
            ClientFrame::Say(b"hi"),
            ClientFrame::SayTo(den.number, b"hi"),
        ] {
            dan.send(&[say]);
            let datagram = dan.client.receive();
            let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
            let is_right = match frames[..] {
                [ServerFrame::Message(message)] => echo && message.payload == b"hi",
                [ServerFrame::Own(own)] => !echo && own.count == 1,
                _ => false,
            };
            assert!(is_right, "{echo}: {frames:?}");
        }
    }
    wait_until("all is sent", || server.stats().total().deliveries == 2);
}

/// Receives the next `count` messages of the lobby.
#[track_caller]
fn receive(peer: &V2Peer, count: usize) -> Numbers {
    let mut numbers = Numbers::new();
    while numbers.len() < count {
        let bundle = peer.client.receive();
        let frames = parse_server(&bundle).unwrap();
        assert_eq!(frames.receiver(), peer.number);
        for frame in frames {
            let before = numbers.len();
            let added = match frame {
                ServerFrame::Message(message) => {
                    let number = (message.stream, message.sequence);
                    numbers.insert(number, Some(message.payload.to_vec()));
                    1
                }
                ServerFrame::Own(own) => {
                    let own_numbers = (0..own.count).map(|index| own.sequence + u32::from(index));
                    numbers.extend(own_numbers.map(|number| ((own.stream, number), None)));
                    own.count.into()
                }
                frame => panic!("{frame:?}"),
            };
            assert_eq!(numbers.len(), before + added, "each comes once");
        }
    }
    numbers
}

const ROUNDS: usize = 40;
