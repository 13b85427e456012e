//! Messages and notices as lines that are safe to print.

use std::borrow::Cow;

use bullhorn::client::{Event, Message};
use bullhorn::wire::{NOTICE, push_printable};

/// Returns the line of a message or a notice: `name text`, `* name to you: text`, or
/// `* sentence`. It is the same in both versions of the protocol.
pub(super) fn line(event: &Event) -> Option<String> {
    match event {
        Event::Message(message) => Some(said("", message, " ")),
        Event::Private(message) => Some(said(NOTICE, message, " to you: ")),
        Event::Notice { text, .. } => Some(format!("{NOTICE}{}", escape(text))),
        _ => None,
    }
}

/// Makes a received text safe to print, as [`push_printable`] does.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(printable(text.as_bytes()))
}

fn said(start: &str, message: &Message, separator: &str) -> String {
    let text = printable(&message.payload);
    let end = if message.may_be_cut { "…" } else { "" };
    format!("{start}{}{separator}{text}{end}", message.from)
}

fn printable(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    push_printable(bytes, usize::MAX, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bullhorn::client::{DownReason, NoticeCode, ProtocolVersion};
    use bullhorn::wire::{ServerLine, push_private, push_text};

    use super::*;

    fn message(from: &str, payload: &[u8]) -> Message {
        Message {
            room: None,
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
            let mut sent = Vec::new();
            push_text(from, payload, &mut sent);
            let event = Event::Message(message("[::1]:7", payload));
            assert_eq!(line(&event), Some(String::from_utf8(sent.clone()).unwrap()));
            // A line of version 1 is printed as it came.
            let Some(ServerLine::Text { text, .. }) = ServerLine::parse(&sent) else {
                panic!("{sent:?}");
            };
            let received = Event::Message(message("[::1]:7", text));
            assert_eq!(line(&received), line(&event));
        }
        let event = Event::Message(message("127.0.0.1:7", b"a\x07"));
        assert_eq!(line(&event).as_deref(), Some("127.0.0.1:7 a\\x07"));
    }

    #[test]
    fn a_private_message_is_the_line_that_a_v1_peer_receives() {
        let mut sent = Vec::new();
        push_private("ada", b"psst\x1b", &mut sent);
        let event = Event::Private(message("ada", b"psst\x1b"));
        assert_eq!(line(&event), Some(String::from_utf8(sent).unwrap()));
        assert_eq!(line(&event).as_deref(), Some("* ada to you: psst\\x1b"));
    }

    #[test]
    fn a_message_that_may_be_cut_shows_it() {
        let mut cut = message("ada", b"the beginn");
        cut.may_be_cut = true;
        assert_eq!(cut.text(), "the beginn");
        let shown = line(&Event::Message(cut));
        assert_eq!(shown.as_deref(), Some("ada the beginn…"));
    }

    #[test]
    fn only_messages_and_notices_are_lines() {
        let notice = Event::Notice {
            code: NoticeCode::Refused,
            text: "no\x1b".to_owned(),
        };
        assert_eq!(line(&notice).as_deref(), Some("* no\\x1b"));
        let undelivered = Event::Undelivered {
            payloads: vec![b"hi".to_vec()],
            were_sent: true,
        };
        for event in [
            Event::Up(ProtocolVersion::V1),
            Event::Down(DownReason::Goodbye),
            Event::Room("chess".parse().unwrap()),
            Event::Forgotten,
            Event::BundleSize(548),
            Event::Missed(3),
            undelivered,
        ] {
            assert_eq!(line(&event), None, "{event:?}");
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
}
