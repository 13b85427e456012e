//! Events as JSON, one object per line, for programs. No I/O.

use std::fmt::Write;

use bullhorn::client::{Answer, Event, Message, NoticeCode, ProtocolVersion, Session};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::line::escape;

/// Returns an event as an object in one line, without its end. Some events have none.
///
/// | `event` | the other fields |
/// | --- | --- |
/// | `message`, `private` | `from`, `text`, and `payload_base64` if it is not UTF-8 |
/// | `notice` | `code` (`done`, `misuse`, `refused`, `presence`, `operator` or a number), `text` |
/// | `room` | `room`: the room that the session is in now |
/// | `pong` | `round_trip_ms`, and in version 2 `expected` and `lost`: messages so far |
/// | `up` | `protocol`: `v1` or `v2` |
/// | `down` | `reason` |
/// | `server` | `address` of another server, at which the session is from now on |
/// | `name_lost` | `name`: it belongs to a peer of another server of the cluster |
/// | `undelivered` | `texts`, `sent`: if they were sent |
/// | `forgotten` | none |
/// | `bundle_size` | `bytes`: the maximum length of a datagram that passes the path |
/// | `limited` | `resource` (`texts`, `bytes` or `units of work`), `per_second` |
/// | `missed` | `count`: events that came too fast |
///
/// Bytes that are not UTF-8 are U+FFFD in `text`. Characters that cannot be printed are
/// escaped as JSON does it.
pub(super) fn line(event: &Event, session: &Session) -> Option<String> {
    let value = match event {
        Event::Message(message) => said("message", message),
        Event::Private(message) => said("private", message),
        Event::Notice { code, text } => return Some(notice(*code, text)),
        Event::Room(room) => json!({"event": "room", "room": room.as_str()}),
        Event::Answer {
            result: Ok(Answer::RoundTrip(time)),
            ..
        } => {
            let stats = session.stats();
            let messages = stats.messages;
            let round_trip_ms = 1000.0 * time.as_secs_f64();
            let mut value = json!({"event": "pong", "round_trip_ms": round_trip_ms});
            if messages.expected > 0 {
                value["expected"] = messages.expected.into();
                value["lost"] = messages.lost.into();
            }
            if stats.forged > 0 {
                value["forged"] = stats.forged.into();
            }
            value
        }
        Event::Up(version) => {
            let version = match version {
                ProtocolVersion::V1 => "v1",
                ProtocolVersion::V2 => "v2",
            };
            json!({"event": "up", "protocol": version})
        }
        Event::Down(reason) => json!({"event": "down", "reason": reason.to_string()}),
        Event::ServerChanged(address) => {
            json!({"event": "server", "address": address.to_string()})
        }
        Event::NameLost(name) => json!({"event": "name_lost", "name": name.as_str()}),
        Event::Undelivered {
            payloads,
            were_sent,
        } => {
            let texts = payloads
                .iter()
                .map(|payload| String::from_utf8_lossy(payload));
            let texts: Vec<_> = texts.collect();
            json!({"event": "undelivered", "texts": texts, "sent": were_sent})
        }
        Event::Forgotten => json!({"event": "forgotten"}),
        Event::BundleSize(bytes) => json!({"event": "bundle_size", "bytes": bytes}),
        Event::Limited {
            resource,
            per_second,
        } => json!({
            "event": "limited",
            "resource": resource.to_string(),
            "per_second": per_second,
        }),
        Event::Missed(count) => json!({"event": "missed", "count": count}),
        _ => return None,
    };
    Some(printable(&value.to_string()))
}

/// Returns a notice as an object in one line.
pub(super) fn notice(code: NoticeCode, text: &str) -> String {
    let value = json!({"event": "notice", "code": code_name(code), "text": text});
    printable(&value.to_string())
}

fn said(event: &str, message: &Message) -> Value {
    let from = message.from.to_string();
    let mut value = json!({"event": event, "from": from, "text": message.text()});
    if str::from_utf8(&message.payload).is_err() {
        value["payload_base64"] = BASE64.encode(&message.payload).into();
    }
    value
}

fn code_name(code: NoticeCode) -> Value {
    match code {
        NoticeCode::Done => "done".into(),
        NoticeCode::Misuse => "misuse".into(),
        NoticeCode::Refused => "refused".into(),
        NoticeCode::Presence => "presence".into(),
        NoticeCode::Operator => "operator".into(),
        NoticeCode::Other(code) => code.into(),
    }
}

/// Returns the same JSON, with `\u` for characters that a terminal would not print. They stand
/// in strings only.
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
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payloads_that_are_not_utf8_are_also_in_base64() {
        let message = |payload: &[u8]| Message {
            room: None,
            from: "ada".parse().unwrap(),
            payload: payload.to_vec(),
            may_be_cut: false,
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
