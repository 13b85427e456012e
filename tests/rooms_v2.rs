//! Sessions in several rooms, and sessions that move to another address.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::wire::v2::{
    BundleSize, ClientFrame, Hello, Move, NoticeCode, Room, ServerFrame, SessionId, SessionOptions,
    parse_server,
};
use bullhorn::wire::{DisplayName, RoomName};
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{Client, TestServer, V4, config, wait_until, with_each_server};

#[test]
fn a_session_hears_the_rooms_that_it_subscribes_to_and_speaks_to_each() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        let dan = V2Peer::open(server.unregistered_client());
        for (client, room) in [(&ann, "den"), (&bob, "yard")] {
            client.send(format!("/join {room}").as_bytes());
            client.receive();
        }
        let [den, yard] = ["den", "Yard"].map(|name| subscribe(&dan, name).unwrap());
        assert_eq!((den.name.as_str(), yard.name.as_str()), ("den", "yard"));
        assert_ne!(
            (den.number, den.incarnation),
            (yard.number, yard.incarnation)
        );
        assert_eq!(subscribe(&dan, "DEN").unwrap(), den, "again");
        ann.send(b"from ann");
        bob.send(b"from bob");
        let mut received = [message(&dan), message(&dan)];
        received.sort();
        let mut expected = [
            (den.number, "from ann".to_owned()),
            (yard.number, "from bob".to_owned()),
        ];
        expected.sort();
        assert_eq!(received, expected);
        ann.receive();
        bob.receive();
        for (room, other) in [(den, &ann), (yard, &bob)] {
            dan.send(&[ClientFrame::SayTo(room.number, b"hi")]);
            assert_eq!(message(&dan), (room.number, "hi".to_owned()));
            other.expect_text_from(&dan.client, "hi");
        }
        // Its own room, in which it speaks, is still the lobby.
        dan.send(&[
            ClientFrame::Say(b"lobby"),
            ClientFrame::SayTo(0, b"lobby too"),
        ]);
        let datagram = dan.client.receive();
        assert_eq!(parse_server(&datagram).unwrap().count(), 2);
        assert!(ann.inbox_is_empty() && bob.inbox_is_empty());
        ann.send(b"/who");
        let who = ann.receive_text();
        assert!(who.starts_with("* 2 in den:"), "{who}");
    });
}

#[test]
fn a_subscription_ends_by_itself_and_with_the_session() {
    let server = TestServer::start(config(1, &[V4]));
    let dan = V2Peer::open(server.unregistered_client());
    let [den, yard] = ["den", "yard"].map(|name| subscribe(&dan, name).unwrap());
    assert_eq!(server.stats().rooms, 3);
    for _ in 0..2 {
        dan.send(&[ClientFrame::Unsubscribe(den.number)]);
        let answer = dan.client.receive();
        let frame = ServerFrame::Unsubscribed(den.number);
        assert!(parse_server(&answer).unwrap().eq([frame]));
        assert_eq!(server.stats().rooms, 2, "it has vanished");
    }
    refused(
        &dan,
        ClientFrame::SayTo(den.number, b"hi"),
        &format!("not in room {}", den.number),
    );
    // Nobody leaves his own room in this way.
    dan.send(&[ClientFrame::Unsubscribe(0)]);
    let answer = dan.client.receive();
    let frames: Vec<_> = parse_server(&answer).unwrap().collect();
    assert!(matches!(frames[..], [ServerFrame::Room(room)] if room.number == 0));
    // To join such a room is to make it one's own.
    dan.send(&[ClientFrame::Command(b"/join yard")]);
    let answer = dan.client.receive();
    let frames: Vec<_> = parse_server(&answer).unwrap().collect();
    let entered = ServerFrame::Notice(NoticeCode::Done, b"you are in yard (1 here)");
    assert_eq!(frames, [ServerFrame::Room(yard), entered]);
    dan.send(&[ClientFrame::Say(b"hi")]);
    assert_eq!(message(&dan), (yard.number, "hi".to_owned()));
    subscribe(&dan, "lobby").unwrap();
    subscribe(&dan, "attic").unwrap();
    dan.send(&[ClientFrame::Bye]);
    wait_until("the leave", || server.stats().peers == 0);
    assert_eq!(server.stats().rooms, 1);
}

#[test]
fn a_session_that_only_sends_is_heard_and_hears_nothing() {
    with_each_server(|server| {
        let ann = server.client();
        let options = SessionOptions {
            receive: false,
            ..SessionOptions::default()
        };
        let sensor = V2Peer::open_as(options, server.unregistered_client());
        sensor.send(&[ClientFrame::Say(b"21 C"), ClientFrame::Say(b"22 C")]);
        for text in ["21 C", "22 C"] {
            ann.expect_text_from(&sensor.client, text);
        }
        ann.send(b"hi");
        ann.expect_text_from(&ann, "hi");
        ann.send(b"/who");
        let who = ann.receive_text();
        assert!(who.starts_with("* 2 in lobby:"), "{who}");
        // It receives what is for itself.
        let direct = format!("/msg {} psst", sensor.client.address());
        ann.send(direct.as_bytes());
        ann.receive();
        let datagram = sensor.client.receive();
        let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
        assert!(matches!(frames[..], [ServerFrame::Private(_, b"psst")]));
        assert!(sensor.client.inbox_is_empty());
    });
}

#[test]
fn a_session_is_in_at_most_64_rooms_and_limits_hold() {
    let server = TestServer::start(bullhorn::ServerConfig {
        max_rooms: 64,
        max_room_members: 1,
        ..config(1, &[V4])
    });
    let [dan, eve] = [(); 2].map(|()| V2Peer::open(server.unregistered_client()));
    for number in 1..64 {
        subscribe(&dan, &format!("room{number}")).unwrap();
    }
    assert_eq!(subscribe(&dan, "more"), Err("at most 64 rooms".to_owned()));
    assert!(subscribe(&dan, "room5").is_ok() && subscribe(&dan, "lobby").is_ok());
    assert_eq!(
        subscribe(&eve, "room5"),
        Err("room5 is full (1)".to_owned())
    );
    subscribe(&eve, "more").unwrap();
    let limit = "cannot create \"evenmore\": room limit reached (64)";
    assert_eq!(subscribe(&eve, "evenmore"), Err(limit.to_owned()));
    assert_eq!(server.stats().rooms, 65);
}

#[test]
fn a_session_takes_all_that_it_has_to_another_address() {
    with_each_server(|server| {
        let ann = server.client();
        ann.send(b"/presence on");
        ann.receive();
        let options = SessionOptions {
            bundle_size: BundleSize::Small,
            ..SessionOptions::default()
        };
        let old = V2Peer::open_as(options, server.unregistered_client());
        assert!(ann.receive_text().contains("joined"));
        old.send(&[
            ClientFrame::Command(b"/nick dan"),
            ClientFrame::Command(b"/join den"),
            ClientFrame::Command(b"/presence on"),
        ]);
        old.client.receive();
        ann.receive_text();
        let yard = subscribe(&old, "yard").unwrap();
        let registered = server.stats().total().registered;
        let expired = server.stats().expired;

        let (new, session) = asked(&server);
        let moved = ClientFrame::Move(Move {
            session: SessionId::new(old.number).unwrap(),
            address: old.client.address(),
        });
        // It is repeated until ROOM arrives.
        for _ in 0..2 {
            new.send(&datagram(session, &[moved, ClientFrame::Heartbeat(None)]));
            let answer = new.receive();
            let mut frames = parse_server(&answer).unwrap();
            let Some(ServerFrame::Room(room)) = frames.next() else {
                panic!("no room");
            };
            assert_eq!(room.name.as_str(), "den");
        }
        let new = V2Peer {
            client: new,
            number: session,
        };
        assert_eq!(server.stats().peers, 2);
        let total = server.stats().total();
        assert_eq!((total.registered, total.moved), (registered, 1));
        assert_eq!(server.stats().expired, expired);
        // The name, the rooms, the presence notices and the options.
        ann.send(b"/msg dan psst");
        let private = new.client.receive();
        assert!(matches!(
            parse_server(&private).unwrap().next(),
            Some(ServerFrame::Private(DisplayName::Address(_), b"psst"))
        ));
        assert_eq!(ann.receive_text(), "* to dan: psst");
        new.send(&[ClientFrame::SayTo(yard.number, b"hi")]);
        assert_eq!(message(&new), (yard.number, "hi".to_owned()));
        new.client.send(&hello());
        assert_eq!(welcome(&new.client.receive()).bundle_bytes, 548);
        ann.send(b"/join den");
        ann.receive();
        let notice = next_text(&new);
        assert!(notice.ends_with("joined (2 here)"), "{notice}");
    });
}

#[test]
fn nobody_moves_what_is_not_his() {
    let server = TestServer::start(config(1, &[V4]));
    let old = V2Peer::open(server.unregistered_client());
    old.send(&[ClientFrame::Command(b"/nick dan")]);
    old.client.receive();
    let ann = server.client();
    for (session, address) in [
        (old.number ^ 1, old.client.address()),
        (old.number, ann.address()),
        (old.number, "127.0.0.1:1".parse().unwrap()),
        (1, ann.address()),
    ] {
        let (new, own) = asked(&server);
        let moved = ClientFrame::Move(Move {
            session: SessionId::new(session).unwrap(),
            address,
        });
        new.send(&datagram(own, &[moved]));
        let answer = new.receive();
        let frames: Vec<_> = parse_server(&answer).unwrap().collect();
        assert!(matches!(frames[..], [ServerFrame::Room(room)] if room.number == 0));
        new.send(&datagram(own, &[ClientFrame::Bye]));
    }
    wait_until("the leaves", || server.stats().peers == 2);
    assert_eq!(server.stats().total().moved, 0);
    old.send(&[ClientFrame::Command(b"/nick dan")]);
    let answer = old.client.receive();
    let named = ServerFrame::Notice(NoticeCode::Done, b"you are dan");
    assert!(parse_server(&answer).unwrap().eq([named]));
}

#[test]
fn a_session_that_was_registered_before_it_moved_has_one_place() {
    let server = TestServer::start(config(2, &[V4]));
    let old = V2Peer::open(server.unregistered_client());
    old.send(&[
        ClientFrame::Command(b"/nick dan"),
        ClientFrame::Command(b"/join den"),
    ]);
    old.client.receive();
    let new = V2Peer::open(server.unregistered_client());
    new.send(&[
        ClientFrame::Command(b"/nick other"),
        ClientFrame::Command(b"/join yard"),
    ]);
    new.client.receive();
    new.send(&[ClientFrame::Move(Move {
        session: SessionId::new(old.number).unwrap(),
        address: old.client.address(),
    })]);
    let answer = new.client.receive();
    let frames: Vec<_> = parse_server(&answer).unwrap().collect();
    assert!(matches!(frames[..], [ServerFrame::Room(room)] if room.name.as_str() == "den"));
    assert_eq!((server.stats().peers, server.stats().rooms), (1, 2));
    let eve = V2Peer::open(server.unregistered_client());
    for (name, code) in [("dan", NoticeCode::Refused), ("other", NoticeCode::Done)] {
        eve.send(&[ClientFrame::Command(format!("/nick {name}").as_bytes())]);
        let answer = eve.client.receive();
        let notice = parse_server(&answer).unwrap().next();
        assert!(
            matches!(notice, Some(ServerFrame::Notice(is, _)) if is == code),
            "{name}"
        );
    }
}

#[test]
fn options_of_a_session_are_kept_until_they_are_changed() {
    let server = TestServer::start(config(1, &[V4]));
    let dan = V2Peer::open(server.unregistered_client());
    for bundle_size in [BundleSize::Small, BundleSize::Full] {
        let options = SessionOptions {
            bundle_size,
            echo: false,
            receive: false,
        };
        let hello = Hello { nonce: 1, options };
        dan.send(&[ClientFrame::Hello(hello)]);
        let answer = dan.client.receive();
        assert_eq!(parse_server(&answer).unwrap().receiver(), dan.number);
        let welcome = welcome(&answer);
        assert_eq!(usize::from(welcome.bundle_bytes), bundle_size.bytes());
    }
}

/// Subscribes to a room. Returns the sentence of a refusal.
#[track_caller]
fn subscribe(peer: &V2Peer, name: &str) -> Result<Room, String> {
    peer.send(&[ClientFrame::Subscribe(
        RoomName::parse(name.as_bytes()).unwrap(),
    )]);
    let answer = peer.client.receive();
    match parse_server(&answer).unwrap().next() {
        Some(ServerFrame::Subscribed(room)) => Ok(room),
        Some(ServerFrame::Notice(NoticeCode::Refused, text)) => {
            Err(String::from_utf8(text.to_vec()).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(peer: &V2Peer, frame: ClientFrame<'_>, sentence: &str) {
    peer.send(&[frame]);
    let answer = peer.client.receive();
    let notice = ServerFrame::Notice(NoticeCode::Refused, sentence.as_bytes());
    assert!(parse_server(&answer).unwrap().eq([notice]), "{sentence}");
}

/// Receives one message.
#[track_caller]
fn message(peer: &V2Peer) -> (u32, String) {
    let datagram = peer.client.receive();
    let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
    let [ServerFrame::Message(message)] = frames[..] else {
        panic!("{frames:?}");
    };
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    (message.room, text)
}

/// Receives the text of a notice, or nothing of another frame.
#[track_caller]
fn next_text(peer: &V2Peer) -> String {
    let datagram = peer.client.receive();
    match parse_server(&datagram).unwrap().next() {
        Some(ServerFrame::Notice(_, text)) => String::from_utf8(text.to_vec()).unwrap(),
        _ => String::new(),
    }
}

/// Returns a client that was given a session, and has not used it.
#[track_caller]
fn asked(server: &TestServer) -> (Client, u64) {
    let client = server.unregistered_client();
    client.send(&hello());
    let session = welcome(&client.receive()).session.get();
    (client, session)
}
