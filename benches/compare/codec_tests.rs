//! Tests of the codecs. They are a test target, because a benchmark runs no tests.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod codec;

use codec::{Codec, Event, PONG};

/// Reads `bytes` to the end, and checks that no message is taken before it is complete.
fn assert_reads(codec: Codec, bytes: &[u8], expected: &[Event<'_>]) {
    let mut rest = bytes;
    for event in expected {
        let (first, len) = codec.first(rest).unwrap();
        assert_eq!(first, *event);
        assert_eq!(codec.first(&rest[..len - 1]), None, "{event:?}, cut");
        rest = &rest[len..];
    }
    assert_eq!(codec.first(rest), None);
}

#[test]
fn nats() {
    let mut bytes = Vec::new();
    Codec::Nats.push_hello(0, &mut bytes);
    Codec::Nats.push_text(b"hello", &mut bytes);
    let text = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB room 1\r\n\
                PUB room 5\r\nhello\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
    assert_eq!(PONG, b"PONG\r\n");
    assert_reads(
        Codec::Nats,
        b"INFO {}\r\nPING\r\nMSG room 1 5\r\nPI\r\nG\r\nMSG room 1 x\r\n-ERR 'Slow'\r\n",
        &[
            Event::Other,
            Event::Ping,
            Event::Text(b"PI\r\nG"),
            Event::Refusal(b"MSG room 1 x"),
            Event::Refusal(b"-ERR 'Slow'"),
        ],
    );
}

#[test]
fn mqtt() {
    let mut bytes = Vec::new();
    Codec::Mqtt.push_hello(7, &mut bytes);
    let connect = b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02c7";
    assert_eq!(
        bytes,
        [&connect[..], b"\x82\x09\0\x01\0\x04room\0"].concat()
    );
    let mut bytes = vec![0x20, 2, 0, 0, 0x90, 3, 0, 1, 0];
    let long = [b'x'; 200];
    Codec::Mqtt.push_text(b"hello", &mut bytes);
    Codec::Mqtt.push_text(&long, &mut bytes);
    // Not authorised, a refused subscription, a topic longer than the packet.
    bytes.extend_from_slice(&[0x20, 2, 0, 5, 0x90, 3, 0, 1, 0x80, 0x30, 2, 0, 9]);
    assert_reads(
        Codec::Mqtt,
        &bytes,
        &[
            Event::Other,
            Event::Other,
            Event::Text(b"hello"),
            Event::Text(&long),
            Event::Refusal(&[0, 5]),
            Event::Refusal(&[0, 1, 0x80]),
            Event::Refusal(&[0, 9]),
        ],
    );
    let endless = [0x30, 255, 255, 255, 255, 1];
    let (event, len) = Codec::Mqtt.first(&endless).unwrap();
    assert_eq!((event, len), (Event::Refusal(&endless), endless.len()));
}
