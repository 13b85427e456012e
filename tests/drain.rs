//! The operator says something to many peers, and drains the server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::client::{DownReason, Event, NoticeCode, Session};
use bullhorn::moderation::{MAX_SAID_BYTES, ModerationError};
use bullhorn::server::ops::operated::Operated;
use bullhorn::stats::DropReason;
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{
    ClientFrame, Hello, MIN_HELLO_BYTES, Move, ServerFrame, SessionId, SessionOptions,
};
use common::v2_peer::{V2Peer, datagram, hello};
use common::{
    Client, ClientProgram, HOUR, Moderated, TestServer, V4, client_command, expect_frames,
    next_event, notice, proved, quick_v2_config, request, strict_config, unpinned_config,
    wait_until,
};

#[test]
fn the_operator_is_heard_by_all_members_of_a_room_and_by_nobody_else() {
    let host = Moderated::start();
    let (ada, eve) = (host.named("ada"), host.named("eve"));
    request(&ada, "/join Den", "* you are in Den (1 here)");
    // It has sent lines with ends, and so receives them.
    let ann = host.server.unregistered_client();
    ann.send(b"/join den\n");
    assert_eq!(ann.receive_text(), "* you are in Den (2 here)\n");
    let (bob, cem) = (v2(&host), v2(&host));
    bob.send(&[ClientFrame::Command(b"/join den")]);
    bob.client.receive();
    cem.send(&[ClientFrame::Subscribe("den".parse().unwrap())]);
    cem.client.receive();
    // It receives no messages, and is told nevertheless.
    let quiet = SessionOptions {
        receive: false,
        ..SessionOptions::default()
    };
    let dan = V2Peer::open_as(quiet, host.server.unregistered_client());
    dan.send(&[ClientFrame::Command(b"/join den")]);
    dan.client.receive();

    let say = |room: &str, text: &str| host.moderation().say(room.parse().ok(), text);
    assert_eq!(say("DEN", "hi there"), Ok(5));
    assert_eq!(ada.receive_text(), "* operator: hi there");
    assert_eq!(ann.receive_text(), "* operator: hi there\n");
    for peer in [&bob, &cem, &dan] {
        let mut text = Vec::new();
        expect_frames(peer, &[notice(&Reply::Operator(b"hi there"), &mut text)]);
    }
    request(&eve, "/ping 1", "* pong 1");
    assert!(eve.inbox_is_empty());

    let none = "nowhere".parse().unwrap();
    assert_eq!(say("nowhere", "hi"), Err(ModerationError::NoSuchRoom(none)));
    let longest = "x".repeat(MAX_SAID_BYTES);
    assert_eq!(host.moderation().say(None, &longest), Ok(6));
    assert_eq!(eve.receive_text(), format!("* operator: {longest}"));
    for text in ["", " ", "a\nb", "a\x1b[2J", "\u{202e}a", &(longest + "x")] {
        assert_eq!(say("den", text), Err(ModerationError::Text), "{text:?}");
    }
}

#[test]
fn thousands_of_peers_are_told_in_pieces_and_each_of_them_once() {
    let host = Moderated::start();
    let clients: Vec<_> = (0..2_500)
        .map(|_| host.server.unregistered_client())
        .collect();
    for clients in clients.chunks(50) {
        let before = host.server.stats().peers;
        clients.iter().for_each(|client| client.send(b"@im@"));
        wait_until("the registrations", || {
            host.server.stats().peers == before + clients.len()
        });
    }
    assert_eq!(host.moderation().say(None, "to all"), Ok(2_500));
    for client in &clients {
        assert_eq!(client.receive_text(), "* operator: to all");
    }
    wait_until("the count", || host.server.stats().notices == 2_500);
    assert!(clients.iter().all(Client::inbox_is_empty));
}

#[test]
fn a_server_that_is_drained_refuses_newcomers_and_serves_its_peers_until_it_stops() {
    let host = Moderated::start();
    let (ada, bob) = (host.named("ada"), v2(&host));
    assert!(!host.server.handle().is_draining());
    assert_eq!(host.moderation().drain(90 * SECOND), Ok(2));
    assert!(host.server.handle().is_draining());
    assert_eq!(ada.receive_text(), "* the server stops in 90 s");
    let mut text = Vec::new();
    expect_frames(&bob, &[notice(&Reply::Stopping(90), &mut text)]);

    let (eve, stranger) = (host.server.unregistered_client(), hello());
    eve.send(b"hi\n");
    assert_eq!(eve.receive_text(), "* stopping soon, no newcomers\n");
    let dan = host.server.unregistered_client();
    dan.send(&stranger);
    let answer = dan.receive();
    assert!(answer.len() <= MIN_HELLO_BYTES);
    let frames: Vec<_> = bullhorn::wire::v2::parse_server(&answer).unwrap().collect();
    let mut text = Vec::new();
    assert_eq!(frames, [notice(&Reply::NoNewcomers, &mut text)]);
    // The text of another server is not answered.
    host.expect_drop(
        &eve,
        b"eve * stopping soon, no newcomers",
        DropReason::Draining,
    );
    assert_eq!(host.total().dropped(DropReason::Draining), 3);
    assert_eq!(host.server.stats().peers, 2);

    // Those who are here go on, in their rooms and in new ones.
    ada.send(b"still here");
    assert_eq!(ada.receive_text(), "ada still here");
    bob.client.receive();
    request(&ada, "/join den", "* you are in den (1 here)");

    // Another time replaces the first.
    assert_eq!(host.moderation().drain(100 * SECOND), Ok(2));
    assert_eq!(ada.receive_text(), "* the server stops in 100 s");
    bob.client.receive();
    host.time.set(95_000);
    request(&ada, "/ping 1", "* pong 1");
    assert_eq!(
        host.moderation().drain(HOUR + SECOND),
        Err(ModerationError::DrainTime)
    );
    host.time.set(100_000);
    host.server.wait_for_end().unwrap();
    expect_frames(&bob, &[ServerFrame::Goodbye]);
    assert!(ada.inbox_is_empty());
}

#[test]
fn a_server_that_is_drained_stops_when_its_last_peer_leaves() {
    let host = Moderated::start();
    let ada = host.named("ada");
    host.moderation().drain(HOUR).unwrap();
    assert_eq!(ada.receive_text(), "* the server stops in 3600 s");
    ada.send(b"quit");
    host.server.wait_for_end().unwrap();
}

#[test]
fn a_server_stops_at_the_time_of_the_last_drain_although_its_peers_stay() {
    let host = Moderated::start();
    let ada = host.named("ada");
    for time in [HOUR, SECOND] {
        host.moderation().drain(time).unwrap();
        let line = format!("* the server stops in {} s", time.as_secs());
        assert_eq!(ada.receive_text(), line);
    }
    host.time.set(1_000);
    host.server.wait_for_end().unwrap();
}

#[test]
fn a_server_without_peers_is_drained_at_once() {
    let host = Moderated::start();
    assert_eq!(host.moderation().drain(HOUR), Ok(0));
    host.server.wait_for_end().unwrap();
}

#[test]
fn peers_are_told_also_if_the_server_stops_at_once() {
    let host = Moderated::start();
    let (ada, bob) = (host.named("ada"), v2(&host));
    host.moderation().drain(Duration::ZERO).unwrap();
    assert_eq!(ada.receive_text(), "* the server stops in 0 s");
    let mut text = Vec::new();
    expect_frames(&bob, &[notice(&Reply::Stopping(0), &mut text)]);
    expect_frames(&bob, &[ServerFrame::Goodbye]);
    host.server.wait_for_end().unwrap();
}

#[test]
fn strangers_prove_their_address_before_they_are_refused() {
    let host = Moderated::start_with(strict_config(1, V4));
    let _ann = proved(host.server.unregistered_client());
    host.moderation().drain(HOUR).unwrap();
    let eve = host.server.unregistered_client();
    eve.send(b"@im@");
    let challenge = eve.receive_text();
    let proof = challenge.strip_prefix("* say ").unwrap();
    eve.send(proof.as_bytes());
    assert_eq!(eve.receive_text(), "* stopping soon, no newcomers");
    // Not longer than three times an empty datagram, with the headers of IPv4 and UDP.
    assert!(28 + "* stopping soon, no newcomers\n".len() <= 3 * 28);
    assert_eq!(host.server.stats().peers, 1);
}

#[test]
fn a_session_that_was_given_before_the_drain_is_refused_unless_it_moves() {
    let host = Moderated::start();
    let bob = v2(&host);
    let greet = || {
        let client = host.server.unregistered_client();
        client.send(&hello());
        let number = common::v2_peer::welcome(&client.receive()).session.get();
        V2Peer { client, number }
    };
    let (moved, late) = (greet(), greet());
    host.moderation().drain(HOUR).unwrap();
    bob.client.receive();
    late.send(&[ClientFrame::Heartbeat(None)]);
    let mut text = Vec::new();
    expect_frames(&late, &[notice(&Reply::NoNewcomers, &mut text)]);
    let former = Move {
        session: SessionId::new(bob.number).unwrap(),
        address: bob.client.address(),
    };
    moved.send(&[ClientFrame::Move(former), ClientFrame::Ping(b"1")]);
    moved.client.receive();
    assert_eq!(host.server.stats().peers, 1);
    let say = datagram(bob.number, &[ClientFrame::Hello(Hello::default())]);
    bob.client.send(&say);
    wait_until("its former session is gone", || {
        host.total().dropped(DropReason::UnknownSession) == 1
    });
}

#[test]
fn two_servers_do_not_reply_to_each_other_while_they_are_drained() {
    let (host, other) = (Moderated::start(), Moderated::start());
    let (_ada, _bob) = (host.named("ada"), other.named("bob"));
    for host in [&host, &other] {
        host.moderation().drain(HOUR).unwrap();
    }
    // As if the other server had sent its refusal, and its echo.
    let forged = host.server.unregistered_client();
    for text in [
        "* stopping soon, no newcomers",
        "eve stopping soon, no newcomers",
    ] {
        host.expect_drop(&forged, text.as_bytes(), DropReason::Draining);
    }
}

#[test]
fn the_client_program_says_why_it_waits_and_is_back_with_the_next_server() {
    let config = ServerConfig {
        workers: 1,
        ..unpinned_config(1, common::V4_UNSHARED)
    };
    let server = TestServer::start(config.clone());
    let address = server.local_addr().to_string();
    let keeper = server.client();
    let mut early = ClientProgram::spawn(client_command().arg(&address));
    wait_until("it is here", || server.stats().peers == 2);
    let handle = server.handle();
    let moderation = handle.moderation().unwrap();
    moderation.say(None, "back in a minute").unwrap();
    early.expect_output("* operator: back in a minute\n");
    moderation.drain(HOUR).unwrap();
    early.expect_output("* the server stops in 3600 s\n");
    let mut late = ClientProgram::spawn(client_command().arg(&address));
    late.expect_output(&format!("{address} is down: it is about to stop\n"));
    let mut v1 = ClientProgram::start_at(&address, &[]);
    v1.expect_output(&format!("{address} is down: it is about to stop\n"));
    moderation.drain(Duration::ZERO).unwrap();
    server.wait_for_end().unwrap();
    drop(keeper);
    early.expect_output(&format!("{address} is down: it said goodbye\n"));
    let config = ServerConfig {
        bind: vec![address.parse().unwrap()],
        ..config
    };
    let next = TestServer::restart(config);
    for client in [&mut early, &mut late, &mut v1] {
        client.expect_output(&format!("{address} is back\n"));
    }
    next.stop();
}

#[test]
fn a_session_of_the_library_is_told_by_events() {
    let server = TestServer::start(unpinned_config(1, V4));
    let session = Session::connect(quick_v2_config(server.local_addr())).unwrap();
    let events = || next_event(&session);
    assert!(matches!(events(), Event::Up(_)));
    let handle = server.handle();
    let moderation = handle.moderation().unwrap();
    moderation
        .say(Some("lobby".parse().unwrap()), "hi")
        .unwrap();
    let said = |text: &str| Event::Notice {
        code: NoticeCode::Operator,
        text: text.to_owned(),
    };
    assert_eq!(events(), said("operator: hi"));
    assert_eq!(events(), Event::Operator("hi".to_owned()));
    moderation.drain(HOUR).unwrap();
    assert_eq!(events(), said("the server stops in 3600 s"));
    assert_eq!(events(), Event::Stopping(HOUR));
    moderation.drain(Duration::ZERO).unwrap();
    assert_eq!(events(), said("the server stops in 0 s"));
    assert_eq!(events(), Event::Stopping(Duration::ZERO));
    assert_eq!(events(), Event::Down(DownReason::Goodbye));
    server.wait_for_end().unwrap();
}

fn v2(host: &Moderated) -> V2Peer {
    V2Peer::open(host.server.unregistered_client())
}

const SECOND: Duration = Duration::from_secs(1);
