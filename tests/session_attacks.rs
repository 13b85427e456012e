//! Sessions of the client library under forged datagrams, on paths that lose ROOM, and on paths
//! whose addresses change.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bullhorn::ServerConfig;
use bullhorn::client::{Event, ProtocolChoice, ProtocolVersion, RoomName, Session};
use bullhorn::config::LimitsConfig;
use bullhorn::wire::v2::{ClientFrame, NoticeCode, ServerFrame};
use common::v2_peer::V2Peer;
use common::{
    Relay, Strangers, TestServer, V4, answer, bound_to_address_of, connect_with, datagram_to,
    expect_up, lobby, message, names, two_machines, unpinned_config, wait_until, welcome,
    with_networks,
};
use socket2::SockAddr;

#[test]
fn forged_datagrams_from_the_address_of_the_server_do_nothing() {
    Strangers::in_both_modes(|strangers| {
        let server = strangers.start();
        let sessions: Vec<_> = (0..5).map(|_| connect(server.local_addr())).collect();
        sessions
            .iter()
            .for_each(|session| expect_up(session, ProtocolVersion::V2));
        // A forger who is a member knows all but the sessions of the others, and so does a former one.
        let [member, former] = [(); 2].map(|()| V2Peer::open(strangers.connect(&server)));
        former.send(&[ClientFrame::Bye]);
        wait_until("the leave", || server.stats().peers == sessions.len() + 1);
        let forger = bound_to_address_of(&server);
        let ada = "ada".parse().unwrap();
        let frames = [
            ServerFrame::Goodbye,
            ServerFrame::UnknownSession,
            ServerFrame::Notice(NoticeCode::Refused, b"peer limit reached (2)"),
            ServerFrame::Private(ada, b"psst"),
            ServerFrame::Pong(b"?"),
            lobby(),
            welcome(9),
            message(0, b"forged"),
            message(1_000_000, b"forged"),
        ];
        let mut sent = 0;
        let numbers = [member.number, former.number];
        for guess in [0, 1, u64::MAX].into_iter().chain(numbers) {
            for frame in &frames {
                sent += 1;
                let datagram = datagram_to(guess, &[*frame]);
                for session in &sessions {
                    let to = SockAddr::from(session.local_addr().unwrap());
                    forger.send_to(&datagram, &to).unwrap();
                }
            }
        }
        for session in &sessions {
            let to = SockAddr::from(session.local_addr().unwrap());
            forger.send_to(b"* you are eve", &to).unwrap();
        }
        for session in &sessions {
            wait_until("the forged datagrams", || {
                let stats = session.stats();
                (stats.forged, stats.malformed) == (sent, 1)
            });
        }
        expect_intact(&sessions);
    });
}

#[test]
fn a_forged_goodbye_to_every_port_ends_no_session() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let server = machine.run(|| TestServer::start(unpinned_config(1, "10.77.0.1:9999")));
        let address = server.local_addr();
        let sessions: Vec<_> = (0..5).map(|_| clients.run(|| connect(address))).collect();
        for session in &sessions {
            expect_up(session, ProtocolVersion::V2);
        }
        let goodbye = datagram_to(0, &[ServerFrame::Goodbye]);
        machine.run(|| {
            let forger = bound_to_address_of(&server);
            for port in EPHEMERAL {
                let to = SockAddr::from(SocketAddr::from(([10, 77, 0, 9], port)));
                // Nobody listens at most of them.
                let _ = forger.send_to(&goodbye, &to);
            }
        });
        for session in &sessions {
            wait_until("the forged datagram", || session.stats().forged == 1);
        }
        expect_intact(&sessions);
    });
}

#[test]
fn a_forged_far_number_costs_no_message() {
    Strangers::in_both_modes(|strangers| {
        let server = TestServer::start(ServerConfig {
            limits: LimitsConfig::off(),
            ..strangers.config.clone()
        });
        let session = connect(server.local_addr());
        expect_up(&session, ProtocolVersion::V2);
        let forger = bound_to_address_of(&server);
        let to = SockAddr::from(session.local_addr().unwrap());
        for number in 0..200_u32 {
            let forged = datagram_to(0, &[message(1_000_000 + number * 10_000_000, b"forged")]);
            forger.send_to(&forged, &to).unwrap();
            answer(session.say(&number.to_string()));
        }
        for number in 0..200 {
            let event = common::next_event(&session);
            let Event::Message(message) = event else {
                panic!("{event:?}");
            };
            assert_eq!(message.text(), number.to_string());
        }
        wait_until("the forged datagrams", || session.stats().forged == 200);
        assert_eq!(session.stats().messages.lost, 0);
    });
}

#[test]
fn a_session_that_loses_every_other_room_stays_deaf_to_none() {
    let server = TestServer::start(unpinned_config(1, V4));
    let speaker = connect(server.local_addr());
    answer(speaker.join(room("den")));
    answer(speaker.subscribe(room("yard")));
    let relay = Relay::start(server.local_addr(), 1);
    relay.lose_rooms();
    let session = connect(relay.address());
    wait_until("the lobby", || session.is_up());
    // The answer is in the same datagram as ROOM, and may be lost with it.
    let joined = session.join(room("den")).unwrap();
    let subscribed = session.subscribe(room("yard")).unwrap();
    assert_eq!(subscribed.wait(common::TIMEOUT), Ok(()));
    wait_until("the room", || {
        answer(speaker.say("hi"));
        session.room() == Some(room("den"))
    });
    drop(joined);
    answer(speaker.say_to(room("yard"), b"the end"));
    let mut last = None;
    while last != Some((Some(room("yard")), b"the end".to_vec())) {
        if let Event::Message(message) = common::next_event(&session) {
            last = Some((message.room, message.payload));
        }
    }
    assert!(session.is_up());
}

#[test]
fn a_session_whose_port_changes_keeps_its_name_and_rooms() {
    let server = TestServer::start(unpinned_config(2, V4));
    let other = connect(server.local_addr());
    answer(other.join(room("den")));
    let relay = Relay::start(server.local_addr(), 1);
    let session = connect(relay.address());
    expect_up(&session, ProtocolVersion::V2);
    answer(session.nick("ada".parse().unwrap()));
    answer(session.join(room("den")));
    answer(session.subscribe(room("yard")));
    answer(other.presence(true));
    for sessions in 2..5 {
        relay.move_to_another_port();
        // The server does not know where this comes from.
        let lost = session.ping().unwrap();
        wait_until("the move", || session.stats().sessions == sessions);
        wait_until("the room", || {
            session.is_up() && session.protocol().is_some()
        });
        drop(lost);
        assert_eq!(session.name(), "ada".parse().ok());
        answer(session.say("still here"));
        answer(session.say_to(room("yard"), b"and here"));
        assert_eq!(server.stats().peers, 2, "no ghost");
        let names = names(&answer(other.who()));
        assert!(names.contains(&"ada".to_owned()), "{names:?}");
    }
    let events = other.events().try_iter();
    let presence = events.filter(|event| matches!(event, Event::Presence { .. }));
    assert_eq!(presence.count(), 0, "nobody came or went");
    let events = session.events().try_iter();
    assert!(
        !events
            .into_iter()
            .any(|event| matches!(event, Event::Down(_)))
    );
}

/// Each session says a text, which all receive, and nothing else.
#[track_caller]
fn expect_intact(sessions: &[Session]) {
    for (number, session) in sessions.iter().enumerate() {
        answer(session.say(&number.to_string()));
    }
    for session in sessions {
        let texts = (0..sessions.len()).map(|_| match common::next_event(session) {
            Event::Message(message) => message.text().into_owned(),
            event => panic!("{event:?}"),
        });
        let texts: BTreeSet<_> = texts.collect();
        let expected = (0..sessions.len()).map(|number| number.to_string());
        assert_eq!(texts, expected.collect());
        assert!(session.events().is_empty());
        assert!(session.is_up());
        assert_eq!(
            (session.stats().messages.lost, session.stats().sessions),
            (0, 1)
        );
    }
}

fn connect(server: SocketAddr) -> Session {
    connect_with(ProtocolChoice::V2, server)
}

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

/// The ports of clients, by `net.ipv4.ip_local_port_range`.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;
