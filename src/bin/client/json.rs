//! Events as JSON, one object a line, for programs. No I/O.

use serde_json::{Value, json};

use bullhorn::client::Session;
use bullhorn::client::escape;
use bullhorn::client::{Event, Message};
use bullhorn::wire::v2::NoticeCode;

/// An event as an object in one line, without its end:
///
/// | `event` | the other fields |
/// | --- | --- |
/// | `message`, `private` | `from`, `text`, and `payload_base64` if it is not UTF-8 |
/// | `notice` | `code` (`done`, `misuse`, `refused`, `presence` or a number), `text` |
/// | `room` | `room`: the one that we are in now |
/// | `text` | `text`: a line of a server that speaks v1 |
/// | `pong` | `round_trip_ms`, and in v2 `expected` and `lost`: messages so far |
/// | `up` | none |
/// | `down` | `reason` |
/// | `missed` | `count`: events that came too fast |
///
/// What was not UTF-8 is U+FFFD in `text`. What cannot be printed is escaped as JSON
/// does it, so that a parser gets the text as it was said and a terminal does not.
pub(super) fn line(event: &Event, session: &Session) -> String {
    let value = match event {
        Event::Message(message) => said("message", message),
        Event::Private(message) => said("private", message),
        Event::Notice { code, text } => {
            json!({"event": "notice", "code": code_name(*code), "text": text})
        }
        Event::Room(room) => json!({"event": "room", "room": room.as_str()}),
        Event::Text(text) => json!({"event": "text", "text": text}),
        Event::Pong { round_trip } => {
            let messages = session.stats().messages;
            let round_trip_ms = 1000.0 * round_trip.as_secs_f64();
            let mut value = json!({"event": "pong", "round_trip_ms": round_trip_ms});
            if messages.expected > 0 {
                value["expected"] = messages.expected.into();
                value["lost"] = messages.lost.into();
            }
            value
        }
        Event::Down(reason) => json!({"event": "down", "reason": reason.to_string()}),
        Event::Up => json!({"event": "up"}),
        Event::Missed(count) => json!({"event": "missed", "count": count}),
        other => json!({"event": "other", "text": format!("{other:?}")}),
    };
    printable(&value.to_string())
}

fn said(event: &str, Message { from, payload }: &Message) -> Value {
    let text = String::from_utf8_lossy(payload);
    let mut value = json!({"event": event, "from": from.to_string(), "text": text});
    if str::from_utf8(payload).is_err() {
        value["payload_base64"] = base64(payload).into();
    }
    value
}

fn code_name(code: NoticeCode) -> Value {
    match code {
        NoticeCode::Done => "done".into(),
        NoticeCode::Misuse => "misuse".into(),
        NoticeCode::Refused => "refused".into(),
        NoticeCode::Presence => "presence".into(),
        NoticeCode::Other(code) => code.into(),
    }
}

/// The same JSON, with `\u` for what a terminal would not show as it is. Such
/// characters stand in strings alone, as JSON has none of them elsewhere.
fn printable(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        let is_plain = matches!(char, ' '..='~') || {
            let mut buffer = [0; 4];
            let encoded: &str = char.encode_utf8(&mut buffer);
            escape(encoded) == encoded
        };
        if is_plain {
            out.push(char);
        } else {
            // All that is escaped lies below U+10000, and is one unit of UTF-16.
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
        }
    }
    out
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { digit.into() } else { '=' });
        }
    }
    out
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(b"\xff\xfe\xfb"), "//77");
    }

    #[test]
    fn what_is_said_has_its_bytes_only_if_they_are_no_text() {
        let message = |payload: &[u8]| Message {
            from: "ada".parse().unwrap(),
            payload: payload.to_vec(),
        };
        let text = said("message", &message("hi \"ü\"".as_bytes()));
        let expected = r#"{"event":"message","from":"ada","text":"hi \"ü\""}"#;
        assert_eq!(text.to_string(), expected);
        let bytes = said("private", &message(b"\xff\0"));
        assert_eq!(bytes["payload_base64"], "/wA=");
        assert_eq!(bytes["text"], "\u{fffd}\0");
    }

    proptest! {
        #[test]
        fn any_text_is_printable_and_is_parsed_to_itself(text in "\\PC*|(?s).*") {
            let line = printable(&json!({"text": text}).to_string());
            prop_assert_eq!(escape(&line), line.as_str());
            prop_assert!(!line.contains('\n'));
            let parsed: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&parsed["text"], &Value::from(text));
        }
    }
}
