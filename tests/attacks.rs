//! Attacks by forged datagrams on a server that asks for proofs, judged by counts and bytes.
//!
//! A victim is a socket that receives all that is sent to its address. What a forger sends in its
//! name comes from the same socket, and the victim answers nothing.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::ServerConfig;
use bullhorn::config::{LimitsConfig, ServiceKind};
use bullhorn::stats::DropReason;
use bullhorn::wire::v2::{ClientFrame, Unknown};
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{
    Client, Strangers, TestServer, V4, parse, proved, strict_config, two_machines, unpinned_config,
    wait_until, with_networks,
};

#[test]
fn a_victim_is_sent_at_most_three_times_what_was_forged() {
    let server = TestServer::start(without_limits(strict_config(2, V4)));
    let speaker = proved(Client::connect(server.local_addr()));
    let victim = || Client::connect(server.local_addr());
    expect_no_amplification(&server, &speaker, victim);
}

#[test]
fn neither_is_one_on_another_machine_by_default() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let config = without_limits(unpinned_config(2, "10.77.0.1:9999"));
        let server = machine.run(|| TestServer::start(config));
        let connect = || {
            let own = parse("10.77.0.9:0");
            clients.run(|| Client::connect_from(own, server.local_addr()))
        };
        let speaker = proved(connect());
        expect_no_amplification(&server, &speaker, connect);
        // A service that answers what it receives is not even asked.
        let echo = parse("10.77.0.9:7");
        let echo = clients.run(|| Client::connect_from(echo, server.local_addr()));
        echo.send(b"hi");
        echo.send(&hello());
        echo.send(&datagram(7, &[ClientFrame::Heartbeat(None)]));
        let mut unknown = datagram(0, &[ClientFrame::Unknown(Unknown::Frame(0x70))]);
        unknown.resize(256, 0);
        let before = server.stats().total().dropped(DropReason::UnknownFrame);
        echo.send(&unknown);
        wait_until("the drops", || {
            let total = server.stats().total();
            let unknown_frames = total.dropped(DropReason::UnknownFrame);
            (total.dropped(DropReason::LowPort), unknown_frames) == (3, before + 1)
        });
        assert!(echo.inbox_is_empty());
    });
}

#[test]
fn the_greeting_service_does_not_answer_low_ports() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let greet = ServerConfig {
            service: ServiceKind::Greet,
            ..unpinned_config(1, "10.77.0.1:9999")
        };
        let server = machine.run(|| TestServer::start(greet));
        let connect = |own: &str| {
            let own = parse(own);
            clients.run(|| Client::connect_from(own, server.local_addr()))
        };
        // As a name server would answer each greeting with an error.
        let [low, other] = [connect("10.77.0.9:53"), connect("10.77.0.9:0")];
        low.send(b"hi");
        wait_until("the drop", || {
            server.stats().total().dropped(DropReason::LowPort) == 1
        });
        other.send(b"hi");
        assert!(other.receive_text().starts_with("hello,('10.77.0.9', "));
        assert!(low.inbox_is_empty());
    });
}

/// Lets members say as much as they can.
fn without_limits(config: ServerConfig) -> ServerConfig {
    ServerConfig {
        limits: LimitsConfig::off(),
        ..config
    }
}

/// Forges datagrams of every kind in the names of victims, of which `connect` makes one, and then
/// lets a speaker say a lot.
fn expect_no_amplification(server: &TestServer, speaker: &Client, connect: impl Fn() -> Client) {
    let mut padded = datagram(7, &[ClientFrame::Ping(b"1")]);
    padded.resize(1200, 0);
    let says = datagram(7, &vec![ClientFrame::Say(b""); 679]);
    let unknown = datagram(0, &[ClientFrame::Unknown(Unknown::Frame(0x77))]);
    let named = [&unknown[..], &[0; 30]].concat();
    let kinds: &[&[u8]] = &[
        b"@im@",
        b"",
        b"\n",
        b"quit",
        b"hi",
        b"hi\n",
        b"/who",
        b"/rooms",
        b"/help",
        b"/presence on",
        b"/join den",
        b"/nick eve",
        b"/msg ann hi",
        b"/in",
        b"/in 00000000",
        b"* hi",
        &hello(),
        &datagram(0, &[ClientFrame::Heartbeat(None)]),
        &datagram(7, &[]),
        &datagram(7, &[ClientFrame::Heartbeat(None)]),
        &padded,
        &says,
        &unknown,
        &named,
    ];
    let victims: Vec<(Client, &[u8])> = kinds
        .iter()
        .flat_map(|kind| (0..4).map(move |_| *kind))
        .map(|kind| (connect(), kind))
        .collect();
    for (victim, kind) in &victims {
        victim.send(kind);
    }
    let before = server.stats().total().deliveries;
    for number in 0..TEXTS {
        speaker.send(&[b'x'; 1000]);
        // No more than its share of the backlog.
        if number % 100 == 99 {
            wait_until("the deliveries", || {
                server.stats().total().deliveries == before + number + 1
            });
            while !speaker.inbox_is_empty() {}
        }
    }
    speaker.send(b"quit");
    let member = V2Peer::open(connect());
    wait_until("the leave", || server.stats().peers == 1);
    let before = server.stats().total();
    for _ in 0..20 {
        member.send(&vec![ClientFrame::Say(b""); 679]);
    }
    wait_until("the empty texts", || {
        let total = server.stats().total();
        let messages = total.messages - before.messages;
        messages + (total.messages_shed - before.messages_shed) == 20 * 679
            && total.deliveries - before.deliveries == messages
    });
    let mut answered = 0;
    for (victim, kind) in &victims {
        let headers = if victim.address().is_ipv4() { 28 } else { 48 };
        let mut sent = 0;
        while let Some(bytes) = next_bytes(victim) {
            sent += bytes + headers;
        }
        answered += usize::from(sent > 0);
        let forged = kind.len() + headers;
        assert!(sent <= 3 * forged, "{sent} for {forged}: {kind:02x?}");
    }
    assert!(answered > 20, "{answered}");
    assert_eq!((server.stats().peers, server.stats().rooms), (1, 1));
    assert_eq!(server.stats().total().registered, 2);
}

#[test]
fn forged_members_are_no_members() {
    Strangers::in_both_modes(|strangers| {
        let server = strangers.start();
        let speaker = strangers.proved(&server);
        let dan = V2Peer::open(strangers.connect(&server));
        let forged: Vec<_> = (0..500).map(|_| strangers.connect(&server)).collect();
        let mut datagrams = server.stats().total().datagrams_in;
        for victim in &forged {
            victim.send(b"@im@");
            victim.send(&hello());
            datagrams += 2;
            wait_until("them", || server.stats().total().datagrams_in >= datagrams);
        }
        let before = server.stats().total().deliveries;
        speaker.send(b"hi");
        speaker.expect_text_from(&speaker, "hi");
        dan.client.receive();
        server.wait_for_deliveries(before + 2);
        assert_eq!(server.stats().peers, 2);
    });
}

#[test]
fn a_forged_hello_mutes_no_peer_of_either_version() {
    Strangers::in_both_modes(|strangers| {
        let server = strangers.start();
        let ann = strangers.proved(&server);
        let dan = V2Peer::open(strangers.connect(&server));
        // Longer than the refusal of an unknown frame.
        let mut unknown = datagram(0, &[ClientFrame::Unknown(Unknown::Frame(0x77))]);
        unknown.resize(300, 0);
        for round in 0..20 {
            // These come from a forger. The server sends dan his own session again.
            ann.send(&hello());
            dan.client.send(&hello());
            assert_eq!(welcome(&dan.client.receive()).session.get(), dan.number);
            ann.send(&unknown);
            ann.send(&datagram(7, &[ClientFrame::Bye]));
            dan.client
                .send(&datagram(dan.number ^ 1, &[ClientFrame::Bye]));
            dan.client.send(b"@im@");
            let text = format!("text {round}");
            ann.send(text.as_bytes());
            ann.expect_text_from(&ann, &text);
            dan.client.receive();
            dan.expect_intact(&text);
            ann.expect_text_from(&dan.client, &text);
        }
        // As a stock client ends by a datagram that is not UTF-8.
        assert!(ann.inbox_is_empty());
        assert_eq!(server.stats().total().registered, 2);
    });
}

/// Returns the length of the next datagram, if one waits to be received.
fn next_bytes(client: &Client) -> Option<usize> {
    let socket = client.socket();
    socket.set_nonblocking(true).unwrap();
    let result = socket.recv(&mut [0; 65_536]);
    socket.set_nonblocking(false).unwrap();
    result.ok()
}

const TEXTS: u64 = 10_000;
