use proptest::prelude::*;

use super::*;

#[test]
fn an_empty_datagram_and_quit_in_any_case_leave() {
    for datagram in [&b""[..], b"quit", b"QUIT", b"Quit\n", b"qUIt\r\n"] {
        assert_eq!(classify(datagram), ClientDatagram::Leave, "{datagram:?}");
    }
}

#[test]
fn a_heartbeat_in_any_case_and_a_lone_line_end_keep_alive() {
    for datagram in [&b"@im@"[..], b"@IM@", b"@Im@\n", b"\n", b"\r\n"] {
        assert_eq!(
            classify(datagram),
            ClientDatagram::Heartbeat,
            "{datagram:?}"
        );
    }
}

#[test]
fn everything_else_is_a_text_without_one_line_end() {
    for (datagram, text) in [
        (&b"hi"[..], &b"hi"[..]),
        (b"hi\n", b"hi"),
        (b"hi\r\n", b"hi"),
        (b"hi\n\n", b"hi\n"),
        (b"hi\r", b"hi\r"),
        (b"\r", b"\r"),
        (b" quit", b" quit"),
        (b"quitx", b"quitx"),
        (b"@im@ ", b"@im@ "),
        (b"\xfe", b"\xfe"),
    ] {
        assert_eq!(
            classify(datagram),
            ClientDatagram::Text(text),
            "{datagram:?}"
        );
    }
}

#[test]
fn the_first_byte_decides_for_version_2() {
    assert_eq!(classify(b"\xff"), ClientDatagram::Frames(b"\xff"));
    assert_eq!(classify(b"\xff\n"), ClientDatagram::Frames(b"\xff\n"));
    assert_eq!(classify(b"a\xff"), ClientDatagram::Text(b"a\xff"));
}

fn text_from(sender: &str, text: &[u8]) -> Vec<u8> {
    let sender: SocketAddr = sender.parse().unwrap();
    let mut out = b"what another peer said".to_vec();
    let start = out.len();
    push_text(sender, text, &mut out);
    out.split_off(start)
}

#[test]
fn a_text_follows_its_senders_address() {
    assert_eq!(
        text_from("127.0.0.1:5000", b"hi all"),
        b"127.0.0.1:5000 hi all"
    );
    assert_eq!(text_from("[::1]:5000", b"hi"), b"[::1]:5000 hi");
}

#[test]
fn a_long_text_is_cut_to_what_fits() {
    let datagram = text_from("127.0.0.1:5000", &[b'x'; 4000]);
    assert_eq!(datagram.len(), MAX_TEXT_DATAGRAM);
    let datagram = text_from("127.0.0.1:5000", "ü".repeat(2000).as_bytes());
    assert_eq!(datagram.len(), MAX_TEXT_DATAGRAM - 1, "cut at a character");
}

#[test]
fn a_greeting_names_the_peer_as_python_would() {
    let mut out = Vec::new();
    push_greeting("127.0.0.1:51859".parse().unwrap(), &mut out);
    assert_eq!(out, b"hello,('127.0.0.1', 51859)");
    out.clear();
    push_greeting("[::1]:51859".parse().unwrap(), &mut out);
    assert_eq!(out, b"hello,('::1', 51859, 0, 0)");
    assert!(out.starts_with(GREETING_START));
}

#[test]
fn sentences_and_direct_messages_start_with_a_star() {
    let mut out = Vec::new();
    push_reply(&Reply::NoSuchPeer(b"\x1b\xffx"), &mut out);
    assert_eq!(out, "* no such peer: \\x1b\u{fffd}x".as_bytes());
    out.clear();
    push_private("ada", b"psst", &mut out);
    assert_eq!(out, b"* ada to you: psst");
    out.clear();
    push_reply(&Reply::Pong(&[b'x'; 3000]), &mut out);
    assert_eq!(out.len(), MAX_TEXT_DATAGRAM);
    out.clear();
    push_reply(&Reply::Pong(&[0x80; 3000]), &mut out);
    assert_eq!(out.len(), 2 + 5 + 339 * 3, "cut at a character");
}

#[test]
fn a_line_of_the_server_is_a_text_a_direct_message_or_a_sentence() {
    let ada: DisplayName = "ada".parse().unwrap();
    let address: DisplayName = "[::1]:5".parse().unwrap();
    let text = |from, text| ServerLine::Text { from, text };
    for (line, parsed) in [
        (&b"ada hi all"[..], Some(text(&b"ada"[..], &b"hi all"[..]))),
        (b"[::1]:5 ", Some(text(b"[::1]:5", b""))),
        (b"*hi you", Some(text(b"*hi", b"you"))),
        (
            b"* ada to you: hi",
            Some(ServerLine::Private {
                from: ada,
                text: b"hi",
            }),
        ),
        (
            b"* [::1]:5 to you: ",
            Some(ServerLine::Private {
                from: address,
                text: b"",
            }),
        ),
        (
            b"* a.b to you: hi",
            Some(ServerLine::Notice(b"a.b to you: hi")),
        ),
        (b"* to you: hi", Some(ServerLine::Notice(b"to you: hi"))),
        (b"* ", Some(ServerLine::Notice(b""))),
        (b"*", None),
        (b"word", None),
        (b"", None),
    ] {
        assert_eq!(ServerLine::parse(line), parsed, "{line:?}");
    }
}

proptest! {
    #[test]
    fn any_text_becomes_a_bounded_printable_datagram_with_its_sender(
        text in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let datagram = text_from("[fe80::1%3]:65535", &text);
        prop_assert!(datagram.len() <= MAX_TEXT_DATAGRAM);
        let datagram = String::from_utf8(datagram).unwrap();
        prop_assert!(datagram.starts_with("[fe80::1%3]:65535 "));
        prop_assert!(datagram.chars().all(|char| char == '\t' || !char.is_control()));
    }
}
