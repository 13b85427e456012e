//! What `scripts/compare` measures bullhorn beside: the server in Python does what it
//! claims, and the bytes of NATS and MQTT are those of their specifications.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;
#[path = "../benches/compare/mqtt_codec.rs"]
mod mqtt_codec;
#[path = "../benches/compare/nats_codec.rs"]
mod nats_codec;

use common::{Client, python};
use mqtt_codec::{Packet, first_packet};
use nats_codec::{Word, first_word};

#[test]
fn the_python_server_sends_a_text_to_every_peer_and_answers_a_ping() {
    let script = python("benches/baselines/naive_server.py", &["127.0.0.1", "0"]);
    let line = script.errors.next();
    let address = line.strip_prefix("bound to ").unwrap().parse().unwrap();
    let [ann, bob, cem] = [(); 3].map(|()| Client::of(address));
    ann.send(b"@IM@");
    // The answer says that all before it is handled.
    bob.send(b"/ping a b");
    assert_eq!(bob.receive(), b"* pong a b");
    cem.send(b"hi all");
    for peer in [&ann, &bob, &cem] {
        peer.hears(&cem, "hi all");
    }
    cem.send(b"quit");
    ann.send(b"bye");
    for peer in [&ann, &bob] {
        peer.hears(&ann, "bye");
    }
    cem.send(b"/ping 1");
    assert_eq!(cem.receive(), b"* pong 1");
}

#[test]
fn nats_words_are_read_when_they_are_there_as_a_whole() {
    let bytes = b"INFO {}\r\n+OK\r\nPING\r\nPONG\r\nMSG room 1 5\r\nPI\r\nG\r\n-ERR 'Slow'\r\n";
    let expected = [
        Word::Other,
        Word::Other,
        Word::Ping,
        Word::Pong,
        Word::Message(b"PI\r\nG"),
        Word::Trouble(b"-ERR 'Slow'"),
    ];
    let mut rest = bytes.as_slice();
    for word in expected {
        let (first, len) = first_word(rest).unwrap();
        assert_eq!(first, word);
        assert_eq!(first_word(&rest[..len - 1]), None, "{word:?}, cut");
        rest = &rest[len..];
    }
    assert_eq!(first_word(rest), None);
    for wrong in [
        "MSG room 1 \r\n",
        "MSG room 1 x\r\n",
        "MSG room 1 99999999\r\n",
    ] {
        let word = first_word(wrong.as_bytes()).unwrap().0;
        assert!(matches!(word, Word::Trouble(_)), "{wrong}");
    }
    assert!(matches!(
        first_word(&[b'x'; 5000]),
        Some((Word::Trouble(_), 5000))
    ));
}

#[test]
fn nats_clients_connect_and_publish() {
    let mut bytes = Vec::new();
    nats_codec::push_connect(Some("room"), &mut bytes);
    nats_codec::push_publish("room", b"hello", &mut bytes);
    let text =
        "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB room 1\r\nPUB room 5\r\nhello\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
    assert_eq!(
        (nats_codec::PING, nats_codec::PONG),
        (&b"PING\r\n"[..], &b"PONG\r\n"[..])
    );
}

#[test]
fn mqtt_packets_are_read_when_they_are_there_as_a_whole() {
    let mut bytes = vec![0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0xD0, 0];
    let long = [b'x'; 200];
    mqtt_codec::push_publish("room", b"hello", &mut bytes);
    mqtt_codec::push_publish("room", &long, &mut bytes);
    // Not authorised; a subscription refused; a topic longer than the packet.
    bytes.extend_from_slice(&[0x20, 2, 0, 5, 0x90, 3, 0, 1, 0x80, 0x30, 2, 0, 9]);
    let expected = [
        Packet::Connected,
        Packet::Subscribed,
        Packet::Pong,
        Packet::Publish(b"hello"),
        Packet::Publish(&long),
        Packet::Trouble(0x20),
        Packet::Trouble(0x90),
        Packet::Trouble(0x30),
    ];
    let mut rest = bytes.as_slice();
    for packet in expected {
        let (first, len) = first_packet(rest).unwrap();
        assert_eq!(first, packet);
        assert_eq!(first_packet(&rest[..len - 1]), None, "{packet:?}, cut");
        rest = &rest[len..];
    }
    assert_eq!(first_packet(rest), None);
    let endless = [0x30, 255, 255, 255, 255, 1];
    assert_eq!(first_packet(&endless), Some((Packet::Trouble(0x30), 6)));
}

#[test]
fn mqtt_clients_connect_subscribe_and_publish() {
    let mut bytes = Vec::new();
    mqtt_codec::push_connect("c7", &mut bytes);
    assert_eq!(bytes, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02c7");
    bytes.clear();
    mqtt_codec::push_subscribe("room", &mut bytes);
    assert_eq!(bytes, b"\x82\x09\x00\x01\x00\x04room\x00");
    bytes.clear();
    mqtt_codec::push_publish("room", b"hello", &mut bytes);
    assert_eq!(bytes, b"\x30\x0b\x00\x04roomhello");
    bytes.clear();
    mqtt_codec::push_publish("room", &[b'x'; 122], &mut bytes);
    assert_eq!(bytes[..5], [0x30, 0x80, 1, 0, 4]);
    assert_eq!(mqtt_codec::PINGREQ, [0xC0, 0]);
}
