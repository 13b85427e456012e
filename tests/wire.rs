//! Protocol v2 to the byte, as specified in docs/PROTOCOL.md. A round trip alone would
//! pass with the wrong bytes.

use bullhorn::wire::v2::{
    BundleSize, ClientFrame, MAX_PAYLOAD_BYTES, Malformed, Message, NoticeCode, ServerFrame,
    SessionId, Welcome, parse_client, parse_server, push_client_frame, push_client_header,
    push_padding, push_server_frame, push_server_header,
};
use bullhorn::wire::{MAX_TOKEN_BYTES, RoomName};

#[test]
fn client_frames_have_the_specified_bytes() {
    for (frame, bytes) in [
        (ClientFrame::Hello(BundleSize::Full), &[1, 0, 1, 0][..]),
        (ClientFrame::Hello(BundleSize::Small), &[1, 0, 1, 1]),
        (ClientFrame::Heartbeat, &[2, 0, 0]),
        (ClientFrame::Bye, &[3, 0, 0]),
        (ClientFrame::Say(b"hi"), &[4, 0, 2, b'h', b'i']),
        (ClientFrame::Ping(b"x"), &[5, 0, 1, b'x']),
        (ClientFrame::Command(b"/a"), &[6, 0, 2, b'/', b'a']),
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
fn server_frames_have_the_specified_bytes() {
    let v4 = [
        0x83, 0, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 4, 127, 0, 0, 1, 0x27, 0x0F, b'h', b'i',
    ];
    let mut v6 = vec![0x83, 0, 30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 6];
    v6.extend_from_slice(&[0; 15]);
    v6.extend_from_slice(&[1, 0x27, 0x0F, b'h', b'i']);
    let mut welcome = vec![0x82, 0, 18];
    welcome.extend(1..=18);
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
        (
            ServerFrame::Room(0x0102_0304, RoomName::parse(b"den").expect("a name")),
            &[0x87, 0, 7, 1, 2, 3, 4, b'd', b'e', b'n'],
        ),
        (
            ServerFrame::Private("ada".parse().expect("a name"), b"hi"),
            &[0x88, 0, 7, 1, 3, b'a', b'd', b'a', b'h', b'i'],
        ),
        (
            ServerFrame::UnknownSession(SESSION),
            &[0x89, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        ),
    ] {
        let mut datagram = server(&frame);
        assert_eq!(datagram, [&[0xFF, 2][..], bytes].concat(), "{frame:?}");
        push_padding(0, 100, &mut datagram);
        assert_eq!(datagram.len(), 100);
        let frames = parse_server(&datagram).expect("it is well formed");
        assert_eq!(frames.collect::<Vec<_>>(), [frame]);
    }
}

#[test]
fn payloads_and_tokens_have_a_maximum_length() {
    let say = [b'x'; MAX_PAYLOAD_BYTES + 1];
    let ping = [b'x'; MAX_TOKEN_BYTES + 1];
    assert_eq!((MAX_PAYLOAD_BYTES, MAX_TOKEN_BYTES), (1160, 32));
    for (longest, longer) in [
        (
            ClientFrame::Say(&say[1..]),
            client(&[ClientFrame::Say(&say)]),
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
    // A HELLO has flags, and its datagram has at least 64 bytes.
    let with_body = |len: u8, datagram_bytes| {
        let mut datagram = client(&[]);
        datagram.extend_from_slice(&[1, 0, len, 0, 0][..3 + usize::from(len)]);
        push_padding(0, datagram_bytes, &mut datagram);
        parse_client(&datagram).map(drop)
    };
    assert_eq!(with_body(0, 64), Err(Malformed::Body));
    assert_eq!(with_body(1, 64), Ok(()));
    assert_eq!(with_body(2, 64), Ok(()), "a later version's");
    assert_eq!(with_body(1, 63), Err(Malformed::Body));
}

#[test]
fn a_server_frame_that_is_too_short_is_malformed() {
    for (frame, min_len) in [
        (WELCOME, 18),
        (message("127.0.0.1:9999"), 16),
        (message("[::1]:9999"), 28),
        (message("ada"), 14),
        (ServerFrame::Private("ada".parse().expect("a name"), b""), 5),
        (ServerFrame::Notice(NoticeCode::Done, b""), 1),
    ] {
        let whole = server(&frame);
        for len in 0..whole.len() - FRAME_START {
            let mut cut = whole[..FRAME_START + len].to_vec();
            cut[4] = len as u8;
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
        (&b"\xff\x02\x86\0\x01x"[..], Malformed::Body),
        (b"\xff\x02\x8A\0\0", Malformed::Kind),
        (b"\xff\x02\x04\0\0", Malformed::Kind),
        (b"\xff\x01\x86\0\0", Malformed::Header),
        (b"\xff", Malformed::Header),
        (b"", Malformed::Header),
    ] {
        let result = parse_server(datagram).map(drop);
        assert_eq!(result, Err(wrong), "{datagram:?}");
    }
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
    push_server_header(&mut out);
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
    room: 0x0F10_1112,
});

/// Length of mark, version, kind and length.
const FRAME_START: usize = 5;
