//! Protocol v2 to the byte, as specified in docs/PROTOCOL.md. A round trip alone would
//! pass with the wrong bytes.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bullhorn::wire::v2::{
    BundleSize, ClientFrame, Hello, MAX_PAYLOAD_BYTES, Malformed, Message, Move, NoticeCode, Own,
    Room, ServerFrame, ServerList, SessionId, SessionOptions, Unknown, Welcome, parse_client,
    parse_server, push_client_frame, push_client_header, push_hello, push_padding,
    push_server_frame, push_server_header,
};
use bullhorn::wire::{MAX_TOKEN_BYTES, RoomName};

#[test]
fn client_frames_have_the_specified_bytes() {
    let hello = |bundle_size, echo, receive| {
        ClientFrame::Hello(Hello {
            nonce: 0x1112_1314_1516_1718,
            options: SessionOptions {
                bundle_size,
                echo,
                receive,
            },
        })
    };
    let moved = ClientFrame::Move(Move {
        session: SESSION,
        address: "127.0.0.1:9999".parse().expect("an address"),
    });
    let den = RoomName::parse(b"den").expect("a name");
    for (frame, bytes) in [
        (
            hello(BundleSize::Full, true, true),
            &b"\x01\0\x08\x11\x12\x13\x14\x15\x16\x17\x18"[..],
        ),
        (
            hello(BundleSize::Small, false, false),
            b"\x01\0\x12\x11\x12\x13\x14\x15\x16\x17\x18\x01\x02\x02\x24\x02\x01\0\x03\x01\0",
        ),
        (ClientFrame::Heartbeat(None), &[2, 0, 0]),
        (ClientFrame::Heartbeat(Some(7)), &[2, 0, 4, 0, 0, 0, 7]),
        (ClientFrame::Bye, &[3, 0, 0]),
        (ClientFrame::Say(b"hi"), &[4, 0, 2, b'h', b'i']),
        (ClientFrame::Ping(b"x"), &[5, 0, 1, b'x']),
        (ClientFrame::Command(b"/a"), &[6, 0, 2, b'/', b'a']),
        (ClientFrame::Subscribe(den), b"\x07\0\x03den"),
        (
            ClientFrame::Unsubscribe(0x0102_0304),
            &[8, 0, 4, 1, 2, 3, 4],
        ),
        (ClientFrame::SayTo(7, b"hi"), b"\x09\0\x06\0\0\0\x07hi"),
        (
            moved,
            b"\x0A\0\x0F\x01\x02\x03\x04\x05\x06\x07\x08\x04\x7F\0\0\x01\x27\x0F",
        ),
    ] {
        let mut datagram = client(&[frame]);
        let header = [0xFF, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(datagram, [&header[..], bytes].concat(), "{frame:?}");
        push_padding(0, 64, &mut datagram);
        let (session, mut frames) = parse_client(&datagram).expect("it is well formed");
        assert_eq!(session, Some(SESSION));
        assert_eq!(frames.by_ref().collect::<Vec<_>>(), [frame]);
        assert!(frames.is_padded());
    }
}

#[test]
fn a_hello_without_a_session_has_256_bytes() {
    let hello = Hello {
        nonce: 5,
        ..Hello::default()
    };
    let mut datagram = Vec::new();
    push_hello(&hello, &mut datagram);
    let mut expected = b"\xFF\x02\0\0\0\0\0\0\0\0\x01\0\x08\0\0\0\0\0\0\0\x05".to_vec();
    expected.resize(256, 0);
    assert_eq!(datagram, expected);
    let (session, mut frames) = parse_client(&datagram).expect("it is well formed");
    assert_eq!(session, None);
    assert_eq!(frames.next(), Some(ClientFrame::Hello(hello)));
    let short = parse_client(&datagram[..255]).map(drop);
    assert_eq!(short, Err(Malformed::Body));
}

#[test]
fn what_a_client_says_that_no_version_knows_is_named() {
    for (frame, unknown) in [
        (&[0x77, 0, 1, 5][..], Unknown::Frame(0x77)),
        (
            &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 6, 77, 1, 1],
            Unknown::Option(77, 6),
        ),
    ] {
        let datagram = [&client(&[])[..], frame, &[3, 0, 0]].concat();
        let (_, frames) = parse_client(&datagram).expect("it is well formed");
        assert_eq!(frames.collect::<Vec<_>>(), [ClientFrame::Unknown(unknown)]);
    }
}

#[test]
fn server_frames_have_the_specified_bytes() {
    let v4 = [
        0x83, 0, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 4, 127, 0, 0, 1, 0x27, 0x0F, b'h', b'i',
    ];
    let mut v6 = vec![0x83, 0, 30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 6];
    v6.extend_from_slice(&[0; 15]);
    v6.extend_from_slice(&[1, 0x27, 0x0F, b'h', b'i']);
    let mut welcome = vec![0x82, 0, 21];
    welcome.extend(1..=14);
    welcome.extend([4, 127, 0, 0, 1, 0x27, 0x0F]);
    let room = Room {
        number: 0x0102_0304,
        incarnation: 0x0506_0708_090A_0B0C,
        name: RoomName::parse(b"den").expect("a name"),
    };
    let room_body = b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0Cden";
    let in_room = |kind| [&[kind, 0, 15][..], room_body].concat();
    let own = Own {
        room: 0x0102_0304,
        stream: 5,
        sequence: 0x0607_0809,
        count: 0x0A0B,
    };
    for (frame, bytes) in [
        (WELCOME, &welcome[..]),
        (message("127.0.0.1:9999"), &v4),
        (message("[::1]:9999"), &v6),
        (ServerFrame::Pong(b"x"), &[0x84, 0, 1, b'x']),
        (
            ServerFrame::Notice(NoticeCode::Refused, b"no"),
            &[0x85, 0, 3, 2, b'n', b'o'],
        ),
        (ServerFrame::Goodbye, &[0x86, 0, 0]),
        (ServerFrame::Room(room), &in_room(0x87)),
        (
            ServerFrame::Private("ada".parse().expect("a name"), b"hi"),
            &[0x88, 0, 7, 1, 3, b'a', b'd', b'a', b'h', b'i'],
        ),
        (ServerFrame::UnknownSession, &[0x89, 0, 0]),
        (ServerFrame::Subscribed(room), &in_room(0x8A)),
        (
            ServerFrame::Unsubscribed(0x0102_0304),
            &[0x8B, 0, 4, 1, 2, 3, 4],
        ),
        (
            ServerFrame::Own(own),
            &[0x8C, 0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        ),
    ] {
        let mut datagram = server(&frame);
        let header = [0xFF, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(datagram, [&header[..], bytes].concat(), "{frame:?}");
        push_padding(0, 100, &mut datagram);
        assert_eq!(datagram.len(), 100);
        let frames = parse_server(&datagram).expect("it is well formed");
        assert_eq!(frames.receiver(), SESSION.get());
        assert_eq!(frames.collect::<Vec<_>>(), [frame]);
    }
}

#[test]
fn payloads_and_tokens_have_a_maximum_length() {
    let say = [b'x'; MAX_PAYLOAD_BYTES + 1];
    let ping = [b'x'; MAX_TOKEN_BYTES + 1];
    assert_eq!((MAX_PAYLOAD_BYTES, MAX_TOKEN_BYTES), (1152, 32));
    for (longest, longer) in [
        (
            ClientFrame::Say(&say[1..]),
            client(&[ClientFrame::Say(&say)]),
        ),
        (
            ClientFrame::SayTo(7, &say[1..]),
            client(&[ClientFrame::SayTo(7, &say)]),
        ),
        (
            ClientFrame::Command(&say[1..]),
            client(&[ClientFrame::Command(&say)]),
        ),
        (
            ClientFrame::Ping(&ping[1..]),
            client(&[ClientFrame::Ping(&ping)]),
        ),
    ] {
        assert!(parse_client(&client(&[longest])).is_ok(), "{longest:?}");
        let result = parse_client(&longer).map(drop);
        assert_eq!(result, Err(Malformed::Body), "{longest:?}");
    }
}

#[test]
fn a_server_frame_that_is_too_short_is_malformed() {
    for (frame, min_len) in [
        (WELCOME, 21),
        (message("127.0.0.1:9999"), 16),
        (message("[::1]:9999"), 28),
        (message("ada"), 14),
        (ServerFrame::Private("ada".parse().expect("a name"), b""), 5),
        (ServerFrame::Notice(NoticeCode::Done, b""), 1),
        (ServerFrame::Unsubscribed(7), 4),
    ] {
        let whole = server(&frame);
        for len in 0..whole.len() - FRAME_START {
            let mut cut = whole[..FRAME_START + len].to_vec();
            cut[FRAME_START - 1] = len as u8;
            let result = parse_server(&cut).map(drop);
            let expected = if len < min_len {
                Err(Malformed::Body)
            } else {
                Ok(())
            };
            assert_eq!(result, expected, "{frame:?} of {len} bytes");
        }
    }
    let mut other_family = server(&message("127.0.0.1:9999"));
    for family in [0, 2, 5, 7] {
        other_family[FRAME_START + 9] = family;
        let result = parse_server(&other_family).map(drop);
        assert_eq!(result, Err(Malformed::Body));
    }
    for (datagram, wrong) in [
        (&b"\xff\x02\0\0\0\0\0\0\0\0\x86\0\x01x"[..], Malformed::Body),
        (b"\xff\x01\0\0\0\0\0\0\0\0\x86\0\0", Malformed::Header),
        (b"\xff\x02\0\0\0\0\0\0\0", Malformed::Header),
        (b"\xff", Malformed::Header),
        (b"", Malformed::Header),
    ] {
        let result = parse_server(datagram).map(drop);
        assert_eq!(result, Err(wrong), "{datagram:?}");
    }
}

#[test]
fn server_frames_of_later_versions_and_options_of_a_welcome_are_skipped() {
    let mut datagram = server(&ServerFrame::Goodbye);
    datagram.splice(10..10, [0x8D, 0, 2, 1, 2, 0x04, 0, 0]);
    let frames = parse_server(&datagram).expect("it is well formed");
    assert_eq!(frames.collect::<Vec<_>>(), [ServerFrame::Goodbye]);
    let mut datagram = server(&WELCOME);
    datagram.extend([77, 1, 5]);
    datagram[FRAME_START - 1] += 3;
    let frames = parse_server(&datagram).expect("it is well formed");
    assert_eq!(frames.collect::<Vec<_>>(), [WELCOME]);
    datagram.push(77);
    datagram[FRAME_START - 1] += 1;
    let result = parse_server(&datagram).map(drop);
    assert_eq!(result, Err(Malformed::Body), "half an option");
}

fn client(frames: &[ClientFrame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_header(Some(SESSION), &mut out);
    for frame in frames {
        push_client_frame(frame, &mut out);
    }
    out
}

fn server(frame: &ServerFrame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    push_server_header(SESSION.get(), &mut out);
    push_server_frame(frame, &mut out);
    out
}

fn message(from: &str) -> ServerFrame<'static> {
    ServerFrame::Message(Message {
        room: 0x0102_0304,
        stream: 5,
        sequence: 0x0607_0809,
        from: from.parse().expect("a speaker"),
        payload: b"hi",
    })
}

const SESSION: SessionId = SessionId::new(0x0102_0304_0506_0708).unwrap();

const WELCOME: ServerFrame<'_> = ServerFrame::Welcome(Welcome {
    session: SESSION,
    timeout_ms: 0x090A_0B0C,
    bundle_bytes: 0x0D0E,
    address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9999)),
    servers: ServerList::EMPTY,
});

/// Length of the header, kind and length.
const FRAME_START: usize = 13;
