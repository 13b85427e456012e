use proptest::prelude::*;

use super::frame::*;
use super::*;
use crate::wire::name::{DisplayName, RoomName};
use crate::wire::{Limit, LimitScope, Reply};

/// Any session.
const SESSION: Option<SessionId> = SessionId::new(1);

fn client_datagram(session: Option<SessionId>, frames: &[ClientFrame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_header(session, &mut out);
    for frame in frames {
        push_client_frame(frame, &mut out);
    }
    out
}

fn kinds_of(datagram: &[u8]) -> Result<Vec<ClientFrame<'_>>, Malformed> {
    parse_client(datagram).map(|(_, frames)| frames.collect())
}

#[test]
fn client_frames_are_parsed_as_they_were_written() {
    let options = SessionOptions {
        bundle_size: BundleSize::Small,
        echo: false,
        receive: false,
    };
    let moved = |address: &str| {
        ClientFrame::Move(Move {
            session: SESSION.unwrap(),
            address: address.parse().unwrap(),
        })
    };
    let frames = [
        ClientFrame::Hello(Hello::default()),
        ClientFrame::Hello(Hello {
            nonce: u64::MAX,
            options,
        }),
        ClientFrame::Heartbeat(None),
        ClientFrame::Heartbeat(Some(7)),
        ClientFrame::Say(b"hi"),
        ClientFrame::Say(b""),
        ClientFrame::SayTo(u32::MAX, b"hi"),
        ClientFrame::SayTo(0, b""),
        ClientFrame::Ping(b"12345678"),
        ClientFrame::Command(b"/who"),
        ClientFrame::Subscribe(RoomName::parse(b"chess").unwrap()),
        ClientFrame::Unsubscribe(9),
        moved("127.0.0.1:9999"),
        moved("[2001:db8::1]:1"),
        moved("[fe80::9%2]:5555"),
        ClientFrame::Bye,
    ];
    let mut datagram = client_datagram(SessionId::new(0x0102_0304_0506_0708), &frames);
    assert_eq!(datagram[..10], [0xFF, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
    datagram.extend_from_slice(&[0, 1, 2, 3]);
    let (session, mut parsed) = parse_client(&datagram).unwrap();
    assert_eq!(session, SessionId::new(0x0102_0304_0506_0708));
    assert!(parsed.by_ref().eq(frames), "what follows PAD is skipped");
    assert!(parsed.is_padded());
    datagram.truncate(datagram.len() - 4);
    let (_, mut parsed) = parse_client(&datagram).unwrap();
    assert!(parsed.by_ref().eq(frames) && !parsed.is_padded());
}

#[test]
fn options_have_bounds_and_the_last_of_a_type_counts() {
    let hello = |options: &[u8]| {
        let mut datagram = client_datagram(SESSION, &[]);
        datagram.extend([HELLO, 0, 8 + options.len() as u8]);
        datagram.extend([0; 8]);
        datagram.extend(options);
        let (_, mut frames) = parse_client(&datagram)?;
        match frames.next() {
            Some(ClientFrame::Hello(hello)) => Ok(hello.options),
            frame => panic!("{frame:?}"),
        }
    };
    let small = SessionOptions {
        bundle_size: BundleSize::Small,
        ..SessionOptions::default()
    };
    for (options, expected) in [
        (&[][..], SessionOptions::default()),
        (
            &[1, 2, 0x04, 0xB0, 2, 1, 1, 3, 1, 1],
            SessionOptions::default(),
        ),
        (&[1, 2, 0x02, 0x25], SessionOptions::default()),
        (&[1, 2, 0xFF, 0xFF, 1, 2, 0x02, 0x24], small),
        (&[1, 2, 0, 0], small),
    ] {
        assert_eq!(hello(options), Ok(expected), "{options:?}");
    }
    for options in [
        &[1][..],
        &[1, 2, 0],
        &[1, 1, 0],
        &[2, 0],
        &[2, 1, 2],
        &[3, 2, 0, 0],
        &[77, 9, 0],
        &[77, 0, 2, 1],
    ] {
        assert_eq!(hello(options), Err(Malformed::Body), "{options:?}");
    }
}

#[test]
fn what_a_client_says_that_this_version_does_not_have_is_named_and_ends_the_datagram() {
    let nonce = [0, 0, 0, 0, 0, 0, 1, 2];
    for (frame, unknown) in [
        (vec![0x77, 0, 2, 1, 2], Unknown::Frame(0x77)),
        (vec![0x7F, 0, 0], Unknown::Frame(0x7F)),
        (
            [&[HELLO, 0, 13][..], &nonce, &[9, 1, 0, 77, 0]].concat(),
            Unknown::Option(9, 0x0102),
        ),
    ] {
        let mut datagram = client_datagram(SESSION, &[ClientFrame::Say(b"hi")]);
        datagram.extend(frame);
        // These are not even looked at.
        datagram.extend([BYE, 0, 1, 9, SAY]);
        let frames = [ClientFrame::Say(b"hi"), ClientFrame::Unknown(unknown)];
        let (_, mut parsed) = parse_client(&datagram).unwrap();
        assert!(parsed.by_ref().eq(frames), "{unknown:?}");
        assert!(!parsed.is_padded());
    }
    let cut = client_datagram(SESSION, &[ClientFrame::Bye]);
    let cut = [&cut[..], &[0x77, 0, 2, 1]].concat();
    assert_eq!(kinds_of(&cut), Err(Malformed::Body));
}

/// A sender with this name or address.
fn sender(text: &str) -> DisplayName {
    text.parse().unwrap()
}

#[test]
fn a_frame_with_another_body_than_its_kind_requires_is_malformed() {
    for (kind, body) in [
        (PRIVATE, &b""[..]),
        (PRIVATE, b"\x01"),
        (PRIVATE, b"\x01\x00hi"),
        (PRIVATE, b"\x01\x03ad"),
        (PRIVATE, b"\x01\x03a d"),
        (PRIVATE, b"\x04\x7f\0\0\x01\x27"),
        (PRIVATE, b"\x05\x7f\0\0\x01\x27\x0f"),
        (WELCOME, &[0; 21]),
        (WELCOME, b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x01a"),
        (
            WELCOME,
            b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x04\x7f\0\0\x01\0\x01\x07",
        ),
        (NOTICE, b""),
        (ROOM, b"\0\0\0\x01\0\0\0\0\0\0\0"),
        (ROOM, b"\0\0\0\x01\0\0\0\0\0\0\0\x02"),
        (SUBSCRIBED, b"\0\0\0\x01\0\0\0\0\0\0\0\x02a b"),
        (UNSUBSCRIBED, &[1; 3]),
        (UNSUBSCRIBED, &[1; 5]),
        (OWN, &[1; 10]),
        (OWN, &[1; 12]),
        (UNKNOWN_SESSION, &[1; 8]),
    ] {
        let mut datagram = Vec::new();
        push_server_header(7, &mut datagram);
        datagram.extend([kind, 0, body.len() as u8]);
        datagram.extend(body);
        let wrong = parse_server(&datagram).map(drop);
        assert_eq!(wrong, Err(Malformed::Body), "{datagram:02x?}");
    }
}

#[test]
fn a_short_hello_without_a_session_is_malformed() {
    let frame = ClientFrame::Hello(Hello::default());
    let mut hello = client_datagram(None, &[frame]);
    assert_eq!(kinds_of(&hello), Err(Malformed::Body));
    push_padding(0, MIN_HELLO_BYTES - 1, &mut hello);
    assert_eq!(kinds_of(&hello), Err(Malformed::Body));
    push_padding(0, MIN_HELLO_BYTES, &mut hello);
    assert_eq!((hello.len(), kinds_of(&hello)), (256, Ok(vec![frame])));
    let in_session = client_datagram(SESSION, &[frame]);
    assert_eq!(kinds_of(&in_session), Ok(vec![frame]));
}

#[test]
fn server_frames_are_parsed_as_they_were_written() {
    let message = |from: &str| Message {
        room: 7,
        stream: 3,
        sequence: u32::MAX,
        from: sender(from),
        payload: b"\xff\0any",
    };
    let welcome = Welcome {
        session: SessionId::new(u64::MAX - 1).unwrap(),
        timeout_ms: 10_000,
        bundle_bytes: 1200,
        address: "[fe80::9%2]:5555".parse().unwrap(),
        servers: ServerList::EMPTY,
    };
    let mut servers = Vec::new();
    let addresses = [
        "10.0.0.2:9999",
        "[2001:db8::2]:1",
        "[fe80::2%3]:65535",
        "1.2.3.4:5",
    ];
    push_servers(
        &addresses.map(|address| address.parse().unwrap()),
        &mut servers,
    );
    let servers = ServerList::parse(&servers).unwrap();
    let named: Vec<_> = servers.iter().map(|server| server.to_string()).collect();
    assert_eq!(named, addresses[..MAX_OTHER_SERVERS]);
    let room = Room {
        number: 7,
        incarnation: u64::MAX,
        name: RoomName::parse(b"chess").unwrap(),
    };
    let own = Own {
        room: 7,
        stream: 3,
        sequence: u32::MAX,
        count: 2,
    };
    let frames = [
        ServerFrame::Welcome(welcome),
        ServerFrame::Welcome(Welcome { servers, ..welcome }),
        ServerFrame::Message(message("127.0.0.1:9999")),
        ServerFrame::Message(message("[2001:db8::1]:1")),
        ServerFrame::Message(message("[fe80::9%2]:5555")),
        ServerFrame::Message(message("ada")),
        ServerFrame::Pong(b"12345678"),
        ServerFrame::Notice(NoticeCode::Refused, b"no such command"),
        ServerFrame::Notice(NoticeCode::Other(77), b""),
        ServerFrame::Room(room),
        ServerFrame::Subscribed(room),
        ServerFrame::Unsubscribed(7),
        ServerFrame::Own(own),
        ServerFrame::Private(sender("ada"), b"psst"),
        ServerFrame::UnknownSession,
        ServerFrame::Goodbye,
    ];
    let mut datagram = Vec::new();
    push_server_header(0x0102_0304_0506_0708, &mut datagram);
    assert_eq!(datagram, [0xFF, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
    for frame in &frames {
        push_server_frame(frame, &mut datagram);
        // Those of a later version are skipped.
        datagram.extend([0xF7, 0, 2, 1, 2]);
    }
    push_padding(0, 500, &mut datagram);
    assert_eq!(datagram.len(), 500);
    let parsed = parse_server(&datagram).unwrap();
    assert_eq!(parsed.receiver(), 0x0102_0304_0506_0708);
    assert!(parsed.eq(frames));
}

#[test]
fn a_welcome_skips_options_of_later_versions_and_needs_whole_addresses() {
    let welcome = |options: &[u8]| {
        let mut datagram = Vec::new();
        push_server_header(1, &mut datagram);
        let address = [4, 127, 0, 0, 1, 0, 7];
        let body = [
            &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 4, 0xB0],
            &address[..],
            options,
        ]
        .concat();
        datagram.extend([0x82, 0, body.len() as u8]);
        datagram.extend(body);
        datagram
    };
    let servers = |options: &[u8]| -> Option<Vec<String>> {
        let datagram = welcome(options);
        let ServerFrame::Welcome(welcome) = parse_server(&datagram).ok()?.next()? else {
            panic!("another frame");
        };
        Some(
            welcome
                .servers
                .iter()
                .map(|server| server.to_string())
                .collect(),
        )
    };
    assert_eq!(servers(&[]), Some(vec![]));
    let list = [1, 7, 4, 10, 0, 0, 2, 0, 80];
    let named = Some(vec!["10.0.0.2:80".to_owned()]);
    assert_eq!(servers(&list), named);
    assert_eq!(servers(&[&[77, 1, 0], &list[..], &[78, 0]].concat()), named);
    assert_eq!(servers(&list[..8]), None, "cut short");
    assert_eq!(
        servers(&[1, 6, 4, 10, 0, 0, 2, 0]),
        None,
        "no whole address"
    );
    assert_eq!(servers(&[1, 3, 1, 1, b'a']), None, "a name");
}

#[test]
fn frames_that_are_filled_in_place_have_the_same_bytes() {
    let (mut filled, mut whole) = (Vec::new(), Vec::new());
    push_say(|out| out.extend_from_slice(b"hi"), &mut filled);
    push_client_frame(&ClientFrame::Say(b"hi"), &mut whole);
    push_reply(&Reply::NoSuchPeer(b"\xff"), &mut filled);
    let notice = ServerFrame::Notice(NoticeCode::Refused, b"no such peer: \xff");
    push_server_frame(&notice, &mut whole);
    assert_eq!(filled, whole);
}

#[test]
fn the_refusals_of_a_full_server_and_of_one_that_stops_are_shorter_than_a_hello() {
    let mut datagram = Vec::new();
    push_server_header(0, &mut datagram);
    let limit = Limit {
        max: u32::MAX,
        scope: LimitScope::NetworkPerSecond,
    };
    push_reply(&Reply::PeerLimit(limit), &mut datagram);
    assert!(datagram.len() < MIN_HELLO_BYTES, "{}", datagram.len());
    datagram.clear();
    push_server_header(0, &mut datagram);
    push_reply(&Reply::NoNewcomers, &mut datagram);
    assert!(datagram.len() < MIN_HELLO_BYTES, "{}", datagram.len());
}

#[test]
fn the_longest_payload_fills_a_bundle() {
    let mut datagram = Vec::new();
    push_server_header(0, &mut datagram);
    push_server_frame(
        &ServerFrame::Message(Message {
            room: 0,
            stream: 0,
            sequence: 0,
            from: sender(&"n".repeat(24)),
            payload: &[0; MAX_PAYLOAD_BYTES],
        }),
        &mut datagram,
    );
    assert_eq!(datagram.len(), BUNDLE_BYTES);
    let too_long = [0; MAX_PAYLOAD_BYTES + 1];
    let datagram = client_datagram(SESSION, &[ClientFrame::Say(&too_long)]);
    assert_eq!(kinds_of(&datagram), Err(Malformed::Body));
}

#[test]
fn one_malformed_frame_makes_the_datagram_malformed() {
    let good = client_datagram(SESSION, &[ClientFrame::Say(b"hi")]);
    let with = |bytes: &[u8]| [&good[..], bytes].concat();
    for (datagram, wrong) in [
        (b"\xff".to_vec(), Malformed::Header),
        (b"\xff\x03\0\0\0\0\0\0\0\0".to_vec(), Malformed::Header),
        (good[..9].to_vec(), Malformed::Header),
        (good[..good.len() - 1].to_vec(), Malformed::Body),
        (with(&[HEARTBEAT]), Malformed::Body),
        (with(&[HEARTBEAT, 0]), Malformed::Body),
        (with(&[HEARTBEAT, 0, 1, 9]), Malformed::Body),
        (with(&[BYE, 0, 1, 9]), Malformed::Body),
        (with(&[SAY, 0xFF, 0xFF, 9]), Malformed::Body),
        (with(&[HEARTBEAT, 0, 3, 0, 0, 0]), Malformed::Body),
        (with(&[MESSAGE, 0, 0]), Malformed::Body),
        (with(&[0x80, 0, 0]), Malformed::Body),
        (with(&[SUBSCRIBE, 0, 0]), Malformed::Body),
        (with(&[SUBSCRIBE, 0, 1, b' ']), Malformed::Body),
        (with(&[UNSUBSCRIBE, 0, 0]), Malformed::Body),
        (with(&[SAY_TO, 0, 3, 0, 0, 0]), Malformed::Body),
        (with(&[MOVE, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]), Malformed::Body),
        (with(&[HELLO, 0, 7, 0, 0, 0, 0, 0, 0, 0]), Malformed::Body),
    ] {
        assert_eq!(kinds_of(&datagram), Err(wrong), "{datagram:02x?}");
    }
    assert_eq!(kinds_of(&good), Ok(vec![ClientFrame::Say(b"hi")]));
}

proptest! {
    #[test]
    fn no_datagram_makes_a_parser_panic(
        mut datagram in prop::collection::vec(any::<u8>(), 0..300),
        magic in any::<bool>(),
    ) {
        if magic {
            datagram.splice(0..0, MAGIC);
        }
        if let Ok((_, frames)) = parse_client(&datagram) {
            frames.for_each(drop);
        }
        if let Ok(frames) = parse_server(&datagram) {
            frames.for_each(drop);
        }
    }

    #[test]
    fn a_cut_datagram_is_malformed_or_has_fewer_frames(cut in 0_usize..40) {
        let whole = client_datagram(SESSION, &[ClientFrame::Say(b"hello"), ClientFrame::Ping(b"12345678"), ClientFrame::Bye]);
        let cut = &whole[..cut.min(whole.len() - 1)];
        if let Ok(frames) = kinds_of(cut) {
            prop_assert!(frames.len() < 3);
        }
    }
}
