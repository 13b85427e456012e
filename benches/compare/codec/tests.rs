//! Tests of the codecs. They are a test target, as the benchmark runs no tests.

mod mqtt;
mod nats;

use mqtt::{Packet, first_packet};
use nats::{Word, first_word};

#[test]
fn complete_nats_words_are_read() {
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
    nats::push_connect(Some("room"), &mut bytes);
    nats::push_publish("room", b"hello", &mut bytes);
    let text =
        "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB room 1\r\nPUB room 5\r\nhello\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
    assert_eq!(
        (nats::PING, nats::PONG),
        (&b"PING\r\n"[..], &b"PONG\r\n"[..])
    );
}

#[test]
fn complete_mqtt_packets_are_read() {
    let mut bytes = vec![0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0xD0, 0];
    let long = [b'x'; 200];
    mqtt::push_publish("room", b"hello", &mut bytes);
    mqtt::push_publish("room", &long, &mut bytes);
    // Not authorised, a refused subscription, a topic longer than the packet.
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
    mqtt::push_connect("c7", &mut bytes);
    assert_eq!(bytes, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02c7");
    bytes.clear();
    mqtt::push_subscribe("room", &mut bytes);
    assert_eq!(bytes, b"\x82\x09\x00\x01\x00\x04room\x00");
    bytes.clear();
    mqtt::push_publish("room", b"hello", &mut bytes);
    assert_eq!(bytes, b"\x30\x0b\x00\x04roomhello");
    bytes.clear();
    mqtt::push_publish("room", &[b'x'; 122], &mut bytes);
    assert_eq!(bytes[..5], [0x30, 0x80, 1, 0, 4]);
    assert_eq!(mqtt::PINGREQ, [0xC0, 0]);
}
