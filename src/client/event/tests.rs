use std::net::SocketAddr;

use super::*;
use crate::wire::{ServerLine, push_private, push_text};

fn message(from: &str, payload: &[u8]) -> Message {
    Message {
        from: from.parse().unwrap(),
        payload: payload.to_vec(),
        may_be_cut: false,
    }
}

#[test]
fn a_message_is_the_line_that_a_v1_peer_receives() {
    let from: SocketAddr = "[::1]:7".parse().unwrap();
    for payload in [
        &b"hi all"[..],
        b"",
        b"\x1b[2J\xff\xe2\x80\xae",
        &[b'x'; 900],
    ] {
        let mut line = Vec::new();
        push_text(from, payload, &mut line);
        let event = Event::Message(message("[::1]:7", payload));
        assert_eq!(event.line(), Some(String::from_utf8(line.clone()).unwrap()));
        // A line of version 1 is printed as it came.
        let Some(ServerLine::Text { text, .. }) = ServerLine::parse(&line) else {
            panic!("{line:?}");
        };
        let received = Event::Message(message("[::1]:7", text));
        assert_eq!(received.line(), event.line());
    }
    let event = Event::Message(message("127.0.0.1:7", b"a\x07"));
    assert_eq!(event.line().as_deref(), Some("127.0.0.1:7 a\\x07"));
}

#[test]
fn a_private_message_is_the_line_that_a_v1_peer_receives() {
    let mut line = Vec::new();
    push_private("ada", b"psst\x1b", &mut line);
    let event = Event::Private(message("ada", b"psst\x1b"));
    assert_eq!(event.line(), Some(String::from_utf8(line).unwrap()));
    assert_eq!(event.line().as_deref(), Some("* ada to you: psst\\x1b"));
}

#[test]
fn a_message_that_may_be_cut_shows_it() {
    let mut cut = message("ada", b"the beginn");
    cut.may_be_cut = true;
    assert_eq!(cut.text(), "the beginn");
    let line = Event::Message(cut).line();
    assert_eq!(line.as_deref(), Some("ada the beginn…"));
}

#[test]
fn the_text_of_a_message_is_not_escaped() {
    assert_eq!(message("ada", b"a\x07\xff").text(), "a\x07\u{fffd}");
}

#[test]
fn only_messages_and_notices_are_lines() {
    let notice = Event::Notice {
        code: NoticeCode::Refused,
        text: "no\x1b".to_owned(),
    };
    assert_eq!(notice.line().as_deref(), Some("* no\\x1b"));
    let answer = Event::Answer {
        ticket: TicketId(1),
        result: Ok(Answer::RoundTrip(Duration::from_micros(432))),
    };
    let undelivered = Event::Undelivered {
        payloads: vec![b"hi".to_vec()],
        were_sent: true,
    };
    for event in [
        Event::Up(ProtocolVersion::V1),
        Event::Down(DownReason::Goodbye),
        Event::Room("chess".parse().unwrap()),
        Event::Forgotten,
        Event::Missed(3),
        answer,
        undelivered,
    ] {
        assert_eq!(event.line(), None, "{event:?}");
    }
}

#[test]
fn harmless_texts_are_not_changed() {
    let text = "tab\there, back\\slash";
    assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
    assert_eq!(escape("ümlaut, 🐂"), "ümlaut, 🐂");
}

#[test]
fn every_kind_of_control_is_escaped() {
    let cases = [
        ("\0", r"\x00"),
        ("\x07", r"\x07"),
        ("\r\n", r"\x0d\x0a"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x7f", r"\x7f"),
        ("\u{9b}2J", r"\x9b2J"),
        ("a\u{202e}b", r"a\u{202e}b"),
        ("\u{2028}", r"\u{2028}"),
        ("\u{2069}", r"\u{2069}"),
    ];
    for (text, expected) in cases {
        assert_eq!(escape(text), expected);
    }
}

#[test]
fn a_second_escape_changes_nothing() {
    let once = escape("\x1b\u{202e}").into_owned();
    assert_eq!(escape(&once), once);
}

#[test]
fn each_reason_and_error_is_a_sentence() {
    let refused = DownReason::Unreachable(io::ErrorKind::ConnectionRefused);
    let late = DownReason::NoAnswer(Duration::from_secs(3));
    for (reason, expected) in [
        (refused, "nothing listens there"),
        (late, "no answer within 3s"),
        (DownReason::Goodbye, "it has stopped"),
        (DownReason::Full, "it is full"),
    ] {
        assert_eq!(reason.to_string(), expected);
        let error = RequestError::Down(reason);
        assert_eq!(error.to_string(), format!("the server is down: {expected}"));
    }
    let taken = RequestError::Refused(Refusal::NameTaken("ada".parse().unwrap()));
    assert_eq!(taken.to_string(), "ada is taken");
}
