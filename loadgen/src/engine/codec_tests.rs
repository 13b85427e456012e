use super::*;
use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{
    Hello, MIN_HELLO_BYTES, Message, Room, ServerList, parse_client, push_server_frame,
    push_server_header,
};

/// Any session.
const SESSION: SessionId = SessionId::new(9).unwrap();
const NONCE: u64 = 10;

const STAMP: Stamp = Stamp {
    run: 1,
    client: 2,
    sequence: 3,
    due_ns: 4,
    lag_ns: 5,
};

fn said(protocol: Protocol, say: Say<'_>) -> Vec<u8> {
    let mut out = b"what was there before".to_vec();
    write(protocol, Some(SESSION), say, &mut out);
    out
}

fn received(protocol: Protocol, datagram: &[u8]) -> Vec<Received<'_>> {
    let receiver = Receiver {
        session: Some(SESSION),
        nonce: NONCE,
    };
    let mut all = Vec::new();
    read(protocol, receiver, datagram, |received| all.push(received));
    all
}

fn stamp() -> String {
    String::from_utf8(encoded(&STAMP).to_vec()).unwrap()
}

#[test]
fn version_1_says_what_the_server_reads() {
    let say = |say| String::from_utf8(said(Protocol::V1, say)).unwrap();
    assert_eq!(say(Say::Hello(NONCE)), "@im@");
    assert_eq!(say(Say::Heartbeat(None)), "@im@");
    assert_eq!(say(Say::Join("den")), "/join den");
    assert_eq!(say(Say::Ask(&STAMP)), format!("/ping {}", stamp()));
    assert_eq!(say(Say::Text(&STAMP, 35)), format!("{}xxx", stamp()));
    assert_eq!(say(Say::Text(&STAMP, 1)), stamp(), "never cut");
    assert_eq!(say(Say::Leave), "quit");
}

#[test]
fn version_2_says_what_the_server_reads() {
    let text = format!("{}xxx", stamp());
    let all = [
        (Say::Join("den"), ClientFrame::Command(b"/join den")),
        (Say::Ask(&STAMP), ClientFrame::Ping(&text.as_bytes()[..32])),
        (Say::Text(&STAMP, 35), ClientFrame::Say(text.as_bytes())),
        (Say::Heartbeat(None), ClientFrame::Heartbeat(None)),
        (Say::Heartbeat(Some(7)), ClientFrame::Heartbeat(Some(7))),
        (Say::Leave, ClientFrame::Bye),
    ];
    for (say, frame) in all {
        let datagram = said(Protocol::V2, say);
        let (session, frames) = parse_client(&datagram).unwrap();
        assert_eq!((session, frames.collect()), (Some(SESSION), vec![frame]));
    }
    let hello = said(Protocol::V2, Say::Hello(NONCE));
    assert_eq!(hello.len(), MIN_HELLO_BYTES);
    let (session, frames) = parse_client(&hello).unwrap();
    let expected = ClientFrame::Hello(Hello {
        nonce: NONCE,
        ..Hello::default()
    });
    assert_eq!((session, frames.collect()), (None, vec![expected]));
}

#[test]
fn the_longest_name_of_a_room_goes_in_whole() {
    let name = "r".repeat(32);
    let datagram = said(Protocol::V2, Say::Join(&name));
    let (_, mut frames) = parse_client(&datagram).unwrap();
    let command = format!("/join {name}");
    assert_eq!(
        frames.next(),
        Some(ClientFrame::Command(command.as_bytes()))
    );
}

#[test]
fn version_1_hears_what_the_server_says() {
    let receive = |text: &str| {
        let all = received(Protocol::V1, text.as_bytes());
        assert_eq!(all.len(), 1);
        format!("{:?}", all[0])
    };
    let is = |received: Received<'_>| format!("{received:?}");
    let stamp = stamp();
    assert_eq!(
        receive(&format!("* pong {stamp}")),
        is(Received::Answer(STAMP))
    );
    let den = RoomName::parse(b"den").unwrap();
    for (members, count) in [("3", 3), ("1,000", 1000)] {
        let sentence = format!("* you are in den ({members} here)");
        assert_eq!(receive(&sentence), is(Received::Joined(den, count)));
    }
    let full = "den is full (1)";
    assert_eq!(
        receive(&format!("* {full}")),
        is(Received::Refused(full.as_bytes()))
    );
    assert_eq!(
        receive("* at most 65,536 bytes per second"),
        is(Received::Limited(Resource::Bytes, 65_536))
    );
    assert_eq!(receive("hello,('127.0.0.1', 5)"), is(Received::Greeting));
    for speaker in ["127.0.0.1:5", "[::1]:5", "ada"] {
        assert_eq!(
            receive(&format!("{speaker} {stamp}xxx")),
            is(Received::Text(STAMP))
        );
    }
    assert_eq!(receive("127.0.0.1:5 /join den"), is(Received::Echo));
    assert_eq!(receive("127.0.0.1:5 /ping 1"), is(Received::Echo));
    let nowhere = [
        "* you are in den",
        "* you are in a den (3 here)",
        "* you are in  (3 here)",
    ];
    for stray in ["", "word", "ada hi", "* pong 1", &stamp]
        .into_iter()
        .chain(nowhere)
    {
        assert_eq!(receive(stray), is(Received::Stray), "{stray}");
    }
}

#[test]
fn version_2_hears_all_that_is_in_a_bundle() {
    let text = format!("{}xxx", stamp());
    let welcome = Welcome {
        session: SESSION,
        timeout_ms: 1,
        bundle_bytes: 2,
        address: "127.0.0.1:5".parse().unwrap(),
        servers: ServerList::EMPTY,
    };
    let message = |payload| {
        ServerFrame::Message(Message {
            room: 0,
            stream: 0,
            sequence: 0,
            from: DisplayName::Address("127.0.0.1:5".parse().unwrap()),
            payload,
        })
    };
    let den = Room {
        number: 3,
        incarnation: 1,
        name: RoomName::parse(b"den").unwrap(),
    };
    let mut datagram = Vec::new();
    push_server_header(SESSION.get(), &mut datagram);
    for frame in [
        ServerFrame::Welcome(welcome),
        ServerFrame::Room(den),
        ServerFrame::Notice(NoticeCode::Done, b"you are in den (1 here)"),
        ServerFrame::Notice(NoticeCode::Refused, b"den is full"),
        ServerFrame::Notice(NoticeCode::Refused, b"at most 200 units of work per second"),
        ServerFrame::Notice(NoticeCode::Presence, b"ann left"),
        ServerFrame::Pong(&text.as_bytes()[..32]),
        message(text.as_bytes()),
        message(b"hi"),
        ServerFrame::Goodbye,
        ServerFrame::UnknownSession,
    ] {
        push_server_frame(&frame, &mut datagram);
    }
    let expected = [
        Received::Welcome(welcome),
        Received::Room(den),
        Received::Members(den.name, 1),
        Received::Refused(b"den is full"),
        Received::Limited(Resource::Work, 200),
        Received::Stray,
        Received::Answer(STAMP),
        Received::Text(STAMP),
        Received::Stray,
        Received::Goodbye,
        Received::Forgotten(welcome.session),
    ];
    assert_eq!(received(Protocol::V2, &datagram), expected);
    assert_eq!(received(Protocol::V2, b"ada hi"), [Received::Stray]);
}

#[test]
fn a_datagram_with_another_session_is_stray_as_a_whole() {
    let text = stamp();
    for (number, is_own) in [(SESSION.get(), true), (NONCE, true), (0, false), (8, false)] {
        let mut datagram = Vec::new();
        push_server_header(number, &mut datagram);
        for _ in 0..2 {
            push_server_frame(&ServerFrame::Pong(text.as_bytes()), &mut datagram);
        }
        let expected = match is_own {
            true => vec![Received::Answer(STAMP); 2],
            false => vec![Received::Stray],
        };
        assert_eq!(received(Protocol::V2, &datagram), expected);
    }
}
