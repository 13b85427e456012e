use proptest::prelude::*;

use super::frame::*;
use super::*;
use crate::wire::Reply;
use crate::wire::name::{DisplayName, RoomName};

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
    let frames = [
        ClientFrame::Heartbeat,
        ClientFrame::Say(b"hi"),
        ClientFrame::Say(b""),
        ClientFrame::Ping(b"12345678"),
        ClientFrame::Command(b"/who"),
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
        (WELCOME, &[0; 18]),
        (NOTICE, b""),
        (ROOM, b"\0\0\0"),
        (ROOM, b"\0\0\0\x01"),
        (ROOM, b"\0\0\0\x01a b"),
        (UNKNOWN_SESSION, &[1; 7]),
        (UNKNOWN_SESSION, &[1; 9]),
        (UNKNOWN_SESSION, &[0; 8]),
    ] {
        let mut datagram = MAGIC.to_vec();
        datagram.extend([kind, 0, body.len() as u8]);
        datagram.extend(body);
        let wrong = parse_server(&datagram).map(drop);
        assert_eq!(wrong, Err(Malformed::Body), "{datagram:02x?}");
    }
}

#[test]
fn a_short_hello_is_malformed() {
    let mut hello = client_datagram(None, &[ClientFrame::Hello(BundleSize::Full)]);
    assert_eq!(kinds_of(&hello), Err(Malformed::Body));
    push_padding(0, MIN_HELLO_BYTES, &mut hello);
    assert_eq!(hello.len(), 64);
    assert_eq!(
        kinds_of(&hello),
        Ok(vec![ClientFrame::Hello(BundleSize::Full)])
    );
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
        room: 9,
    };
    let frames = [
        ServerFrame::Welcome(welcome),
        ServerFrame::Message(message("127.0.0.1:9999")),
        ServerFrame::Message(message("[2001:db8::1]:1")),
        ServerFrame::Message(message("[fe80::9%2]:5555")),
        ServerFrame::Message(message("ada")),
        ServerFrame::Pong(b"12345678"),
        ServerFrame::Notice(NoticeCode::Refused, b"no such command"),
        ServerFrame::Notice(NoticeCode::Other(77), b""),
        ServerFrame::Room(7, RoomName::parse(b"chess").unwrap()),
        ServerFrame::Private(sender("ada"), b"psst"),
        ServerFrame::UnknownSession(SessionId::new(7).unwrap()),
        ServerFrame::Goodbye,
    ];
    let mut datagram = Vec::new();
    push_server_header(&mut datagram);
    for frame in &frames {
        push_server_frame(frame, &mut datagram);
    }
    push_padding(0, 300, &mut datagram);
    assert_eq!(datagram.len(), 300);
    assert!(parse_server(&datagram).unwrap().eq(frames));
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
fn the_refusal_of_a_full_server_is_shorter_than_a_hello() {
    let mut datagram = Vec::new();
    push_server_header(&mut datagram);
    push_reply(&Reply::PeerLimit(usize::MAX), &mut datagram);
    assert!(datagram.len() < MIN_HELLO_BYTES, "{}", datagram.len());
}

#[test]
fn the_longest_payload_fills_a_bundle() {
    let mut datagram = Vec::new();
    push_server_header(&mut datagram);
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
        (with(&[0x07, 0, 0]), Malformed::Kind),
        (with(&[MESSAGE, 0, 0]), Malformed::Kind),
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
