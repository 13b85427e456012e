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
        (b"quitx", b"quitx"),
        (b"quit it", b"quit it"),
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
fn padding_a_byte_order_mark_and_blanks_around_a_word_are_ignored() {
    use ClientDatagram::{Heartbeat, Leave, Text};
    let padded = |text: &[u8]| {
        let mut datagram = text.to_vec();
        datagram.resize(64, 0);
        datagram
    };
    for (datagram, meaning) in [
        (&b"@im@\0"[..], Heartbeat),
        (b"\0", Heartbeat),
        (b"\n\0", Heartbeat),
        (&[0; 2048], Heartbeat),
        (b"quit\0", Leave),
        (b"quit\r\n\0\0", Leave),
        (&padded(b"hi"), Text(b"hi")),
        (&padded(b"hi\n"), Text(b"hi")),
        (b"a\0b\0", Text(b"a\0b")),
        // The line end is not at the end.
        (b"hi\0\n", Text(b"hi\0")),
        (b"\0quit", Text(b"\0quit")),
        (b"\xef\xbb\xbf@im@", Heartbeat),
        (b"\xef\xbb\xbf", Heartbeat),
        (b"\xef\xbb\xbf\r\n", Heartbeat),
        (b"\xef\xbb\xbfquit\r\n\0", Leave),
        (b"\xef\xbb\xbf/who", Text(b"/who")),
        (b"\xef\xbb\xbf\xef\xbb\xbfhi", Text(b"\xef\xbb\xbfhi")),
        (b"\xef\xbbhi", Text(b"\xef\xbbhi")),
        (b"hi\xef\xbb\xbf", Text(b"hi\xef\xbb\xbf")),
        (b" \tquit ", Leave),
        (b"@im@ \r\n", Heartbeat),
        (b"\xef\xbb\xbf @IM@\t\n\0", Heartbeat),
        // Blanks of all other texts stay.
        (b" ", Text(b" ")),
        (b"\t\n", Text(b"\t")),
        (b" /who ", Text(b" /who ")),
        (b" \xef\xbb\xbfquit", Text(b" \xef\xbb\xbfquit")),
        (b"qu it", Text(b"qu it")),
        (b"quit\n ", Text(b"quit\n ")),
    ] {
        assert_eq!(classify(datagram), meaning, "{datagram:?}");
    }
}

#[test]
fn a_line_end_is_found_before_padding() {
    for (datagram, protocol) in [
        (&b"hi\n"[..], Protocol::Lines),
        (b"\n", Protocol::Lines),
        (b"@im@\r\n\0\0", Protocol::Lines),
        (b"\xef\xbb\xbf\n", Protocol::Lines),
        (b"hi", Protocol::Text),
        (b"hi\0", Protocol::Text),
        (b"\0", Protocol::Text),
        (b"hi\n ", Protocol::Text),
        (b"hi\n\0 ", Protocol::Text),
    ] {
        assert_eq!(line_protocol(datagram), protocol, "{datagram:?}");
    }
}

#[test]
fn the_first_byte_decides_for_version_2() {
    assert_eq!(classify(b"\xff"), ClientDatagram::Frames(b"\xff"));
    assert_eq!(classify(b"\xff\n"), ClientDatagram::Frames(b"\xff\n"));
    let padded = [FRAME_MARK, 2, 0, 0];
    assert_eq!(classify(&padded), ClientDatagram::Frames(&padded));
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
    #[test]
    fn padding_changes_nothing(
        text in prop::collection::vec(any::<u8>(), 1..40),
        end in prop::sample::select(vec!["", "\n", "\r\n", " \n"]),
        padding in 0..70_usize,
    ) {
        let mut datagram = [&text, end.as_bytes()].concat();
        prop_assume!(datagram[0] != FRAME_MARK);
        let plain = datagram.clone();
        datagram.resize(plain.len() + padding, 0);
        prop_assert_eq!(classify(&datagram), classify(&plain));
        prop_assert_eq!(line_protocol(&datagram), line_protocol(&plain));
    }

    #[test]
    fn blanks_change_no_word_and_stay_in_texts(
        text in prop_oneof![
            Just("quit".to_owned()), Just("@Im@".to_owned()), "[a-z/@\u{e9}]{1,8}"
        ],
        before in "[ \t]{0,3}",
        after in "[ \t]{0,3}",
    ) {
        let datagram = format!("{before}{text}{after}");
        let meaning = match classify(text.as_bytes()) {
            ClientDatagram::Text(_) => ClientDatagram::Text(datagram.as_bytes()),
            word => word,
        };
        prop_assert_eq!(classify(datagram.as_bytes()), meaning);
    }
}
