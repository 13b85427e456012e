//! Newcomers of both versions that have to prove their address.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::config::{Proof, Switch};
use bullhorn::stats::DropReason;
use bullhorn::wire::v2::{ClientFrame, NoticeCode, ServerFrame, parse_server};
use bytesize::ByteSize;
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{
    Client, Strangers, TestServer, Time, V4, V6, config, proved, strict_config, wait_until,
};

#[test]
fn a_v1_newcomer_says_the_token_and_is_in() {
    for (address, workers) in [(V4, 1), (V6, 2)] {
        let server = TestServer::start(strict_config(workers, address));
        let ann = server.unregistered_client();
        ann.send(b"hi");
        let line = challenge(&ann);
        ann.send(line.as_bytes());
        assert_eq!(ann.receive_text(), "* you are in lobby (1 here)");
        ann.send(b"hi");
        ann.expect_text_from(&ann, "hi");

        // As people type it, and with a line end, which every reply then has.
        let ned = server.unregistered_client();
        ned.send(b"hi\n");
        let line = ned.receive_text();
        let line = line.strip_suffix('\n').expect("a line end");
        let line = line.strip_prefix("* say ").expect(line).to_lowercase();
        ned.send(format!("{} \n", line.replace(' ', "\t")).as_bytes());
        assert_eq!(ned.receive_text(), "* you are in lobby (2 here)\n");
        assert_eq!(server.stats().peers, 2);
        let total = server.stats().total();
        assert_eq!(total.dropped(DropReason::Unproven), 2);
        assert_eq!((total.challenges, total.texts, total.commands), (2, 1, 2));
        assert!(ann.inbox_is_empty() && ned.inbox_is_empty());
    }
}

#[test]
fn a_v1_newcomer_is_asked_once_in_15_seconds() {
    let time = Time::default();
    let server = TestServer::start_with_clock(strict_config(1, V4), time.clock());
    let ann = server.unregistered_client();
    let mut dropped = 0;
    let mut send = |text: &str| {
        ann.send(text.as_bytes());
        dropped += 1;
        wait_until("the drop", || {
            server.stats().total().dropped(DropReason::Unproven) == dropped
        });
    };
    send("hi");
    let line = challenge(&ann);
    for text in ["@im@", "/who", "/in", "/in 00000000", "/in 0000000", "hi"] {
        send(text);
    }
    time.set(14_000);
    send("hi");
    // The worker has read the new time before it received this one.
    send("hi");
    time.set(15_000);
    send("hi");
    send("hi");
    assert_eq!(challenge(&ann), line, "that of this minute");
    assert!(ann.inbox_is_empty());
    assert_eq!(server.stats().total().challenges, 2);
    assert_eq!(server.stats().peers, 0);
}

#[test]
fn texts_that_may_be_those_of_a_server_are_not_answered() {
    let server = TestServer::start(strict_config(1, V4));
    let ann = server.unregistered_client();
    for text in [
        "* hi",
        "* say /in 00000000",
        "eve * say /in 00000000",
        "hello,('127.0.0.1', 9999)",
        "* peer limit reached (1)",
        "eve * peer limit reached (1)",
    ] {
        ann.send(text.as_bytes());
    }
    wait_until("the drops", || {
        server.stats().total().dropped(DropReason::Unproven) == 6
    });
    assert!(ann.inbox_is_empty());
    ann.send(b"hi");
    challenge(&ann);
    assert!(ann.inbox_is_empty());
}

#[test]
fn a_token_is_valid_for_its_address_and_for_two_minutes() {
    let time = Time::default();
    let server = TestServer::start_with_clock(strict_config(1, V4), time.clock());
    let [ann, bob] = [server.unregistered_client(), server.unregistered_client()];
    ann.send(b"hi");
    let line = challenge(&ann);
    bob.send(line.as_bytes());
    challenge(&bob);
    time.set(128_000);
    ann.send(b"hi");
    wait_until("the next round", || {
        server.stats().total().datagrams_in == 3
    });
    ann.send(line.as_bytes());
    let next = challenge(&ann);
    assert_ne!(next, line);
    ann.send(next.as_bytes());
    assert_eq!(ann.receive_text(), "* you are in lobby (1 here)");
}

#[test]
fn a_proof_is_never_broadcast_and_always_confirmed_to_a_peer() {
    for proof in [Proof::Auto, Proof::Always] {
        for commands in [Switch::On, Switch::Off] {
            let server = TestServer::start(ServerConfig {
                proof,
                commands,
                ..config(1, &[V4])
            });
            let [ann, bob] = [(); 2].map(|()| proved(server.unregistered_client()));
            let dan = V2Peer::open(server.unregistered_client());
            for line in ["/in", "/in 00000000", "/IN\twhatever you say"] {
                ann.send(line.as_bytes());
                assert_eq!(ann.receive_text(), "* you are in lobby (3 here)");
                dan.send(&[ClientFrame::Command(line.as_bytes())]);
                let reply = dan.client.receive();
                let text = b"you are in lobby (3 here)";
                let notice = ServerFrame::Notice(NoticeCode::Done, text);
                assert!(parse_server(&reply).unwrap().eq([notice]));
            }
            bob.send(b"/into the wild");
            ann.expect_text_from(&bob, "/into the wild");
            bob.expect_text_from(&bob, "/into the wild");
            assert!(ann.inbox_is_empty());
        }
    }
}

#[test]
fn a_proved_v1_peer_that_expired_is_known_for_ten_minutes() {
    let time = Time::default();
    let server = TestServer::start_with_clock(
        ServerConfig {
            reap_interval: Duration::from_millis(10),
            ..strict_config(1, V4)
        },
        time.clock(),
    );
    let [ann, bob, eve] = [(); 3].map(|()| proved(server.unregistered_client()));
    eve.send(b"quit");
    wait_until("the leave", || server.stats().peers == 2);
    time.set(16_000);
    wait_until("the expiry", || server.stats().peers == 0);
    ann.send(b"back");
    ann.expect_text_from(&ann, "back");
    eve.send(b"back");
    challenge(&eve);
    time.set(16_000 + 602_000);
    time.wait_for_reaper();
    bob.send(b"back");
    challenge(&bob);
}

#[test]
fn all_requests_together_are_limited() {
    let time = Time::default();
    let server = TestServer::start_with_clock(
        ServerConfig {
            // Each has 18 bytes, and 28 of headers, and is counted with a line end.
            challenge_rate: ByteSize::b(47),
            ..strict_config(1, V4)
        },
        time.clock(),
    );
    let clients: [Client; 5] = std::array::from_fn(|_| server.unregistered_client());
    for (asked, now_ms) in [(1, 0), (2, 1_000), (3, 2_000)] {
        time.set(now_ms);
        for _ in 0..2 {
            for client in &clients {
                let before = server.stats().total().datagrams_in;
                client.send(b"hi");
                wait_until("it", || server.stats().total().datagrams_in > before);
            }
        }
        wait_until("the drops", || {
            server.stats().total().dropped(DropReason::Unproven) == 10 * asked
        });
        assert_eq!(server.stats().total().challenges, asked);
    }
}

#[test]
fn nothing_is_stored_for_a_hello() {
    for (address, workers) in [(V4, 1), (V6, 2)] {
        for proof in [Proof::Auto, Proof::Always] {
            let server = TestServer::start(ServerConfig {
                proof,
                ..config(workers, &[address])
            });
            let dan = server.unregistered_client();
            let mut sessions = Vec::new();
            for _ in 0..3 {
                dan.send(&hello());
                let answer = dan.receive();
                assert!(answer.len() <= hello().len());
                assert_eq!(parse_server(&answer).unwrap().receiver(), nonce());
                let welcome = welcome(&answer);
                assert_eq!(welcome.address, dan.address());
                sessions.push(welcome.session.get());
            }
            assert_eq!(sessions, [sessions[0]; 3]);
            assert_eq!(
                (server.stats().peers, server.stats().total().registered),
                (0, 0)
            );
            // The session of another address.
            let eve = server.unregistered_client();
            eve.send(&datagram(sessions[0], &[ClientFrame::Say(b"never heard")]));
            let unknown = eve.receive();
            let unknown = parse_server(&unknown).unwrap();
            assert_eq!(unknown.receiver(), sessions[0]);
            assert!(unknown.eq([ServerFrame::UnknownSession]));
            dan.send(&datagram(sessions[0], &[ClientFrame::Ping(b"1")]));
            let answer = dan.receive();
            let frames: Vec<_> = parse_server(&answer).unwrap().collect();
            assert!(
                matches!(frames[..], [ServerFrame::Room(room), ServerFrame::Pong(b"1")] if room.number == 0),
                "{frames:?}"
            );
            assert_eq!(server.stats().peers, 1);
        }
    }
}

#[test]
fn of_two_sessions_the_one_that_is_used_first_is_registered() {
    let time = Time::default();
    let server = TestServer::start_with_clock(strict_config(1, V4), time.clock());
    let dan = server.unregistered_client();
    let ask = || {
        dan.send(&hello());
        welcome(&dan.receive()).session.get()
    };
    let first = ask();
    time.set(64_000);
    // The worker reads the time again after this one.
    ask();
    let second = ask();
    assert_ne!(first, second);
    dan.send(&datagram(first, &[ClientFrame::Ping(b"1")]));
    dan.receive();
    dan.send(&datagram(second, &[ClientFrame::Ping(b"2")]));
    wait_until("the drop", || {
        server.stats().total().dropped(DropReason::WrongSession) == 1
    });
    assert_eq!(ask(), first, "the one that is registered");
    dan.send(&datagram(first, &[ClientFrame::Ping(b"3")]));
    let answer = dan.receive();
    assert!(parse_server(&answer).unwrap().eq([ServerFrame::Pong(b"3")]));
}

#[test]
fn a_session_of_an_old_epoch_is_unknown_unless_it_is_registered() {
    let time = Time::default();
    let server = TestServer::start_with_clock(
        ServerConfig {
            timeout: Duration::from_secs(1_000),
            ..strict_config(1, V4)
        },
        time.clock(),
    );
    let dan = V2Peer::open(server.unregistered_client());
    let eve = server.unregistered_client();
    eve.send(&hello());
    let session = welcome(&eve.receive()).session.get();
    time.set(128_000);
    dan.expect_intact("hi");
    dan.expect_intact("hi");
    eve.send(&datagram(session, &[ClientFrame::Heartbeat(None)]));
    let unknown = eve.receive();
    assert!(
        parse_server(&unknown)
            .unwrap()
            .eq([ServerFrame::UnknownSession])
    );
    assert_eq!(server.stats().peers, 1);
}

#[test]
fn a_hello_in_the_name_of_a_silent_peer_keeps_neither_it_nor_its_name() {
    Strangers::in_both_modes(|strangers| {
        let time = Time::default();
        let server = TestServer::start_with_clock(
            ServerConfig {
                reap_interval: Duration::from_millis(10),
                ..strangers.config.clone()
            },
            time.clock(),
        );
        let dan = V2Peer::open(strangers.connect(&server));
        dan.send(&[ClientFrame::Command(b"/nick dan")]);
        dan.client.receive();
        for now_ms in (0..=10_000).step_by(1_000) {
            time.set(now_ms);
            dan.client.send(&hello());
            let answer = dan.client.receive();
            let again = welcome(&answer);
            assert_eq!(again.session.get(), dan.number);
        }
        time.set(10_001);
        wait_until("the expiry", || server.stats().peers == 0);
        let eve = V2Peer::open(strangers.connect(&server));
        eve.send(&[ClientFrame::Command(b"/nick dan")]);
        let answer = eve.client.receive();
        let named = ServerFrame::Notice(NoticeCode::Done, b"you are dan");
        assert!(parse_server(&answer).unwrap().eq([named]));
    });
}

#[test]
fn what_this_version_does_not_know_is_refused_by_name() {
    let server = TestServer::start(strict_config(1, V4));
    let notice = |datagram: &[u8]| {
        let frames = parse_server(datagram).unwrap();
        let receiver = frames.receiver();
        let text = frames.map(|frame| match frame {
            ServerFrame::Notice(NoticeCode::Refused, text) => String::from_utf8(text.to_vec()),
            frame => panic!("{frame:?}"),
        });
        (receiver, text.map(Result::unwrap).collect::<Vec<_>>())
    };
    // Without a session.
    let dan = server.unregistered_client();
    let mut unknown = hello();
    unknown[12] += 3;
    unknown[21..24].copy_from_slice(&[77, 1, 5]);
    dan.send(&unknown);
    let expected = (nonce(), vec!["unknown option 77".to_owned()]);
    assert_eq!(notice(&dan.receive()), expected);
    // Too short for the answer.
    dan.send(&datagram(
        0,
        &[ClientFrame::Unknown(bullhorn::wire::v2::Unknown::Frame(
            0x77,
        ))],
    ));
    wait_until("the drops", || {
        server.stats().total().dropped(DropReason::UnknownFrame) == 2
    });
    // In a session, the frames before it are handled, and those after it are not.
    let peer = V2Peer::open(dan);
    peer.send(&[
        ClientFrame::Say(b"before"),
        ClientFrame::Unknown(bullhorn::wire::v2::Unknown::Frame(0x77)),
        ClientFrame::Say(b"after"),
    ]);
    let expected = (peer.number, vec!["unknown frame 0x77".to_owned()]);
    assert_eq!(notice(&peer.client.receive()), expected);
    let message = peer.client.receive();
    let frames: Vec<_> = parse_server(&message).unwrap().collect();
    assert!(
        matches!(frames[..], [ServerFrame::Message(message)] if message.payload == b"before"),
        "{frames:?}"
    );
    assert_eq!(server.stats().total().frames_unknown, 1);
    peer.expect_intact("still here");
}

/// Receives a request for a proof, and returns the line that it asks for.
#[track_caller]
fn challenge(client: &Client) -> String {
    let line = client.receive_text();
    let line = line.strip_prefix("* say ").expect(&line);
    assert_eq!(line.len(), "/in 00000000".len(), "{line}");
    line.to_owned()
}

/// The nonce of [`hello`].
fn nonce() -> u64 {
    u64::from_be_bytes(hello()[13..21].try_into().unwrap())
}
