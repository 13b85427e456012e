//! The counters of the server add up, to the last datagram and delivery.

mod common;

use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::net::PeerAddr;
use bullhorn::stats::{Counts, DropReason};
use bullhorn::wire::RoomName;
use bullhorn::wire::v2::ClientFrame;
use common::v2_peer::{V2Peer, datagram};
use common::{Client, TestServer, V4, config, wait_until};

#[test]
fn every_datagram_and_every_delivery_is_counted_once() {
    for workers in [1, 2] {
        println!("with {workers} workers");
        let server = TestServer::start(patient_config(workers));
        let clients: [Client; 5] = server.clients();
        let sessions: [V2Peer; 3] =
            std::array::from_fn(|_| V2Peer::open(server.unregistered_client()));
        let stranger = server.unregistered_client();
        let forger = server.unregistered_client();
        // Five heartbeats, three HELLOs, and the first datagrams of their sessions.
        let mut sent = 5 + 3 + 3;
        // In rounds, so that one round fits into every socket.
        for round in 0..10_u64 {
            for client in &clients {
                client.send(format!("round {round}").as_bytes());
                client.send(b"@IM@\n");
            }
            let frames = [
                ClientFrame::Say(b"a"),
                ClientFrame::Heartbeat(Some(0)),
                ClientFrame::Say(b"bb"),
                ClientFrame::Say(b"ccc"),
            ];
            for session in &sessions {
                session.send(&frames);
                session.client.send(&datagram(session.number ^ 1, &frames));
            }
            sessions[0].client.send(b"\xff\x02 malformed");
            stranger.send(b"\xff");
            stranger.send(b"");
            stranger.send(b"quit\n");
            forger.send(&datagram(sessions[0].number, &frames));
            sent += 5 * 2 + 3 * 2 + 5;
            wait_for_datagrams(&server, sent);
            server.wait_for_deliveries((round + 1) * (5 + 9) * 8);
        }
        clients[0].send(b"");
        sent += 1;
        wait_for_datagrams(&server, sent);
        wait_until("the leave", || server.stats().peers == 7);

        let total = server.stats().total();
        assert_adds_up(&total);
        assert_eq!(total.datagrams_in, sent);
        assert_eq!(total.texts, 50);
        assert_eq!(total.heartbeats, 5 + 50);
        assert_eq!(total.leaves, 21);
        assert_eq!(total.frames, 3 + 3 + 30);
        assert_eq!(total.greetings, 0);
        assert_eq!(total.dropped(DropReason::Malformed), 20);
        assert_eq!(total.dropped(DropReason::WrongSession), 30);
        assert_eq!(total.dropped(DropReason::UnknownSession), 10);
        assert_eq!(total.dropped_total(), 60);
        assert_eq!((total.messages, total.messages_shed), (140, 0));
        assert_eq!(total.registered, 8);
        // At most one reply per second to the forger.
        let mut told = 0;
        while !forger.inbox_is_empty() {
            told += 1;
        }
        assert!((1..=10).contains(&told));
        assert_eq!((total.replies, total.replies_failed), (3 + 3 + told, 0));
        assert_eq!(total.deliveries_planned, 140 * 8);
        assert_eq!(total.deliveries, 140 * 8);
        assert_eq!((total.truncated, total.receive_errors), (0, 0));
    }
}

#[test]
fn only_the_texts_of_a_flooder_are_shed_and_all_are_counted() {
    let server = TestServer::start(patient_config(1));
    let [flooder, quiet, receiver] = server.clients();
    let _crowd: Vec<Client> = (0..200).map(|_| server.client()).collect();
    // In a room of their own, so that the flood does not fill their sockets. They share
    // the backlog of the worker with it.
    let apart = RoomName::parse(b"apart").unwrap();
    for client in [&quiet, &receiver] {
        let peer = PeerAddr::new(client.address(), 0);
        server.handle().join(&peer, apart).unwrap().unwrap();
    }
    let heartbeats = server.stats().total().heartbeats;
    let shed = || server.stats().total().messages_shed;
    let (mut offered, mut quiet_offered) = (0_u64, 0_u64);
    // Until more texts are shed than the backlog holds.
    wait_until("an overload", || {
        for number in 0..100 {
            flooder.send(&[b'x'; 1000]);
            if number == 99 && quiet_offered < QUIET_TEXTS && shed() > 0 {
                quiet.send(quiet_offered.to_string().as_bytes());
                quiet_offered += 1;
                offered += 1;
            }
        }
        offered += 100;
        // No more datagrams are on the way than the smallest socket holds.
        wait_for_datagrams(&server, heartbeats + offered);
        shed() > 2000 && quiet_offered == QUIET_TEXTS
    });
    for client in [&quiet, &receiver] {
        for number in 0..quiet_offered {
            client.expect_text_from(&quiet, &number.to_string());
        }
    }

    let settled = || {
        let total = server.stats().total();
        total.messages + total.messages_shed == offered
            && total.deliveries_planned
                == (total.messages - quiet_offered) * 201 + quiet_offered * 2
            && total.deliveries + total.deliveries_congested + total.deliveries_refused
                == total.deliveries_planned
    };
    wait_until("the last delivery", settled);
    let total = server.stats().total();
    assert_adds_up(&total);
    assert_eq!(total.texts, offered);
    assert_eq!(total.datagrams_in, heartbeats + offered);
    assert_eq!(total.dropped_total(), 0);
    assert!(quiet.inbox_is_empty() && receiver.inbox_is_empty());
}

/// Returns the configuration of a server on which no peer expires during a slow test.
fn patient_config(workers: u16) -> ServerConfig {
    ServerConfig {
        timeout: Duration::from_secs(3600),
        ..config(workers, &[V4])
    }
}

/// Checks the sums that hold for every server that is idle.
#[track_caller]
fn assert_adds_up(counts: &Counts) {
    assert_eq!(
        counts.datagrams_in,
        counts.texts
            + counts.heartbeats
            + counts.leaves
            + counts.frames
            + counts.greetings
            + counts.dropped_total(),
        "{counts:?}"
    );
    assert_eq!(
        counts.deliveries_planned,
        counts.deliveries + counts.deliveries_congested + counts.deliveries_refused,
        "{counts:?}"
    );
}

#[track_caller]
fn wait_for_datagrams(server: &TestServer, count: u64) {
    wait_until("the datagrams", || {
        server.stats().total().datagrams_in >= count
    });
}

/// The smallest socket holds this many texts.
const QUIET_TEXTS: u64 = 50;
